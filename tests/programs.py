"""Real processes: a program that is started, says where it listens, is sent signals, and ends."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

import twisted_appserver

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(twisted_appserver.__file__)))
LINE = re.compile(r"http://localhost:(\d+)/ (\w+), (\d+) (threads|workers)")


class Program(ProcessProtocol):
    """
    A Python program.

    @ivar ended: fires with its exit status; with the negative number of the signal that killed it.
    """

    transport: Any

    def __init__(self, *arguments: str, folder: str = ".", **environ: str) -> None:
        self.out = self.err = ""
        self.ended: Deferred[int] = Deferred()
        self._gone: Deferred[None] = (
            Deferred()
        )  # the same, for kill(), where ended was cancelled by a timeout
        self._line: Deferred[re.Match[str] | None] = Deferred()
        search = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
        reactor.spawnProcess(  # type: ignore[attr-defined]
            self, sys.executable, [sys.executable, *arguments],
            {**os.environ, "PYTHONPATH": search, "PYTHONUNBUFFERED": "1", **environ}, folder,
        )  # fmt: skip

    async def line(self) -> re.Match[str]:
        """The line that tells where it listens."""
        if (found := await self._line) is None:
            raise AssertionError(f"it ended without the line: {self.out}{self.err}")
        return found

    async def port(self) -> int:
        """The port that it listens on."""
        return int((await self.line())[1])

    def outReceived(self, data: bytes) -> None:
        self.out += data.decode()
        self._look()

    def errReceived(self, data: bytes) -> None:
        self.err += data.decode()
        self._look()

    def _look(self) -> None:
        found = LINE.search(self.err + self.out)
        if found and not self._line.called:
            self._line.callback(found)

    def signal(self, name: str) -> None:
        self.transport.signalProcess(name)

    def kill(self) -> Deferred[None] | None:
        """For the end of a test: see to it that it has ended."""
        if self._gone.called:
            return None
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")
        return self._gone

    def processEnded(self, reason: Failure) -> None:
        if not self._line.called:
            self._line.callback(None)
        number = getattr(reason.value, "signal", None)
        self._gone.callback(None)
        if not self.ended.called:
            self.ended.callback(-number if number else getattr(reason.value, "exitCode", 0) or 0)
