"""AsyncQueue: what it has in common with Queue, and loops over its tasks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from tests.support.queue_server import Server
from twisted_appserver.tqueue.client import Empty, Full, Queue
from twisted_appserver.tqueue.client.async_queue import AsyncQueue


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


class NameTests(SynchronousTestCase):
    def test_every_method_of_queue_is_there(self) -> None:
        self.assertEqual(public(Queue) - public(AsyncQueue), set())

    def test_attribute_that_needs_a_request_names_the_verb_to_use(self) -> None:
        queue = AsyncQueue("http://x", "q", Clock())
        for name, verb in (("is_shutdown", "config"), ("maxsize", "config"), ("unfinished_tasks", "stats")):
            for use in (getattr, lambda *each: setattr(*each, 5)):
                error = self.assertRaises(AttributeError, use, queue, name)
                self.assertIn(f"AsyncQueue has no {name}, which needs a request; write (await", str(error))
                self.assertIn(f"queue.{verb}()", str(error))


class AsyncQueueTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        server = Server().start()
        self.addCleanup(server.kill)
        pool = HTTPConnectionPool(reactor)  # type: ignore[no-untyped-call]
        self.addCleanup(pool.closeCachedConnections)
        http = treq.client.HTTPClient(Agent(reactor, pool=pool))
        self.queue = AsyncQueue(server.url, "q", reactor, http)
        self.addCleanup(self.queue.close)

    async def until(self, **figures: int) -> None:
        """Wait until the figures of the queue are these."""
        while figures.items() - (await self.queue.stats()).items():
            await deferLater(reactor, 0.01)

    async def test_methods_of_the_standard_library(self) -> None:
        queue = self.queue
        await queue.config(maxsize=1)
        self.assertEqual((await queue.empty(), await queue.full()), (True, False))
        with self.assertRaises(Empty):
            await queue.get_nowait()
        await queue.put_nowait("a")
        self.assertEqual((await queue.empty(), await queue.full()), (False, True))
        with self.assertRaises(Full):
            await queue.put_nowait("b")
        self.assertEqual(await queue.get_nowait(), "a")

    async def test_close_releases_the_unfinished_tasks_and_stops_renewing(self) -> None:
        await self.queue.put("a")
        self.assertEqual(await self.queue.get(), "a")
        self.assertTrue(self.queue._renewing.running)
        await self.queue.close()
        self.assertFalse(self.queue._renewing.running)
        self.assertEqual(await self.queue.get_nowait(), "a")

    async def test_loop_finishes_each_task_until_the_queue_is_shut_down(self) -> None:
        await self.queue.put_many(range(3))
        await self.queue.shutdown()
        found = []
        async for item in self.queue.tasks():
            found.append(item)
            self.assertEqual((await self.queue.stats())["dones"], item)
        self.assertEqual(found, [0, 1, 2])
        self.assertEqual((await self.queue.stats())["dones"], 3)

    async def check_released(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await self.queue.put("a")
        await loop()
        await self.until(ready=1, leased=0)
        self.assertFalse(self.queue._renewing.running)

    async def test_break_releases_the_task(self) -> None:
        async def loop() -> None:
            async for _ in self.queue.tasks():
                break

        await self.check_released(loop)

    async def test_exception_releases_the_task(self) -> None:
        async def loop() -> None:
            with self.assertRaises(ZeroDivisionError):
                async for _ in self.queue.tasks():
                    1 / 0  # noqa: B018

        await self.check_released(loop)

    async def test_cancellation_releases_the_task(self) -> None:
        async def wait() -> None:
            async for _ in self.queue.tasks():
                await Deferred()

        async def loop() -> None:
            waiting = Deferred.fromCoroutine(wait())
            await self.until(leased=1)
            waiting.cancel()
            with self.assertRaises(CancelledError):
                await waiting

        await self.check_released(loop)

    async def test_lost_lease_is_logged_and_the_loop_continues(self) -> None:
        warnings: list[str] = []
        self.queue._warn = warnings.append  # type: ignore[method-assign]
        await self.queue.put_many(["a", "b"])
        found = []
        async for item in self.queue.tasks():
            found.append(item)
            if item == "a":
                (task,) = await self.queue.peek(state="leased")
                await self.queue.drop(task["task_id"])
            else:
                await self.queue.shutdown()
        self.assertEqual((found, len(warnings)), (["a", "b"], 1))
