"""Tests of the contexts of calls: nothing carries over from one call to the next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import SynchronousTestCase

from tests.executors.test_streams import Reader, lines
from tests.support import contexts
from tests.support.contexts import CLEAN
from tests.support.executor_test_case import ExecutorTestCase, get, json_of
from twisted_appserver import ProcessExecutor, Reply
from twisted_appserver.core.call import CURRENT
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.executors.stream import Stream
from twisted_appserver.testing import Client
from twisted_appserver.tqueue.function_call import call_function

PATHS = tuple(entry[0] for entry in contexts.url_patterns if isinstance(entry, tuple))
INLINE = tuple(f"/inline/{function.__name__}" for function in contexts.HERE)


class CallTests(ExecutorTestCase):
    """One thread or one worker process runs all calls, one after the other."""

    @asynccontextmanager
    async def places(self) -> AsyncIterator[dict[str, Dispatcher]]:
        _, dispatcher = await self.threads(1, patterns=contexts.url_patterns)
        pool = ProcessExecutor(reactor, "tests.support.contexts", 1)
        self.addCleanup(pool.stop)
        await pool.start()
        yield {"threads": dispatcher, "processes": self.dispatcher(pool, "processes")}

    async def whole_body(self, reply: Reply) -> bytes:
        """Return the body of a reply, which may be a stream."""
        if not isinstance(reply.body, Stream):
            return bytes(reply.body)
        reader = Reader(reply.body)
        self.assertEqual(await reader.ended, "")
        return b"".join(reader.parts)

    async def test_nothing_carries_over(self) -> None:
        """The next call finds nothing that a call leaves in its context."""
        async with self.places() as places:
            for place, dispatcher in places.items():
                for left in (*PATHS, *INLINE):
                    await self.whole_body(await dispatcher.dispatch(get(left, name="alice")))
                    for found in ("/plain", "/inline/plain", "/coroutine", "/callbacks", "/deferred"):
                        reply = await dispatcher.dispatch(get(found))
                        self.assertEqual(json_of(reply), CLEAN, f"{place}: {left}, then {found}")
                self.assertIsNone(CURRENT.get())

    async def test_generator_steps_share_a_context(self) -> None:
        """Each step of a generator sees what its earlier steps left, whatever runs between them."""
        expected = [CLEAN, {"user": "a0", "prec": 3}, {"user": "a1", "prec": 3}]
        async with self.places() as places:
            for dispatcher in places.values():
                for path in ("/items", "/inline/items", "/async_items"):
                    first, second = await gatherResults(
                        [dispatcher.dispatch(get(path, name=name)) for name in "ab"]
                    )
                    self.assertEqual(lines(await self.whole_body(first)), expected)
                    self.assertEqual(lines(await self.whole_body(second))[1]["user"], "b0")
                for path in ("/text", "/inline/text"):
                    reply = await dispatcher.dispatch(get(path, name="a"))
                    self.assertEqual(await self.whole_body(reply), b"Nonea0a1")

    async def test_concurrent_coroutines_have_separate_contexts(self) -> None:
        async with self.places() as places:
            calls = [places["threads"].dispatch(get("/coroutine", name=f"n{n}")) for n in range(10)]
            self.assertEqual([json_of(reply) for reply in await gatherResults(calls)], [CLEAN] * 10)


class ElsewhereTests(SynchronousTestCase):
    def test_nothing_carries_over_in_the_test_client(self) -> None:
        client = Client(contexts.url_patterns)
        for path in ("/plain", "/items", "/deferred"):
            client.get(f"{path}?name=alice")
            self.assertEqual(client.get("/plain").json, CLEAN)

    def test_nothing_carries_over_between_tasks(self) -> None:
        """The function of C{tqueue work} finds nothing of the previous task."""
        found: list[Any] = []
        for name in ("alice", "bob"):
            call_function(lambda name: found.append(contexts.plain(name)), name)
        self.assertEqual(found, [CLEAN, CLEAN])
