"""Calls that wait until the application's lifespan is entered."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import IExecutor, PendingCall


@implementer(IExecutor)
class HeldCalls:
    """
    Stands in for an executor, and keeps its calls.

    @param executor: gets the calls in the end.
    """

    here = True
    now = kill = None
    running = parked = completed = failed = 0

    def __init__(self, executor: IExecutor) -> None:
        self.executor = executor
        self._waiting: deque[PendingCall] = deque()
        self._refusal = ""

    @property
    def reads_bodies(self) -> bool:
        return bool(getattr(self.executor, "reads_bodies", False))

    @property
    def size(self) -> int:
        return self.executor.size

    @property
    def pending(self) -> int:
        return len(self._waiting)

    def start(self) -> Deferred[None]:
        return self.executor.start()

    def submit(self, pending: PendingCall) -> None:
        if self._refusal:
            raise HTTPError(503, self._refusal)
        self._waiting.append(pending)

    def cancel(self, pending: PendingCall, kill: bool = False) -> None:
        if pending in self._waiting:
            self._waiting.remove(pending)

    def calls(self) -> tuple[Sequence[PendingCall], Sequence[PendingCall]]:
        return (), list(self._waiting)

    def unready(self) -> str:
        return self._refusal or "the lifespan is being entered"

    def release(self) -> None:
        """Submit the calls to the executor."""
        while self._waiting:
            pending = self._waiting.popleft()
            pending.executor = self.executor
            try:
                self.executor.submit(pending)
            except HTTPError as error:
                pending.errback(error)

    def refuse(self, why: str) -> None:
        """Answer the calls, and all later ones, with 503."""
        self._refusal = why
        while self._waiting:
            self._waiting.popleft().errback(HTTPError(503, why))

    def stop(self) -> Deferred[None]:
        self.refuse("the server is stopping")
        return self.executor.stop()
