"""The output of a worker process, written to the log line by line."""

from __future__ import annotations

import re
from typing import Any

from twisted.logger import Logger

from twisted_appserver.executors.log_records import log_record

# The prefix that worker_main writes in front of a line: the id of the call that printed the line. For a
# record of a logger, it also has the level and the logger's name. Ends of lines within a record are written
# as \x1c.
MARK = re.compile(rb"\x1e([^\x1d-\x1f]*)(?:\x1d([a-z]+)\x1d([^\x1d-\x1f]*))?\x1f")
PARTIAL_LINE_DELAY = 1.0  # seconds after which an unfinished line is logged as it is


class WorkerOutput:
    """
    Logs the standard output and standard error of a worker process.

    @param pid: the process id, which begins each log line.
    @ivar last: the last line that was not empty.
    """

    log = Logger(namespace="twisted_appserver.worker")

    def __init__(self, reactor: Any, pid: int) -> None:
        self._reactor, self._pid = reactor, pid
        self.last = ""
        self._partial = b""
        self._timer: Any = None

    def write(self, data: bytes) -> None:
        """Log all complete lines. Keep the rest for at most L{PARTIAL_LINE_DELAY} seconds."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._log_line(line)
        if self._partial and self._timer is None:
            self._timer = self._reactor.callLater(PARTIAL_LINE_DELAY, self.flush)

    def flush(self) -> None:
        """Log an unfinished line, if there is one."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._partial:
            self._log_line(self._partial)
            self._partial = b""

    def _log_line(self, line: bytes) -> None:
        shown = MARK.sub(b"", line).decode("utf-8", "replace").rstrip("\r")
        self.last = shown.strip() or self.last
        marks = MARK.findall(line)
        request_id, level, name = (
            (part.decode("utf-8", "replace") for part in marks[-1]) if marks else [""] * 3
        )
        if level:
            text = shown.replace("\x1c", "\n")
            log_record(level, name, text, pid=self._pid, request_id=request_id)
        else:
            self.log.info("[{pid}] {line}", pid=self._pid, line=shown, request_id=request_id)
