"""The requests of one server that wait, or that the store is performing.

Strategy: every request goes to the store first. A request that cannot succeed yet waits in a line here, and
the store is asked again when something has changed. Requests that arrive later wait behind it. Only requests
with a key are looked up at once, because the same request may have succeeded before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred

from twisted_appserver.queue.interface import EMPTY, FULL, STOPPING, AwayError
from twisted_appserver.queue.postgresql.paced_gets import PacedGets
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.waiters import WaitingLine

GRACE = 5.0  # seconds; a request that must not wait fails if the database is away for longer
RETRIED = 64  # waiting requests for which the store is asked again at once
AWAY = "the database cannot be reached"
TIMEOUT_RESULTS = {"get": EMPTY, "put": FULL, "join": "late"}


class PendingRequests:
    """
    @param reactor: an C{IReactorTime}.
    @param ask: asks the store to perform a request.
    @param is_away: returns whether the store has no connection.
    @ivar stopping: whether no request may wait any more.
    """

    def __init__(self, reactor: Any, ask: Callable[[Request], None], is_away: Callable[[], bool]) -> None:
        self._reactor, self._ask, self._is_away = reactor, ask, is_away
        self._lines: dict[tuple[str, str], WaitingLine[Request]] = {}  # by queue and verb; none is empty
        self._gets: dict[tuple[str, str], Request] = {}  # the gets that have a key, by queue and key
        self._performing: dict[Request, None] = {}  # by the store
        self._retry_after_lookup: set[Request] = set()
        self._paced = PacedGets(reactor, self)
        self.stopping = False

    def submit(self, request: Request, timeout: float = 0.0) -> Deferred[Any]:
        """
        @param timeout: seconds that the request may wait.
        @return: fires with the result, or with the reason why the request cannot succeed. May be cancelled.
        """
        request.deferred = Deferred(lambda _: self._abandon(request))
        now = self._reactor.seconds()
        request.may_wait = timeout > 0 and not self.stopping
        request.deadline = now + timeout if request.may_wait else now
        self._supersede(request)
        others_wait = (request.name, request.verb) in self._lines
        if others_wait and request.may_wait:
            self._wait(request)
        if not others_wait or request.key or request.unique_keys:
            request.lookup_only = others_wait
            self._perform(request)
        elif not request.may_wait:
            self.finish(request, self._reason(request))
        return request.deferred  # type: ignore[no-any-return]

    def _perform(self, request: Request) -> None:
        self._performing[request] = None
        self._ask(request)

    def _reason(self, request: Request) -> str:
        return STOPPING if self.stopping else TIMEOUT_RESULTS[request.verb]

    def _wait(self, request: Request) -> None:
        place = request.name, request.verb
        line = self._lines.get(place)
        if line is None:
            line = self._lines[place] = WaitingLine(self._reactor, self._time_out)
        if request not in line:
            line.add(request, request.deadline - self._reactor.seconds())

    def _supersede(self, request: Request) -> None:
        """Finish an earlier get with the same key: its client has given it up and sent it again."""
        if request.key and request.verb == "get":
            before = self._gets.get((request.name, request.key))
            if before is not None:
                self.finish(before, EMPTY)
            self._gets[request.name, request.key] = request

    def _time_out(self, request: Request) -> None:
        """If the store is performing the request, wait for its result, unless the database is away."""
        if self._is_away():
            self.finish(request, AwayError(AWAY))
        elif request not in self._performing:
            self.finish(request, TIMEOUT_RESULTS[request.verb])

    def _abandon(self, request: Request) -> None:
        request.abandoned = True
        self._performing.pop(request, None)
        self._retry_after_lookup.discard(request)
        if self._gets.get((request.name, request.key)) is request:
            del self._gets[request.name, request.key]
        place = request.name, request.verb
        line = self._lines.get(place)
        if line is not None:
            line.discard(request)
            if not line:
                del self._lines[place]

    def finish(self, request: Request, result: Any) -> None:
        """Fire the Deferred of a request with its result, which may be an exception."""
        self._abandon(request)
        if isinstance(result, Exception):
            request.deferred.errback(result)
        else:
            request.deferred.callback(result)

    def performed(self, request: Request) -> None:
        """Record that the store has performed a request, with any result."""
        self._performing.pop(request, None)

    def still_pending(self, request: Request) -> None:
        """Let a request that cannot succeed yet wait, or finish it if it may not wait."""
        if request.abandoned:
            return
        if request.lookup_only:
            request.lookup_only = False
            if request in self._retry_after_lookup:
                self._retry_after_lookup.discard(request)
                self._perform(request)
                return
        if self.stopping or request.deadline <= self._reactor.seconds():
            self.finish(request, self._reason(request))
        else:
            self._wait(request)

    def pause(self, seconds: Mapping[str, float]) -> None:
        """Retry the gets of queues after so many seconds, when the rates of these queues allow it."""
        self._paced.note(seconds)

    def retry(self, name: str, verb: str, count: int = RETRIED) -> None:
        """Ask the store again for the first requests of a line."""
        for request in list(islice(self._lines.get((name, verb), ()), count)):
            if request not in self._performing:
                self._perform(request)
            elif request.lookup_only:  # a lookup does not serve it
                self._retry_after_lookup.add(request)

    def retry_all(self, count: int = RETRIED) -> None:
        """Ask the store again for the first requests of every line."""
        for name, verb in list(self._lines):
            self.retry(name, verb, count)

    def finish_all(self, name: str, verb: str, result: Any) -> None:
        """Finish all requests that wait in a line."""
        for request in list(self._lines.get((name, verb), ())):
            self.finish(request, result)

    def fail_late(self) -> None:
        """Fail requests for which the database has not answered in time."""
        now = self._reactor.seconds()
        for request in list(self._performing):
            grace = 0.0 if self._is_away() and request.may_wait else GRACE
            if request.deadline + grace < now:
                self.finish(request, AwayError(AWAY))

    def stop_waiting(self) -> None:
        """Finish all requests that wait. From now on, no request may wait."""
        self.stopping = True
        self._paced.stop()
        for line in list(self._lines.values()):
            for request in [each for each in line if each not in self._performing]:
                self.finish(request, STOPPING)

    def count(self, name: str, verb: str) -> int:
        """Return how many requests wait in a line."""
        return len(self._lines.get((name, verb), ()))

    def queues(self) -> Iterable[str]:
        """Return the names of the queues that have requests."""
        return {name for name, _ in self._lines}.union(request.name for request in self._performing)
