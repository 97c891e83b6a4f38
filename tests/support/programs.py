"""Real processes: start a program, wait for its output, send it signals, and wait for its end."""

from __future__ import annotations

import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent

import twisted_appserver

ROOT = Path(twisted_appserver.__file__).resolve().parent.parent
LINE = r"http://localhost:(\d+)/ (\w+), (\d+) (threads?|workers?)"
PERSON = b'{"object_type":"person","object_id":"123"}'


class Program(ProcessProtocol):
    """
    Run a program and collect its output.

    @param command: the program and its arguments.
    @param folder: the current folder of the program.
    @param terminal: whether its streams are a terminal. Writing C{Program.CTRL_C} there interrupts it.
    @param environ: variables to add to the environment; C{None} removes one.
    @ivar output: standard output and standard error, in the order of arrival; C{out} and C{err} contain them
        separately.
    @ivar pid: the process id.
    @ivar exited: fires when the process has exited; its children may still write output.
    @ivar ended: fires with the exit status, or with the negative number of the signal that killed the
        program.
    """

    transport: Any

    CTRL_C = b"\x03"

    def __init__(
        self, *command: str, folder: str | Path = ".", terminal: bool = False, **environ: str | None
    ) -> None:
        self.output = self.out = self.err = ""
        self.mark = uuid4().hex
        self.ended: Deferred[int] = Deferred()
        self.exited: Deferred[None] = Deferred()
        self._gone: Deferred[None] = Deferred()  # fires too if a timeout has cancelled C{ended}
        self._status: int | None = None
        self._waiting: list[tuple[str, Deferred[re.Match[str]]]] = []
        search = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        added = {"PYTHONPATH": search, "PYTHONUNBUFFERED": "1", "PROGRAM": self.mark, **environ}
        variables = {name: value for name, value in {**os.environ, **added}.items() if value is not None}
        reactor.spawnProcess(  # type: ignore[attr-defined]
            self, command[0], command, variables, str(folder), usePTY=terminal
        )
        self.pid: int = self.transport.pid

    def outReceived(self, data: bytes) -> None:
        self.out += data.decode()
        self._check_patterns(data)

    def errReceived(self, data: bytes) -> None:
        self.err += data.decode()
        self._check_patterns(data)

    def _check_patterns(self, data: bytes = b"") -> None:
        self.output += data.decode()
        for waiting in list(self._waiting):
            pattern, deferred = waiting
            if found := re.search(pattern, self.output):
                self._waiting.remove(waiting)
                deferred.callback(found)
            elif self._status is not None:
                self._waiting.remove(waiting)
                deferred.errback(AssertionError(f"it ended before {pattern!r}: {self.output}"))

    def processExited(self, reason: Failure) -> None:
        self.exited.callback(None)

    def processEnded(self, reason: Failure) -> None:
        number = getattr(reason.value, "signal", None)
        self._status = -number if number else getattr(reason.value, "exitCode", 0) or 0
        self._check_patterns()
        self._gone.callback(None)
        if not self.ended.called:
            self.ended.callback(self._status)

    def line(self, pattern: str = LINE) -> Deferred[re.Match[str]]:
        """
        Wait for a line of the output.

        @param pattern: a regular expression; by default it matches the line with the URL of the server.
        @return: fires with the match; fails if the program ends without a match.
        """
        deferred: Deferred[re.Match[str]] = Deferred()
        self._waiting.append((pattern, deferred))
        self._check_patterns()
        return deferred

    async def port(self) -> int:
        """Wait until the server listens, and return its port."""
        return int((await self.line())[1])

    async def url(self) -> str:
        """Wait until the server listens, and return its URL."""
        return (await self.line(r"(http://localhost:\d+)/"))[1]

    def signal(self, name: str) -> None:
        """Send a signal, such as C{TERM}."""
        self.transport.signalProcess(name)

    async def stop(self) -> None:
        """Stop the program with SIGTERM, and check that it and its workers have exited."""
        with suppress(ProcessExitedAlready):
            self.signal("TERM")
        timer = reactor.callLater(20, self._kill)  # type: ignore[attr-defined]
        status = await self.ended
        if timer.active():
            timer.cancel()
        if status not in (0, -15):
            raise AssertionError(f"it ended with {status}: {self.output}")
        if left := self.processes():
            raise AssertionError(f"the processes {left} are left: {self.output}")

    def processes(self) -> list[int]:
        """Return the ids of the program and of the processes that it has started."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"PROGRAM={self.mark}".encode() in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:  # the process has exited
                continue
        return found

    def _kill(self) -> None:
        with suppress(ProcessExitedAlready):
            self.signal("KILL")

    def kill_all(self) -> None:
        """Kill the program, and the processes that it has started and that may outlive it."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill(self) -> Deferred[None] | None:
        """Kill the program if it still runs; for the end of a test."""
        if self._gone.called:
            return None
        self._kill()
        return self._gone


class ProgramTestCase(TestCase):
    """Run programs, and kill them when the test ends."""

    timeout = 60

    def setUp(self) -> None:
        self.http = HTTPClient(Agent(reactor, connectTimeout=10))
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.folder = self.folder.resolve()

    def start(self, *command: str, folder: str | Path | None = None, **environ: str | None) -> Program:
        program = Program(*command, folder=folder or self.folder, **environ)
        self.addCleanup(program.kill)
        return program

    def python(self, *arguments: str, **options: Any) -> Program:
        """Start a Python program."""
        return self.start(sys.executable, *arguments, **options)

    async def get(self, url: str) -> bytes:
        response = await self.http.get(url, timeout=30)
        body: bytes = await response.content()
        self.assertEqual(response.code, 200, body)
        return body
