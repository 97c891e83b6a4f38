"""Tests of L{core.handler}: where functions run."""

from __future__ import annotations

import functools
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase

from tests.support import cases
from tests.support.calling import call
from twisted_appserver.core.handler import Handler
from twisted_appserver.testing import Client


def pair(a, b):  # type: ignore[no-untyped-def]
    return {"a": a, "b": b}


def wrapped(function: Any) -> Any:
    """Wrap a function like an ordinary decorator does."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class ReactorTests(SynchronousTestCase):
    """Some functions run on the reactor."""

    def check(self, expected: str | None, *functions: Any, route: str | None = None) -> None:
        for function in functions:
            self.assertEqual(Handler(function, executor=route).executor, expected, function)

    def test_coroutine_functions_run_on_the_reactor(self) -> None:
        """So do functions that return a Deferred, with any decorator and with any executor of the Route."""

        class Methods:
            async def method(self) -> Any: ...

            @inlineCallbacks
            def generator(self) -> Any:
                yield

            __call__ = method

        async def parts() -> Any:
            yield {}

        async def around() -> Any: ...

        functools.update_wrapper(around, pair)
        functions = (
            cases.coroutine, parts, around, Methods(), Methods().method, Methods().generator,
            cases.generator, cases.deferred, functools.partial(cases.coroutine, "x"),
            functools.partial(cases.generator, "x"), functools.partial(Methods()),
        )  # fmt: skip
        self.check("inline", *functions)
        self.check("inline", *functions, route="threads")

    def test_decorated_coroutine_does_not_run_on_the_reactor(self) -> None:
        """A decorator has made an ordinary function of it."""

        def parts() -> Any:
            yield {}

        async def parts_of_coroutine() -> Any:
            yield {}

        for function in (parts, cases.coroutine, parts_of_coroutine):
            self.check(None, wrapped(function), functools.partial(wrapped(function)))
            for name in ("inline", "threads"):
                self.check(name, wrapped(function), route=name)

    def test_coroutine_returned_in_a_thread_gets_advice(self) -> None:

        async def coroutine() -> dict[str, Any]:
            return {}

        self.assertIn("give its Route executor='inline'", call(wrapped(coroutine)).traceback)

    def test_coroutine_that_a_function_forgot_to_await_gets_advice(self) -> None:
        """C{executor='inline'} would not help."""

        async def other() -> dict[str, Any]:
            return {}

        def plain() -> Any:
            return other()

        async def on_reactor() -> Any:
            return other()

        for function, advice in (
            (plain, "plain returned a coroutine; write async def and return await other(...)"),
            (on_reactor, "on_reactor returned a coroutine; write return await other(...)"),
        ):
            with Client([("/", function)]) as client:
                found = call(function).traceback if function is plain else client.get("/").traceback
            self.assertIn(advice, found)
            self.assertNotIn("inline", found)

    def test_decorated_deferred_runs_where_its_route_says(self) -> None:
        """It runs on the reactor if the Route does not name an executor."""
        functions = [wrapped(cases.generator), wrapped(cases.deferred), wrapped(wrapped(cases.generator))]
        functions.append(functools.partial(functions[0], "x"))
        self.check("inline", *functions)
        self.check("threads", *functions, route="threads")
