"""When tasks were put, and the age of the oldest one: one table of cases for every store."""

from __future__ import annotations

from time import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.queue.test_stores import SOON, OnLocalStores, OnPostgreSQL, StoreTestCase, put
from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql
from twisted_appserver.queue.arrivals import Arrivals
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.terms import Terms


async def oldest(broker: Any) -> Any:
    """Return the age of the oldest ready task."""
    return (await broker.stats("q"))["oldest"]


class AgeCases:
    """The table: each method is a case. It receives a test, for assertions, and a broker."""

    async def empty_queue_has_no_oldest_task(self, test: Any, broker: Any) -> None:
        test.assertEqual(await oldest(broker), None)
        await broker.put("q", QueuedTask(0, b"{}"), "", 0.0, 1000.0)  # a delayed task is not ready
        test.assertEqual(await oldest(broker), None)

    async def oldest_ready_task_has_an_age_in_each_kind_of_queue(self, test: Any, broker: Any) -> None:
        for kind in ("fifo", "lifo", "priority"):
            await broker.change("q", {"kind": kind})
            first = (await broker.put("q", QueuedTask(0, b"{}", priority=5.0))).number
            await deferLater(reactor, SOON)
            tasks = [QueuedTask(0, b"{}", priority=float(each)) for each in range(3)]
            await broker.put_many("q", tasks)
            test.assertTrue(SOON - 0.01 <= await oldest(broker) < SOON + 5, kind)
            for _ in range(4):
                await broker.get("q")
            test.assertEqual(await oldest(broker), None)
            await broker.release("q", first)
            await broker.release("q", tasks[1].number)
            test.assertTrue(SOON - 0.01 <= await oldest(broker) < SOON + 5, kind)
            await broker.delete("q")

    async def age_follows_what_happens_to_tasks(self, test: Any, broker: Any) -> None:
        """They are dropped, buried, kicked, purged, or expire."""
        await broker.change("q", {"kind": "lifo"})
        (first,) = await put(broker, 1)
        await deferLater(reactor, 5 * SOON)
        await put(broker, 1)
        test.assertGreaterEqual(await oldest(broker), 5 * SOON - 0.01)
        await broker.bury("q", first)
        test.assertLess(await oldest(broker), 4 * SOON)
        await broker.kick("q", 1)
        test.assertGreaterEqual(await oldest(broker), 5 * SOON - 0.01)
        await broker.drop("q", first)
        test.assertLess(await oldest(broker), 4 * SOON)
        await broker.purge("q")
        test.assertEqual(await oldest(broker), None)
        await broker.put("q", QueuedTask(0, b"{}", terms=Terms(ttl=SOON)))
        test.assertNotEqual(await oldest(broker), None)
        await deferLater(reactor, SOON + 0.1)
        test.assertEqual(await oldest(broker), None)

    async def tasks_show_when_they_were_put(self, test: Any, broker: Any) -> None:
        (number,) = await put(broker, 1)
        await broker.put_many("q", [QueuedTask(0, b"{}")])
        for task in [*await broker.peek("q", 2, "ready"), (await broker.show("q", number)).task]:
            test.assertLess(abs(task.put_at - time()), 10)
        before = (await broker.show("q", number)).task.put_at
        await broker.get("q")
        await broker.release("q", number)
        test.assertLess(abs((await broker.show("q", number)).task.put_at - before), 0.01)


class AgeTests(OnLocalStores, StoreTestCase):
    tables = (AgeCases,)

    async def test_age_survives_a_restart(self) -> None:
        path = sqlite_store(self)
        broker = make_broker(reactor, open_store(path))
        broker.start()
        await put(broker, 1)
        await broker.stop()
        await deferLater(reactor, SOON)
        age = await oldest(self.broker(path))
        self.assertTrue(SOON - 0.01 <= age < SOON + 10, age)


@needs_postgresql
class PostgreSQLAgeTests(OnPostgreSQL, StoreTestCase):
    tables = (AgeCases,)


class ArrivalTests(SynchronousTestCase):
    def test_first_is_the_lowest_number_that_is_ready(self) -> None:
        arrivals = Arrivals([(3, 30.0), (1, 10.0), (2, 20.0)])
        self.assertEqual(arrivals.first, 10.0)
        arrivals.discard(1)
        arrivals.discard(3)
        self.assertEqual(arrivals.first, 20.0)
        arrivals.add(1, 10.0)
        self.assertEqual(arrivals.first, 10.0)
        arrivals.discard(1)
        arrivals.discard(2)
        self.assertEqual(arrivals.first, 0.0)

    def test_tasks_that_are_done_leave_no_memory(self) -> None:
        arrivals = Arrivals([(0, 1.0)])
        for number in range(1, 10_000):
            arrivals.add(number, 1.0)
            arrivals.discard(number)
        self.assertLess(len(arrivals._heap), 200)
