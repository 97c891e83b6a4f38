"""
How a server process exits: it runs all atexit functions and has the right exit status.

Strategy: when twistd has received a signal, it ends its process by sending the same signal again. This signal
skips atexit functions, and twistd cannot exit with a status other than 0. So L{ExitHandler} stores the signal
or the status, and uses it in an atexit function. This function was registered before the application's
functions, and therefore runs after them. Python runs atexit functions when only daemon threads are left.
If threads hang, another thread runs the functions and ends the process.
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

HANGING_TIMEOUT = 0.5  # seconds within which the process exits if functions hang in its threads
EXIT_TIMEOUT = 10.0  # seconds for threads and atexit functions of the application otherwise


def _stop_executors(forced: Event, stopped: Event) -> None:
    """When the exit is forced, first stop the executors of C{concurrent.futures}, as Python itself does."""
    forced.wait()
    try:
        for function in reversed(getattr(threading, "_threading_atexits", ())):
            function()
    finally:
        stopped.set()


class ExitHandler:
    """
    End the process with an exit status or by a signal.

    @ivar status: the exit status, unless it is 0.
    @ivar signal: the signal by which the process ends; 0 for none.
    """

    def __init__(self) -> None:
        self.status = self.signal = 0
        self._begun = Lock()  # held by the thread that runs the atexit functions
        self._thread = 0
        atexit.register(self._run_last)

    def take_signal(self, reactor: Any) -> None:
        """
        Take over the signal that has stopped a reactor. Otherwise twistd would kill the process with it
        before atexit functions run.
        """
        self.signal, reactor._exitSignal = getattr(reactor, "_exitSignal", None) or 0, None

    def exit_within(self, seconds: float) -> None:
        """Force the process to exit if it has not exited by itself after this many seconds."""
        atexit.register(self._run_first)
        forced, stopped = Event(), Event()
        # All threads start now: since 3.12, Python starts no thread once its shutdown has begun.
        for target, args in (
            (self._force, (seconds, forced, stopped)),
            (self._give_up, (forced,)),
            (_stop_executors, (forced, stopped)),
        ):
            Thread(target=target, args=args, name="appserver-ending", daemon=True).start()

    def _run_first(self) -> None:
        """
        Let only one thread run the atexit functions. This function was registered last, so it runs before all
        others.
        """
        if self._begun.acquire(blocking=False):
            self._thread = get_ident()
        elif self._thread != get_ident():
            Event().wait()  # until the thread that runs the functions ends the process

    def _force(self, seconds: float, forced: Event, stopped: Event) -> None:
        """Run the atexit functions in this thread if Python has not begun to run them in time."""
        sleep(seconds)
        if self._begun.acquire(blocking=False):
            self._thread = get_ident()
            forced.set()
            stopped.wait(EXIT_TIMEOUT / 2)
            atexit._run_exitfuncs()
        self._exit()

    def _give_up(self, forced: Event) -> None:
        """Exit even if an atexit function hangs."""
        forced.wait()
        sleep(EXIT_TIMEOUT)
        self._exit()

    def _run_last(self) -> None:
        if self.status or self.signal:
            self._exit()

    def _exit(self) -> None:
        logging.shutdown()  # its own atexit function was registered before ours, so it has not run yet
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # the application may have closed or replaced it
                stream.flush()
        if self.signal:
            with suppress(ValueError):  # only the main thread can reset the signal handler
                signal.signal(self.signal, signal.SIG_DFL)
                os.kill(os.getpid(), self.signal)
        os._exit(self.status)


exit_handler = ExitHandler()
