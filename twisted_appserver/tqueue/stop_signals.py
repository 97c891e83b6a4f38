"""The signals that end C{tqueue work}."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from twisted_appserver.command_line import INTERRUPTED
from twisted_appserver.executors.child_processes import protect

from .worker import Worker

STOPS = (signal.SIGTERM, signal.SIGINT)
SAME = 0.1  # seconds; some programs send Ctrl-C once more to the program that they have started


class StopSignals:
    """
    Handles the signals that end the work.

    The first signal stops the work: the current tasks are finished. A second Ctrl-C ends it at once, and a
    third one ends the process in any case. Processes that functions start have the default handlers.

    The handlers only set attributes. The main thread must check them: printing in a handler could wait for a
    lock that the interrupted code holds.

    @ivar stopping: whether a signal has stopped the work.
    @ivar at_once: whether the work must end at once.
    """

    def __init__(self, work: Worker) -> None:
        self._work = work
        self.stopping = self.at_once = False
        self._interrupted: float | None = None  # when the last Ctrl-C arrived
        for number in STOPS:
            signal.signal(number, self._stop)
        protect(self, tuple)  # restores the default handlers in processes that the function forks

    def _stop(self, number: int, _: Any) -> None:
        self.stopping = True
        self._work.stop()
        if number != signal.SIGINT:
            return
        before, self._interrupted = self._interrupted, time.monotonic()
        if before is None or self._interrupted - before < SAME:
            return
        if self.at_once:
            os._exit(INTERRUPTED)
        self.at_once = True
