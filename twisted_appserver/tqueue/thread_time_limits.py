"""The time limit of functions that run in threads.

Python cannot end a thread. When the limit is over, the task has failed, whatever its function does from then
on, and the thread is left to the function.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable

from .client.failures import Failure
from .client.queue import Queue, Task

LOOK = 0.05  # seconds between two checks, at most
PACKAGE = __name__.rpartition(".")[0]


def over_limit(limit: float, traceback: str = "") -> Failure:
    """Return the failure of a task whose function has not returned in time."""
    return Failure(f"time limit of {limit:g} s exceeded", traceback)


class RunningCall:
    """
    A call of the function, in the thread that makes this object.

    Either its end or its time limit is recorded, never both: the first caller of L{claim} decides.

    @ivar task: the task; C{queue} is where it comes from.
    @ivar until: when its time is over, by the monotonic clock.
    """

    def __init__(self, queue: Queue, task: Task, until: float) -> None:
        self.queue, self.task, self.until = queue, task, until
        self.thread = threading.current_thread()
        self._lock, self._claimed = threading.Lock(), False

    def claim(self) -> bool:
        """Return whether this is the first call of this method."""
        with self._lock:
            first, self._claimed = not self._claimed, True
        return first

    @property
    def stack(self) -> str:
        """Where the function is now, in the form of a traceback; empty if it is unknown."""
        frame = sys._current_frames().get(self.thread.ident or 0)
        lines: list[str] = []
        while frame is not None and frame.f_globals.get("__package__") != PACKAGE:
            lines[:0] = traceback.format_list(traceback.extract_stack(frame, 1))
            frame = frame.f_back
        return f"The function was here:\n{''.join(lines)}".rstrip() if lines else ""


class ThreadTimeLimits:
    """
    Notices calls that take too long. Safe from any thread.

    @param limit: seconds; C{None} for no limit.
    @param expired: called with each call whose time is over and that nobody has claimed.
    """

    def __init__(self, limit: float | None, expired: Callable[[RunningCall], None]) -> None:
        self._limit, self._expired = limit, expired
        self._running: dict[RunningCall, None] = {}  # oldest first
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="time-limits", daemon=True)

    def start(self) -> None:
        if self._limit is not None:
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def begin(self, queue: Queue, task: Task) -> RunningCall:
        """Begin to measure the time of a call."""
        call = RunningCall(queue, task, time.monotonic() + (self._limit or 0.0))
        if self._limit is not None:
            self._running[call] = None
        return call

    def end(self, call: RunningCall) -> bool:
        """Stop measuring. Return whether the call has ended in time."""
        self._running.pop(call, None)
        return call.claim()

    def _run(self) -> None:
        while not self._stopping.wait(min(LOOK, (self._limit or 0.0) / 4)):
            now = time.monotonic()
            for call in [each for each in list(self._running) if each.until <= now]:
                if self.end(call):
                    self._expired(call)
