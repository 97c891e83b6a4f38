"""Tests of L{twisted_appserver.executors.call_task}: coroutine functions on asyncio's event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import Call, InlineExecutor, Reply, Router
from twisted_appserver.core.call import CURRENT
from twisted_appserver.dispatch.dispatcher import Dispatcher

MOMENT = 0.001
NAME: ContextVar[str] = ContextVar("name", default="")


class LoopTime:
    """The time and the timers of the running event loop, as an C{IReactorTime}."""

    seconds = staticmethod(time.time)

    def callLater(self, delay: float, function: Callable[..., Any], *arguments: Any) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay, function, *arguments)


def fires_later(value: Any) -> Deferred[Any]:
    """Return a Deferred that will fire, with a failure if the value is an exception."""
    deferred: Deferred[Any] = Deferred()
    fire = deferred.errback if isinstance(value, Exception) else deferred.callback
    asyncio.get_running_loop().call_later(MOMENT, fire, value)
    return deferred


class LoopTestCase(SynchronousTestCase):
    timeout = 20

    def serve(self, function: Callable[..., Any], use: Callable[[Dispatcher], Awaitable[Any]]) -> Any:
        """Serve a function on an event loop of asyncio, and use it."""

        async def main() -> Any:
            dispatcher = Dispatcher(
                LoopTime(), Router([(r"/", function)]), {"inline": InlineExecutor()}, "inline", timeout=0
            )
            try:
                async with asyncio.timeout(10):
                    return await use(dispatcher)
            finally:
                dispatcher.stop()
                await asyncio.sleep(0)
                self.assertEqual(asyncio.all_tasks(), {asyncio.current_task()})
                self.assertEqual(dispatcher.executors["inline"].running, 0)

        return asyncio.run(main())

    async def call(self, dispatcher: Dispatcher) -> Reply:
        loop = asyncio.get_running_loop()
        return await dispatcher.dispatch(Call("GET", "/")).asFuture(loop)

    def reply(self, function: Callable[..., Any]) -> Reply:
        """Call a function, and return the reply."""
        return self.serve(function, self.call)  # type: ignore[no-any-return]

    def check(self, function: Callable[..., Any], body: bytes) -> None:
        reply = self.reply(function)
        self.assertEqual((reply.status, reply.body), (200, body), reply.traceback)


class AwaitTests(LoopTestCase):
    def test_one_function_awaits_asyncio_and_deferreds(self) -> None:
        async def function() -> dict[str, Any]:
            async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                first = group.create_task(asyncio.sleep(MOMENT, 1))
                second = await fires_later(2)
            third, fourth = await asyncio.gather(asyncio.to_thread(int, "3"), asyncio.sleep(0, 4))
            await asyncio.sleep(0)
            return {"found": [first.result(), second, third, fourth]}

        self.check(function, b'{"found":[1,2,3,4]}')

    def test_failed_deferred_raises_its_exception(self) -> None:
        async def function() -> dict[str, Any]:
            try:
                await fires_later(KeyError("lost"))
            except KeyError as error:
                return {"caught": error.args[0]}
            return {}

        self.check(function, b'{"caught":"lost"}')

    def test_failed_future_raises_its_exception(self) -> None:
        async def fails() -> None:
            await asyncio.sleep(0)
            raise ValueError("no")

        async def function() -> dict[str, Any]:
            await asyncio.create_task(fails())
            return {}

        reply = self.reply(function)
        self.assertEqual(reply.status, 500)
        self.assertIn("ValueError: no", reply.traceback)

    def test_traceback_begins_with_the_error_of_the_function(self) -> None:
        """Not with the error by which the executor finds out that another task is running."""

        async def function() -> dict[str, Any]:
            raise ValueError("no")

        traceback = self.reply(function).traceback
        self.assertIn("ValueError: no", traceback)
        self.assertNotIn("During handling", traceback)

    def test_function_may_return_a_future(self) -> None:
        def function() -> asyncio.Future[dict[str, Any]]:
            return asyncio.ensure_future(asyncio.sleep(MOMENT, {"future": True}))

        self.check(function, b'{"future":true}')

    def test_stream_awaits_asyncio(self) -> None:
        async def function() -> AsyncIterator[dict[str, Any]]:
            for number in range(2):
                async with asyncio.timeout(10):
                    await asyncio.sleep(MOMENT)
                yield {"n": number + await fires_later(1)}

        async def use(dispatcher: Dispatcher) -> bytes:
            reply = await self.call(dispatcher)
            ended = asyncio.get_running_loop().create_future()
            parts: list[bytes] = []
            reply.body.begin(parts.append, ended.set_result)  # type: ignore[union-attr]
            self.assertEqual(await ended, "")
            return b"".join(parts)

        self.assertEqual(self.serve(function, use), b'{"n":1}\n{"n":2}\n')

    def test_future_of_another_loop_is_refused(self) -> None:
        other = asyncio.new_event_loop()
        self.addCleanup(other.close)

        async def function() -> dict[str, Any]:
            await other.create_future()
            return {}

        reply = self.reply(function)
        self.assertEqual(reply.status, 500)
        self.assertIn("belongs to another event loop", reply.traceback)

    def test_deferred_fired_by_another_call_continues_in_its_own_task(self) -> None:
        """A step of one call runs within a step of another, and each sees its own task and context."""
        waiting: list[Deferred[None]] = []

        async def function(name: str) -> dict[str, Any]:
            task, call = asyncio.current_task(), CURRENT.get()
            NAME.set(name)
            if name == "first":
                waiting.append(Deferred())
                await waiting[0]
            else:
                await asyncio.sleep(0)
                waiting.pop().callback(None)
            own = task is asyncio.current_task() and call is CURRENT.get() and NAME.get() == name
            return {"name": name, "own": own}

        async def use(dispatcher: Dispatcher) -> list[Any]:
            loop = asyncio.get_running_loop()
            calls = [Call("GET", "/", f"name={name}") for name in ("first", "second")]
            return await asyncio.gather(*(dispatcher.dispatch(call).asFuture(loop) for call in calls))

        replies = self.serve(function, use)
        self.assertEqual(
            [reply.body for reply in replies],
            [b'{"name":"first","own":true}', b'{"name":"second","own":true}'],
        )

    def test_coroutine_that_does_not_wait_is_answered_at_once(self) -> None:
        """It does not cost an iteration of the event loop."""

        async def function() -> dict[str, Any]:
            return {"task": asyncio.current_task() is not None}

        async def use(dispatcher: Dispatcher) -> Any:
            replies: list[Reply] = []
            dispatcher.begin(Call("GET", "/"), lambda _, reply: replies.append(reply))
            return replies[0].body

        self.assertEqual(self.serve(function, use), b'{"task":true}')


class CancellationTests(LoopTestCase):
    def test_timeout_ends_the_wait_for_a_deferred_and_for_a_future(self) -> None:
        cancelled: list[Deferred[None]] = []

        async def function() -> dict[str, Any]:
            for awaited in (Deferred(cancelled.append), asyncio.sleep(1000)):
                try:
                    async with asyncio.timeout(MOMENT):
                        await awaited
                except TimeoutError:
                    continue
                return {}
            return {"cancelled": len(cancelled), "left": asyncio.current_task().cancelling()}

        self.check(function, b'{"cancelled":1,"left":0}')

    def test_failing_task_of_a_group_cancels_the_function(self) -> None:
        async def fails() -> None:
            raise ValueError("no")

        async def function() -> dict[str, Any]:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fails())
                    await Deferred()
            except* ValueError as errors:
                found = str(errors.exceptions[0])
            return {"found": found}

        self.check(function, b'{"found":"no"}')

    def test_function_may_cancel_itself(self) -> None:
        for awaited in (lambda: asyncio.sleep(1000), Deferred, lambda: asyncio.sleep(0)):

            async def function(awaited: Any = awaited) -> dict[str, Any]:
                task = asyncio.current_task()
                task.cancel("enough")
                try:
                    await awaited()
                except asyncio.CancelledError as error:
                    return {"why": error.args[0], "left": task.uncancel()}
                return {}

            with self.subTest(awaited):
                self.check(lambda f=function: f(), b'{"why":"enough","left":0}')

    def cancelled(self, wait: Callable[[], Awaitable[Any]], error: type[BaseException]) -> list[str]:
        """Cancel a call while it waits. Return what its function has noticed."""
        noticed: list[str] = []

        async def function() -> dict[str, Any]:
            try:
                await wait()
            except error:
                noticed.append("cancelled")
                raise
            finally:
                await asyncio.sleep(0)
                noticed.append("finally")
            return {}

        async def use(dispatcher: Dispatcher) -> None:
            pending: Any = dispatcher.begin(Call("GET", "/"), lambda *_: noticed.append("answered"))
            await asyncio.sleep(MOMENT)
            self.assertEqual(dispatcher.executors["inline"].running, 1)
            dispatcher.cancel(pending)
            while dispatcher.executors["inline"].running:
                await asyncio.sleep(0)

        self.serve(function, use)
        return noticed

    def test_cancelled_call_raises_the_error_of_asyncio_and_of_twisted(self) -> None:
        """A cancelled wait for a Deferred is caught as either; a cancelled wait for a future as asyncio's."""
        for wait, error in (
            (Deferred, defer.CancelledError),
            (Deferred, asyncio.CancelledError),
            (lambda: asyncio.sleep(1000), asyncio.CancelledError),
        ):
            with self.subTest(error):
                self.assertEqual(self.cancelled(wait, error), ["cancelled", "finally"])

    def test_stopping_waits_until_cancelled_coroutines_have_ended(self) -> None:
        noticed: list[str] = []

        async def function() -> dict[str, Any]:
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(MOMENT)
                noticed.append("finally")
            return {}

        async def use(dispatcher: Dispatcher) -> Any:
            call = asyncio.ensure_future(self.call(dispatcher))
            await asyncio.sleep(MOMENT)
            await dispatcher.executors["inline"].stop().asFuture(asyncio.get_running_loop())
            return (await call).status, list(noticed)

        self.assertEqual(self.serve(function, use), (503, ["finally"]))


class BlockingTests(LoopTestCase):
    def test_blocked_reactor_is_logged_once_a_minute(self) -> None:
        """Each step counts alone, and the entry names the function and the duration."""
        logged: list[dict[str, Any]] = []

        async def function(before: float = 0, after: float = 0) -> dict[str, Any]:
            time.sleep(before)
            await asyncio.sleep(0)
            time.sleep(after)
            return {}

        function.__qualname__ = "function"

        async def use(dispatcher: Dispatcher) -> None:
            loop = asyncio.get_running_loop()
            for query in ("after=.06", "before=.06&after=.06", "after=.15", "before=.15"):
                await dispatcher.dispatch(Call("GET", "/", query)).asFuture(loop)

        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        self.serve(function, use)
        logged = [event for event in logged if "blocked" in (event.get("log_format") or "")]
        self.assertEqual(len(logged), 1)
        self.assertEqual(logged[0]["name"], "function")
        self.assertGreater(logged[0]["seconds"], 0.15)
