"""Unique keys that are taken beyond the end of their tasks, in a file of SQLite. They are not in memory.

All of this runs in the thread of the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted_appserver.queue.local.journal import Change
from twisted_appserver.queue.local.sqlite_statements import SQL

MANY = 10_000  # expired keys that are deleted at once


class SQLiteTakenKeys:
    """
    @param database: a connection of C{sqlite3}.
    @param shift: the difference between the times in the file and the times of the reactor, in seconds.
    """

    def __init__(self, database: Any, shift: float) -> None:
        self._database, self._shift = database, shift

    def write(self, changes: Sequence[Change]) -> None:
        """Take and free keys, as part of a transaction. A key may be freed and taken again."""
        for change in changes:
            for each in change.freed:
                self._database.execute(SQL["free_key"], each)
            for queue, key, number, until in change.taken:
                self._database.execute(SQL["take_key"], (queue, key, number, until + self._shift))

    def find(self, queue: str, keys: Sequence[str], now: float) -> dict[str, int]:
        """Return the numbers of the tasks that have taken keys, by key."""
        found = dict[str, int]()
        for key in keys:
            row = self._database.execute(SQL["find_key"], (queue, key, now + self._shift)).fetchone()
            if row is not None:
                found[key] = row[0]
        return found

    def delete_queue(self, queue: str) -> None:
        """Free all keys of a queue."""
        self._database.execute(SQL["free_keys_of_queue"], (queue,))

    def delete_expired(self, now: float) -> None:
        """Delete keys that are free again."""
        self._database.execute(SQL["free_expired_keys"], (now + self._shift, MANY))
