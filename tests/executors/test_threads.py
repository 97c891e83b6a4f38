"""Tests of what L{ThreadExecutor} promises beyond the common table."""

from __future__ import annotations

import errno
import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.executor_test_case import ExecutorTestCase, get, json_of
from twisted_appserver import Route, ThreadExecutor
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.executors import threads
from twisted_appserver.executors.wakeup import Wakeup


class Gate:
    """Functions that wait for each other, or until they are let go."""

    def __init__(self, meeting: int = 1) -> None:
        self.barrier = threading.Barrier(meeting)
        self.open = threading.Event()
        self.begun: list[str] = []  # in the order in which functions began
        self.patterns = (
            (r"/meet/", self.meet),
            (r"/hold/(?P<name>)/", self.hold),
            Route(r"/hurried/(?P<name>)/", self.hold, timeout=0.05),
            (r"/fast/(?P<name>)/", self.fast),
        )

    def meet(self) -> dict[str, Any]:
        return {"place": self.barrier.wait(10)}

    def hold(self, name: str) -> dict[str, Any]:
        self.begun.append(name)
        return {"let_go": self.open.wait(20)}

    def fast(self, name: str) -> dict[str, Any]:
        self.begun.append(name)
        return {"name": name}


class ThreadTests(ExecutorTestCase):
    timeout = 20

    async def gate(self, size: int, meeting: int = 1) -> tuple[Gate, ThreadExecutor, Dispatcher]:
        gate = Gate(meeting)
        executor, dispatcher = await self.threads(size, patterns=gate.patterns)
        self.addCleanup(gate.open.set)
        return gate, executor, dispatcher

    async def test_at_the_same_time(self) -> None:
        """Ten calls run at the same time in ten threads, again and again."""
        _, executor, dispatcher = await self.gate(10, meeting=10)
        for _ in range(20):
            replies = await gatherResults([dispatcher.dispatch(get("/meet/")) for _ in range(10)])
            self.assertEqual(sorted(json_of(reply)["place"] for reply in replies), list(range(10)))
        self.assertEqual(executor.completed, 200)

    async def test_calls_that_arrive_one_by_one_run_at_the_same_time(self) -> None:
        """Each arrives in another iteration of the reactor."""
        gate, executor, dispatcher = await self.gate(3)
        held = []
        for name in "abc":
            held.append(dispatcher.dispatch(get(f"/hold/{name}/")))
            await self.until(lambda name=name: name in gate.begun)
        self.assertEqual((executor.running, executor.pending), (3, 0))
        gate.open.set()
        await gatherResults(held)

    async def test_no_call_waits_behind_a_slow_one_while_a_thread_is_free(self) -> None:
        gate, executor, dispatcher = await self.gate(10)
        held = [dispatcher.dispatch(get(f"/hold/{n}/")) for n in range(9)]
        fast = [dispatcher.dispatch(get(f"/fast/x{n}/")) for n in range(100)]
        self.assertEqual([json_of(reply)["name"] for reply in await gatherResults(fast)][-1], "x99")
        self.assertEqual((executor.running, executor.pending, executor.completed), (9, 0, 100))
        gate.open.set()
        await gatherResults(held)
        self.assertEqual((executor.running, executor.pending, executor.completed), (0, 0, 109))

    async def test_slow_call_of_a_quick_function_delays_no_other(self) -> None:
        """A thread takes the calls behind it."""
        gate, executor, dispatcher = await self.gate(2)
        gate.open.set()
        await dispatcher.dispatch(get("/hold/quick/"))
        await self.until(lambda: len(executor._idle) == 1)  # then the reactor will wait for it
        gate.open.clear()
        held, fast = (dispatcher.dispatch(get(path)) for path in ("/hold/slow/", "/fast/x/"))
        self.assertEqual(json_of(await fast), {"name": "x"})
        self.assertEqual((held.called, executor.running), (False, 1))
        gate.open.set()
        await held

    async def test_threads_serve_without_free_descriptors(self) -> None:
        """A thread that cannot wait ends after its calls, and new threads are started."""

        def none_left(_: float) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(threads, "Wakeup", none_left)
        _, executor, dispatcher = await self.gate(2)
        for size in (1, 20, 1):
            replies = [dispatcher.dispatch(get(f"/fast/{n}/")) for n in range(size)]
            names = [json_of(reply)["name"] for reply in await gatherResults(replies)]
            self.assertEqual(names, [str(n) for n in range(size)])
            await self.until(lambda: executor._threads == 0)
        self.assertEqual(executor.completed, 22)

    async def test_idle_thread_returns_to_its_pool_and_closes_its_descriptors(self) -> None:
        wakeups: list[Wakeup] = []

        def made(timeout: float) -> Wakeup:
            wakeups.append(Wakeup(timeout))
            return wakeups[-1]

        self.patch(threads, "Wakeup", made)
        gate, executor, dispatcher = await self.gate(3)
        held = [dispatcher.dispatch(get(f"/hold/{n}/")) for n in range(3)]
        await self.until(lambda: len(gate.begun) == 3)
        gate.open.set()
        await gatherResults(held)
        await self.until(lambda: executor._threads == 0 and executor._idle == [])
        await self.until(lambda: [wakeup._reader.fileno() for wakeup in wakeups] == [-1] * 3)
        self.assertEqual((await dispatcher.dispatch(get("/fast/x/"))).status, 200)

    async def test_call_that_arrives_while_a_thread_leaves_runs_in_that_thread(self) -> None:
        """Otherwise the pool would make a thread more than the executor has."""
        late: Deferred[Any] = Deferred()
        threads_used: list[int] = []

        class Leaving(Wakeup):
            def close(self) -> None:
                if not late.called:
                    submitted = threading.Event()
                    reactor.callFromThread(submit, submitted)  # type: ignore[attr-defined]
                    submitted.wait(10)
                super().close()

        def submit(submitted: threading.Event) -> None:
            reply = dispatcher.dispatch(get("/thread/"))
            reactor.callLater(0.01, submitted.set)  # type: ignore[attr-defined]
            late.callback([reply])

        def thread() -> dict[str, Any]:
            threads_used.append(threading.get_ident())
            return {}

        self.patch(threads, "Wakeup", Leaving)
        executor = ThreadExecutor(reactor, 1)  # the reactor's pool has room for more threads
        self.addCleanup(executor.stop)
        await executor.start()
        dispatcher = self.dispatcher(executor, "threads", ((r"/thread/", thread),))
        await dispatcher.dispatch(get("/thread/"))
        (reply,) = await late
        self.assertEqual((await reply).status, 200)
        self.assertEqual(threads_used, [threads_used[0]] * 2)

    async def test_each_reply_of_a_batch_arrives_once(self) -> None:
        gate, executor, dispatcher = await self.gate(3)
        for size in (1, 2, 50, 1, 200):
            replies = [dispatcher.dispatch(get(f"/fast/{n}/")) for n in range(size)]
            names = [json_of(reply)["name"] for reply in await gatherResults(replies)]
            self.assertEqual(names, [str(n) for n in range(size)])
        self.assertEqual((executor.completed, executor.pending, len(gate.begun)), (254, 0, 254))

    async def test_busy_executor_leaves_the_threads_of_the_reactor_free(self) -> None:
        pool, gate = reactor.getThreadPool(), Gate()  # type: ignore[attr-defined]
        self.addCleanup(gate.open.set)
        before = pool.max
        for size in (None, 3):
            executor = ThreadExecutor(reactor, size)
            self.addCleanup(executor.stop)
            await executor.start()
            self.assertEqual((executor.size, pool.max), (size or before, before + (size or before)))
            dispatcher = self.dispatcher(executor, "threads", gate.patterns)
            held = [dispatcher.dispatch(get(f"/hold/{n}/")) for n in range(executor.size)]
            await self.until(lambda executor=executor: executor.running == executor.size)
            self.assertEqual(await deferToThread(lambda: "done").addTimeout(5, reactor), "done")
            gate.open.set()
            await gatherResults(held)
            gate.open.clear()
            await executor.stop()
            self.assertEqual(pool.max, before)

    async def test_calls_begin_in_the_order_of_submission(self) -> None:
        gate, executor, dispatcher = await self.gate(1)
        first = dispatcher.dispatch(get("/hold/first/"))
        rest = [dispatcher.dispatch(get(f"/fast/{n}/")) for n in range(50)]
        await self.until(lambda: gate.begun)
        self.assertEqual((executor.running, executor.pending), (1, 50))
        gate.open.set()
        await gatherResults([first, *rest])
        self.assertEqual(gate.begun, ["first", *map(str, range(50))])

    async def test_call_that_is_cancelled_before_it_begins_is_never_performed(self) -> None:
        gate, executor, dispatcher = await self.gate(1)
        held = dispatcher.dispatch(get("/hold/first/"))
        await self.until(lambda: gate.begun)
        waiting = [dispatcher.dispatch(get(f"/fast/{n}/")) for n in range(3)]
        waiting[1].cancel()
        self.failureResultOf(waiting[1], CancelledError)
        self.assertEqual((executor.running, executor.pending), (1, 2))
        gate.open.set()
        await gatherResults([held, waiting[0], waiting[2]])
        self.assertEqual(gate.begun, ["first", "0", "2"])
        self.assertEqual(dispatcher.in_flight, 0)

    async def test_thread_of_a_cancelled_call_is_busy_until_the_call_ends(self) -> None:
        gate, executor, dispatcher = await self.gate(1)
        held = dispatcher.dispatch(get("/hold/first/"))
        await self.until(lambda: gate.begun)
        held.cancel()
        self.failureResultOf(held, CancelledError)
        self.assertEqual(executor.running, 1)
        waiting = dispatcher.dispatch(get("/fast/next/"))
        gate.open.set()
        await waiting
        self.assertEqual((executor.running, executor.pending), (0, 0))

    async def test_late_call_gets_504_and_its_thread_counts_as_busy(self) -> None:
        """Whether it runs or waits."""
        gate, executor, dispatcher = await self.gate(1)
        calls = [dispatcher.dispatch(get(f"/hurried/{name}/")) for name in "ab"]
        replies = await gatherResults(calls)
        self.assertEqual([reply.status for reply in replies], [504, 504])
        self.assertEqual((executor.running, executor.pending, gate.begun), (1, 0, ["a"]))
        gate.open.set()
        await self.until(lambda: not executor.running)

    async def test_error_in_a_callback_affects_no_other_reply(self) -> None:
        _, _, dispatcher = await self.gate(4)
        replies = [dispatcher.dispatch(get(f"/fast/{n}/")) for n in range(20)]
        replies[3].addCallback(lambda _: 1 / 0)
        await gatherResults(replies[:3] + replies[4:])
        self.failureResultOf(replies[3], ZeroDivisionError)

    async def test_stop_gives_running_and_waiting_calls_503(self) -> None:
        """Waiting calls never begin."""
        gate, executor, dispatcher = await self.gate(1)
        held, waiting = (dispatcher.dispatch(get(f"/hold/{name}/")) for name in ("first", "second"))
        await self.until(lambda: gate.begun)
        stopped = executor.stop()
        self.assertEqual([(await held).status, (await waiting).status], [503, 503])
        gate.open.set()
        await stopped
        await self.until(lambda: not executor.running)
        self.assertEqual((executor.pending, gate.begun), (0, ["first"]))


class WakeupTests(TestCase):
    def test_wake_before_the_wait_ends_it_once(self) -> None:
        wakeup = Wakeup(0.01)
        self.addCleanup(wakeup.close)
        self.assertFalse(wakeup.wait())
        wakeup.wake()
        self.assertEqual((wakeup.wait(), wakeup.wait()), (True, False))

    def test_wake_during_the_wait_ends_it_at_once(self) -> None:
        wakeup = Wakeup(20.0)
        self.addCleanup(wakeup.close)
        listener = threading.Thread(target=wakeup.wait, daemon=True)
        listener.start()
        listener.join(0.01)
        self.assertTrue(listener.is_alive())
        wakeup.wake()
        listener.join(10)
        self.assertFalse(listener.is_alive())
