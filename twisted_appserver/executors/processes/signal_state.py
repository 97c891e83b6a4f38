"""Undoes the changes to signals that a function in a worker process has made, before the next call.

Strategy: functions run in the main thread of a worker, so they can set signal handlers, timers and masks.
Comparing all handlers after each call would cost more than a quick call does. Therefore wrappers replace the
functions of the module C{signal} that change something. They also note that something has changed.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import wraps
from typing import Any

CHANGING = ("signal", "alarm", "setitimer", "pthread_sigmask", "set_wakeup_fd")  # Windows lacks some of them.
TIMERS = ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")


class SignalState:
    """
    The signal handlers and blocked signals of a process, as they were when this object was made.

    @ivar changed: whether something may have changed since then.
    """

    def __init__(self) -> None:
        self._handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self._mask = (
            signal.pthread_sigmask(signal.SIG_BLOCK, ()) if hasattr(signal, "pthread_sigmask") else set()
        )
        self.changed = False
        for name in CHANGING:
            if hasattr(signal, name):
                setattr(signal, name, self._noticed(getattr(signal, name)))

    def _noticed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def noticed(*args: Any, **options: Any) -> Any:
            self.changed = True
            return function(*args, **options)

        return noticed

    def restore(self) -> None:
        """Stop all timers, and restore handlers and blocked signals."""
        for name in TIMERS:
            if hasattr(signal, name):
                signal.setitimer(getattr(signal, name), 0)
        for number, handler in self._handlers.items():
            if handler is not None and signal.getsignal(number) != handler:  # None: not set from Python
                signal.signal(number, handler)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        signal.set_wakeup_fd(-1)
        self.changed = False
