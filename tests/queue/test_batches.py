"""Batches: one table of cases for every store, like L{tests.queue.test_stores}."""

from __future__ import annotations

import os
from typing import Any
from unittest import skipIf

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.task import deferLater

from tests.queue.test_stores import SOON, InTurn, StoreTestCase, begin, forgettable
from tests.support.postgres import folder_of_programs, shared
from tests.support.slow import slow
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.queue.interface import EMPTY, FULL, SHUTDOWN, BatchError, ReusedError
from twisted_appserver.queue.model import QueuedTask


def batch(count: int, first: int = 0) -> list[QueuedTask]:
    return [QueuedTask(0, b'{"n":%d}' % number) for number in range(first, first + count)]


async def add(broker: Any, count: int, key: str = "", timeout: float = 0.0, delay: float = 0.0) -> list[int]:
    """Put a batch, and return the numbers of its tasks."""
    return [task.number for task in await broker.put_many("q", batch(count), key, timeout, delay)]


class BatchCases:
    """The table: each method is a case. It receives a test, for assertions, and a broker."""

    async def batch_is_put_in_order(self, test: Any, broker: Any) -> None:
        numbers = await add(broker, 5)
        test.assertEqual(numbers, sorted(set(numbers)))
        got = [await broker.get("q") for _ in range(5)]
        test.assertEqual([task.number for task in got], numbers)
        test.assertEqual([task.body for task in got], [task.body for task in batch(5)])
        test.assertEqual(await broker.get("q"), EMPTY)

    async def batch_is_put_whole_or_not_at_all(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"maxsize": 5})
        await add(broker, 3)
        test.assertEqual(await broker.put_many("q", batch(3), "", 0.0, 0.0), FULL)
        test.assertEqual(await broker.qsizes("q"), {"q": 3})
        await add(broker, 2)
        test.assertEqual((await broker.stats("q"))["ready"], 5)

    async def batch_larger_than_maxsize_is_refused_at_once(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"maxsize": 5})
        refused = begin(broker.put_many("q", batch(6), "", 20.0, 0.0))
        error = await test.assertFailure(refused, BatchError)
        test.assertIn("a batch of 6 tasks never fits: the maxsize of the queue is 5", str(error))
        test.assertEqual(await broker.qsizes("q"), {"q": 0})

    async def batch_waits_for_room_for_all(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"maxsize": 3})
        await add(broker, 3)
        waiting = begin(broker.put_many("q", batch(2), "", 20.0, 0.0))
        await broker.get("q")
        await deferLater(reactor, 0.1)
        test.assertFalse(waiting.called)
        await broker.get("q")
        test.assertEqual(len(await waiting), 2)
        test.assertEqual(await broker.put_many("q", batch(1), "", 0.05, 0.0), FULL)

    async def puts_do_not_overtake_a_waiting_batch(self, test: Any, broker: Any) -> None:
        if isinstance(broker, InTurn):  # each server has a line of its own
            return
        await broker.change("q", {"maxsize": 3})
        await add(broker, 3)
        waiting = begin(broker.put_many("q", batch(3, 10), "", 20.0, 0.0))
        single = begin(broker.put("q", QueuedTask(0, b'{"n":20}'), "", 20.0))
        for _ in range(2):
            await broker.get("q")
        test.assertEqual(await broker.put("q", QueuedTask(0, b"{}")), FULL)
        await deferLater(reactor, 0.1)
        test.assertFalse(waiting.called or single.called)
        await broker.get("q")
        test.assertEqual(len(await waiting), 3)
        await broker.get("q")
        test.assertIsInstance(await single, QueuedTask)
        got = [(await broker.get("q")).body for _ in range(3)]
        test.assertEqual(got, [b'{"n":11}', b'{"n":12}', b'{"n":20}'])

    async def put_goes_on_when_the_batch_before_it_gives_up(self, test: Any, broker: Any) -> None:
        for gives_up in ("cancel", "timeout"):
            await broker.purge("q")
            await broker.change("q", {"maxsize": 2})
            await add(broker, 1)
            waiting = forgettable(broker.put_many("q", batch(2), "", SOON, 0.0))
            single = begin(broker.put("q", QueuedTask(0, b"{}"), "", 20.0))
            if not isinstance(broker, InTurn):
                await deferLater(reactor, 0.1)
                test.assertFalse(single.called)
            if gives_up == "cancel":
                waiting.cancel()
            test.assertIn(await waiting, (FULL, CancelledError))
            test.assertIsInstance(await single, QueuedTask)

    async def repeated_batch_adds_nothing(self, test: Any, broker: Any) -> None:
        first = await add(broker, 3, "k:1")
        again = await broker.put_many("q", batch(3), "k:1", 0.0, 0.0)
        test.assertEqual([task.number for task in again], first)
        test.assertEqual({task.body for task in again}, {b""})
        found = await gatherResults([begin(add(broker, 3, "other")) for _ in range(5)])
        test.assertEqual(len({tuple(numbers) for numbers in found}), 1)
        test.assertEqual(await broker.qsizes("q"), {"q": 6})

    async def repeated_batch_is_known_when_full_and_shut_down(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"maxsize": 3})
        first = await add(broker, 3, "k:1")
        test.assertEqual(await add(broker, 3, "k:1"), first)
        waiting = forgettable(broker.put_many("q", batch(2), "", 20.0, 0.0))
        await deferLater(reactor, 0.1)
        for timeout in (0.0, 20.0):
            test.assertEqual(await add(broker, 3, "k:1", timeout), first)
        await broker.change("q", {"shutdown": "draining"})
        test.assertEqual(await waiting, SHUTDOWN)
        test.assertEqual(await add(broker, 3, "k:1"), first)
        test.assertEqual(await broker.put_many("q", batch(1), "k:2", 0.0, 0.0), SHUTDOWN)

    async def reused_key_of_batch_is_an_error(self, test: Any, broker: Any) -> None:
        """A key belongs to one batch, and not to a single task either."""
        await add(broker, 3, "k")
        await broker.put("q", QueuedTask(0, b"{}"), "s")
        for count, key in ((4, "k"), (2, "k"), (1, "s")):
            await test.assertFailure(begin(broker.put_many("q", batch(count), key, 0.0, 0.0)), ReusedError)
        await test.assertFailure(begin(broker.put("q", batch(1)[0], "k")), ReusedError)
        test.assertEqual(await broker.qsizes("q"), {"q": 4})

    async def batch_keeps_priorities(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"kind": "priority"})
        tasks = [QueuedTask(0, b"%d" % n, *key) for n, key in enumerate(((2.0, ""), (1.0, "b"), (1.0, "a")))]
        await broker.put_many("q", tasks, "", 0.0, 0.0)
        test.assertEqual([(await broker.get("q")).body for _ in range(3)], [b"2", b"1", b"0"])

    async def batch_may_be_delayed(self, test: Any, broker: Any) -> None:
        await add(broker, 3, "", 0.0, SOON)
        test.assertEqual(await broker.get("q"), EMPTY)
        test.assertEqual((await broker.stats("q"))["delayed"], 3)
        got = [await broker.get("q", None, "", 20.0) for _ in range(3)]
        test.assertEqual([task.body for task in got], [task.body for task in batch(3)])

    async def batch_serves_all_waiting_gets(self, test: Any, broker: Any) -> None:
        waiting = [begin(broker.get("q", None, "", 20.0)) for _ in range(4)]
        await deferLater(reactor, 0.1)
        numbers = await add(broker, 5)
        test.assertEqual(sorted([(await each).number for each in waiting]), numbers[:4])

    async def cancelled_batch_adds_nothing(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"maxsize": 2})
        await add(broker, 2)
        waiting = begin(broker.put_many("q", batch(2), "", 20.0, 0.0))
        await deferLater(reactor, 0.05)
        waiting.cancel()
        await test.assertFailure(waiting, CancelledError)
        await broker.purge("q")
        await deferLater(reactor, 0.1)
        test.assertEqual(await broker.qsizes("q"), {"q": 0})

    async def figures_count_each_task_of_a_batch(self, test: Any, broker: Any) -> None:
        if isinstance(broker, InTurn):  # each server counts its own requests
            return
        await add(broker, 3, "k:1")
        await add(broker, 3, "k:1")
        test.assertEqual((await broker.stats("q"))["puts"], 3)


class LineTests(StoreTestCase):
    """Some of the cases, in memory, which take little time."""

    async def run_case(self, name: str) -> None:
        await getattr(BatchCases(), name)(self, self.broker("memory:"))

    async def test_puts_do_not_overtake_a_waiting_batch(self) -> None:
        await self.run_case("puts_do_not_overtake_a_waiting_batch")

    async def test_batch_is_put_whole_or_not_at_all(self) -> None:
        await self.run_case("batch_is_put_whole_or_not_at_all")

    async def test_put_goes_on_when_the_batch_before_it_gives_up(self) -> None:
        await self.run_case("put_goes_on_when_the_batch_before_it_gives_up")


class BatchTests(StoreTestCase):
    @slow
    async def test_all_cases_in_memory(self) -> None:
        await self.all_cases(lambda: self.broker("memory:"), BatchCases)

    @slow
    async def test_all_cases_on_sqlite(self) -> None:
        await self.all_cases(lambda: self.broker(f"sqlite:{os.path.abspath(self.mktemp())}"), BatchCases)

    async def test_batch_and_its_key_survive_a_restart(self) -> None:
        path = f"sqlite:{os.path.abspath(self.mktemp())}"
        broker = make_broker(reactor, open_store(path))
        broker.start()
        numbers = await add(broker, 40, "k:1")
        await broker.stop()
        broker = self.broker(path)
        self.assertEqual(await add(broker, 40, "k:1"), numbers)
        self.assertEqual([(await broker.get("q")).number for _ in range(40)], numbers)
        self.assertEqual(await broker.get("q"), EMPTY)


@skipIf(folder_of_programs() is None, "there is no PostgreSQL (Debian: apt-get install postgresql)")
class PostgreSQLBatchTests(StoreTestCase):
    @slow
    async def test_all_cases_on_one_server(self) -> None:
        await self.all_cases(lambda: self.broker(shared().database()), BatchCases)

    @slow
    async def test_all_cases_on_two_servers_in_turn(self) -> None:
        def make() -> InTurn:
            url = shared().database()
            return InTurn(self.broker(url), self.broker(url))

        await self.all_cases(make, BatchCases)
