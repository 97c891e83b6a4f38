"""Tests of long streams whose clients read slowly, not at all, or not to the end."""

from __future__ import annotations

import os
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.serving.test_command import CommandTestCase
from tests.support.flood import SIZE
from tests.support.programs import Program
from tests.support.slow import slow
from tests.support.wire import exchange, fetch, request
from twisted_appserver.client import AppClient

MEGABYTES = 30  # the size of each response
NOT_READING = 12  # clients that do not read: more than there are threads or workers
LEAVING = 10  # clients that leave halfway
MOST = 60_000_000  # bytes of memory that the server and its workers together may grow by
PATIENCE = 5.0  # seconds that a plain call may take beside all that, on a busy machine


class Reader(Protocol):
    """
    Asks for something, and reads up to so many bytes of it.

    @param pause: seconds that it reads nothing after each 256 KiB.
    """

    def __init__(self, target: str, most: int, pause: float = 0.0) -> None:
        self._target, self._most, self._pause = target, most, pause
        self.received = self._since = 0
        self.over: Deferred[int] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(request("GET", self._target, headers=(("Connection", "close"),)))  # type: ignore[union-attr]
        if not self._most:
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        self._since += len(data)
        transport: Any = self.transport
        if self.received >= self._most:
            transport.abortConnection()
        elif self._pause and self._since > 262_144:
            self._since = 0
            transport.pauseProducing()
            reactor.callLater(self._pause, transport.resumeProducing)  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.over.callback(self.received)


def memory(pids: list[int], field: str) -> int:
    """The bytes of memory that processes have together."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as file:
            total += sum(int(line.split()[1]) * 1024 for line in file if line.startswith(field))
    return total


class FloodTests(CommandTestCase):
    timeout = 100
    if not os.path.exists("/proc/self/status"):
        skip = "memory is measured in /proc"

    async def begin(self, server_type: str) -> tuple[Program, int]:
        program = self.twistd(
            "--app", "tests.support.flood", "--port", "0", "--type", server_type,
            "--workers", "2", "--threads", "4", "--timeout", "0",
        )  # fmt: skip
        return program, await program.port()

    async def read(self, port: int, target: str, most: int, pause: float = 0.0) -> Reader:
        reader = Reader(target, most, pause)
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=10), reader)
        return reader

    async def free(self, port: int) -> None:
        """The service is ready, nothing runs, and calls are answered at once."""
        while (await fetch(port, "/-/status.json")).json["running"]:
            await deferLater(reactor, 0.01)
        began = time.monotonic()
        for target in ("/plain", "/-/ready", "/-/health"):
            self.assertEqual((await fetch(port, target)).status, 200)
        self.assertLess(time.monotonic() - began, PATIENCE)

    async def check(self, server_type: str) -> None:
        program, port = await self.begin(server_type)
        await fetch(port, "/plain")
        status = (await fetch(port, "/-/status.json")).json
        pids = [program.transport.pid, *(worker["pid"] for worker in status["workers"])]
        before = memory(pids, "VmRSS")
        folder = os.path.abspath(self.mktemp())
        os.mkdir(folder)
        count = MEGABYTES * 1_000_000 // SIZE
        query, whole = f"?n={count}&folder={folder}", count * SIZE
        begun = 0
        not_reading = []
        for target in ("/flood", "/items", "/reactor"):
            not_reading += [await self.read(port, target + query, 0) for _ in range(NOT_READING // 3)]
            begun += NOT_READING // 3
        while (await fetch(port, "/-/status.json")).json["parked"] < NOT_READING:
            await deferLater(reactor, 0.01)
        await self.free(port)
        slow = [await self.read(port, target + query, 2 * whole, 0.001) for target in ("/flood", "/reactor")]
        job = await AppClient(f"http://localhost:{port}", self.http).job("/items", n=count, folder=folder)
        self.assertEqual((await job.wait(reactor))["number"], count - 1)
        for received in await gatherResults([reader.over for reader in slow]):
            self.assertGreater(received, whole)
        begun += 3
        for target in ("/flood", "/reactor"):
            leaving = [await self.read(port, target + query, whole // 2) for _ in range(LEAVING // 2)]
            await gatherResults([reader.over for reader in leaving])
            begun += len(leaving)
        await self.free(port)
        for reader in not_reading:
            reader.transport.abortConnection()  # type: ignore[union-attr]
        while len(os.listdir(folder)) < begun:
            await deferLater(reactor, 0.01)
        await self.free(port)
        self.assertEqual((await fetch(port, "/-/status.json")).json["parked"], 0)
        self.assertLess(memory(pids, "VmHWM") - before, MOST)
        await self.stopped(program)

    @slow
    async def test_unread_streams_need_little_memory_in_threads(self) -> None:
        """Threads are free, memory stays small, and every C{finally} runs."""
        await self.check("threaded")

    @slow
    async def test_unread_streams_need_little_memory_in_processes(self) -> None:
        """Workers are free, memory stays small, and every C{finally} runs."""
        await self.check("forked")

    async def test_stream_on_the_reactor_lets_others_in_between(self) -> None:
        """While a generator on the reactor is read at once, the service answers others too."""
        _, port = await self.begin("threaded")
        folder = os.path.abspath(self.mktemp())
        os.mkdir(folder)
        reader = await self.read(port, f"/reactor?n=1000000&folder={folder}", 2**60)
        while reader.received < 1_000_000:
            await deferLater(reactor, 0.001)
        times = []
        for _ in range(20):
            began = time.monotonic()
            answer = await exchange(port, request("GET", "/-/health"))
            times.append(time.monotonic() - began)
            self.assertEqual(answer.status, 200)
        self.assertLess(sorted(times)[10], 0.5)
        reader.transport.abortConnection()  # type: ignore[union-attr]
        while not os.listdir(folder):
            await deferLater(reactor, 0.01)
