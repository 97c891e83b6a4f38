"""
SIGINT (Ctrl-C) and SIGTERM: the first one stops a server, and a second one ends its process at once.

Strategy: Twisted's own handlers call C{reactor.stop} each time, which fails the second time. They are
replaced as soon as the reactor runs; a signal that arrives earlier stops the reactor at that moment. The new
handlers stay for the rest of the process, because it may also hang after the reactor has stopped, in
C{atexit} functions or threads.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from twisted.internet.error import ReactorNotRunning

# Seconds in which further signals count as the first one. A terminal sends SIGINT to the whole process group,
# and a process manager (honcho, npm) then sends SIGTERM to its children too.
SAME = 0.3


class StopHandlers:
    """
    The handlers of the signals that stop a server.

    @param before_exit: called before a second signal ends the process, in the signal handler.
    @ivar received: the first signal; 0 before that.
    """

    def __init__(self, reactor: Any, before_exit: Callable[[], None]) -> None:
        self._reactor, self._before_exit = reactor, before_exit
        self.received = 0
        self._since = 0.0

    def install(self) -> None:
        """
        Set the handlers now, and once more when the reactor has set its own. Other handlers, such as
        C{pdb}'s, stay.
        """
        self._replace({signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL})
        twisted = {signal.SIGINT: self._reactor.sigInt, signal.SIGTERM: self._reactor.sigTerm}
        self._reactor.callWhenRunning(self._replace, twisted)

    def _replace(self, handlers: Mapping[signal.Signals, Any]) -> None:
        for number, handler in handlers.items():
            if signal.getsignal(number) == handler:
                signal.signal(number, self._handle)

    @property
    def advice(self) -> str:
        """How to end the process at once; empty if no signal stops it."""
        if not self.received:
            return ""
        return "press Ctrl-C again" if self.received == signal.SIGINT else "send SIGTERM again"

    def _handle(self, number: int, _: Any) -> None:
        if not self.received:
            self.received, self._since = number, monotonic()
            self._reactor._exitSignal = number  # like Twisted's handlers; twistd exits by this signal
            self._reactor.callFromThread(self._stop)
        elif monotonic() - self._since > SAME:
            self._exit(number)

    def _stop(self) -> None:
        with suppress(ReactorNotRunning):  # it is stopping already
            self._reactor.stop()

    def _exit(self, number: int) -> None:
        """End the process by a signal."""
        self._before_exit()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        os._exit(128 + number)  # the first process of a container survives the default action
