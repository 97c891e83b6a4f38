"""
A generator that runs a slice at a time, in any thread that is free. Independent of reactors.

Strategy: a generator has L{WINDOW} credits, and each part that the client has not read yet uses up some of
them. A generator without credits is parked: it occupies no thread and costs nothing until the client
disconnects, or reads parts and so returns credits. If other work waits, a slice also ends after a few
milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import perf_counter

from twisted_appserver.core.call import CURRENT, Reply
from twisted_appserver.core.perform import error_reply
from twisted_appserver.core.streaming import Parts

WINDOW = 8  # credits of a generator: parts that may be on their way to its client
UNIT = 65536  # bytes that one credit pays for; a larger part costs several
RETURN = 4  # credits that are returned together, so that a generator is not resumed for each part
SLICE = 0.005  # seconds after which a generator yields to other work


def cost(data: bytes) -> int:
    """Return the credits that a part costs. A part that costs more than the window travels alone."""
    return 1 + len(data) // UNIT


class Source:
    """
    Runs the generator of one stream.

    One thread at a time may call L{run}. If L{run} returns C{None}, the thread calls L{park}. If C{park}
    returns C{False}, or if L{grant} or L{drop} returns C{True} later, L{run} must be called again.

    @param send: called with each part.
    @param waits: returns whether other work waits; if so, a slice ends after L{SLICE} seconds.
    @param urgent: returns whether the slice must end at once.
    @ivar parked: whether the generator waits for its client.
    @ivar dropped: whether no more parts are wanted.
    @ivar seconds: how long the generator has run.
    @ivar error: the reply that the call would have had, if the generator had failed before its first part.
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
        self._begun = 0.0  # when the slice began
        self._lock = Lock()  # protects the credits, parked and dropped
        self._credits = WINDOW

    def run(self) -> str | None:
        """
        Make parts until the window is full, other work waits, no more are wanted, or the generator ends.

        @return: C{None} if the generator has not ended; else its traceback, empty if it did not fail.
        """
        self._begun = perf_counter()
        failure = None if self.dropped else self._parts.produce(self._may, self._send)
        if failure is None and self.dropped:
            failure = self._parts.close()
        self._note_error()
        self.seconds += perf_counter() - self._begun
        return failure

    def _note_error(self) -> None:
        """Keep the error as a reply. In C{run}, its frame and the traceback would refer to each other."""
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
        """Park the generator if it has no credits. Returns whether it is parked."""
        with self._lock:
            self.parked = self._credits <= 0 and not self.dropped
            return self.parked

    def grant(self, credits: int) -> bool:
        """Return credits. Returns whether the generator must be run again."""
        with self._lock:
            self._credits += credits
            resumed = self.parked and self._credits > 0
            self.parked = self.parked and not resumed
            return resumed

    def drop(self) -> bool:
        """Close the generator when it next runs. Returns whether L{run} must be called for this."""
        with self._lock:
            self.dropped = True
            resumed, self.parked = self.parked, False
            return resumed
