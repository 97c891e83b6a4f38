"""Starts processes that run a module of this package."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM)  # the signals that stop the server, and not its child processes
ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))


def spawn_python(
    reactor: Any, protocol: Any, module: str, descriptors: Mapping[int, int | str] | None = None
) -> None:
    """
    Start a process that runs a module.

    It starts with L{STOPS} blocked: a signal to the whole process group, such as Ctrl-C, must not interrupt
    the start. It unblocks them when it has set its handlers.

    @param descriptors: C{childFDs} of C{spawnProcess}; pipes for the standard streams if C{None}.
    @raise OSError: if no descriptors, memory or processes are left.
    """
    search = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
    # -P keeps Python from searching the current folder yet: a file there may hide a standard module.
    command = [sys.executable, "-P", "-m", module]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS) if hasattr(signal, "pthread_sigmask") else None
    environ = {**os.environ, "PYTHONPATH": search}
    try:
        reactor.spawnProcess(protocol, sys.executable, command, environ, childFDs=descriptors)
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def unblock_stops() -> None:
    """Receive the signals from now on, in a process that L{spawn_python} has started."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def original_environment() -> dict[str, str | None]:
    """Return the variables whose values L{spawn_python} changes; C{None} for those that are not set."""
    return {"PYTHONPATH": os.environ.get("PYTHONPATH")}


def restore(search: list[str], environ: Mapping[str, str | None]) -> None:
    """
    Give this process the C{sys.path} and the environment of the process that has started it.

    @param environ: what L{original_environment} returned there.
    """
    sys.path[:] = search
    for name, value in environ.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
