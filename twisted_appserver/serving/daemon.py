"""
Report to the user's shell how the start of a daemon went.

Strategy: twistd makes the service, forks, and then starts the service. Twistd's own report is cut off at 100
bytes, and is missing if the daemon exits by itself. So the process that the user started waits at the other
end of a pipe, in a hook of its own fork. When the service has started, that process continues. Otherwise it
prints one line and exits with status 1.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

TWISTD = "twisted.scripts._twistd_unix"
STARTED = b"\0"
NO_REASON = "the daemon exited before the service had started; its log may show the reason"


class StartReport:
    """
    Send the result of a daemon's start to the process that the user started. Create it before the fork.

    @param command: the name of the command; the printed line begins with this name.
    @ivar problem: why the service cannot start; it is sent when the daemon exits.
    """

    def __init__(self, command: str) -> None:
        self.problem = ""
        self._command = command
        self._reader, self._writer = os.pipe()
        self._parent = os.getpid()
        os.register_at_fork(after_in_parent=self._wait)
        atexit.register(self._send_problem)

    def started(self) -> None:
        """Report that the service has started; the process that the user started exits with status 0."""
        os.write(self._writer, STARTED)
        os.close(self._writer)
        self._writer = -1

    def _send_problem(self) -> None:
        if self._writer >= 0 and os.getpid() != self._parent:
            os.write(self._writer, self.problem.encode("utf-8", "backslashreplace"))

    def _wait(self) -> None:
        """Wait for the report. This runs in the process that the user started, when twistd has forked."""
        if os.getpid() != self._parent or sys._getframe(1).f_globals.get("__name__") != TWISTD:
            return
        os.close(self._writer)
        data = b""
        while not data.endswith(STARTED) and (more := os.read(self._reader, 4096)):
            data += more
        if not data.endswith(STARTED):
            print(f"{self._command}: {data.decode() or NO_REASON}", file=sys.__stderr__, flush=True)
            os._exit(1)


def make_start_report(command: str, twistd: Any) -> StartReport | None:
    """
    Make a report if twistd will fork.

    @param twistd: the options of twistd; C{None} if twistd does not run the service.
    """
    forks = twistd is not None and not twistd.get("nodaemon", True)
    return StartReport(command) if forks else None


def remove_pidfile(twistd: Any) -> None:
    """Remove this process's pidfile. Twistd does not remove it if the process exits during the start."""
    path = (twistd or {}).get("pidfile")
    if path and os.path.exists(path):
        with open(path) as file:
            ours = file.read() == str(os.getpid())
        if ours:
            os.unlink(path)
