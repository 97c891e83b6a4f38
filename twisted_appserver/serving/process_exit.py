"""How the process of a server ends: with all atexit functions run, and with the right exit status.

Strategy: twistd ends a process that received a signal by sending it the same signal again, which skips atexit
functions, and it cannot end with a status other than 0. So the signal or the status is kept here and used by
an atexit function that was registered before those of the application, and therefore runs after them. Python
runs atexit functions only when no thread is left but daemons. If threads hang, another thread runs the
functions instead and ends the process.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from threading import Event, Lock, Thread, get_ident
from time import sleep
from typing import Any

HUNG = 0.5  # seconds that a process has to end if functions hang in its threads,
LONGEST = 10.0  # and otherwise, with all threads and atexit functions of the application


def _stop_executors(forced: Event, stopped: Event) -> None:
    """Stop those of C{concurrent.futures} first when the end is forced, as Python does."""
    forced.wait()
    try:
        for function in reversed(getattr(threading, "_threading_atexits", ())):
            function()
    finally:
        stopped.set()


class Ending:
    """
    @ivar status: the exit status, unless it is 0.
    @ivar signal: the signal that the process ends by; 0 for none.
    """

    def __init__(self) -> None:
        self.status = self.signal = 0
        self._begun = Lock()  # by the thread that runs the atexit functions
        self._thread = 0
        atexit.register(self._exit)

    def take_signal(self, reactor: Any) -> None:
        """End by the signal that has stopped a reactor, which twistd would otherwise end by too early."""
        self.signal, reactor._exitSignal = getattr(reactor, "_exitSignal", None) or 0, None

    def hasten(self, seconds: float) -> None:
        """End the process after so many seconds if it has not ended by itself."""
        atexit.register(self._begin)
        forced, stopped = Event(), Event()
        # All of them start now: from 3.12 on Python starts no thread once it has begun to end.
        for target, args in (
            (self._force, (seconds, forced, stopped)),
            (self._give_up, (forced,)),
            (_stop_executors, (forced, stopped)),
        ):
            Thread(target=target, args=args, name="appserver-ending", daemon=True).start()

    def _begin(self) -> None:
        """Registered last, this runs before all other atexit functions."""
        if self._begun.acquire(blocking=False):
            self._thread = get_ident()
        elif self._thread != get_ident():
            Event().wait()  # until the thread that runs the functions ends the process

    def _force(self, seconds: float, forced: Event, stopped: Event) -> None:
        sleep(seconds)
        if self._begun.acquire(blocking=False):
            self._thread = get_ident()
            forced.set()
            stopped.wait(LONGEST / 2)
            atexit._run_exitfuncs()
        self._leave()

    def _give_up(self, forced: Event) -> None:
        forced.wait()
        sleep(LONGEST)
        self._leave()

    def _exit(self) -> None:
        if self.status or self.signal:
            self._leave()

    def _leave(self) -> None:
        logging.shutdown()  # registered before us, so it has not run yet
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # the application may have closed or replaced it
                stream.flush()
        if self.signal:
            with suppress(ValueError):  # this is not the main thread: the handler stays
                signal.signal(self.signal, signal.SIG_DFL)
                os.kill(os.getpid(), self.signal)
        os._exit(self.status)


ending = Ending()
