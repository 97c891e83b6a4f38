"""Tests that a finished call leaves nothing in memory, however it ended."""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.support.leaks import count_blocks, count_objects
from tests.support.slow import slow
from tests.support.wire import connect, exchange, request
from twisted_appserver.serving.service import AppService, make_service

BODY = b"x" * 20_000
MANY = 50  # clients of each kind, ten at the same time
FEW = 10  # clients of kinds that take long
KIND = (("Content-Type", "application/octet-stream"),)
LATER = (("Prefer", "respond-async"),)

KEEPING = """
from twisted.internet.defer import succeed
from twisted_appserver import Call

CALLS = []

def keeps(call: Call):
    CALLS.append(call)
    return {}

def streams(call: Call):
    CALLS.append(call)
    yield {}

async def coroutine(call: Call):
    CALLS.append(call)
    return await succeed({})

url_patterns = ((r"/keeps", keeps), (r"/streams", streams), (r"/coroutine", coroutine))
"""  # cycles through the calls, the handlers, the table and the module

Ask = Callable[[int], Coroutine[Any, Any, None]]


def ask(target: str, status: int, headers: tuple[tuple[str, str], ...] = (), method: str = "POST") -> Ask:
    """Return a function that sends a request and checks the status of the response."""

    async def once(port: int) -> None:
        connection = await connect(port)
        body = BODY if method == "POST" else b""
        for _ in range(2):  # on the same connection
            answer = await connection.send(request(method, target, body, (*KIND, *headers)))
            assert answer.status == status, answer
        await connection.close()

    return once


def leave(target: str, after: int, headers: tuple[tuple[str, str], ...] = ()) -> Ask:
    """Return a function that sends a request, and disconnects after this many bytes of the response."""

    async def once(port: int) -> None:
        connection = await connect(port)
        connection.transport.write(request("POST", target, BODY, KIND))  # type: ignore[union-attr]
        while len(connection.unread) < after:
            await deferLater(reactor, 0.001)
        await connection.close()

    return once


async def broken(port: int) -> None:
    """Request a response that breaks off."""
    for target in ("/late", "/inline/late"):
        connection = await connect(port)
        answer = connection.send(request("POST", target, BODY, KIND))
        answer.addErrback(lambda failure: failure.trap(ConnectionError) and None)
        assert await answer is None


async def job(port: int) -> None:
    """Start a job, wait until it has finished, and delete it."""
    for target in ("/plain", "/counts", "/inline/counts", "/async_counts", "/text"):
        place = await job_at(port, target)
        assert (await exchange(port, request("DELETE", place))).json["state"] == "done"


async def job_at(port: int, target: str) -> str:
    """Return the address of a finished job."""
    made = await exchange(port, request("POST", target, BODY, (*KIND, *LATER)))
    place = "/-/jobs/" + made.json["job"]
    while (await exchange(port, request("GET", place))).json["state"] in ("waiting", "running"):
        await deferLater(reactor, 0.01)
    return place


async def cancelled_job(port: int) -> None:
    """Start a job, and cancel it."""
    made = await exchange(port, request("POST", "/waits", BODY, (*KIND, *LATER)))
    for _ in range(2):
        seen = await exchange(port, request("DELETE", "/-/jobs/" + made.json["job"]))
        assert seen.json["state"] == "cancelled", seen


async def refused(port: int) -> None:
    """Send requests that are refused before a call is made: too long a body, and garbage."""
    for data in (request("POST", "/plain", b"x" * 200_000, KIND), b"nonsense\r\n\r\n"):
        answer = await exchange(port, data)
        assert answer.status in (400, 413), answer


ALIKE: dict[str, Ask] = {
    "plain": ask("/plain", 200),
    "plain on the reactor": ask("/inline/plain", 200),
    "a GET that is known": ask("/plain", 200, method="GET"),
    "a coroutine": ask("/coroutine", 200),
    "an error": ask("/fails", 418),
    "a fault": ask("/breaks", 500),
    "a fault on the reactor": ask("/inline/breaks", 500),
    "no such path": ask("/nothing", 404, method="GET"),
    "a foreign page": ask("/plain", 403, (("Origin", "http://evil.example"),), "GET"),
    "a stream": ask("/counts", 200),
    "a stream on the reactor": ask("/inline/counts", 200),
    "an asynchronous stream": ask("/async_counts", 200),
    "a Reply in parts": ask("/text", 200),
    "only the head of a stream": ask("/counts", 200, method="HEAD"),
    "a stream whose client goes": leave("/endless", 100_000),
    "a stream on the reactor whose client goes": leave("/inline/endless", 100_000),
    "an asynchronous stream whose client goes": leave("/async_endless", 100_000),
    "a client that goes at once": leave("/plain", 0),
    "a client that goes while a coroutine waits": leave("/waits", 0),
    "a coroutine that is late": ask("/late_coroutine", 504),
    "a stream that breaks off": broken,
    "refused": refused,
}
JOBS: dict[str, Ask] = {"a job": job, "a job that is cancelled": cancelled_job}

# An exception that is kept, or thrown into a coroutine, refers to itself by the frames of its traceback.
THROWN = (
    "refused",
    "a coroutine that is late",
    "a client that goes while a coroutine waits",
    "a job that is cancelled",
)
EARLY = sys.version_info < (3, 12)  # later Pythons also leave such cycles when a stream ends early


class LeakTests(TestCase):
    timeout = 120

    async def service(self, **options: Any) -> AppService:
        service = make_service(
            reactor=reactor,
            port=0,
            app="tests.support.leaks",
            max_body=100_000,
            workers=2,
            threads=4,
            **options,
        )
        service.startService()
        self.addCleanup(service.stopService)
        await service.started
        return service

    async def repeat(self, service: AppService, once: Ask, port: int, count: int) -> None:
        """Send requests, ten at a time, and wait until the connections are closed."""
        for _ in range(count // 10):
            await gatherResults([Deferred.fromCoroutine(once(port)) for _ in range(10)])
        executor = service.executor
        while (
            service.dispatcher.in_flight or executor.running or executor.pending or service.site.connections
        ):
            await deferLater(reactor, 0.002)

    async def check(self, service: AppService, port: int, kinds: dict[str, Ask], count: int = MANY) -> None:
        """
        Check that calls of each kind leave nothing, most of them without a garbage collection.

        Counting objects takes longer than many calls do. So the kinds are counted together, and one by one
        only if something is left.
        """
        for once in kinds.values():  # fills the caches
            await self.repeat(service, once, port, 10)
        self.flushLoggedErrors()
        kept, before = count_blocks(), count_objects()
        for collect in (False, True):
            group = {name: once for name, once in kinds.items() if (name in THROWN or not EARLY) is collect}
            left = await self.left_by(service, port, group, count, before, collect)
            if max(left.values(), default=0) < 3:
                continue
            for name, once in group.items():
                left = await self.left_by(service, port, {name: once}, count, count_objects(), collect)
                self.assertLess(max(left.values(), default=0), 3, f"{name} leaves {left}")
            self.fail(f"one of {', '.join(group)} leaves {left}")
        self.assertLess(count_blocks() - kept, max(len(kinds) * count // 2, 500), "objects are left")

    async def left_by(
        self,
        service: AppService,
        port: int,
        kinds: dict[str, Ask],
        count: int,
        before: Counter[str],
        collect: bool,
    ) -> Counter[str]:
        """Repeat calls of each kind, and return which objects they leave."""
        gc.disable()
        try:
            for once in kinds.values():
                await self.repeat(service, once, port, count)
            self.flushLoggedErrors()
            return await self.left(before, collect)
        finally:
            gc.enable()

    async def left(self, before: Counter[str], collect: bool) -> Counter[str]:
        """Return what is left when threads and sockets have released their references."""
        end = reactor.seconds() + 5  # type: ignore[attr-defined]
        while True:
            if collect:
                gc.collect()
            left = count_objects() - before
            if not left or reactor.seconds() > end:  # type: ignore[attr-defined]
                return left
            await deferLater(reactor, 0.05)

    @slow
    async def test_finished_calls_leave_nothing_in_threads(self) -> None:
        """In threads and on the reactor, over our channel."""
        service = await self.service()
        await self.check(service, service.ports[0].getHost().port, {**ALIKE, **JOBS})
        await self.check(service, service.ports[0].getHost().port, {"late": ask("/hangs", 504)}, FEW)

    @slow
    async def test_finished_calls_leave_nothing_with_workers(self) -> None:
        """In worker processes."""
        service = await self.service(server_type="forked")
        await self.check(service, service.ports[0].getHost().port, {**ALIKE, **JOBS})
        await self.check(service, service.ports[0].getHost().port, {"late": ask("/hangs", 504)}, FEW)

    @slow
    async def test_finished_calls_leave_nothing_with_the_channel_of_twisted(self) -> None:
        """Over the channel of twisted.web."""
        service = await self.service(channel="twisted")
        await self.check(service, service.ports[0].getHost().port, ALIKE)

    @slow
    async def test_finished_calls_leave_nothing_in_a_resource(self) -> None:
        """As a resource of a stock Site."""
        service = await self.service()
        site = Site(service.resource)
        root = Resource()
        root.putChild(b"app", service.resource)
        port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        await self.check(service, port.getHost().port, ALIKE)

    @slow
    async def test_reloaded_table_leaves_nothing_of_the_old_one(self) -> None:
        """Even if its functions keep their calls, and clients connect again."""
        file = os.path.abspath(self.mktemp()) + ".py"
        with open(file, "w") as made:
            made.write(KEEPING)
        for server_type in ("threaded", "forked"):
            service = make_service(
                reactor=reactor, port=0, app=file, workers=1, threads=2, server_type=server_type
            )
            service.startService()
            self.addCleanup(service.stopService)
            await service.started
            port = service.ports[0].getHost().port
            before: Counter[str] = Counter()
            for number in range(6):
                for target in ("/keeps", "/keeps", "/streams", "/coroutine"):
                    await self.repeat(service, ask(target, 200), port, 10)
                await job_at(port, "/streams")
                await service.reload()
                if number == 2:
                    gc.collect()
                    before = count_objects()
            left = await self.left(before, collect=True)
            self.assertLess(left["Router"], 2, left)
            self.assertLess(left["Call"], 5, left)
