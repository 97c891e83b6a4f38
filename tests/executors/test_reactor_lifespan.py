"""Tests of L{executors.reactor_lifespan}, and of the calls that wait for a lifespan in an AppResource."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from tests.support.executor_test_case import ExecutorTestCase, get, json_of
from tests.support.programs import ProgramTestCase
from twisted_appserver import AppResource, ConfigurationError, IExecutor, InlineExecutor, Route, make_service
from twisted_appserver.core.lifespan import check_lifespan
from twisted_appserver.executors.held_calls import HeldCalls
from twisted_appserver.executors.reactor_lifespan import LEAVE_TIMEOUT, ReactorLifespan

ASYNCIO = """\
import asyncio, sys

from twisted.internet import asyncioreactor

asyncioreactor.install()
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater, react

from twisted_appserver.core.lifespan import check_lifespan
from twisted_appserver.executors.reactor_lifespan import ReactorLifespan

seen = []


async def lifespan():
    await asyncio.sleep(0)
    await deferLater(reactor, 0)
    try:
        await fail(ValueError("of a Deferred"))
    except ValueError:
        seen.append("caught")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.sleep(0.01, "background"))
        yield
        seen.append(await task)
        seen.append(await deferLater(reactor, 0, str, "later"))


async def run(it):
    global reactor
    reactor = it
    made = ReactorLifespan(reactor, check_lifespan(lifespan))
    await made.enter()
    seen.append("entered")
    await made.leave()
    assert seen == ["caught", "entered", "background", "later"], seen
    print("all seen")


react(lambda it: Deferred.fromCoroutine(run(it)))
"""


class AsyncioTests(ProgramTestCase):
    async def test_lifespan_on_asyncio_awaits_futures_and_deferreds_in_one_task(self) -> None:
        program = self.python("-c", ASYNCIO)
        self.assertEqual(await program.ended, 0, program.output)
        self.assertIn("all seen", program.out)


class ReactorLifespanTests(TestCase):
    timeout = 20

    def lifespan(self, function: Callable[[], Any]) -> ReactorLifespan:
        return ReactorLifespan(reactor, check_lifespan(function))

    async def test_synchronous_lifespan_is_entered_and_left_by_one_thread(self) -> None:
        seen = []

        def lifespan() -> Iterator[None]:
            seen.append(threading.current_thread())
            yield
            seen.append(threading.current_thread())

        made = self.lifespan(lifespan)
        await made.enter()
        self.assertEqual(len(seen), 1)
        await made.leave()
        self.assertEqual(len(set(seen)), 1)
        self.assertTrue(seen[0].daemon)
        self.assertIsNot(seen[0], threading.main_thread())
        await made.leave()
        self.assertEqual(len(seen), 2)

    async def test_asynchronous_lifespan_runs_on_the_reactor(self) -> None:
        seen = []

        async def lifespan() -> AsyncIterator[None]:
            await deferLater(reactor, 0)
            seen.append(threading.current_thread())
            yield
            await deferLater(reactor, 0)
            seen.append(threading.current_thread())

        made = self.lifespan(lifespan)
        await made.enter()
        await made.leave()
        self.assertEqual(seen, [threading.main_thread()] * 2)

    async def test_asynchronous_lifespan_that_ends_early_is_logged_and_makes_the_service_unready(
        self,
    ) -> None:
        fails: Deferred[None] = Deferred()

        class Group:
            """Ends what runs inside when its task fails, as a task group does."""

            async def __aenter__(self) -> None:
                fails.addErrback(lambda failure: made._cancel())

            async def __aexit__(self, *_: object) -> None:
                raise RuntimeError("a task of the lifespan failed")

        lines = []
        globalLogPublisher.addObserver(lines.append)
        self.addCleanup(globalLogPublisher.removeObserver, lines.append)
        made = self.lifespan(Group)
        await made.enter()
        await deferLater(reactor, 0)
        self.assertEqual(made.problem, "")
        fails.errback(ValueError())
        self.assertEqual(made.problem, "the lifespan has ended")
        self.assertIn("a task of the lifespan failed", str(lines[-1]))
        await made.leave()

    async def test_stop_while_it_is_being_entered_leaves_it(self) -> None:
        seen, gate = [], threading.Event()

        def lifespan() -> Iterator[None]:
            seen.append("entering")
            gate.wait()
            yield
            seen.append("left")

        made = self.lifespan(lifespan)
        entered = made.enter()
        while not seen:
            await deferLater(reactor, 0.001)
        left = made.leave()
        self.assertNoResult(left)
        self.failureResultOf(entered, ConfigurationError)
        gate.set()
        await left
        self.assertEqual(seen, ["entering", "left"])

    async def test_lifespan_that_is_stopped_before_it_begins_is_not_entered(self) -> None:
        seen = []

        def lifespan() -> Iterator[None]:
            seen.append("entering")
            yield

        made = self.lifespan(lifespan)
        entered = made.enter()
        left = made.leave()
        self.failureResultOf(entered, ConfigurationError)
        await left
        self.assertEqual(seen, [])


class TimeoutTests(SynchronousTestCase):
    def test_lifespan_that_hangs_is_given_up_and_logged(self) -> None:
        memory = MemoryReactorClock()

        async def lifespan() -> AsyncIterator[None]:
            yield
            await Deferred()

        made = ReactorLifespan(memory, check_lifespan(lifespan))
        entered = made.enter()
        memory.advance(0)
        self.successResultOf(entered)
        left = made.leave()
        memory.advance(LEAVE_TIMEOUT - 1)
        self.assertNoResult(left)
        memory.advance(1)
        self.successResultOf(left)


class EmbeddedTests(ExecutorTestCase):
    """A lifespan that is passed as an argument."""

    def setUp(self) -> None:
        self.events: list[str] = []
        self.gate = threading.Event()

    @contextmanager
    def lifespan(self) -> Iterator[None]:
        self.gate.wait()
        self.events.append("enter")
        yield
        self.events.append("leave")

    def call(self) -> dict[str, Any]:
        return {"events": list(self.events)}

    async def coroutine(self) -> dict[str, Any]:
        return self.call()

    def patterns(self) -> list[Any]:
        return [(r"/call", self.call), Route(r"/coroutine", self.coroutine)]

    async def test_calls_of_a_resource_wait_for_its_lifespan_which_finish_leaves(self) -> None:
        resource = AppResource(self.patterns(), reactor, lifespan=self.lifespan)
        self.addCleanup(resource.dispatcher.stop)
        await deferLater(reactor, 0)  # trial starts the reactor
        calls = [resource.dispatcher.dispatch(get(path)) for path in ("/call", "/coroutine")]
        await deferLater(reactor, 0)
        for each in calls:
            self.assertNoResult(each)
        self.gate.set()
        for each in calls:
            self.assertEqual(json_of(await each), {"events": ["enter"]})
        await resource.finish()
        self.assertEqual(self.events, ["enter", "leave"])

    async def test_calls_of_a_resource_whose_lifespan_fails_get_503(self) -> None:
        def fails() -> Iterator[None]:
            raise OSError("no database")
            yield

        resource = AppResource(self.patterns(), reactor, lifespan=fails)
        self.addCleanup(resource.dispatcher.stop)
        await deferLater(reactor, 0.01)
        for _ in range(2):
            for path in ("/call", "/coroutine"):
                self.assertEqual((await resource.dispatcher.dispatch(get(path))).status, 503)
        await resource.finish()

    async def test_service_takes_a_lifespan_and_can_be_started_again(self) -> None:
        self.gate.set()
        service = make_service(self.patterns(), lifespan=self.lifespan, port=0, reactor=reactor)
        for number in (1, 2):
            service.startService()
            await service.started
            self.assertEqual(json_of(await service.dispatcher.dispatch(get("/call")))["events"][-1], "enter")
            await service.stopService()
            self.assertEqual(self.events, ["enter", "leave"] * number)

    async def test_service_is_stopped_while_a_lifespan_is_being_entered(self) -> None:
        service = make_service(self.patterns(), lifespan=self.lifespan, port=0, reactor=reactor)
        service.startService()
        call = service.dispatcher.dispatch(get("/call"))
        await deferLater(reactor, 0.01)
        self.assertEqual(service.unready(), "the lifespan is being entered")
        stopped = service.stopService()
        self.assertEqual((await call).status, 503)
        self.gate.set()
        await stopped
        self.assertEqual(self.events, ["enter", "leave"])

    def test_worker_processes_need_a_lifespan_that_they_can_import(self) -> None:
        options: dict[str, Any] = {"app": "tests.support.cases", "server_type": "forked", "reactor": reactor}
        error = self.assertRaises(ConfigurationError, make_service, lifespan=self.lifespan, **options)
        self.assertIn("worker processes import the lifespan", str(error))

    def test_calls_that_are_held_keep_the_promises_of_an_executor(self) -> None:
        verifyObject(IExecutor, HeldCalls(InlineExecutor()))
