"""
Checks for readiness probes that a store works: by its last write, or else by a write that stores nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError

MAX_AGE = 1.0  # seconds after which the result of a write is too old; so there is one check a second at most
CHECK_TIMEOUT = 2.0  # seconds that a probe waits for a check


class StoreHealth:
    """
    The state of a store.

    @param reactor: an C{IReactorTime}.
    @param write: writes nothing durably. Returns C{None}, or a Deferred that fires when that is done. The
        Deferred may fail with an error for clients.
    @ivar trouble: why the store does not work; empty if it works, as far as is known.
    """

    def __init__(self, reactor: Any, write: Callable[[], Deferred[None] | None]) -> None:
        self._reactor, self._write = reactor, write
        self._noted = self._begun = float("-inf")
        self._checking = False
        self._waiting: list[Deferred[None]] = []
        self.trouble = ""

    def note(self, error: object = "") -> None:
        """Record the result of a write: an error, or nothing."""
        self._noted, self.trouble = self._reactor.seconds(), str(error)

    async def check(self) -> None:
        """Update L{trouble}. Never fails, and takes L{CHECK_TIMEOUT} at most."""
        if self._reactor.seconds() - self._noted < MAX_AGE:
            return
        if not self._checking:
            self._begin()
        left = self._begun + CHECK_TIMEOUT - self._reactor.seconds()
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
