"""Batches: one table of cases for every store, like L{tests.queue.test_stores}."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.task import deferLater

from tests.queue.test_stores import (
    SOON,
    InTurn,
    OnLocalStores,
    OnPostgreSQL,
    StoreTestCase,
    begin,
    forgettable,
)
from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.queue.interface import EMPTY, FULL, SHUTDOWN, BatchError, ReusedError
from twisted_appserver.queue.queued_task import QueuedTask


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

    async def batch_of_ready_tasks_is_leased_in_order(self, test: Any, broker: Any) -> None:
        numbers = await add(broker, 5)
        got = await broker.get_many("q", 3)
        test.assertEqual([(task.number, task.deliveries) for task in got], [(n, 1) for n in numbers[:3]])
        test.assertEqual([task.body for task in got], [task.body for task in batch(3)])
        test.assertEqual([task.number for task in await broker.get_many("q", 9)], numbers[3:])
        test.assertEqual(await broker.get_many("q", 9), EMPTY)
        test.assertEqual(await broker.get_many("other", 9), EMPTY)
        test.assertEqual((await broker.stats("q"))["leased"], 5)

    async def get_of_a_batch_waits_for_the_first_task(self, test: Any, broker: Any) -> None:
        waiting = begin(broker.get_many("q", 3, None, "k", 20.0))
        await deferLater(reactor, 0.05)
        test.assertFalse(waiting.called)
        numbers = await add(broker, 5)
        got = await waiting
        test.assertEqual([task.number for task in got], numbers[: len(got)])
        rest = await broker.get_many("q", 9)
        test.assertEqual([task.number for task in rest], numbers[len(got) :])
        test.assertEqual(await broker.get_many("q", 3, None, "", 0.05), EMPTY)

    async def repeated_get_of_a_batch_returns_the_same_tasks(self, test: Any, broker: Any) -> None:
        numbers = await add(broker, 5)
        first = await broker.get_many("q", 3, 30.0, "k:1")
        again = await broker.get_many("q", 3, 60.0, "k:1")
        test.assertEqual([task.number for task in again], numbers[:3])
        test.assertEqual([task.deliveries for task in again], [task.deliveries for task in first])
        test.assertEqual((await broker.stats("q"))["ready"], 2)
        test.assertEqual(await broker.done_many("q", [(n, 1, b"") for n in numbers[:3]]), [True] * 3)
        test.assertEqual([task.number for task in await broker.get_many("q", 3, 30.0, "k:1")], numbers[3:])

    async def repeated_get_of_a_batch_takes_no_more_tasks(self, test: Any, broker: Any) -> None:
        numbers = await add(broker, 4)
        first, again = await gatherResults([begin(broker.get_many("q", 2, None, "k:1")) for _ in range(2)])
        test.assertEqual([task.number for task in again], numbers[:2])
        if first != EMPTY:  # its client has given it up
            test.assertEqual([task.number for task in first], numbers[:2])

    async def gets_of_batches_share_the_tasks(self, test: Any, broker: Any) -> None:
        waiting = [begin(broker.get_many("q", 4, None, "", 20.0)) for _ in range(3)]
        await deferLater(reactor, 0.05)
        numbers, got = await add(broker, 12), list[int]()
        for each in waiting:
            got += [task.number for task in await each]
        found = await broker.get_many("q", 12)
        got += [] if found == EMPTY else [task.number for task in found]
        test.assertEqual(sorted(got), numbers)

    async def paused_queue_hands_out_no_batch(self, test: Any, broker: Any) -> None:
        await add(broker, 3)
        await broker.change("q", {"paused": True})
        test.assertEqual(await broker.get_many("q", 3), EMPTY)
        waiting = begin(broker.get_many("q", 3, None, "", 20.0))
        await deferLater(reactor, 0.05)
        test.assertFalse(waiting.called)
        await broker.change("q", {"paused": False})
        test.assertIn(len(await waiting), (1, 2, 3))

    async def drained_queue_ends_gets_of_batches(self, test: Any, broker: Any) -> None:
        waiting = begin(broker.get_many("q", 3, None, "", 20.0))
        await deferLater(reactor, 0.05)
        await broker.change("q", {"shutdown": "draining"})
        test.assertEqual(await waiting, SHUTDOWN)
        test.assertEqual(await broker.get_many("q", 3), SHUTDOWN)

    async def cancelled_get_of_a_batch_leases_nothing(self, test: Any, broker: Any) -> None:
        waiting = begin(broker.get_many("q", 3, None, "", 20.0))
        await deferLater(reactor, 0.05)
        waiting.cancel()
        await test.assertFailure(waiting, CancelledError)
        numbers = await add(broker, 3)
        test.assertEqual([task.number for task in await broker.get_many("q", 3)], numbers)

    async def batch_is_finished_at_once(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"keep": 60.0})
        numbers = await add(broker, 4)
        await broker.get_many("q", 3)
        done = [(numbers[0], 1, b"[0]"), (numbers[1], 2, b"1"), (numbers[2], 0, b""), (numbers[3], 0, b"")]
        test.assertEqual(await broker.done_many("q", done), [True, False, True, False])
        test.assertEqual(await broker.done_many("q", done), [False] * 4)
        test.assertEqual(await broker.done_many("other", done), [False] * 4)
        test.assertEqual(await broker.done_many("q", []), [])
        stats = await broker.stats("q")
        test.assertEqual((stats["ready"], stats["leased"], stats["unfinished"]), (1, 1, 2))
        results = [await broker.result("q", number) for number in numbers]
        test.assertEqual([each.state for each in results], ["done", "leased", "done", "ready"])
        test.assertEqual([each.result for each in results], [b"[0]", b"", b"", b""])

    async def same_task_twice_in_a_batch_is_finished_once(self, test: Any, broker: Any) -> None:
        numbers = await add(broker, 2)
        await broker.get_many("q", 2)
        done = [(numbers[0], 0, b""), (numbers[0], 0, b""), (numbers[1], 1, b"")]
        test.assertEqual(await broker.done_many("q", done), [True, False, True])

    async def batch_that_is_done_ends_waits_for_results(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"keep": 60.0})
        numbers = await add(broker, 2)
        await broker.get_many("q", 2)
        waiting = [begin(broker.result("q", number, 20.0)) for number in numbers]
        joining = begin(broker.join("q", 20.0))
        await deferLater(reactor, 0.05)
        await broker.done_many("q", [(number, 1, b"7") for number in numbers])
        test.assertEqual([(await each).result for each in waiting], [b"7", b"7"])
        test.assertEqual(await joining, (0, 0))

    async def lease_of_a_batch_ends(self, test: Any, broker: Any) -> None:
        numbers = await add(broker, 2)
        await broker.get_many("q", 2, SOON)
        again = [await broker.get("q", None, "", 20.0) for _ in range(2)]
        test.assertEqual([(task.number, task.deliveries) for task in again], [(n, 2) for n in numbers])
        test.assertEqual(await broker.done_many("q", [(n, 1, b"") for n in numbers]), [False, False])

    async def figures_count_each_task_of_a_batch(self, test: Any, broker: Any) -> None:
        if isinstance(broker, InTurn):  # each server counts its own requests
            return
        await add(broker, 3, "k:1")
        await add(broker, 3, "k:1")
        test.assertEqual((await broker.stats("q"))["puts"], 3)
        await broker.get_many("q", 3, None, "k:1")
        await broker.get_many("q", 3, None, "k:1")
        numbers = [task.number for task in await broker.peek("q", 9, "leased")]
        await broker.done_many("q", [(number, 0, b"") for number in numbers])
        stats = await broker.stats("q")
        test.assertEqual([stats[name] for name in ("puts", "gets", "dones")], [3, 3, 3])


class LineTests(StoreTestCase):
    """Some of the cases, in memory, which take little time."""

    async def run_case(self, name: str) -> None:
        await getattr(BatchCases(), name)(self, self.broker("memory:"))

    async def test_puts_do_not_overtake_a_waiting_batch(self) -> None:
        await self.run_case("puts_do_not_overtake_a_waiting_batch")

    async def test_batch_is_put_whole_or_not_at_all(self) -> None:
        await self.run_case("batch_is_put_whole_or_not_at_all")

    async def test_repeated_get_of_a_batch_returns_the_same_tasks(self) -> None:
        await self.run_case("repeated_get_of_a_batch_returns_the_same_tasks")

    async def test_batch_is_finished_at_once(self) -> None:
        await self.run_case("batch_is_finished_at_once")

    async def test_put_goes_on_when_the_batch_before_it_gives_up(self) -> None:
        await self.run_case("put_goes_on_when_the_batch_before_it_gives_up")


class BatchTests(OnLocalStores, StoreTestCase):
    tables = (BatchCases,)

    async def test_leases_of_a_batch_survive_a_restart(self) -> None:
        """A repeated get receives the same tasks from the next process, too."""
        path = sqlite_store(self)
        broker = make_broker(reactor, open_store(path))
        broker.start()
        numbers = await add(broker, 5)
        await broker.get_many("q", 3, None, "k:1")
        await broker.stop()
        broker = self.broker(path)
        self.assertEqual([task.number for task in await broker.get_many("q", 3, None, "k:1")], numbers[:3])
        self.assertEqual(await broker.done_many("q", [(n, 1, b"") for n in numbers[:3]]), [True] * 3)
        self.assertEqual((await broker.stats("q"))["unfinished"], 2)

    async def test_batch_and_its_key_survive_a_restart(self) -> None:
        path = sqlite_store(self)
        broker = make_broker(reactor, open_store(path))
        broker.start()
        numbers = await add(broker, 40, "k:1")
        await broker.stop()
        broker = self.broker(path)
        self.assertEqual(await add(broker, 40, "k:1"), numbers)
        self.assertEqual([(await broker.get("q")).number for _ in range(40)], numbers)
        self.assertEqual(await broker.get("q"), EMPTY)


@needs_postgresql
class PostgreSQLBatchTests(OnPostgreSQL, StoreTestCase):
    tables = (BatchCases,)
