"""
Counts, durations and running calls of a service.

Strategy: counting starts when the status page or the metrics are first requested, and stops after fifteen
minutes without a request for them; until then it costs nothing. Faults are rare, and are always kept.
"""

from __future__ import annotations

from collections import deque
from time import time
from typing import Any

from twisted.internet.task import LoopingCall

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.durations import Durations, percentile
from twisted_appserver.core.error_advice import reason_of

HISTORY = 600  # seconds for which there is one entry each
COUNTING_TIME = 900.0  # seconds without a request for the figures after which counting stops
MAX_ERRORS = 20  # faults that are kept
ADMIN = "admin"  # the executor of the service's own pages, whose calls are not counted


class Figures:
    """
    Count the calls of a service.

    @param service: an L{AppService}.
    @ivar calls: the durations of calls by the name of the route and the status.
    @ivar history: for each of the last seconds: its time, calls, errors, the median and the 99th percentile
        of the durations in seconds, and the numbers of running and waiting calls at its end.
    @ivar errors: the last faults, each with the user who made the call.
    """

    def __init__(self, service: Any) -> None:
        self.service = service
        self.calls: dict[tuple[str, int], Durations] = {}
        self.history: deque[tuple[float, int, int, float, float, int, int]] = deque(maxlen=HISTORY)
        self.errors: deque[tuple[str, dict[str, Any]]] = deque(maxlen=MAX_ERRORS)
        self._seconds = service.dispatcher.reactor.seconds
        self._requested = 0.0  # when the figures were last requested
        self._second = Durations()  # durations in the current second
        self._failed = 0
        self._clock = LoopingCall(self._tick)
        self._clock.clock = service.dispatcher.reactor
        service.dispatcher.faults.append(self._fault)

    def keep_counting(self) -> None:
        """Count calls for the next fifteen minutes. Call this when the figures are requested."""
        self._requested = self._seconds()
        if not self._clock.running:
            self.service.dispatcher.observers.append(self._observe)
            self._clock.start(1.0, now=False)

    def stop(self) -> None:
        """Stop counting."""
        if self._clock.running:
            self._clock.stop()
            self.service.dispatcher.observers.remove(self._observe)

    def total(self, attribute: str) -> int:
        """Return the sum of an attribute of all executors, such as C{running} or C{parked}."""
        executors = self.service.dispatcher.executors
        return sum(getattr(executor, attribute) for name, executor in executors.items() if name != ADMIN)

    @property
    def _pool(self) -> Any:
        """The pool of worker processes; C{None} if there is none."""
        return getattr(self.service.dispatcher.executors.get("processes"), "pool", None)

    @property
    def restarts(self) -> int:
        """The number of worker processes that died and were replaced."""
        return self._pool.restarts if self._pool is not None else 0

    def active_calls(self) -> dict[str, dict[str, int]]:
        """Return the numbers of running and waiting calls of each function."""
        found: dict[str, dict[str, int]] = {}
        for executor in self.service.dispatcher.executors.values():
            for state, calls in zip(("running", "pending"), executor.calls(), strict=True):
                for pending_call in calls:
                    counts = found.setdefault(pending_call.call.handler.name, {"running": 0, "pending": 0})
                    counts[state] += 1
        return found

    def workers(self) -> list[dict[str, Any]]:
        """Describe the worker processes: id, age in seconds, memory in bytes, finished calls, and state."""
        pool = self._pool
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
        reason = reason_of(reply.traceback)
        error = {"when": time(), "route": call.handler.name, "id": call.request_id, "error": reason}
        self.errors.append((call.user, error))

    def errors_for(self, user: str) -> list[dict[str, Any]]:
        """
        Return the last faults, the newest first.

        A user gets only the faults of the user's own calls, because the message of an exception may contain
        data of the call. A client without a name gets all faults: the bearer of the token, or any client if
        no names are required.
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
        if self._seconds() - self._requested > COUNTING_TIME:
            self.stop()
