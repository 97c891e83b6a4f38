"""Real services of several servers for tests, and clients that keep them busy."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import (
    SSL4ClientEndpoint,
    TCP4ClientEndpoint,
    UNIXClientEndpoint,
    connectProtocol,
)
from twisted.internet.error import ConnectError
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import deferLater

from tests.http.test_connection_transports import certificate
from tests.serving.test_command import CommandTestCase
from tests.support.programs import Program
from tests.support.wire import Connection, request

APPLICATION = """\
import os, time

VERSION = 1

def version():
    return {"version": VERSION, "pid": os.getpid()}

def holds(path: str):
    open(path, "x").close()
    while os.path.exists(path):
        time.sleep(0.01)
    return {"finished": True}

def records(path: str):
    with open(path, "a") as file:
        file.write("x")
    return {}

def prints(text: str):
    print(text)
    return {}

def exits():
    os._exit(3)

url_patterns = (
    (r"/version/", version),
    (r"/holds/(?P<path>.*)", holds),
    (r"/records/(?P<path>.*)", records),
    (r"/prints/(?P<text>.*)/", prints),
    (r"/exits/", exits),
)
"""
TRANSPORTS = ("tcp", "tls", "unix")


class ServersTestCase(CommandTestCase):
    """
    Starts a service that listens on TCP, TLS and a unix socket.

    @ivar ports: the ports by transport; the path of the unix socket.
    """

    timeout = 240

    async def servers(self, *options: str, application: str = APPLICATION, number: int = 2) -> Program:
        """Start a service, and wait until it is ready."""
        self.app = Path(self.folder_of(app=application)) / "app.py"
        key, path = self.app.parent / "key.pem", os.path.relpath(self.app.parent / "s")
        key.touch(0o600)
        key.write_bytes(certificate())
        self.program = self.twistd(
            *("--servers", str(number), "--log-format", "text"),
            *("--listen", "tcp:0:interface=127.0.0.1"),
            *("--listen", "ssl:0:privateKey=key.pem:interface=127.0.0.1"),
            *("--listen", "unix:s", *options, "app.py"),
            folder=self.app.parent,
        )
        self.addCleanup(self.program.kill_all)
        tcp, tls = (await self.program.line(r"http://localhost:(\d+)/ https://localhost:(\d+)/")).groups()
        self.ports: dict[str, Any] = {"tcp": int(tcp), "tls": int(tls), "unix": path}
        return self.program

    async def connect(self, transport: str = "tcp") -> Connection:
        port, host = self.ports[transport], "127.0.0.1"
        endpoint: Any = {
            "tcp": lambda: TCP4ClientEndpoint(reactor, host, port, timeout=30),
            "tls": lambda: SSL4ClientEndpoint(reactor, host, port, CertificateOptions(), timeout=30),
            "unix": lambda: UNIXClientEndpoint(reactor, port, timeout=30),
        }[transport]()
        return await connectProtocol(endpoint, Connection())

    async def hold(self) -> tuple[str, Connection, Deferred[Any]]:
        """
        Begin a call that lasts until a file is removed.

        @return: the file, the connection, and the response.
        """
        path, connection = os.path.abspath(self.mktemp()), await self.connect()
        answer = connection.send(request("GET", f"/holds/{path}"))
        await self.until(lambda: os.path.exists(path))
        return path, connection, answer

    async def call(self, path: str, transport: str = "tcp") -> Any:
        """Send one request over a new connection, and return the JSON of the response."""
        connection = await self.connect(transport)
        answer = await connection.send(request("GET", path))
        await connection.close()
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def write(self, version: int) -> None:
        """Write another version. Python loads old bytecode if the file has the same size and second."""
        new = self.app.with_suffix(".new")
        new.write_text(APPLICATION.replace("VERSION = 1", f"VERSION = {version}"))
        self.later = getattr(self, "later", 10**9) + 10
        os.utime(new, (self.later, self.later))
        os.replace(new, self.app)

    async def until_version(self, version: int) -> None:
        while (await self.call("/version/"))["version"] != version:
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]

    def pids(self) -> set[int]:
        """Return the ids of the processes of the servers."""
        return {*self.program.processes()} - {self.program.pid}

    async def until(self, condition: Callable[[], Any]) -> None:
        while not condition():
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]

    async def all_gone(self, seconds: float) -> None:
        """Check that no process of the service is left after some seconds at most."""
        gone = Deferred.fromCoroutine(self.until(lambda: not self.program.processes()))
        gone.addTimeout(seconds, reactor)  # type: ignore[arg-type]
        await gone

    def kill(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Load:
    """
    Clients that send one request after the other, each over a connection that it keeps.

    @ivar responses: how many responses had each status.
    @ivar cut_off: how many requests got no response on a connection that was open.
    @ivar refused: how many connections could not be made.
    @ivar answered_by: the processes that have answered.
    @ivar cut_off_by: the processes that had answered before on connections that were cut off; 0 if none had.
    @ivar versions: the versions that were served, in order, for each client.
    """

    def __init__(self, test: ServersTestCase, transports: tuple[str, ...], clients: int, path: str) -> None:
        self._test, self._path = test, path
        self.responses: Counter[int] = Counter()
        self.cut_off = self.refused = 0
        self.answered_by: set[int] = set()
        self.cut_off_by: set[int] = set()
        self.versions: list[list[int]] = []
        self.stopping = False
        self._clients = [
            Deferred.fromCoroutine(self._client(transport))
            for transport in transports
            for _ in range(clients)
        ]

    async def _client(self, transport: str) -> None:
        seen: list[int] = [0]
        self.versions.append(seen)
        connection, pid = None, 0
        while not self.stopping:
            if connection is None:
                pid = 0
                try:
                    connection = await self._test.connect(transport)
                except ConnectError:
                    self.refused += 1
                    await deferLater(reactor, 0.01)  # type: ignore[arg-type]
                    continue
            try:
                answer = await connection.send(request("GET", self._path))
            except ConnectionError:
                self.cut_off += 1
                self.cut_off_by.add(pid)
                connection = None
                continue
            self.responses[answer.status] += 1
            if answer.status == 200 and "pid" in answer.json:
                pid = answer.json["pid"]
                self.answered_by.add(pid)
            if answer.status == 200 and "version" in answer.json and answer.json["version"] != seen[-1]:
                seen.append(answer.json["version"])
            if answer.headers.get("connection") == "close":
                await connection.close()
                connection = None
        if connection is not None:
            await connection.close()

    def __str__(self) -> str:
        return f"{self.responses[200]} answered, {self.cut_off} cut off, {self.refused} refused"

    async def end(self) -> None:
        """Let all clients finish their requests."""
        self.stopping = True
        await gatherResults(self._clients)

    async def more(self, count: int = 200) -> None:
        """Wait for this many further responses."""
        wanted = sum(self.responses.values()) + count
        await self._test.until(lambda: sum(self.responses.values()) >= wanted)
