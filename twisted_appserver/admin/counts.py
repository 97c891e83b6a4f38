"""
What a service has counted: values that one server takes, and that several servers send to their supervisor.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from twisted_appserver.admin.faults import FaultGroup
from twisted_appserver.core.durations import Durations, bounds_from, percentile

QUEUE_COUNTS = ("puts", "gets", "dones", "returned", "expired")  # of requests to a queue at one server


class Row(NamedTuple):
    """
    What happened in one second, for the status page.

    @ivar time: its end, in seconds since the epoch.
    @ivar succeeded: calls with a status below 400.
    @ivar refused: calls with a status from 400 to 499.
    @ivar failed: calls with a higher status.
    @ivar p50: the median of the durations, in seconds; C{None} if no call ended.
    @ivar p99: the 99th percentile of the durations.
    @ivar running: calls that run at its end.
    @ivar pending: calls that wait at its end.
    """

    time: float
    succeeded: int
    refused: int
    failed: int
    p50: float | None
    p99: float | None
    running: int
    pending: int


class Second(msgspec.Struct, array_like=True):
    """
    What happened in one second, so that the seconds of several servers can be added. See L{Row}.

    @ivar counts: the numbers of calls by duration, as in L{Durations}.
    """

    time: float
    refused: int
    failed: int
    running: int
    pending: int
    counts: list[int]

    @property
    def calls(self) -> int:
        """How many calls have ended."""
        return sum(self.counts)

    def row(self) -> Row:
        """Return the second for the status page."""
        calls = self.calls
        p50, p99 = (percentile(self.counts, share) if calls else None for share in (0.5, 0.99))
        succeeded = calls - self.refused - self.failed
        return Row(self.time, succeeded, self.refused, self.failed, p50, p99, self.running, self.pending)


class CountedDurations(msgspec.Struct, array_like=True):
    """
    The durations of the calls of a route with one status, or of the attempts of a queue with one outcome.

    @ivar name: the name of the route or the queue.
    @ivar kind: the status or the outcome.
    @ivar first: the first bound, as in L{Durations}; also C{counts} and C{total}.
    """

    name: str
    kind: str
    first: float
    counts: list[int]
    total: float

    @property
    def number(self) -> int:
        """How many there were."""
        return sum(self.counts)

    @property
    def bounds(self) -> list[float]:
        """The bounds of all buckets except the last, in seconds."""
        return bounds_from(self.first, len(self.counts) - 1)


def counted(name: str, kind: str, durations: Durations) -> CountedDurations:
    """Return a copy of durations with their names."""
    return CountedDurations(name, kind, durations.first, list(durations.counts), durations.total)


class Counts(msgspec.Struct, omit_defaults=True):
    """
    What one server or a whole service has counted since its start, or since an earlier report.

    @ivar started: when the service was made, in seconds since the epoch.
    @ivar counted_since: when counting by route started; 0.0 if it has not.
    @ivar not_counted: seconds since then in which calls were not counted by route.
    @ivar completed: calls answered with a status below 500.
    @ivar failed: other calls.
    @ivar restarts: worker processes that died and were replaced.
    @ivar server_restarts: servers that died and were replaced.
    @ivar calls: the durations of calls by route and status.
    @ivar faults: the failures of functions, in the order of their last failures.
    @ivar history: the last seconds in which calls were counted by route.
    @ivar queues: the requests of each queue by kind; see L{QUEUE_COUNTS}.
    @ivar attempts: the durations of attempts by queue and outcome.
    """

    started: float = 0.0
    counted_since: float = 0.0
    not_counted: float = 0.0
    completed: int = 0
    failed: int = 0
    restarts: int = 0
    server_restarts: int = 0
    calls: list[CountedDurations] = []
    faults: list[FaultGroup] = []
    history: list[Second] = []
    queues: dict[str, dict[str, int]] = {}
    attempts: list[CountedDurations] = []
