"""Tests of the client for tests: inside an event loop that runs, and with time limits."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import Route
from twisted_appserver.testing import BrokenStream, Client


async def rests(seconds: float) -> dict[str, Any]:
    async with asyncio.timeout(10):
        await asyncio.sleep(seconds)
    return {"rested": await asyncio.to_thread(lambda: True)}


def runs_a_loop() -> dict[str, Any]:
    return asyncio.run(rests(0))


TABLE = ((r"/rests/(?P<seconds>)", rests), (r"/runs", runs_a_loop))


class Entered:
    """A lifespan that records what happens to it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @asynccontextmanager
    async def asynchronous(self) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        self.seen.append("entered")
        yield
        await asyncio.sleep(0)
        self.seen.append("left")

    @contextmanager
    def synchronous(self) -> Iterator[None]:
        asyncio.run(asyncio.sleep(0))
        self.seen.append("entered")
        yield
        asyncio.run(asyncio.sleep(0))
        self.seen.append("left")


class RunningLoopTests(SynchronousTestCase):
    """A test may be a coroutine. It uses the client in itself, or in threads."""

    def run_quietly(self, test: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a test in an event loop, and check that nothing is warned about or ignored."""
        ignored: list[Any] = []
        with (
            patch.object(sys, "unraisablehook", ignored.append),
            warnings.catch_warnings(record=True) as found,
        ):
            warnings.simplefilter("always")
            asyncio.run(test())
            gc.collect()
        self.assertEqual((ignored, found), ([], []))

    def test_coroutine_functions_and_functions_that_run_a_loop_work(self) -> None:
        async def test() -> None:
            task = asyncio.current_task()
            with Client(TABLE) as client:
                for target in ("/rests/0.001", "/runs"):
                    self.assertEqual(client.get(target).json, {"rested": True})
                    response = await asyncio.to_thread(client.get, target)
                    self.assertEqual(response.json, {"rested": True})
            self.assertIs(asyncio.current_task(), task)
            await asyncio.sleep(0)

        self.run_quietly(test)

    def test_function_that_runs_a_loop_works_outside_too(self) -> None:
        """Although coroutine functions of the same table run on an event loop of the client."""
        with Client(TABLE) as client:
            self.assertEqual(client.get("/runs").json, {"rested": True})

    def test_client_that_is_not_closed_causes_no_warning(self) -> None:
        """The garbage collector closes it, inside the event loop of the test."""

        async def test() -> None:
            for _ in range(3):
                response = await asyncio.to_thread(Client(TABLE).get, "/rests/0.001")
                self.assertEqual(response.status, 200)
            Client(TABLE).get("/rests/0")
            gc.collect()
            await asyncio.sleep(0)

        self.run_quietly(test)

    def test_client_leaves_the_event_loop_of_the_thread_alone(self) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        self.addCleanup(asyncio.set_event_loop, None)
        self.addCleanup(loop.close)
        with Client(TABLE) as client:
            client.get("/rests/0")
        self.assertIs(asyncio.get_event_loop_policy().get_event_loop(), loop)

    def test_threads_take_turns(self) -> None:
        async def test() -> None:
            with Client(TABLE) as client:
                each = [asyncio.to_thread(client.get, "/rests/0.001") for _ in range(4)]
                self.assertEqual([response.status for response in await asyncio.gather(*each)], [200] * 4)

        self.run_quietly(test)

    def test_lifespan_is_entered_and_left(self) -> None:
        async def test() -> None:
            for kind in ("asynchronous", "synchronous"):
                entered = Entered()
                with Client(TABLE, lifespan=getattr(entered, kind)) as client:
                    self.assertEqual(client.get("/rests/0").status, 200)
                self.assertEqual(entered.seen, ["entered", "left"])

        self.run_quietly(test)


class TimeLimitTests(SynchronousTestCase):
    """Time limits apply as in a server."""

    def setUp(self) -> None:
        self.ended: list[str] = []
        self.table = (
            Route(r"/waits", self.waits),
            Route(r"/own", self.waits, timeout=0.02),
            Route(r"/blocks", self.blocks),
            Route(r"/quick", self.quick),
            Route(r"/free", self.blocks, timeout=0),
            Route(r"/items", self.items),
        )

    async def waits(self) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            self.ended.append("waits")

    def blocks(self) -> dict[str, Any]:
        time.sleep(0.02)
        self.ended.append("blocks")
        return {}

    def quick(self) -> dict[str, Any]:
        return {}

    async def items(self) -> AsyncIterator[dict[str, int]]:
        yield {"n": 1}
        await self.waits()

    def test_coroutine_gets_504_and_is_cancelled(self) -> None:
        with Client(self.table, timeout=0.01) as client:
            response = client.get("/waits")
            self.assertEqual(response.status, 504)
            self.assertIn("longer than its time limit of 0.01 s", response.json["detail"])
            self.assertEqual(self.ended, ["waits"])
            self.assertIn("0.02 s", client.get("/own").json["detail"])
            self.assertEqual(client.dispatcher.in_flight, 0)

    def test_plain_function_gets_504_when_it_returns(self) -> None:
        """With and without an event loop."""
        for table in (self.table, self.table[2:5]):
            with Client(table, timeout=0.01) as client:
                self.assertEqual(client.get("/blocks").status, 504)
                self.assertEqual([client.get(path).status for path in ("/quick", "/free")], [200, 200])
                self.assertEqual(client.dispatcher.in_flight, 0)
        self.assertEqual(self.ended, ["blocks"] * 4)

    def test_stream_breaks_off(self) -> None:
        with Client(self.table, timeout=0.01) as client:
            error = self.assertRaises(BrokenStream, client.get, "/items")
        self.assertEqual(error.response.text, '{"n":1}\n')
        self.assertIn("no part was produced or read within the time limit of 0.01 s", str(error))
        self.assertEqual(self.ended, ["waits"])

    def test_clock_keeps_pace_while_a_coroutine_waits(self) -> None:
        """It stands still otherwise."""
        with Client(self.table) as client:
            began = client.clock.seconds()
            self.assertEqual(client.get("/own").status, 504)
            self.assertGreaterEqual(client.clock.seconds() - began, 0.02)
            began = client.clock.seconds()
            self.assertEqual(client.get("/blocks").status, 200)
            self.assertEqual(client.clock.seconds(), began)
