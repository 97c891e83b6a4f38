"""
The depth and the rate of queues during the last ten minutes.

Strategy: as the figures of calls, they are recorded only while somebody looks at queues, and for fifteen
minutes afterwards. Until then they cost nothing.
"""

from __future__ import annotations

from collections import deque
from time import time
from typing import Any

from twisted.internet.task import LoopingCall

STEP = 1.0  # seconds between two records
LENGTH = 600  # records of each queue: ten minutes
MOST_QUEUES = 100  # that are recorded
RECORDING_TIME = 900.0  # seconds without a request for a queue after which recording stops
RATE_RECORDS = 10  # the last ones, over which the rate of a queue is averaged
DEPTHS = ("ready", "delayed", "leased", "held", "buried")
COLUMNS = ("time", *DEPTHS, "oldest", "put", "done")

Record = tuple[Any, ...]


class QueueHistory:
    """
    @param service: an L{AppService}.
    """

    def __init__(self, service: Any) -> None:
        self._service = service
        self._records: dict[str, deque[Record]] = {}
        self._counts: dict[str, tuple[float, int, int]] = {}  # the time, puts and ends of the last record
        self._requested = 0.0
        self._clock: LoopingCall | None = None

    def keep_recording(self) -> None:
        """Record for the next fifteen minutes. Call this when queues are requested."""
        reactor = self._service.dispatcher.reactor
        self._requested = reactor.seconds()
        if self._clock is None and self._service.running:
            self._clock = LoopingCall(self._record_all)
            self._clock.clock = reactor
            self._clock.start(STEP)

    def stop(self) -> None:
        """Stop recording."""
        if self._clock is not None:
            self._clock.stop()
            self._clock = None
        self._counts.clear()  # otherwise the next record would contain the rate of the pause

    def document(self, queue: str, since: float) -> dict[str, Any]:
        """
        Return the records of a queue, the oldest first, with the names of their columns. C{put} and C{done}
        are numbers per second. A longer time between two records is a pause in recording.

        @param since: only records after this time are returned, in seconds since the epoch.
        """
        records = [record for record in self._records.get(queue, ()) if record[0] > since]
        return {"queue": queue, "columns": COLUMNS, "history": records}

    def rate(self, queue: str) -> float | None:
        """Return how many tasks were finished per second; C{None} if that is not known yet."""
        rates = [record[-1] for record in [*self._records.get(queue, ())][-RATE_RECORDS:]]
        known = [rate for rate in rates if rate is not None]
        return sum(known) / len(known) if known else None

    def _record_all(self) -> None:
        now = self._service.dispatcher.reactor.seconds()
        if now - self._requested > RECORDING_TIME:
            self.stop()
            return
        figures = self._service.queues()
        for name in self._records.keys() - figures.keys():
            del self._records[name]
            self._counts.pop(name, None)
        for name, stats in figures.items():
            if name in self._records or len(self._records) < MOST_QUEUES:
                self._record(name, stats, now)

    def _record(self, name: str, stats: dict[str, Any], now: float) -> None:
        before, puts, dones = self._counts.get(name, (now, 0, 0))
        self._counts[name] = now, stats["puts"], stats["dones"]
        seconds = now - before
        rates = [
            max(0, count - last) / seconds if seconds else None
            for count, last in ((stats["puts"], puts), (stats["dones"], dones))
        ]
        record = (time(), *(stats[name] for name in DEPTHS), stats["oldest"], *rates)
        self._records.setdefault(name, deque(maxlen=LENGTH)).append(record)
