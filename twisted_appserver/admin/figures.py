"""
Counts, durations and running calls of a service.

Strategy: counting starts when the status page or the metrics are first requested, and stops after fifteen
minutes without a request for them; until then it costs nothing. Faults are rare, and are always kept.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.task import LoopingCall

from twisted_appserver.admin.counts import QUEUE_COUNTS, Counts, Second, counted
from twisted_appserver.admin.faults import Faults
from twisted_appserver.admin.queue_history import QueueHistory
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.durations import Durations

HISTORY = 600  # seconds for which there is one entry each
COUNTING_TIME = 900.0  # seconds without a request for the figures after which counting stops
ADMIN = "admin"  # the executor of the service's own pages, whose calls are not counted


class Figures:
    """
    Count the calls of a service.

    @param service: an L{AppService}.
    @ivar started: when the service was made, in seconds since the epoch.
    @ivar counted_since: when counting started first; 0.0 if it has not.
    @ivar not_counted: seconds since then in which calls were not counted.
    @ivar calls: the durations of calls by the name of the route and the status.
    @ivar history: the last seconds in which calls were counted.
    @ivar faults: the failures of functions.
    @ivar queues: the history of the queues.
    """

    def __init__(self, service: Any) -> None:
        self.service = service
        self.calls: dict[tuple[str, int], Durations] = {}
        self.history: deque[Second] = deque(maxlen=HISTORY)
        self.faults = Faults()
        self._seconds = service.dispatcher.reactor.seconds
        self.started = self._seconds()
        self.counted_since = self.not_counted = 0.0
        self._stopped = 0.0  # when counting stopped
        self._requested = 0.0  # when the figures were last requested
        self._second = Durations()  # durations in the current second
        self._refused = self._failed = 0  # in the current second
        self._clock = LoopingCall(self._tick)
        self._clock.clock = service.dispatcher.reactor
        self.queues = QueueHistory(service)
        service.dispatcher.faults.append(self._fault)

    def keep_counting(self) -> None:
        """Count calls for the next fifteen minutes. Call this when the figures are requested."""
        self._requested = now = self._seconds()
        if not self._clock.running:
            self.not_counted += now - self._stopped if self.counted_since else 0.0
            self.counted_since = self.counted_since or now
            self.service.dispatcher.observers.append(self._observe)
            self._clock.start(1.0, now=False)

    def stop(self) -> None:
        """Stop counting."""
        self.queues.stop()
        if self._clock.running:
            self._stopped = self._seconds()
            self._clock.stop()
            self.service.dispatcher.observers.remove(self._observe)

    def now(self) -> float:
        """Return the seconds since the epoch."""
        return float(self._seconds())

    @property
    def executors(self) -> dict[str, Any]:
        """The executors of calls by their names, without the one for the service's own pages."""
        executors = self.service.dispatcher.executors
        return {name: executor for name, executor in executors.items() if name != ADMIN}

    def total(self, attribute: str) -> int:
        """Return the sum of an attribute of all executors, such as C{running} or C{parked}."""
        return sum(getattr(executor, attribute) for executor in self.executors.values())

    @property
    def pool(self) -> Any:
        """The pool of worker processes; C{None} if there is none."""
        return getattr(self.service.dispatcher.executors.get("processes"), "pool", None)

    @property
    def restarts(self) -> int:
        """The number of worker processes that ended unexpectedly and were replaced."""
        return self.pool.restarts if self.pool is not None else 0

    def counts(self) -> Counts:
        """Return everything that this server has counted."""
        queues, attempts = self.service.queues(), self.service.attempt_durations()
        return Counts(
            self.started,
            self.counted_since,
            self.not_counted,
            self.total("completed"),
            self.total("failed"),
            self.restarts,
            calls=[counted(name, str(status), each) for (name, status), each in self.calls.items()],
            faults=self.faults.groups,
            history=[*self.history],
            queues={name: {what: each[what] for what in QUEUE_COUNTS} for name, each in queues.items()},
            attempts=[counted(name, outcome, each) for (name, outcome), each in attempts.items()],
        )

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
        if reply.status >= 400:
            self._refused += reply.status < 500
            self._failed += reply.status >= 500

    def _fault(self, call: Call, reply: Reply) -> None:
        self.faults.add(call, reply, self._seconds())

    def _tick(self) -> None:
        second, self._second = self._second, Durations()
        refused, self._refused = self._refused, 0
        failed, self._failed = self._failed, 0
        running, pending = self.total("running"), self.total("pending")
        self.history.append(Second(self._seconds(), refused, failed, running, pending, second.counts))
        if self._seconds() - self._requested > COUNTING_TIME:
            self.stop()
