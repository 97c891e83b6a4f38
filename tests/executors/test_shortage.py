"""Tests of a server that has too little of something, or is stopped in the midst of much."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.serving.test_command import CommandTestCase
from tests.support.slow import slow
from tests.support.wire import fetch

COUNTED = """\
import os
import time

def quick(number: int):
    return {"number": number}

def slow(number: int):
    time.sleep(0.02)
    return {"number": number}

url_patterns = ((r"/quick/(?P<number>)", quick), (r"/slow/(?P<number>)", slow))
"""
LIMITED = """\
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from twisted.scripts.twistd import run
sys.argv = ["twistd", "-n", "--pidfile=", "appserver", "--port", "0"]
run()
"""


def processor_time(pid: int) -> float:
    """Seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class ShortageTests(CommandTestCase):
    timeout = 60

    @slow
    async def test_lack_of_descriptors_is_survived(self) -> None:
        """With 64 descriptors and 300 clients: no crash, no busy loop, and service when there is room."""
        folder = self.folder_of(app=COUNTED, limited=LIMITED)
        program = self.python(os.path.join(folder, "limited.py"), folder=folder)
        port = await program.port()
        clients = []
        for _ in range(300):
            with contextlib.suppress(OSError):
                clients.append(socket.create_connection(("127.0.0.1", port), timeout=5))
        used = processor_time(program.transport.pid)
        await deferLater(reactor, 1.0)
        self.assertLess(processor_time(program.transport.pid) - used, 0.5)
        for client in clients:
            client.close()
        answer = None
        while answer is None:
            with contextlib.suppress(OSError):
                answer = await fetch(port, "/quick/1")
        self.assertEqual(answer.json, {"number": 1})
        await self.stopped(program)

    @slow
    async def test_connections_above_the_limit_wait(self) -> None:
        """Connections beyond the limit wait without causing work, and are served when there is room."""
        program = self.twistd("--port", "0", "--max-connections", "50", folder=self.folder_of(app=COUNTED))
        port = await program.port()
        clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(60)]
        used = processor_time(program.transport.pid)
        await deferLater(reactor, 1.0)
        self.assertLess(processor_time(program.transport.pid) - used, 0.5)
        for client in clients[:-1]:
            client.close()
        clients[-1].sendall(b"GET /quick/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertIn(b"200 OK", await deferToThread(clients[-1].recv, 1000))
        clients[-1].close()
        await self.stopped(program)

    @slow
    async def test_slow_headers_are_cut_at_the_deadline(self) -> None:
        """500 clients that send a byte a second are all gone after the header deadline; others are served."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2048)), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        program = self.twistd("--port", "0", "--header-timeout", "2", folder=self.folder_of(app=COUNTED))
        port = await program.port()

        def attack() -> int:
            clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(500)]
            text = b"GET /quick/1 HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 1000
            end, left = time.monotonic() + 20, list(clients)
            for byte in text:
                for client in list(left):
                    try:
                        client.sendall(bytes([byte]))
                        client.setblocking(False)
                        with contextlib.suppress(BlockingIOError):
                            if not client.recv(1000):
                                left.remove(client)
                    except OSError:
                        left.remove(client)
                if not left or time.monotonic() > end:
                    break
                time.sleep(0.2)
            for client in clients:
                client.close()
            return len(left)

        attacked = deferToThread(attack)
        while not attacked.called:
            self.assertEqual((await fetch(port, "/quick/1")).status, 200)
            await deferLater(reactor, 0.05)
        self.assertEqual(await attacked, 0)
        await self.stopped(program)


class StopTests(CommandTestCase):
    """C{STOPS=20 CLIENTS=64 SECONDS=5} make them longer."""

    timeout = 600
    rounds = int(os.environ.get("STOPS", "3"))
    clients = int(os.environ.get("CLIENTS", "16"))
    seconds = float(os.environ.get("SECONDS", "0.5"))

    def load(self, port: int, stopping: threading.Event, wrong: list[str], counts: list[int]) -> None:
        """Send requests on one connection until the server closes it, or refuses a new one."""
        number = 0
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        while True:
            number += 1
            try:
                connection.connect() if connection.sock is None else None
            except OSError:
                break  # not accepted
            try:
                kind = "slow" if number % 5 == 0 else "quick"
                connection.request("GET", f"/{kind}/{number}")
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200 or b'"number":%d}' % number not in body:
                    wrong.append(f"{answer.status} {body!r}")
            except (OSError, HTTPException) as error:
                # A request that crossed with the end of an idle connection was not received (RFC 9112, 9.6).
                if not (stopping.is_set() and isinstance(error, ConnectionError)):
                    wrong.append(repr(error))
                break
            counts[0] += 1
        connection.close()

    async def stops(self, server_type: str) -> None:
        folder = self.folder_of(app=COUNTED)
        for _ in range(self.rounds):
            program = self.twistd("--port", "0", "--type", server_type, "--access-log", "log", folder=folder)
            port = await program.port()
            while (await fetch(port, "/-/ready")).status != 200:
                await deferLater(reactor, 0.01)
            wrong: list[str] = []
            counts, stopping = [0], threading.Event()
            arguments = (port, stopping, wrong, counts)
            threads = [threading.Thread(target=self.load, args=arguments) for _ in range(self.clients)]
            for thread in threads:
                thread.start()
            await deferLater(reactor, self.seconds)
            stopping.set()
            await self.stopped(program)
            for thread in threads:
                await deferToThread(thread.join)
            self.assertEqual(wrong, [])
            self.assertGreater(counts[0], self.clients)
            lines = Path(folder, "log").read_text().splitlines()
            answered = [line for line in lines if "GET /quick/" in line or "GET /slow/" in line]
            self.assertEqual(len(answered), counts[0])  # the client of every call received its response
            os.remove(os.path.join(folder, "log"))

    @slow
    async def test_sigterm_loses_no_request_in_threads(self) -> None:
        """At SIGTERM under load every request that was received gets its answer."""
        await self.stops("threaded")

    @slow
    async def test_sigterm_loses_no_request_in_processes(self) -> None:
        """The same with worker processes."""
        await self.stops("forked")
