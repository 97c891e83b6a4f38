"""The body of a request while it arrives, between its connection and the function that reads it.

Strategy: the connection adds parts in the reactor's thread, and is paused when too many wait. The function
takes them in any thread, and waits if there are none. A worker process has parts sent to it instead.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition
from typing import Any

from twisted_appserver.core.body_stream import body_error
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.parked_generator import UNIT

KEPT_BEFORE = UNIT  # bytes that are kept until the function begins to read
KEPT = 4 * UNIT  # bytes that are kept for a function that reads
OVER = "the call has ended, and the rest of its body was discarded"


class IncomingBody:
    """
    All methods except L{take} are called in the reactor's thread.

    @param reactor: an C{IReactorFromThreads}.
    @param pause: called when nothing more should be added. What is added all the same is kept.
    @param resume: called when more can be added.
    @ivar received: how many bytes were added.
    @ivar paused: whether the function has to read before more can be added.
    @ivar ended: whether nothing more will be added.
    @ivar error: what L{take} raises; C{None} if the body is complete or still arrives.
    @ivar added: called when L{take} may return something else than before.
    @ivar moved: called whenever the function has taken another L{UNIT} of bytes.
    """

    def __init__(self, reactor: Any, pause: Callable[[], object], resume: Callable[[], object]) -> None:
        self._reactor, self._pause, self._resume = reactor, pause, resume
        self._changed = Condition()  # protects the following attributes
        self._parts: list[bytes] = []
        self._kept, self._limit = 0, KEPT_BEFORE
        self._untold = 0  # bytes that were taken, and that the reactor has not been told of
        self.received, self.paused, self.ended = 0, False, False
        self.error: HTTPError | None = None
        self.added: Callable[[], object] = bool
        self.moved: Callable[[], object] = bool

    # ---- for the connection ----

    def add(self, data: bytes) -> None:
        """Add a part."""
        self.received += len(data)
        with self._changed:
            if self.ended or not data:
                return
            self._parts.append(data)
            self._kept += len(data)
            pause = self._kept >= self._limit  # perhaps once more: somebody else may have resumed
            self.paused = self.paused or pause
            self._changed.notify()
        if pause:
            self._pause()
        self.added()

    def end(self, error: HTTPError | None = None) -> None:
        """End the body. With an error, the parts that were not taken are discarded."""
        with self._changed:
            if self.ended:
                return
            self.ended, self.error = True, error
            self._discard()
        self.added()
        self._release()

    def drop(self) -> None:
        """Discard what was not taken and what is still to come: the call has ended."""
        self.moved = bool  # it refers to the pending call, which refers to this object
        with self._changed:
            if not self.ended or self._parts:
                self.ended, self.error = True, self.error or HTTPError(503, OVER)
                self._discard()
        self.added()
        self.added = bool
        self._release()

    def _release(self) -> None:
        """Let the connection go on, and forget it."""
        with self._changed:
            paused, self.paused = self.paused, False
        resume, self._pause, self._resume = self._resume, bool, bool
        if paused:
            resume()

    def _discard(self) -> None:
        if self.error is not None:
            self._parts.clear()
            self._kept = 0
        self._changed.notify_all()

    # ---- for the function ----

    def take(self) -> bytes:
        """
        In any thread: wait for a part, and return all parts that have arrived. Empty at the end of the body.

        @raise HTTPError: when the rest of the body does not arrive.
        """
        with self._changed:
            self._limit = KEPT
            while not (self._parts or self.ended):
                self._tell()
                self._changed.wait()
            return self._take()

    def poll(self) -> bytes | None:
        """As L{take}, but return C{None} instead of waiting."""
        with self._changed:
            self._limit = KEPT
            return self._take() if self._parts or self.ended else None

    def _take(self) -> bytes:
        if self.error is not None:
            raise body_error(self.error.status, self.error.detail)
        data = b"".join(self._parts)
        self._parts.clear()
        self._kept = 0
        self._untold += len(data)
        if self.paused or self._untold >= UNIT:
            self._tell()
        return data

    def _tell(self) -> None:
        """Tell the reactor what was taken. The caller holds the lock."""
        if self._untold >= UNIT or self.paused:
            moved, self._untold = self._untold >= UNIT, 0
            self._reactor.callFromThread(self._taken, moved)

    def _taken(self, moved: bool) -> None:
        with self._changed:
            resume = self.paused and self._kept < self._limit
            self.paused = self.paused and not resume
        if moved:
            self.moved()
        if resume:
            self._resume()
