"""Rewrites tables that have many dead rows, because vacuum may not remove them.

PostgreSQL keeps every row that an open transaction might still see: one transaction that is left idle
anywhere in the same database holds vacuum up. Rows of queues are changed and deleted thousands of times a
second, and each request would read ever more of their dead versions.

Strategy: one transaction locks the table, copies the live rows to this program, truncates the table, which
gives it new files, and copies the rows back. This takes some 30 ms with few live rows. The rows are written
as frozen, so that a transaction with an older snapshot, such as pg_dump, sees them and not an empty table. A
waiting lock blocks all requests behind it. So an attempt gives up soon if somebody else reads the table, and
the pauses between attempts grow. Tables with very many live rows are left to vacuum.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any, NamedTuple

from twisted.logger import Logger

from twisted_appserver.errors import AppserverError
from twisted_appserver.queue.postgresql.schema import SQL

INTERVAL = 1.0  # seconds between two looks; PostgreSQL updates its figures about once a second
LOCK_TIMEOUT = "200ms"  # longer than the transactions of servers; all requests wait meanwhile
LONGEST_PAUSE = 60.0  # seconds between two attempts
REWRITE_LOCK = 7_483_515  # the advisory lock of the server that rewrites a table
MOST_LIVE = 20_000  # rows; to copy them takes about 0.2 seconds
MOST_BYTES = 16 << 20  # of live rows

ALL = "TABLE tqueue.{}"
LAST_COMMITS = "SELECT DISTINCT ON (server) * FROM tqueue.commits ORDER BY server, number DESC"
LAST_RETURNS = "SELECT * FROM tqueue.returned WHERE id > (SELECT last_value FROM tqueue.returns) - 10000"


class HotTable(NamedTuple):
    """
    A table whose rows are changed all the time.

    @ivar most_dead: the number of dead rows from which on the table is rewritten.
    @ivar kept: the query for the rows that are kept. If it is not L{ALL}, rows that are not kept count as
        dead.
    """

    most_dead: int
    kept: str = ALL


TABLES: Mapping[str, HotTable] = {
    "tasks": HotTable(50_000),
    "outbox": HotTable(50_000),
    "finished": HotTable(50_000),
    "attempts": HotTable(50_000),
    "taken": HotTable(20_000),
    "progress": HotTable(5_000),  # here, and in the next three, the same rows change again and again
    "keys": HotTable(5_000),
    "queues": HotTable(1_000),
    "meta": HotTable(500),
    # A server asks only for the last of its own transactions.
    "commits": HotTable(50_000, LAST_COMMITS),
    "returned": HotTable(50_000, LAST_RETURNS),
}


class TooLargeError(AppserverError):
    """Raised when the live rows of a table are too large to be copied."""


class DeadRows:
    """
    Limits the dead rows of the tables. One thread uses it.

    @param psycopg: the driver.
    """

    log = Logger()

    def __init__(self, psycopg: Any) -> None:
        self._psycopg = psycopg
        self._next_look = 0.0
        self._next_attempts: dict[str, float] = {}  # by table
        self._pauses: dict[str, float] = {}  # by table, after attempts that failed
        self._counts: dict[str, tuple[int, int]] = {}  # by table: its file, and the dead rows counted before
        self._last_error = ""

    def limit(self, connection: Any) -> None:
        """
        Rewrite the tables that have too many dead rows, unless that was checked a moment ago.

        @param connection: a connection that commits each statement.
        @raise psycopg.Error: when the figures cannot be read.
        """
        now = monotonic()
        if now < self._next_look:
            return
        self._next_look = now + INTERVAL
        due = [name for name in TABLES if self._next_attempts.get(name, 0.0) <= now]
        for name, live, dead, file in connection.execute(SQL["dead_rows"], {"tables": due}).fetchall():
            if has_too_many(TABLES[name], live, dead - self._counted_before(name, file, dead)):
                self._attempt(connection, name, file)

    def _counted_before(self, name: str, file: int, dead: int) -> int:
        """
        Return how many dead rows PostgreSQL counts that a file of a table does not have.

        Its figures are late, and before version 15 they may ignore that the table was truncated.
        """
        first_file, count = self._counts.get(name, (file, 0))
        self._counts[name] = file, min(count, dead) if file == first_file else dead
        return self._counts[name][1]

    def _attempt(self, connection: Any, name: str, file: int) -> None:
        errors = self._psycopg.errors
        try:
            rewrite(connection, name, file)
        except (errors.LockNotAvailable, errors.QueryCanceled, TooLargeError):
            self._pause(name)
        except self._psycopg.Error as error:
            if connection.closed:
                raise
            if self._last_error != (text := " ".join(str(error).split())):
                self.log.warn("the table {t} cannot be rewritten: {e}", t=name, e=text)
                self._last_error = text
            self._pause(name)
        else:
            self._pauses.pop(name, None)

    def _pause(self, name: str) -> None:
        pause = self._pauses[name] = min(LONGEST_PAUSE, 2 * self._pauses.get(name, INTERVAL / 2))
        self._next_attempts[name] = monotonic() + pause


def has_too_many(table: HotTable, live: int, dead: int) -> bool:
    """Return whether a table with so many rows is rewritten."""
    if table.kept != ALL:
        return live + dead > table.most_dead
    return dead > max(live, table.most_dead) and live <= MOST_LIVE


def rewrite(connection: Any, name: str, file: int) -> None:
    """
    Rewrite a table without its dead rows.

    @param file: the number of its file; if it has another one, somebody else has rewritten it.
    @raise TooLargeError: when its live rows are too large.
    @raise psycopg.Error: when that fails; nothing is changed.
    """
    with connection.transaction():
        connection.execute(SQL["begin_rewrite"].format(timeout=LOCK_TIMEOUT))
        if not connection.execute(SQL["try_transaction_lock"], {"lock": REWRITE_LOCK}).fetchone()[0]:
            return
        connection.execute(SQL["lock_table"].format(table=name))
        if connection.execute(SQL["file_of_table"], {"table": name}).fetchone()[0] != file:
            return
        rows = _read(connection, TABLES[name].kept.format(name))
        connection.execute(SQL["truncate"].format(table=name))
        with connection.cursor().copy(SQL["write_rows"].format(table=name)) as copy:
            for block in rows:
                copy.write(block)
        if connection.info.server_version >= 150000:
            connection.execute(SQL["flush_statistics"])


def _read(connection: Any, query: str) -> list[bytes]:
    """Return rows in the binary format of COPY."""
    rows, size = [], 0
    with connection.cursor().copy(SQL["read_rows"].format(query=query)) as copy:
        for block in copy:
            size += len(block)
            if size > MOST_BYTES:
                raise TooLargeError
            rows.append(bytes(block))
    return rows
