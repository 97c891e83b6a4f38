"""Tests of L{core.lifespan}: which lifespans are accepted, and how a worker process enters and leaves one."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any
from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import ConfigurationError, Router
from twisted_appserver.core.lifespan import ProcessLifespan, check_lifespan
from twisted_appserver.testing import Client

Log = list[str]


def forms(log: Log) -> list[Callable[[], Any]]:
    """Return a lifespan of each form, which notes what happens to it."""

    def generator() -> Iterator[None]:
        log.append("enter")
        yield
        log.append("leave")

    async def async_generator() -> AsyncIterator[None]:
        await asyncio.sleep(0)
        log.append("enter")
        async with asyncio.TaskGroup():
            yield
        await asyncio.sleep(0)
        log.append("leave")

    class Manager:
        def __enter__(self) -> None:
            log.append("enter")

        def __exit__(self, *_: object) -> None:
            log.append("leave")

    made = contextmanager(generator), asynccontextmanager(async_generator)
    return [generator, async_generator, *made, Manager]


class FormTests(SynchronousTestCase):
    """A lifespan may be a generator function, or a function that returns a context manager."""

    def test_every_form_is_entered_and_left_once(self) -> None:
        log: Log = []
        for form in forms(log):
            lifespan = ProcessLifespan(check_lifespan(form))
            self.assertEqual(log, [])
            lifespan.enter()
            self.assertEqual(log, ["enter"], form)
            lifespan.leave()
            lifespan.leave()
            self.assertEqual(log, ["enter", "leave"], form)
            log.clear()

    def test_wrong_form_is_refused_when_the_table_is_loaded(self) -> None:
        async def coroutine() -> None: ...

        def with_argument(app: Any) -> Iterator[None]:
            yield

        def without_yield() -> None:
            if log:
                return
            log.append("opened")

        log: Log = []
        generator, async_generator, made, *_ = forms(log)
        wrong: list[tuple[str, Any]] = [
            ("not 5", 5),
            ("(app: 'Any') -> ", with_argument),
            ("lifespan is a coroutine function; it needs a yield", coroutine),
            ("lifespan is a coroutine function; it needs a yield", asynccontextmanager(coroutine)),
            ("lifespan has no yield; it needs one,", without_yield),
            ("lifespan has no yield; it needs one,", contextmanager(without_yield)),
            ("decorate it with contextlib.asynccontextmanager", contextmanager(async_generator)),
            ("decorate it with contextlib.contextmanager", asynccontextmanager(generator)),
            ("lifespan is the result of a call; write lifespan without ()", made()),
            ("lifespan is the class dict, which is not a context manager", dict),
        ]
        for expected, value in wrong:
            error = self.assertRaises(ConfigurationError, Router, [], value)
            self.assertIn(expected, str(error))
            self.assertNotIn("\n", str(error))
        self.assertEqual(log, [])

    def test_function_that_may_return_a_context_manager_is_accepted(self) -> None:
        """Nothing is called to find out."""

        def chooses() -> Any:
            return None if not threading else nullcontext()

        def returns() -> Any:
            if not threading:
                return None
            return nullcontext()

        for function in (chooses, returns, lambda: threading and nullcontext(), nullcontext, Mock()):
            self.assertIs(check_lifespan(function), function)

    def test_lifespan_that_cannot_be_entered_is_an_error_of_one_line(self) -> None:
        def raises() -> Iterator[None]:
            raise OSError("no\ndatabase")
            yield

        def never() -> Iterator[None]:
            if not threading:
                yield

        async def never_later() -> AsyncIterator[None]:
            if not threading:
                yield

        async def exits() -> AsyncIterator[None]:
            raise SystemExit(3)
            yield

        cases = {
            ": OSError: no database": raises,
            "generator didn't yield": never,
            "the lifespan failed": never_later,
            "which is not a context manager": lambda: 5,
        }
        for expected, value in cases.items():
            lifespan = ProcessLifespan(check_lifespan(value))
            error = self.assertRaises(ConfigurationError, lifespan.enter)
            self.assertIn(expected, str(error))
            self.assertNotIn("\n", str(error))
            lifespan.leave()


class TaskTests(SynchronousTestCase):
    """Tasks that an asynchronous lifespan starts, in a process without an event loop of its own."""

    def test_tasks_that_do_not_run_meanwhile_are_logged_once(self) -> None:
        """In one line, which names them. A lifespan without tasks logs nothing."""

        async def refresh() -> None:
            await asyncio.sleep(3600)

        @asynccontextmanager
        async def with_tasks() -> AsyncIterator[None]:
            tasks = [asyncio.create_task(refresh()) for _ in range(2)]
            yield
            for task in tasks:
                task.cancel()

        _, without_tasks, *_ = forms([])
        for function, expected in ((with_tasks, 1), (without_tasks, 0)):
            lifespan = ProcessLifespan(check_lifespan(function))
            records: list[logging.LogRecord] = []
            logger, handler = logging.getLogger("twisted_appserver.core.lifespan"), logging.Handler()
            handler.emit = records.append  # type: ignore[method-assign]
            logger.addHandler(handler)
            self.addCleanup(logger.removeHandler, handler)
            lifespan.enter()
            logger.removeHandler(handler)
            lifespan.leave()
            self.assertEqual(len(records), expected)
            for record in records:
                self.assertRegex(
                    record.getMessage(), r"started asyncio tasks \(\S+refresh\); they do not run"
                )


class ClientTests(SynchronousTestCase):
    """The client for tests enters the lifespan at once, and leaves it when it is closed."""

    def test_client_enters_and_leaves_the_lifespan(self) -> None:
        log: Log = []

        def call() -> dict[str, Any]:
            return {"log": log}

        for form in forms(log):
            with Client([("/call", call)], lifespan=form) as client:
                self.assertEqual(client.get("/call").json, {"log": ["enter"]})
            self.assertEqual(log, ["enter", "leave"])
            log.clear()

    def test_lifespan_that_fails_fails_the_test(self) -> None:
        def entering() -> Iterator[None]:
            raise OSError("no database")
            yield

        def leaving() -> Iterator[None]:
            yield
            raise OSError("cannot close")

        self.assertRaises(ConfigurationError, Client, [], lifespan=entering)
        self.assertRaises(OSError, Client([], lifespan=leaving).close)
