"""Statements of SQLite that are about many rows at once.

Strategy: each statement (and each step of C{executemany}) releases the interpreter lock and must get it back
from a busy reactor, so each statement handles as many rows as possible. SQLite keeps statements prepared by
their texts, so there are few different texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

from twisted_appserver.queue.sql_files import read_statements

SQL = read_statements(__package__, "journal.sql")
MAX_ROWS = 64  # in one statement
ANY_NUMBER = 16  # up to so many rows make one statement; more are divided into powers of two
STATEMENTS = 256  # that SQLite keeps prepared: all of the frequent ones


def write_rows(database: Any, name: str, rows: Sequence[tuple[Any, ...]], first: Sequence[Any] = ()) -> None:
    """
    Run a statement for rows.

    @param database: a connection of C{sqlite3}.
    @param first: values that precede the values of the rows.
    """
    while rows:
        count = len(rows)
        if count > ANY_NUMBER:
            count = min(MAX_ROWS, 1 << count.bit_length() - 1)
        database.execute(_text(name, count), [*first, *chain.from_iterable(rows[:count])])
        rows = rows[count:]


@cache
def _text(name: str, rows: int) -> str:
    """Return a statement for a number of rows."""
    return re.sub(r"\{(.*)\}", lambda row: ", ".join([row[1]] * rows), SQL[name])
