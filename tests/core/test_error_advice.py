"""Tests of L{twisted_appserver.core.error_advice}."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.support.calling import call
from twisted_appserver import Call, HTTPError
from twisted_appserver.core.error_advice import ADVICE, advice_for, format_traceback, reason_of
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.json_encoding import encode
from twisted_appserver.core.perform import perform
from twisted_appserver.executors.inline import InlineExecutor
from twisted_appserver.executors.interface import PendingCall


class SynchronousOnlyOperation(Exception):
    """Raises the error of Django."""


class AsyncLibraryNotFoundError(RuntimeError):
    """Like the one in sniffio, which httpx uses."""


class DataFrame:
    """Like the one in pandas."""


def in_thread(function: Callable[[], object]) -> BaseException:
    """Return the exception that a function raises in a thread."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    (error,) = raised
    return error


def raised(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def other_thread() -> BaseException:
    connection = sqlite3.connect(":memory:")
    try:
        return in_thread(lambda: connection.execute("SELECT 1"))
    finally:
        connection.close()


def nested_run() -> BaseException:
    async def outer() -> BaseException:
        never = asyncio.sleep(0)
        try:
            return raised(lambda: asyncio.run(never))
        finally:
            never.close()

    return asyncio.run(outer())


def nested_loop() -> BaseException:
    async def outer() -> BaseException:
        loop, never = asyncio.get_running_loop(), asyncio.sleep(0)
        try:
            return raised(lambda: loop.run_until_complete(never))
        finally:
            never.close()

    return asyncio.run(outer())


def deferred_in_task() -> BaseException:
    async def awaits() -> None:
        await Deferred()

    return raised(lambda: asyncio.run(awaits()))


def frame() -> BaseException:
    return TypeError(f"{DataFrame()!r} (DataFrame) has no equivalent in JSON")


def unawaited() -> BaseException:
    async def other() -> None: ...

    never = other()
    try:
        return raised(lambda: encode({"x": never}))
    finally:
        never.close()


async def items() -> AsyncIterator[int]:
    yield 1


CASES: tuple[tuple[Callable[[], BaseException], str], ...] = (
    (other_thread, "check_same_thread=False"),
    (lambda: in_thread(lambda: signal.signal(signal.SIGINT, signal.default_int_handler)), "--type forked"),
    (nested_run, "await it"),
    (nested_loop, "await it"),
    (lambda: in_thread(asyncio.get_event_loop), "use asyncio.run(), or write an async def"),
    (lambda: raised(asyncio.get_running_loop), "--reactor=asyncio"),
    (AsyncLibraryNotFoundError, "--reactor=asyncio"),
    (deferred_in_task, "asFuture"),
    (lambda: SynchronousOnlyOperation("You cannot call this from an async context"), "Django's asynchronous"),
    (
        lambda: AssertionError("daemonic processes are not allowed to have children"),
        "DASK_DISTRIBUTED__WORKER__DAEMON=False",
    ),
    (lambda: HTTPError(409, "late"), "before the first yield"),
    (frame, 'to_dict("records")'),
    (unawaited, "await it before you return it"),
    (lambda: raised(lambda: encode({"x": Deferred()})), "await it before you return it"),
    (lambda: raised(lambda: encode({"x": items()})), "in an async for"),
)


class AdviceTests(SynchronousTestCase):
    def test_every_advice_is_given(self) -> None:
        """Each exception gets its advice. Most of them are raised by the real library."""
        found = set()
        for make, said in CASES:
            error = make()
            advice = advice_for(error)
            self.assertIn(said, advice, repr(error))
            found.add(advice)
        self.assertEqual(found, {text for _, _, text in ADVICE})

    def test_other_exceptions_get_no_advice(self) -> None:
        for error in (RuntimeError("other"), TypeError("other"), ValueError(), KeyError("DataFrame")):
            self.assertEqual(advice_for(error), "")

    def test_awaiting_asyncio_on_the_reactor_logs_advice(self) -> None:

        async def sleeps() -> Any:
            await asyncio.sleep(0.1)

        async def timeout() -> Any:
            async with asyncio.timeout(1):
                return {}

        async def task() -> Any:
            await asyncio.to_thread(int)

        def now(function: Any) -> Any:
            return InlineExecutor().now(Call("GET", "/", handler=Handler(function)))

        for reply in [now(function) for function in (sleeps, timeout, task)]:
            self.assertEqual(reply.status, 500)
            self.assertIn("does not run on asyncio here", reply.traceback)
            self.assertIn("--reactor=asyncio", reply.traceback)


class ReasonTests(SynchronousTestCase):
    """What the first line of the log says about an exception."""

    def raised(self, error: BaseException) -> str:
        try:
            raise error
        except BaseException as caught:
            return format_traceback(caught)

    def test_reason_is_the_line_that_names_the_exception(self) -> None:
        noted = ValueError("first line\nsecond line")
        noted.add_note("  a note")
        group = ExceptionGroup("several", [ValueError("one"), KeyError("two")])
        caused = RuntimeError("the last one")
        caused.__cause__ = KeyError("the first one")
        for error, reason in (
            (caused, "RuntimeError: the last one"),
            (ValueError("on purpose"), "ValueError: on purpose"),
            (KeyError(), "KeyError"),
            (noted, "ValueError: first line"),
            (group, "ExceptionGroup: several (2 sub-exceptions)"),
        ):
            self.assertEqual(reason_of(self.raised(error)), reason)
        self.assertEqual(reason_of("TypeError: no frames\n"), "TypeError: no frames")
        self.assertEqual(reason_of(""), "")

    def test_frames_of_this_package_are_left_out_of_causes_too(self) -> None:
        def fail() -> None:
            try:
                perform("no call")  # type: ignore[arg-type]
            except AttributeError as error:
                raise RuntimeError("no") from error

        text = call(fail).traceback
        self.assertIn("direct cause", text)
        self.assertNotIn("perform.py", text)
        self.assertEqual(text.count("File "), 2, text)

    def test_traceback_of_a_coroutine_begins_there_too(self) -> None:
        """Whether a Deferred continues it on the reactor or, as a lifespan, in a Deferred of its own."""
        awaited: list[Deferred[Any]] = []

        async def function() -> None:
            awaited.append(Deferred())
            await awaited[-1]

        texts: list[str] = []
        pending = PendingCall(
            Call("GET", "/", handler=Handler(function)),
            ended=lambda _, reply: texts.append(reply.traceback),
            answer=lambda *_: None,
        )
        InlineExecutor().submit(pending)
        whole = Deferred.fromCoroutine(function())
        whole.addErrback(lambda failure: texts.append(format_traceback(failure.value)))
        for each in awaited:
            each.errback(ValueError("no"))
        self.assertEqual(len(texts), 2)
        for text in texts:
            self.assertIn("test_error_advice.py", text.splitlines()[1])

    def test_traceback_begins_at_the_function(self) -> None:
        text = call(lambda: [][1]).traceback
        self.assertEqual(text.count("File "), 1, text)
        self.assertIn("test_error_advice.py", text)
