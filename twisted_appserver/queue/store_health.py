"""Whether a store works, for readiness probes: known from the last write, or else from one of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError

FRESH = 1.0  # seconds for which the outcome of a write is believed; so there is at most one check a second
PATIENCE = 2.0  # seconds that a probe waits for a check


class Health:
    """
    @param reactor: an C{IReactorTime}.
    @param write: stores something; fires when that is done, fails with an error fit for clients. C{None} if
        it is done already.
    @ivar trouble: why the store does not work, as far as is known; empty if it does.
    """

    def __init__(self, reactor: Any, write: Callable[[], Deferred[None] | None]) -> None:
        self._reactor, self._write = reactor, write
        self._noted = self._begun = float("-inf")
        self._checking = False
        self._waiting: list[Deferred[None]] = []
        self.trouble = ""

    def note(self, error: object = "") -> None:
        """Something was stored, or was not, for this reason."""
        self._noted, self.trouble = self._reactor.seconds(), str(error)

    async def check(self) -> None:
        """Bring L{trouble} up to date. Never fails, and takes L{PATIENCE} at most."""
        if self._reactor.seconds() - self._noted < FRESH:
            return
        if not self._checking:
            self._begin()
        left = self._begun + PATIENCE - self._reactor.seconds()
        if self._checking and left > 0:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            waiting.addTimeout(left, self._reactor)
            waiting.addErrback(lambda failure: failure.trap(TimeoutError) and None)
            await waiting
        if self._checking:
            self.trouble = "the store does not answer"

    def _begin(self) -> None:
        self._checking, self._begun = True, self._reactor.seconds()
        written = self._write()
        if written is None:
            self._ended("")
        else:
            written.addCallbacks(lambda _: self._ended(""), lambda failure: self._ended(failure.value))

    def _ended(self, error: object) -> None:
        self._checking = False
        self.note(error)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:
                each.callback(None)
