"""The traces of tasks: one table of cases for every store."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.core.test_trace_context import PARENT
from tests.queue.test_stores import OnLocalStores, OnPostgreSQL, StoreTestCase, begin, put
from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.terms import Terms

TRACED = Terms(traceparent=PARENT, tracestate='a="1"')


def trace(task: QueuedTask) -> tuple[str, str]:
    terms = task.terms or Terms()
    return terms.traceparent, terms.tracestate


class TraceCases:
    """The table: each method is a case. It receives a test, for assertions, and a broker."""

    async def task_is_handed_out_with_its_trace(self, test: Any, broker: Any) -> None:
        await broker.put("q", QueuedTask(0, b"{}", terms=TRACED))
        await put(broker, 1)
        first, second = await broker.get("q", None, "k"), await broker.get("q")
        again = await broker.get("q", None, "k")
        test.assertEqual(again.number, first.number)
        for task, expected in ((first, PARENT), (again, PARENT), (second, "")):
            test.assertEqual(trace(task), (expected, 'a="1"' if expected else ""))
        shown = (await broker.show("q", first.number)).task
        test.assertEqual(trace(shown), (PARENT, 'a="1"'))
        await broker.release("q", first.number)
        test.assertEqual(trace(await broker.get("q")), (PARENT, 'a="1"'))

    async def batches_have_traces(self, test: Any, broker: Any) -> None:
        await broker.put_many("q", [QueuedTask(0, b"{}", terms=TRACED) for _ in range(2)])
        unique = Terms(traceparent=PARENT, unique="u")
        await broker.put_many("q", [QueuedTask(0, b"{}", terms=unique)])
        found = await broker.get_many("q", 3)
        test.assertEqual([trace(task)[0] for task in found], [PARENT] * 3)

    async def waiting_get_receives_the_trace(self, test: Any, broker: Any) -> None:
        waiting = begin(broker.get("q", None, "", 20.0))
        await deferLater(reactor, 0.05)
        await broker.put("q", QueuedTask(0, b"{}", terms=TRACED))
        test.assertEqual(trace(await waiting), (PARENT, 'a="1"'))


class TraceTests(OnLocalStores, StoreTestCase):
    tables = (TraceCases,)

    async def test_trace_survives_a_restart(self) -> None:
        path = sqlite_store(self)
        broker = make_broker(reactor, open_store(path))
        broker.start()
        await broker.put("q", QueuedTask(0, b"{}", terms=TRACED))
        await broker.stop()
        self.assertEqual(trace(await self.broker(path).get("q")), (PARENT, 'a="1"'))


@needs_postgresql
class PostgreSQLTraceTests(OnPostgreSQL, StoreTestCase):
    tables = (TraceCases,)
