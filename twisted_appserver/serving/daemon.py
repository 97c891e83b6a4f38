"""Report to the user's shell how the start of a daemon went.

Strategy: twistd forks after the service has been made and before it is started. Its own report breaks off at
100 bytes, and never comes if the daemon exits by itself. So the process that the user has started waits at
the other end of a pipe, in a hook of its own fork. It goes on when the service has started, and otherwise
prints one line and ends with status 1.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

TWISTD = "twisted.scripts._twistd_unix"
STARTED = b"\0"
LOST = "the daemon has ended before the service had started; its log may show why"


class Report:
    """
    Must be made by the process that will fork.

    @param command: the beginning of the line that is printed.
    @ivar problem: why the service cannot start; reported when the daemon ends.
    """

    def __init__(self, command: str) -> None:
        self.problem = ""
        self._command = command
        self._reader, self._writer = os.pipe()
        self._first = os.getpid()
        os.register_at_fork(after_in_parent=self._wait)
        atexit.register(self._send)

    def started(self) -> None:
        """Let the process that the user has started end with status 0."""
        os.write(self._writer, STARTED)
        os.close(self._writer)
        self._writer = -1

    def _send(self) -> None:
        if self._writer >= 0 and os.getpid() != self._first:
            os.write(self._writer, self.problem.encode("utf-8", "backslashreplace"))

    def _wait(self) -> None:
        """In the process that the user has started, right after twistd has forked."""
        if os.getpid() != self._first or sys._getframe(1).f_globals.get("__name__") != TWISTD:
            return
        os.close(self._writer)
        data = b""
        while not data.endswith(STARTED) and (more := os.read(self._reader, 4096)):
            data += more
        if not data.endswith(STARTED):
            print(f"{self._command}: {data.decode() or LOST}", file=sys.__stderr__, flush=True)
            os._exit(1)


def report_for(command: str, twistd: Any) -> Report | None:
    """
    @param twistd: its options; C{None} outside of it.
    @return: what reports to the user's shell, if twistd will fork.
    """
    daemon = twistd is not None and not twistd.get("nodaemon", True)
    return Report(command) if daemon else None


def remove_pidfile(twistd: Any) -> None:
    """Remove the pidfile, which twistd leaves behind if the process exits during its start."""
    path = (twistd or {}).get("pidfile")
    if path and os.path.exists(path):
        with open(path) as file:
            ours = file.read() == str(os.getpid())
        if ours:
            os.unlink(path)
