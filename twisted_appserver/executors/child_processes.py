"""Processes that functions fork start with default signal handlers and without the server's connections.

Strategy: a forked child inherits the Python signal handlers of its parent. The server's handlers stop a
reactor or do nothing, so C{Process.terminate()} would have no effect in a child. A signal may arrive before
the child has reset its handlers. Therefore these signals are blocked before the fork, and unblocked when the
handlers have been reset. Descriptors that only the parent may use are replaced by C{/dev/null} in the child.
Their numbers stay in use, so that objects which refer to them can still be closed. Programs that are started
with exec need none of this: exec resets handlers, and the server's descriptors are closed on exec.

The hooks are installed when a server or a worker process starts. They cannot be removed, but they change only
handlers that Twisted, asyncio or this package has set.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import local
from typing import Any

DEVICES = 2  # the highest of standard input, output and error, which children share
CALL_EXEC = ("subprocess", "twisted.internet.process")  # modules that call exec right after the fork
SERVER_MODULES = ("twisted.", "twisted_appserver.", "asyncio.")  # their handlers are useless in a child

_sources: dict[Any, Callable[[], Iterable[int]]] = {}  # by owner
_forking = local()  # the signals that the forking thread has blocked
_installed = False


def ignore(*_: Any) -> None:
    """
    A signal handler that does nothing. Programs started with exec do not inherit this handler, but they would
    inherit SIG_IGN.
    """


def protect(owner: Any, descriptors: Callable[[], Iterable[int]]) -> None:
    """
    Give children that are forked from now on default signal handlers, and keep descriptors from them.

    @param owner: a second call with the same owner replaces the first.
    @param descriptors: called in each forked child; returns the descriptors that only the parent may use.
    """
    global _installed
    if not _installed and hasattr(os, "register_at_fork"):  # Windows cannot fork
        os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_reset)
        _installed = True
    _sources[owner] = descriptors


def unprotect(owner: Any) -> None:
    """Let children inherit the descriptors of C{owner}. They still get default signal handlers."""
    _sources.pop(owner, None)


def _handled() -> list[signal.Signals]:
    """Return the signals that the server handles."""
    handlers = ((number, signal.getsignal(number)) for number in signal.valid_signals())
    return [
        signal.Signals(number)
        for number, handler in handlers
        if callable(handler) and f"{getattr(handler, '__module__', '')}.".startswith(SERVER_MODULES)
    ]


def _block() -> None:
    _forking.handled = _handled()
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _forking.handled)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _reset() -> None:
    for number in _forking.handled:
        signal.signal(number, signal.SIG_DFL)
    if _forking.handled:
        signal.set_wakeup_fd(-1)
    try:
        if sys._getframe(1).f_globals.get("__name__") not in CALL_EXEC:
            _replace([number for descriptors in _sources.values() for number in descriptors()])
    finally:
        _unblock()
        if signal.SIGINT in _forking.handled:
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            except KeyboardInterrupt:  # It would be lost in this hook; the signal ends the process.
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGINT)


def _replace(numbers: list[int]) -> None:
    """Make descriptors refer to C{/dev/null}."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in numbers:
        if number > DEVICES:
            with suppress(OSError):  # The descriptor was closed.
                os.dup2(null, number, inheritable=False)
    os.close(null)
