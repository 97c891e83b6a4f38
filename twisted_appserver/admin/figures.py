"""What a service does, in numbers.

Strategy: nothing is counted while nobody looks. The first look at a page or at the metrics begins to
observe the dispatcher; after fifteen minutes without one that ends. Durations go into buckets whose
bounds double, found by the length of an integer. Faults are rare, and kept always.
"""

from __future__ import annotations

from collections import deque
from time import time
from typing import Any

from twisted.internet.task import LoopingCall

from twisted_appserver.core.call import Call, Reply

FINEST = 0.0005  # seconds, the bound of the first bucket
BOUNDS: list[float] = [FINEST * 2**index for index in range(18)]  # up to 65 seconds
HISTORY = 600  # seconds that are remembered one by one
PATIENCE = 900.0  # seconds without a look after which nothing is counted any more
ERRORS = 20  # faults that are remembered
ADMIN = "admin"  # the name of the executor for the service's own pages, whose calls are not counted


class Durations:
    """How many calls took how long."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0  # seconds
        self.number = 0

    def add(self, seconds: float) -> None:
        index = int(seconds / FINEST).bit_length()
        self.counts[min(index, len(BOUNDS))] += 1
        self.total += seconds
        self.number += 1


def percentile(counts: list[int], share: float) -> float:
    """Seconds within which this share of the calls ended, as if those of a bucket were spread evenly."""
    left = share * sum(counts)
    for index, count in enumerate(counts):
        if count and left <= count:
            low = 0.0 if index == 0 else BOUNDS[index - 1]
            high = BOUNDS[min(index, len(BOUNDS) - 1)]
            return low + (high - low) * left / count
        left -= count
    return 0.0


class Figures:
    """
    @param service: an L{AppService}.
    @ivar calls: the durations of calls, by the name of the route and the status.
    @ivar history: for each of the last seconds: when, calls, errors, their median and 99th percentile in
        seconds, and how many ran and waited at its end.
    @ivar errors: the last faults, each with the name of the user whose call it was.
    """

    def __init__(self, service: Any) -> None:
        self.service = service
        self.calls: dict[tuple[str, int], Durations] = {}
        self.history: deque[tuple[float, int, int, float, float, int, int]] = deque(maxlen=HISTORY)
        self.errors: deque[tuple[str, dict[str, Any]]] = deque(maxlen=ERRORS)
        self._seconds = service.dispatcher.reactor.seconds
        self._looked = 0.0
        self._second = Durations()  # of this second
        self._failed = 0
        self._clock = LoopingCall(self._tick)
        self._clock.clock = service.dispatcher.reactor
        service.dispatcher.faults.append(self._fault)

    def look(self) -> None:
        """Somebody looks."""
        self._looked = self._seconds()
        if not self._clock.running:
            self.service.dispatcher.observers.append(self._observe)
            self._clock.start(1.0, now=False)

    def stop(self) -> None:
        """Count no more."""
        if self._clock.running:
            self._clock.stop()
            self.service.dispatcher.observers.remove(self._observe)

    def total(self, what: str) -> int:
        """A figure of all executors together: C{running}, C{parked} and so on."""
        executors = self.service.dispatcher.executors
        return sum(getattr(executor, what) for name, executor in executors.items() if name != ADMIN)

    @property
    def restarts(self) -> int:
        """Of worker processes."""
        pool = getattr(self.service.executor, "pool", None)
        return pool.restarts if pool is not None else 0

    def at_work(self) -> dict[str, dict[str, int]]:
        """How many calls of each function run and wait."""
        found: dict[str, dict[str, int]] = {}
        for executor in self.service.dispatcher.executors.values():
            for what, jobs in zip(("running", "pending"), executor.calls(), strict=True):
                for job in jobs:
                    work = found.setdefault(job.call.handler.name, {"running": 0, "pending": 0})
                    work[what] += 1
        return found

    def workers(self) -> list[dict[str, Any]]:
        """The worker processes: id, age in seconds, memory in bytes, calls served, and what they do."""
        pool = getattr(self.service.executor, "pool", None)
        return [
            {
                "pid": worker.pid,
                "age": self._seconds() - worker.started,
                "memory": worker.memory(),
                "calls": worker.assigned.answered,
                "state": worker.state,
            }
            for worker in (pool.workers if pool is not None else ())
        ]

    def _observe(self, call: Call, reply: Reply) -> None:
        if call.path.startswith("/-/"):
            return
        name = call.handler.name if call.handler is not None else ""
        seconds = self._seconds() - call.arrived if call.arrived else 0.0
        durations = self.calls.get((name, reply.status))
        if durations is None:
            durations = self.calls[name, reply.status] = Durations()
        durations.add(seconds)
        self._second.add(seconds)
        self._failed += reply.status >= 500

    def _fault(self, call: Call, reply: Reply) -> None:
        last = reply.traceback.strip().rpartition("\n")[2]
        error = {"when": time(), "route": call.handler.name, "id": call.request_id, "error": last}
        self.errors.append((call.user, error))

    def errors_for(self, user: str) -> list[dict[str, Any]]:
        """
        The last faults, the newest first: those of the user's own calls, since what an exception says may be
        about the data of a call. All of them for a client without a name: the bearer of the token, or
        anybody where there are no users.
        """
        return [error for name, error in reversed(self.errors) if user in ("", name)]

    def _tick(self) -> None:
        second, self._second = self._second, Durations()
        failed, self._failed = self._failed, 0
        self.history.append(
            (
                time(),
                second.number,
                failed,
                percentile(second.counts, 0.5),
                percentile(second.counts, 0.99),
                self.total("running"),
                self.total("pending"),
            )
        )
        if self._seconds() - self._looked > PATIENCE:
            self.stop()
