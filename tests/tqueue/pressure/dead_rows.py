"""Observes how many dead rows the tables of a database have."""

from __future__ import annotations

import subprocess
import time
from threading import Event, Thread

from tests.support.postgres import PostgreSQL

INTERVAL = 1.0  # seconds
QUERY = "SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables WHERE schemaname = 'tqueue'"


class DeadRows:
    """
    The number of dead rows at each second, as the statistics of the database have it.

    @ivar seen: pairs of a time and a number. None is added while the database does not answer.
    """

    def __init__(self, database: PostgreSQL, name: str) -> None:
        self._database, self._name, self._ending = database, name, Event()
        self.seen: list[tuple[float, int]] = []
        self._thread = Thread(target=self._observe, daemon=True)
        self._thread.start()

    def _observe(self) -> None:
        while not self._ending.wait(INTERVAL):
            try:
                found = int(self._database.ask(QUERY, database=self._name))
            except subprocess.CalledProcessError:  # the database is away
                continue
            self.seen.append((time.time(), found))

    def most(self, begin: float, end: float) -> int:
        """Return the highest number between two times."""
        return max((number for at, number in self.seen if begin <= at <= end), default=0)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
