"""Tests of generators whose clients do not read: they are parked, without a thread or worker."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from threading import get_ident
from typing import Any

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.executors.test_streams import APPLICATION, Reader
from tests.support import streaming
from tests.support.executor_test_case import ExecutorTestCase, get, json_of
from twisted_appserver import InlineExecutor, ProcessExecutor, Reply, ThreadExecutor
from twisted_appserver.core.perform import perform
from twisted_appserver.core.router import Router
from twisted_appserver.executors.cluster import task
from twisted_appserver.executors.parked_generator import UNIT, WINDOW
from twisted_appserver.executors.processes import worker_streams
from twisted_appserver.executors.stream import Stream

PIECE = 10_000  # bytes of a part
FULL = WINDOW * PIECE  # bytes that are made before anybody reads


class ParkingTestCase(ExecutorTestCase):
    async def place(self, name: str, size: int, **options: Any) -> tuple[Any, Any]:
        """An executor for so many calls at a time, and its dispatcher."""
        executor: Any
        if name == "threads":
            executor, _ = await self.threads(size)
        else:
            executor = ProcessExecutor(reactor, APPLICATION, size, **options)
            self.addCleanup(executor.stop)
            await executor.start()
        return executor, self.dispatcher(executor, name, streaming.url_patterns)

    async def both(self, check: Callable[[Any, Any], Any], size: int = 2) -> None:
        """In threads and in worker processes alike."""
        for name in ("threads", "processes"):
            executor, dispatcher = await self.place(name, size)
            await check(executor, dispatcher)
            await self.until(lambda: not dispatcher.in_flight)  # noqa: B023
            await self.until(lambda: not executor.running)  # noqa: B023
            self.assertEqual((executor.pending, executor.parked), (0, 0))

    def path(self) -> str:
        return os.path.abspath(self.mktemp())

    async def parked(self, executor: Any, dispatcher: Any, count: int, target: str = "/pieces") -> list[Any]:
        """Unread streams and their paths. All of their generators are parked."""
        begun = []
        for _ in range(count):
            path = self.path()
            begun.append((await dispatcher.dispatch(get(target, path=path, size=PIECE)), path))
        await self.until(lambda: executor.parked == count and not executor.running)
        return begun

    async def closed(self, path: str) -> dict[str, Any]:
        """Who closed the generator of this path."""
        await self.until(lambda: os.path.exists(path + ".closed"))
        with open(path + ".closed") as file:
            found: dict[str, Any] = json.load(file)
        return found


class ParkedTests(ParkingTestCase):
    async def test_unread_streams_occupy_nothing(self) -> None:
        """Ten unread streams leave two threads or workers to other calls. They continue once read."""

        async def check(executor: Any, dispatcher: Any) -> None:
            begun = await self.parked(executor, dispatcher, 10)
            self.assertEqual([len(reply.body) for reply, _ in begun], [FULL] * 10)
            self.assertEqual((executor.unready(), executor.calls()), ("", ([], [])))
            if isinstance(executor, ThreadExecutor):
                await self.until(lambda: all(job.source.parked for job in executor._streams))
            calls = [dispatcher.dispatch(get("/plain", a=n)) for n in range(20)]
            self.assertEqual(
                [json_of(reply) for reply in await gatherResults(calls)], [{"a": n} for n in range(20)]
            )
            for reply, _ in begun:
                reader = Reader(reply.body)
                await self.until(lambda: len(reader.parts) > 100)  # noqa: B023
                reply.body.pauseProducing()
            await self.until(lambda: executor.parked == 10)
            for reply, path in begun:
                reply.body.stopProducing()
                await self.closed(path)

        await self.both(check)

    async def test_generator_of_a_lost_client_is_closed_in_its_context(self) -> None:
        """A parked generator whose client goes is closed at once: in its context, and not on the reactor."""

        async def check(executor: Any, dispatcher: Any) -> None:
            ((reply, path),) = await self.parked(executor, dispatcher, 1)
            reply.body.stopProducing()
            found = await self.closed(path)
            self.assertEqual(found["mark"], path)
            here = (get_ident(), os.getpid())
            self.assertNotEqual((found["thread"], found["pid"]), here)

        await self.both(check)

    async def test_only_one_large_part_is_made_ahead(self) -> None:
        """Credits count bytes too: of large parts, only one is made ahead."""

        async def check(executor: Any, dispatcher: Any) -> None:
            for size in (UNIT * 2, UNIT * 32):
                reply = await dispatcher.dispatch(get("/pieces", path=self.path(), size=size))
                await self.until(lambda: executor.parked == 1)
                self.assertLessEqual(len(reply.body), max(WINDOW * UNIT + size, size))
                reader = Reader(reply.body)
                await self.until(lambda: len(reader.parts) > 20)  # noqa: B023
                reply.body.stopProducing()
                await self.until(lambda: not dispatcher.in_flight)

        await self.both(check)

    async def test_late_parked_generator_is_closed_and_its_worker_lives(self) -> None:
        """A parked generator whose client reads nothing in time is closed; its worker lives on."""

        async def check(executor: Any, dispatcher: Any) -> None:
            pids = getattr(executor, "pids", ())
            ((reply, path),) = await self.parked(executor, dispatcher, 1, "/hurried")
            await self.closed(path)
            self.assertIn("within the time limit", await Reader(reply.body).ended)
            self.assertEqual(getattr(executor, "pids", ()), pids)

        await self.both(check)

    async def test_taking_a_part_prolongs_the_time_limit(self) -> None:
        """A client that takes a part now and then is not late, even if no part is made meanwhile."""
        executor, dispatcher = await self.place("threads", 1)
        ((reply, path),) = await self.parked(executor, dispatcher, 1, "/hurried")
        parts: list[bytes] = []

        def take(data: bytes) -> None:
            parts.append(data)
            reply.body.pauseProducing()

        reply.body.begin(take, lambda _: None)
        for _ in range(6):
            await deferLater(reactor, 0.15)
            reply.body.resumeProducing()
        self.assertFalse(reply.body.over)
        self.assertEqual(len(parts), 7)
        reply.body.stopProducing()
        await self.closed(path)

    async def test_stop_closes_parked_generators(self) -> None:
        """When the executor stops, parked generators are closed."""
        for name in ("threads", "processes"):
            executor, dispatcher = await self.place(name, 2)
            begun = await self.parked(executor, dispatcher, 3)
            await executor.stop()
            for reply, path in begun:
                self.assertIn("stopping", await Reader(reply.body).ended)
                self.assertTrue(os.path.exists(path + ".closed"))

    async def test_streams_do_not_delay_calls(self) -> None:
        """Streams that are read at once do not keep calls waiting, in a single thread or worker."""

        async def check(executor: Any, dispatcher: Any) -> None:
            replies = [await dispatcher.dispatch(get("/pieces", path=self.path(), size=10)) for _ in range(3)]
            readers = [Reader(reply.body) for reply in replies]
            for number in range(20):
                before = [len(reader.parts) for reader in readers]
                self.assertEqual(json_of(await dispatcher.dispatch(get("/plain", a=number))), {"a": number})
                await self.until(
                    lambda: all(len(r.parts) > n for r, n in zip(readers, before, strict=True))  # noqa: B023
                )
            for reply in replies:
                reply.body.stopProducing()

        await self.both(check, 1)


class WorkerTests(ParkingTestCase):
    """Tests of worker processes alone."""

    async def test_reloaded_worker_lives_until_its_generators_end(self) -> None:
        """A worker that is replaced lives until its parked generator has ended."""
        executor, dispatcher = await self.place("processes", 1)
        ((reply, path),) = await self.parked(executor, dispatcher, 1)
        (old,) = executor.pids
        await executor.reload(Router(streaming.url_patterns))
        self.assertNotIn(old, executor.pids)
        reader = Reader(reply.body)
        await self.until(lambda: len(reader.parts) > 100)
        reply.body.stopProducing()
        self.assertEqual((await self.closed(path))["pid"], old)
        await self.until(lambda: len(executor.pool.workers) == 1)

    async def test_replaced_worker_lives_until_its_generators_end(self) -> None:
        """A worker that has reached C{max_requests} lives until its parked generator has ended."""
        executor, dispatcher = await self.place("processes", 1, max_requests=1)
        ((reply, path),) = await self.parked(executor, dispatcher, 1)
        old = int(dict(reply.headers)["x-pid"])
        await self.until(lambda: executor.pids and old not in executor.pids)
        self.assertIn(old, [worker.pid for worker in executor.pool.workers])
        reply.body.stopProducing()
        self.assertEqual((await self.closed(path))["pid"], old)
        await self.until(lambda: old not in [worker.pid for worker in executor.pool.workers])

    async def test_stop_closes_generators_of_replaced_workers(self) -> None:
        """When the server stops, a worker that was replaced closes its parked generators, too."""
        executor, dispatcher = await self.place("processes", 1)
        path = self.path()
        await dispatcher.dispatch(get("/pieces", path=path, size=PIECE, seconds=0.1))
        await self.until(lambda: executor.parked == 1 and not executor.running)
        await executor.reload(Router(streaming.url_patterns))
        await executor.stop()
        self.assertTrue(os.path.exists(path + ".closed"))

    async def test_dead_worker_breaks_its_streams_off(self) -> None:
        """The death of a worker breaks off the answers of its parked generators."""
        executor, dispatcher = await self.place("processes", 1)
        begun = await self.parked(executor, dispatcher, 2)
        executor.pool.workers[0].kill("a test")
        for reply, _ in begun:
            self.assertIn("a test", await Reader(reply.body).ended)
        self.assertEqual((await dispatcher.dispatch(get("/plain", a=1))).status, 200)

    async def test_worker_of_a_hanging_finally_is_replaced(self) -> None:
        """A worker whose generator does not end when it is closed is replaced."""
        self.patch(worker_streams, "CLOSE_CHECK_INTERVAL", 0.1)
        executor, dispatcher = await self.place("processes", 1)
        path = self.path()
        reply = await dispatcher.dispatch(get("/lingers", path=path))
        await self.until(lambda: executor.parked == 1)
        (old,) = executor.pids
        await self.until(lambda: reply.body.over)
        self.assertIn("within the time limit", reply.body.failure)
        await self.until(lambda: executor.pids and old not in executor.pids)
        self.assertEqual(executor.parked, 0)

    async def test_late_call_behind_a_generator_does_not_end_it(self) -> None:
        """A call that waits for the step of a generator until it is late does not end the generator."""
        executor, dispatcher = await self.place("processes", 1)
        path = self.path()
        reader = Reader((await dispatcher.dispatch(get("/held", path=path))).body)
        await self.until(lambda: os.path.exists(path + ".begun"))
        self.assertEqual(executor.running, 1)
        self.assertEqual((await dispatcher.dispatch(get("/late_pid"))).status, 504)
        open(path, "w").close()
        self.assertEqual(await reader.ended, "")
        self.assertEqual(len(reader.parts), 2)
        self.assertEqual((await dispatcher.dispatch(get("/late_pid"))).status, 200)

    async def test_no_call_waits_behind_a_generator(self) -> None:
        """While one worker runs a step, calls go to the other worker, even many at the same time."""
        _, dispatcher = await self.place("processes", 2)
        path = self.path()
        reply = await dispatcher.dispatch(get("/held", path=path))
        reader = Reader(reply.body)
        await self.until(lambda: os.path.exists(path + ".begun"))
        for count in (1, 1, 50):
            calls = [dispatcher.dispatch(get("/pid")) for _ in range(count)]
            pids = {json_of(reply)["pid"] for reply in await gatherResults(calls)}
            self.assertEqual(len(pids - {json.loads(reader.parts[0])["pid"]}), 1)
        open(path, "w").close()
        self.assertEqual(await reader.ended, "")


class ReactorTests(ParkingTestCase):
    async def test_generator_on_the_reactor_yields_to_other_work(self) -> None:
        """A generator on the reactor that never waits lets the reactor do other work."""
        executor = InlineExecutor()
        dispatcher = self.dispatcher(executor, "inline", streaming.url_patterns)
        for target in ("/spins", "/inline/spins", "/spins_text"):
            replies: list[Reply] = []
            job = dispatcher.begin(get(target), lambda _, reply: replies.append(reply))  # noqa: B023
            await self.until(lambda: replies)  # noqa: B023
            self.assertIsInstance(replies[0].body, Stream)
            Reader(replies[0].body)
            longest, before = 0.0, reactor.seconds()  # type: ignore[attr-defined]
            for _ in range(50):
                await deferLater(reactor, 0)
                now = reactor.seconds()  # type: ignore[attr-defined]
                longest, before = max(longest, now - before), now
            self.assertLess(longest, 1.0)
            assert job is not None
            dispatcher.cancel(job)
            await self.until(lambda: not dispatcher.in_flight)
        self.assertEqual(executor.running, 0)


class ClusterTests(SynchronousTestCase):
    """Tests of streams on a cluster, which sends each reply as a whole."""

    def whole(self, target: str, **query: Any) -> Reply:
        call = get(target, **query)
        handler, groups = Router(streaming.url_patterns).match("GET", target)
        call = replace(call, handler=handler, groups=groups)
        return task.whole_reply(perform(call), call)

    def test_stream_is_sent_as_a_whole(self) -> None:
        """The response contains all items. It is 500 if the generator fails or yields too many."""
        self.assertEqual(self.whole("/counts", n=2).body, b'{"number":0}\n{"number":1}\n')
        reply = self.whole("/late")
        self.assertEqual((reply.status, json_of(reply)["status"]), (500, 500))
        self.assertIn("after the first item", reply.traceback)
        self.patch(task, "MAX_WHOLE", 10 * PIECE)
        path = os.path.abspath(self.mktemp())
        reply = self.whole("/pieces", path=path, size=PIECE)
        self.assertEqual(reply.status, 500)
        self.assertIn(f"may have {10 * PIECE} bytes", reply.traceback)
        with open(path + ".closed") as file:
            self.assertEqual(json.load(file)["mark"], path)
