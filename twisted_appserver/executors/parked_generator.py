"""
A generator that is run a slice at a time, by whichever thread is free. Knows no reactor.

Strategy: parts that were made and not yet taken by the client use up credits, at most a L{WINDOW} of them.
Without credits the generator is parked: it occupies no thread and costs nothing until the client takes some
parts, which gives credits back, or goes. Where others wait, a slice ends after a few milliseconds too.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import perf_counter

from twisted_appserver.core.call import CURRENT, Reply
from twisted_appserver.core.perform import error_reply
from twisted_appserver.core.streaming import Parts

WINDOW = 8  # credits of a generator: parts that may be on their way to its client
UNIT = 65536  # bytes that one credit is enough for; a larger part costs several
RETURN = 4  # credits that are given back at once, so that a generator is not resumed for each part
SLICE = 0.005  # seconds after which a generator lets others go first


def cost(data: bytes) -> int:
    """The credits that a part costs. One part may cost more than the window has, and is then the only one."""
    return 1 + len(data) // UNIT


class Source:
    """
    What makes the parts of one answer.

    One thread at a time may L{run} it. When that returns C{None}, the thread calls L{park}; if this returns
    false, or if L{grant} or L{drop} return true later, it must be run again.

    @param send: called with each part.
    @param waits: returns whether other work waits, which goes first after L{SLICE} seconds.
    @param urgent: returns whether the slice must end at once.
    @ivar parked: whether it waits for its client.
    @ivar dropped: whether nobody wants more parts.
    @ivar seconds: how long it has run.
    @ivar error: the reply that the call would have had if it had failed in this way before its first part.
    """

    def __init__(
        self,
        parts: Parts,
        send: Callable[[bytes], object],
        waits: Callable[[], object],
        urgent: Callable[[], object] = bool,
    ) -> None:
        self._parts, self._out = parts, send
        self._waits, self._urgent = waits, urgent
        self.parked = self.dropped = False
        self.seconds = 0.0
        self.error: Reply | None = None
        self._begun = 0.0  # the slice
        self._lock = Lock()  # over the following, parked and dropped
        self._credits = WINDOW

    def run(self) -> str | None:
        """
        Make parts until the window is full, others wait, nobody wants more, or the generator ends.

        @return: C{None} if it is not over; else its traceback, empty if nothing failed.
        """
        self._begun = perf_counter()
        failure = None if self.dropped else self._parts.produce(self._may, self._send)
        if failure is None and self.dropped:
            failure = self._parts.close()
        self._note_error()
        self.seconds += perf_counter() - self._begun
        return failure

    def _note_error(self) -> None:
        """Not in C{run}, whose frame the traceback refers to: it would refer to the exception in turn."""
        error, call = self._parts.take_error(), self._parts.context[CURRENT]
        if error is not None and call is not None:
            self.error = error_reply(error, call)

    def _may(self) -> bool:
        if self._credits <= 0 or self.dropped or self._urgent():
            return False
        return perf_counter() - self._begun < SLICE or not self._waits()

    def _send(self, data: bytes) -> None:
        with self._lock:
            self._credits -= cost(data)
        self._out(data)

    def park(self) -> bool:
        """Park it if it has no credits. Returns whether it is parked."""
        with self._lock:
            self.parked = self._credits <= 0 and not self.dropped
            return self.parked

    def grant(self, credits: int) -> bool:
        """Give credits back. Returns whether it must be run again."""
        with self._lock:
            self._credits += credits
            resumed = self.parked and self._credits > 0
            self.parked = self.parked and not resumed
            return resumed

    def drop(self) -> bool:
        """Nobody wants more: close it. Returns whether it must be run for that."""
        with self._lock:
            self.dropped = True
            resumed, self.parked = self.parked, False
            return resumed
