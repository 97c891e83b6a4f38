"""Tests of L{core.wrapping}: decorators around every function below a prefix."""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from tests.executors.test_streams import Reader
from tests.support import wrapped
from tests.support.executor_test_case import ExecutorTestCase
from twisted_appserver import Call, PatternError, ProcessExecutor, Route, Router, current_call, include
from twisted_appserver.admin.openapi import make_document
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.executors.stream import Stream
from twisted_appserver.testing import Client

Log = list[str]


def tagging(name: str, log: Log) -> Callable[[Any], Any]:
    """Return a decorator that notes its name around each call."""

    def decorator(function: Any) -> Any:
        log.append(f"wrap {name}")

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            log.append(f"before {name}")
            result = function(*args, **kwargs)
            log.append(f"after {name}")
            return result

        return wrapper

    return decorator


@contextmanager
def managed() -> Iterator[None]:
    yield


@asynccontextmanager
async def managed_later() -> AsyncIterator[None]:
    yield


def unchanged(function: Any) -> Any:
    return function


def careless(function: Any) -> Any:
    """A decorator without functools.wraps."""
    return lambda *args, **kwargs: function(*args, **kwargs)


def one(a: int = 1) -> dict[str, Any]:
    """Return one."""
    return {"a": a}


async def later() -> dict[str, Any]:
    return {}


class OrderTests(SynchronousTestCase):
    """In which order decorators are applied, and how often."""

    def test_first_decorator_is_outermost_and_outer_include_wraps_inner_one(self) -> None:
        log: Log = []
        inner = include("/b", [("/c/", one)], wrap=[tagging("3", log), tagging("4", log)])
        client = Client([include("/a", [inner], wrap=(tagging("1", log), tagging("2", log))), ("/d/", one)])
        self.assertEqual(log, ["wrap 4", "wrap 3", "wrap 2", "wrap 1"])
        log.clear()
        self.assertEqual(client.get("/a/b/c/?a=5").json, {"a": 5})
        self.assertEqual(log, [*(f"before {n}" for n in "1234"), *(f"after {n}" for n in "4321")])
        log.clear()
        self.assertEqual((client.get("/d/").json, log), ({"a": 1}, []))

    def test_functions_are_wrapped_once_and_only_when_the_table_is_loaded(self) -> None:
        log: Log = []
        client = Client([include("", [("/a/", one), ("/b/", one)], wrap=tagging("x", log))])
        for _ in range(3):
            client.get("/a/")
        self.assertEqual(log.count("wrap x"), 2)

    def test_prefix_may_be_empty_or_a_slash(self) -> None:
        for prefix, regex in (("", "/a/"), ("/", "a/"), (r"/(?P<a>\d)", "/")):
            log: Log = []
            client = Client([include(prefix, [(regex, one)], wrap=tagging("x", log))])
            path = "/7/" if "P<a>" in prefix else "/a/"
            self.assertEqual(client.get(path).json, {"a": 7 if "P<a>" in prefix else 1})
            self.assertEqual(log, ["wrap x", "before x", "after x"])

    def test_route_keeps_its_options(self) -> None:
        route = Route(
            "/a/", one, methods=["PUT"], name="other", executor="threads", timeout=3, idempotent=True
        )
        handler = Router([include("", [route], wrap=careless)]).handlers[0]
        found = (handler.name, handler.executor, handler.timeout, handler.idempotent)
        self.assertEqual(found, ("other", "threads", 3, True))


class SignatureTests(SynchronousTestCase):
    """Whatever a decorator returns, it has the arguments and documentation of the original function."""

    def test_name_signature_and_docstring_stay_those_of_the_original(self) -> None:
        for decorator in (
            careless,
            tagging("x", []),
            managed(),
            unchanged,
            functools.lru_cache,
            functools.partial,
        ):
            router = Router([include("", [("/a/", wrapped.plain)], wrap=decorator)])
            (handler,) = router.handlers
            self.assertEqual(handler.name, "plain")
            self.assertEqual(list(handler.signature.parameters), ["number", "text"])
            document = json.dumps(make_document(router.entries, "x"))
            self.assertEqual(
                document, json.dumps(make_document(Router([("/a/", wrapped.plain)]).entries, "x"))
            )

    def test_values_are_converted_for_a_decorator_without_wraps(self) -> None:
        client = Client([include("", [("/a/", one)], wrap=careless)])
        self.assertEqual(client.get("/a/?a=05").json, {"a": 5})
        self.assertEqual(client.get("/a/?a=x").status, 422)

    def test_decorator_may_fill_a_parameter_and_declare_the_other_ones(self) -> None:
        """A decorator that sets __signature__ decides which parameters requests fill."""

        def with_session(function: Any) -> Any:
            @functools.wraps(function)
            def wrapper(**variables: Any) -> Any:
                return function(session="open", **variables)

            parameters = [
                each for each in inspect.signature(function).parameters.values() if each.name != "session"
            ]
            wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
            return wrapper

        def stored(session: Any, a: int) -> dict[str, Any]:
            return {"session": session, "a": a}

        client = Client([include("", [("/(?P<a>)/", stored)], wrap=with_session)])
        self.assertEqual(client.get("/3/").json, {"session": "open", "a": 3})
        self.assertEqual(client.get("/x/").status, 422)

    def test_functions_run_where_they_would_run_without_the_decorator(self) -> None:
        for decorator in (careless, tagging("x", []), managed(), unchanged):
            for function in (wrapped.coroutine, wrapped.callbacks, wrapped.deferred, wrapped.async_items):
                entry = include("", [("/(?P<number>)/", function)], wrap=decorator)
                self.assertEqual(Router([entry]).handlers[0].executor, "inline", (decorator, function))
            for function in (wrapped.plain, wrapped.items):
                entry = include("", [("/(?P<number>)/", function)], wrap=decorator)
                self.assertIsNone(Router([entry]).handlers[0].executor, (decorator, function))

    def test_async_decorator_of_an_ordinary_function_is_reported(self) -> None:
        def awaiting(function: Any) -> Any:
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                return function(*args, **kwargs)

            return wrapper

        router = Router([include("", [("/a/", one), ("/b/", later)], wrap=awaiting)])
        self.assertEqual(router.handlers[0].executor, "inline")
        self.assertIn("must not block", "".join(router.notes))
        self.assertEqual(len(router.notes), 1)


class ErrorTests(SynchronousTestCase):
    """A decorator that cannot be used is an error at start-up, with one line that names it."""

    def refused(self, expected: str, wrap: Any, function: Any = one) -> None:
        error = self.assertRaises(PatternError, Router, [include("/x", [("/a/", function)], wrap=wrap)])
        self.assertIn(expected, str(error))
        self.assertTrue(str(error).startswith("url_patterns[0]"), error)
        self.assertNotIn("\n", str(error))

    def test_wrap_that_is_not_callable_is_refused(self) -> None:
        for wrong in (5, None, "json", [unchanged, 5], [[unchanged]]):
            self.refused("wrap must be a decorator or a sequence of decorators", wrong)

    def test_decorator_that_returns_no_function_is_refused(self) -> None:
        def forgetful(function: Any) -> None: ...

        self.refused("forgetful returned None, which is not a function", forgetful)

    def test_decorator_that_raises_is_refused(self) -> None:
        def raises(function: Any) -> Any:
            raise ValueError("not\nthis one")

        self.refused("not this one", raises)

    def test_context_manager_that_was_not_made_is_refused(self) -> None:
        @contextmanager
        def with_argument(role: str) -> Iterator[None]:
            yield

        self.refused("write managed()", managed)
        self.refused("write managed_later()", managed_later)
        self.refused("with_argument()", with_argument)

    def test_asynchronous_context_manager_needs_an_asynchronous_function(self) -> None:
        self.refused("managed_later() is asynchronous, and this function is not async", managed_later())
        self.refused("is not async", managed_later(), wrapped.items)
        Router([include("", [("/a/", later)], wrap=managed_later())])

    def test_decorator_that_takes_other_arguments_is_refused(self) -> None:
        def nothing(function: Any) -> Any:
            return lambda: function()

        def another(function: Any) -> Any:
            return lambda call, **variables: function(**variables)

        self.refused(
            "the decorator another returned a function that does not accept the same arguments", another
        )
        self.refused("unexpected keyword argument 'a'", nothing)
        self.refused("pass on *args and **kwargs", functools.wraps(one)(nothing))

    def test_twisted_resource_is_refused(self) -> None:
        self.refused("a Twisted resource cannot be wrapped", unchanged, Resource())
        Router([include("/x", [("/a/", Resource())])])


class CurrentCallTests(SynchronousTestCase):
    """L{current_call} returns the call that is being performed."""

    def test_there_is_no_call_outside_of_calls(self) -> None:
        self.assertIn("no call", str(self.assertRaises(RuntimeError, current_call)))

    def test_decorator_sees_the_user(self) -> None:
        def user(function: Any) -> Any:
            return lambda **kwargs: {"user": current_call().user, **function(**kwargs)}

        path = self.mktemp()
        with open(path, "w") as file:
            file.write("alice:secret\n")
        os.chmod(path, 0o600)
        client = Client([include("", [("/a/", one), ("/b/", later)], wrap=user)], auth=(f"file:{path}",))
        header = {"authorization": "Basic YWxpY2U6c2VjcmV0"}
        self.assertEqual(client.get("/a/", headers=header).json, {"user": "alice", "a": 1})


class EverywhereTests(ExecutorTestCase):
    """Decorators work in the same way wherever functions run."""

    async def places(self) -> dict[str, Dispatcher]:
        _, threads = await self.threads(2, patterns=wrapped.url_patterns)
        pool = ProcessExecutor(reactor, "tests.support.wrapped", 1)
        self.addCleanup(pool.stop)
        await pool.start()
        return {"threads": threads, "processes": self.dispatcher(pool, "processes")}

    async def call(
        self, dispatcher: Dispatcher, name: str, **headers: str
    ) -> tuple[int, list[Any], list[str]]:
        """Return the status of a reply, its items, and what the call has recorded."""
        path = self.mktemp()
        sent = {"x-record": path, **headers}
        raw = tuple((key.replace("_", "-").encode(), value.encode()) for key, value in sent.items())
        reply = await dispatcher.dispatch(Call("GET", f"/{name}/5/", raw_headers=raw))
        body = reply.body
        if isinstance(body, Stream):
            reader = Reader(body)
            self.assertEqual(await reader.ended, "")
            body = b"".join(reader.parts)
        recorded = Path(path).read_text().split() if os.path.exists(path) else []
        return reply.status, [json.loads(line) for line in body.splitlines()], recorded

    async def test_context_manager_surrounds_the_whole_call(self) -> None:
        """It is left when the coroutine or generator has ended, and its context variable is visible there."""
        for place, dispatcher in (await self.places()).items():
            for name in (*(each.__name__ for each in (*wrapped.ONE, *wrapped.SEVERAL)), "method"):
                status, found, recorded = await self.call(dispatcher, name)
                self.assertEqual(status, 200, (place, name, found))
                runs = ["run"] * len(found)
                self.assertEqual(recorded, ["enter", *runs, "leave"], (place, name))
                for number, item in enumerate(found):
                    self.assertEqual(
                        (item["seen"], item["number"]), (f"/{name}/5/", 5 + number), (place, name)
                    )

    async def test_exceptions_are_mapped(self) -> None:
        for place, dispatcher in (await self.places()).items():
            for function in wrapped.MISSING:
                status, (problem,), recorded = await self.call(dispatcher, function.__name__)
                self.assertEqual((status, problem["detail"]), (404, "no such thing: 5"), (place, function))
                self.assertEqual(recorded, ["enter", "leave"])

    async def test_decorator_can_refuse_a_call(self) -> None:
        """The function does not run then, and an outer context manager is left."""
        for place, dispatcher in (await self.places()).items():
            for name in ("plain", "coroutine", "items", "async_items", "callbacks"):
                status, (problem,), recorded = await self.call(dispatcher, name, x_user="mallory")
                self.assertEqual((status, recorded), (403, ["enter", "leave"]), (place, name))
                self.assertIn("mallory may not", problem["detail"])

    async def test_context_manager_is_left_when_the_client_of_a_stream_leaves(self) -> None:
        """It is left in the context in which it was entered, so that it can reset context variables."""
        for place, dispatcher in (await self.places()).items():
            for name in ("endless", "endless_reply"):
                path = self.mktemp()
                call = Call("GET", f"/{name}/5/", raw_headers=((b"x-record", path.encode()),))
                reply = await dispatcher.dispatch(call)
                first: Deferred[bytes] = Deferred()
                reply.body.begin(
                    lambda data, first=first: first.called or first.callback(data), lambda _: None
                )
                await first
                self.assertNotIn("leave", Path(path).read_text(), (place, name))
                reply.body.stopProducing()
                await self.until(lambda path=path: "leave" in Path(path).read_text())
                self.assertEqual(Path(path).read_text().split(), ["enter", "leave"], (place, name))
        self.assertEqual(self.flushLoggedErrors(), [])
