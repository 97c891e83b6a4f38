"""What is left of an application's code after it has been loaded again: nothing."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support import http_cases
from tests.support.slow import slow
from tests.support.wire import connect, request
from twisted_appserver import FORKED_SERVER, THREADED_SERVER, make_service
from twisted_appserver.serving import service_executors
from twisted_appserver.settings import CHANNELS

APPLICATION = """\
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated
from msgspec import Meta, Struct
from twisted_appserver import Call, Route

class Point(Struct):
    x: Annotated[int, Meta(ge=0)] = 0

@dataclass
class Line:
    points: list[Point]

def plain(name: str = ""):
    return {"name": name}

def typed(line: Line):
    return {"points": len(line.points)}

def raw(call: Call):
    return {"path": call.path}

async def inline(name: str = "", point: Point | None = None):
    return {"name": name}

def items(n: int = 3) -> Iterator[Point]:
    for number in range(n):
        yield {"number": number}

async def items_inline(n: int = 3):
    for number in range(n):
        yield {"number": number}

def slow():
    time.sleep(0.01)
    return {}

def fails():
    raise ValueError("as asked")

url_patterns = (
    (r"/plain/(?P<name>)/", plain),
    Route(r"/typed/", typed, methods=("POST",)),
    (r"/raw/", raw),
    (r"/inline/", inline),
    (r"/items/", items),
    (r"/items_inline/", items_inline),
    (r"/fails/", fails),
    (r"/slow/", slow),
)
"""
LINE = b'{"points":[{"x":1},{"x":2}]}'
LATER = (("Prefer", "respond-async"),)


class ReloadTests(TestCase):
    timeout = 60

    async def start(self, server_type: str, channel: str, text: str) -> Any:
        folder = os.path.abspath(self.mktemp())
        os.mkdir(folder)
        self.path = Path(folder, f"application_{os.urandom(4).hex()}.py")
        self.path.write_text(text)
        self.addCleanup(sys.path.remove, folder)
        service = make_service(
            app=str(self.path), port=0, server_type=server_type, channel=channel, workers=1, threads=2
        )
        service.startService()
        self.addCleanup(service.stopService)
        await service.started
        return service

    async def use(self, service: Any) -> Any:
        """Call every function several times, so that caches fill. Return an open connection."""
        connection = await connect(service.ports[0].getHost().port)
        for _ in range(4):
            for target in (
                "/plain/a/",
                "/raw/",
                "/inline/?name=b",
                "/items/",
                "/items_inline/",
                "/nowhere/",
                "/slow/",
            ):
                answer = await connection.send(request("GET", target))
                self.assertEqual(answer.status, 404 if target == "/nowhere/" else 200, target)
            answer = await connection.send(request("POST", "/typed/", LINE, (http_cases.JSON,)))
            self.assertEqual(answer.json, {"points": 2})
        self.assertEqual((await connection.send(request("GET", "/fails/"))).status, 500)
        self.flushLoggedErrors()
        for target in ("/plain/a/", "/items/", "/fails/"):
            place = (await connection.send(request("GET", target, headers=LATER))).json["job"]
            while (await connection.send(request("GET", f"/-/jobs/{place}"))).json["state"] in (
                "waiting",
                "running",
            ):
                await deferLater(reactor, 0.01)
        for page in ("/-/status.json", "/-/metrics", "/-/openapi.json"):
            await connection.send(request("GET", page))
        return connection

    async def check(self, server_type: str, channel: str, text: str = APPLICATION) -> None:
        """Use a service with this application, and reload L{APPLICATION}."""
        service = await self.start(server_type, channel, text)
        connection = await self.use(service)
        handlers = service.dispatcher.router.handlers
        old = [weakref.ref(service.dispatcher.router), weakref.ref(sys.modules[self.path.stem])]
        old += [weakref.ref(handler) for handler in handlers]
        old += [weakref.ref(handler.function) for handler in handlers]
        del handlers
        self.path.write_text(APPLICATION)
        await service.reload()
        if text is not APPLICATION:
            while service.dispatcher.executors["processes"].pool.workers:
                await deferLater(reactor, 0.01)
        if server_type == FORKED_SERVER:  # their old worker is still ending
            while len(service.executor.pool.workers) != 1:
                await deferLater(reactor, 0.01)
        self.assertEqual((await connection.send(request("GET", "/plain/another/"))).status, 200)
        gc.collect()
        left = [each() for each in old if each() is not None]
        self.assertEqual([repr(each) for each in left], [])
        await connection.close()

    async def test_reload_frees_the_previous_code(self) -> None:
        await self.check(THREADED_SERVER, "llhttp")

    async def test_reload_frees_the_previous_code_with_the_channel_of_twisted(self) -> None:
        await self.check(THREADED_SERVER, "twisted")

    async def test_reload_without_routes_for_workers_frees_the_previous_code(self) -> None:
        """With threads and worker processes, which the new code does not need."""
        self.patch(service_executors, "IDLE_CHECK_INTERVAL", 0.01)
        needing = APPLICATION.replace('(r"/slow/", slow)', 'Route(r"/slow/", slow, executor="processes")')
        await self.check(THREADED_SERVER, "llhttp", needing)

    @slow
    async def test_reload_frees_the_previous_code_with_workers(self) -> None:
        """The server itself keeps nothing."""
        for channel in CHANNELS:
            await self.check(FORKED_SERVER, channel)
