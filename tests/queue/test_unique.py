"""Unique keys: no two tasks of a queue with the same key wait or run. One table of cases for every store."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.queue.test_results import LONG
from tests.queue.test_stores import SOON, InTurn, OnLocalStores, OnPostgreSQL, StoreTestCase, begin
from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql, shared
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.queue.existing_task import ExistingTask
from twisted_appserver.queue.interface import FULL, SHUTDOWN
from twisted_appserver.queue.postgresql.schema import DEFAULT_OPTIONS, SQL
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.terms import Terms, encode_terms
from twisted_appserver.queue.unique_keys import UniqueKeys


def task(unique: str = "u", unique_for: float = 0.0, **terms: Any) -> QueuedTask:
    return QueuedTask(0, b"{}", terms=Terms(unique=unique, unique_for=unique_for, **terms))


async def add(broker: Any, unique: str = "u", unique_for: float = 0.0, **terms: Any) -> int:
    """Put a task with a new key. Return its number."""
    added = await broker.put("q", task(unique, unique_for, **terms))
    assert type(added) is QueuedTask, added
    return added.number


async def existing(broker: Any, unique: str = "u", **terms: Any) -> int | None:
    """Put a task with a key that is taken. Return the number of the task that has it; C{None} for none."""
    found = await broker.put("q", task(unique, **terms))
    return int(found.number) if type(found) is ExistingTask else None


def kinds(tasks: Sequence[QueuedTask]) -> list[bool]:
    """Return which tasks existed already."""
    return [isinstance(each, ExistingTask) for each in tasks]


class UniqueCases:
    """The table: each method is a case. It receives a test, for assertions, and a broker."""

    async def key_is_taken_while_the_task_waits_or_runs(self, test: Any, broker: Any) -> None:
        number = await add(broker)
        test.assertEqual(await existing(broker), number)
        await broker.get("q")
        test.assertEqual(await existing(broker), number)
        await broker.release("q", number, 1000.0)
        test.assertEqual(await existing(broker), number)
        stats = await broker.stats("q")
        test.assertEqual((stats["ready"], stats["delayed"], stats["unfinished"]), (0, 1, 1))
        await broker.kick_task("q", number)
        await broker.get("q")
        await broker.done("q", number)
        test.assertGreater(await add(broker), number)

    async def other_keys_and_queues_are_free(self, test: Any, broker: Any) -> None:
        number = await add(broker)
        other = await broker.put("other", task())
        test.assertIs(type(other), QueuedTask)
        test.assertNotIn(await add(broker, "v"), (number, other.number))
        test.assertIs(type(await broker.put("q", QueuedTask(0, b"{}"))), QueuedTask)
        test.assertEqual((await broker.stats("q"))["ready"], 3)

    async def every_end_frees_the_key(self, test: Any, broker: Any) -> None:
        first = await add(broker)
        await broker.drop("q", first)
        second = await add(broker)
        await broker.purge("q")
        third = await add(broker)
        await broker.get("q")
        await broker.done_many("q", [(third, 0, b"")])
        await add(broker, ttl=SOON)
        await deferLater(reactor, SOON + 0.1)
        fifth = await add(broker)
        await broker.get("q")
        await broker.drop("q", fifth)
        sixth = await add(broker)
        test.assertEqual(await existing(broker), sixth)
        test.assertLess(first, second)
        await broker.delete("q")
        await add(broker)

    async def lease_that_ends_does_not_free_the_key(self, test: Any, broker: Any) -> None:
        number = await add(broker)
        await broker.get("q", SOON)
        await deferLater(reactor, SOON + 0.1)
        test.assertEqual(await existing(broker), number)
        test.assertEqual((await broker.get("q")).number, number)
        await broker.fail("q", number, 0, ("", ""), None)
        test.assertEqual(await existing(broker), number)

    async def buried_task_does_not_have_its_key(self, test: Any, broker: Any) -> None:
        """A kick makes both tasks ready. The key is free when both have ended."""
        buried = await add(broker)
        await broker.get("q")
        await broker.fail("q", buried, 0, ("", ""), False)
        number = await add(broker)
        await broker.bury("q", number)
        third = await add(broker)
        test.assertEqual(await broker.kick("q", 1), 1)
        await broker.kick_task("q", number)
        test.assertEqual(await existing(broker), buried)
        for each in (buried, number):
            test.assertEqual((await broker.get("q")).number, each)
            await broker.done("q", each)
        test.assertEqual(await existing(broker), third)
        await broker.drop("q", third)
        await add(broker)

    async def puts_at_the_same_time_add_one_task(self, test: Any, broker: Any) -> None:
        for unique_for in (0.0, inf):
            puts = [begin(broker.put("q", task(f"u{unique_for}", unique_for))) for _ in range(20)]
            found = await gatherResults(puts)
            test.assertEqual(sorted(kinds(found)), [False] + [True] * 19)
            test.assertEqual(len({each.number for each in found}), 1)
        test.assertEqual((await broker.stats("q"))["ready"], 2)

    async def batches_and_puts_at_the_same_time_add_one_task_for_each_key(
        self, test: Any, broker: Any
    ) -> None:
        names = [f"u{number}" for number in range(5)]
        puts = [begin(broker.put_many("q", [task(name) for name in names[::turn]])) for turn in (1, -1) * 5]
        puts += [begin(broker.put("q", task(name))) for name in names]
        await gatherResults(puts)
        test.assertEqual((await broker.stats("q"))["ready"], 5)

    async def batch_adds_what_does_not_exist(self, test: Any, broker: Any) -> None:
        number = await add(broker, "b")
        tasks = [task("a"), QueuedTask(0, b'{"n":1}'), task("b"), task("a"), task("c"), QueuedTask(0, b"{}")]
        found = await broker.put_many("q", tasks)
        test.assertEqual(kinds(found), [False, False, True, True, False, False])
        numbers = [each.number for each in found]
        test.assertEqual((numbers[2], numbers[3]), (number, numbers[0]))
        added = [numbers[0], numbers[1], numbers[4], numbers[5]]
        test.assertEqual([each.number for each in await broker.peek("q", 9, "ready")], [number, *added])
        shown = [each.terms and each.terms.unique for each in await broker.peek("q", 9, "ready")]
        test.assertEqual(shown, ["b", "a", None, "c", None])
        again = await broker.put_many("q", [task("a"), task("b")])
        test.assertEqual([each.number for each in again], [numbers[0], number])
        test.assertEqual((await broker.stats("q"))["ready"], 5)

    async def tasks_of_a_batch_keep_their_other_terms(self, test: Any, broker: Any) -> None:
        tasks = [task("a", ttl=1000.0, max_deliveries=3), task("b", ttl=1000.0, max_deliveries=3)]
        await broker.put_many("q", tasks)
        for each, name in zip(await broker.peek("q", 9, "ready"), "ab", strict=True):
            test.assertEqual((each.terms.ttl, each.terms.max_deliveries), (1000.0, 3))
            test.assertEqual((each.terms.unique, each.terms.unique_for), (name, 0.0))

    async def repeated_put_is_answered_as_before(self, test: Any, broker: Any) -> None:
        added = await broker.put("q", task(), "k")
        again = await broker.put("q", task(), "k")
        test.assertEqual((type(again), again.number, again.body), (QueuedTask, added.number, b""))
        await broker.get("q")
        await broker.done("q", added.number)
        again = await broker.put("q", task(), "k")
        test.assertEqual((type(again), again.number), (QueuedTask, added.number))
        test.assertEqual((await broker.stats("q"))["unfinished"], 0)

    async def repeated_batch_is_answered_as_before(self, test: Any, broker: Any) -> None:
        """Also if some of its tasks existed, so that the numbers do not follow one another."""
        number = await add(broker, "b")
        batch = ["a", "b", "c", "a"]
        found = await broker.put_many("q", [task(key) for key in batch], "k")
        for each in found:
            await broker.drop("q", each.number)
        again = await broker.put_many("q", [task(key) for key in batch], "k")
        test.assertEqual([each.number for each in again], [each.number for each in found])
        test.assertEqual([type(each) for each in again], [QueuedTask, ExistingTask, QueuedTask, ExistingTask])
        test.assertEqual(again[1].number, number)
        test.assertEqual((await broker.stats("q"))["unfinished"], 0)

    async def put_that_finds_a_task_may_add_one_later_with_the_same_request_key(
        self, test: Any, broker: Any
    ) -> None:
        """It had no effect, so it is not remembered."""
        number = await add(broker)
        found = await broker.put("q", task(), "k")
        test.assertEqual((type(found), found.number), (ExistingTask, number))
        await broker.drop("q", number)
        test.assertIs(type(await broker.put("q", task(), "k")), QueuedTask)

    async def existing_task_is_answered_when_the_queue_is_full(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"maxsize": 2})
        first, second = await add(broker, "a"), await add(broker, "b")
        test.assertEqual(await broker.put("q", task("c")), FULL)
        test.assertEqual(await existing(broker, "a"), first)
        found = await broker.put_many("q", [task("b"), task("a"), task("b")])
        test.assertEqual([each.number for each in found], [second, first, second])
        test.assertEqual(await broker.put_many("q", [task("a"), task("c")]), FULL)
        waiting = begin(broker.put("q", task("c"), "", LONG))
        await deferLater(reactor, 0.05)
        test.assertEqual(await existing(broker, "a"), first)
        test.assertFalse(waiting.called)
        await broker.get("q")
        test.assertIs(type(await waiting), QueuedTask)
        await broker.get("q")
        found = await broker.put_many("q", [task("a"), task("d")])  # it needs room for one task
        test.assertEqual(kinds(found), [True, False])

    async def puts_that_wait_for_room_add_one_task(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"maxsize": 1})
        await add(broker, "a")
        waiting = [begin(broker.put("q", task("b"), "", LONG)) for _ in range(3)]
        await deferLater(reactor, 0.05)
        for _ in range(3):
            await broker.get("q", None, "", 1.0)
            await deferLater(reactor, 0.05)
        found = await gatherResults(waiting)
        test.assertEqual(sorted(kinds(found)), [False, True, True])
        test.assertEqual((await broker.stats("q"))["unfinished"], 2)

    async def existing_task_is_answered_after_a_shutdown(self, test: Any, broker: Any) -> None:
        number = await add(broker)
        await broker.change("q", {"shutdown": "draining"})
        test.assertEqual(await existing(broker), number)
        test.assertEqual(await broker.put("q", task("v")), SHUTDOWN)
        test.assertEqual(await broker.put_many("q", [task("u"), task("v")]), SHUTDOWN)
        await broker.change("q", {"shutdown": "immediate"})
        test.assertEqual(await broker.put("q", task()), SHUTDOWN)
        await broker.change("q", {"shutdown": ""})
        await add(broker)

    async def key_may_be_taken_beyond_the_end(self, test: Any, broker: Any) -> None:
        number = await add(broker, unique_for=inf)
        await broker.get("q")
        test.assertEqual(await existing(broker), number)
        await broker.done("q", number)
        test.assertEqual(await existing(broker), number)
        test.assertEqual(await existing(broker, unique_for=60.0), number)
        found = await broker.put_many("q", [task("v", inf), task(), task("v")])
        test.assertEqual(kinds(found), [False, True, True])
        await broker.purge("q")
        test.assertEqual(await existing(broker, "v"), found[0].number)
        test.assertEqual(await existing(broker), number)

    async def key_is_free_again_when_its_time_is_over(self, test: Any, broker: Any) -> None:
        number = await add(broker, unique_for=2 * SOON)
        await broker.drop("q", number)
        test.assertEqual(await existing(broker), number)
        await deferLater(reactor, 2 * SOON + 0.1)
        number = await add(broker, unique_for=SOON)
        await deferLater(reactor, SOON + 0.1)
        test.assertEqual(await existing(broker), number)  # the task still waits
        await broker.drop("q", number)
        await add(broker)

    async def key_can_be_freed(self, test: Any, broker: Any) -> None:
        test.assertFalse(await broker.free("q", "u"))
        number = await add(broker, unique_for=inf)
        test.assertTrue(await broker.free("q", "u"))
        test.assertFalse(await broker.free("q", "u"))
        test.assertEqual(await existing(broker), number)
        await broker.drop("q", number)
        await add(broker, unique_for=inf)
        await broker.purge("q")
        test.assertFalse(await broker.free("other", "u"))
        test.assertTrue(await broker.free("q", "u"))
        await add(broker)

    async def deleted_queue_forgets_its_keys(self, test: Any, broker: Any) -> None:
        await broker.drop("q", await add(broker, unique_for=inf))
        await broker.delete("q")
        await add(broker)

    async def key_is_shown(self, test: Any, broker: Any) -> None:
        number = await add(broker, "ü/\x1f", inf)
        for shown in (await broker.peek("q", 1, "ready"))[0], (await broker.show("q", number)).task:
            test.assertEqual((shown.terms.unique, shown.terms.unique_for), ("ü/\x1f", 0.0))

    async def existing_tasks_are_not_counted_as_puts(self, test: Any, broker: Any) -> None:
        await add(broker)
        await existing(broker)
        await broker.put_many("q", [task(), task("v")])
        if not isinstance(broker, InTurn):  # each server counts its own puts
            test.assertEqual((await broker.stats("q"))["puts"], 2)


class UniqueTests(OnLocalStores, StoreTestCase):
    tables = (UniqueCases,)

    async def test_keys_survive_a_restart(self) -> None:
        path = sqlite_store(self)
        broker = make_broker(reactor, open_store(path))
        broker.start()
        ready, leased, buried = [await add(broker, name) for name in ("ready", "leased", "buried")]
        ended = await add(broker, "ended", inf)
        await broker.bury("q", buried)
        await broker.drop("q", ended)
        await broker.drop("q", await add(broker, "over", SOON))
        batch = [task("x"), task("ready"), task("y")]
        found = await broker.put_many("q", batch, "k")
        await broker.get("q")
        await broker.stop()
        await deferLater(reactor, SOON)
        broker = self.broker(path)
        for name, number in (("ready", ready), ("leased", leased), ("ended", ended)):
            self.assertEqual(await existing(broker, name), number)
        await add(broker, "buried")
        await add(broker, "over")
        again = await broker.put_many("q", [task("x"), task("ready"), task("y")], "k")
        self.assertEqual([each.number for each in again], [each.number for each in found])
        self.assertIs(type(again[1]), ExistingTask)

    async def test_keys_that_are_over_are_deleted(self) -> None:
        for store in ("memory:", sqlite_store(self)):
            broker = self.broker(store)
            await add(broker, "a", SOON)
            await add(broker, "b", inf)
            await deferLater(reactor, SOON + 0.1)
            broker.store.free_unused_space()
            self.assertEqual(await broker.store.find_taken("q", ["a", "b"]), {"b": 2})
            self.assertEqual(await broker.free("q", "a"), False)


@needs_postgresql
class PostgreSQLUniqueTests(OnPostgreSQL, StoreTestCase):
    tables = (UniqueCases,)

    async def test_unused_queue_keeps_its_keys_until_they_are_over(self) -> None:
        import psycopg

        url = shared().database()
        name, broker = url.rpartition("/")[2], self.broker(url)
        await broker.drop("q", await add(broker, "u", SOON))
        ask = "SELECT count(*) FROM tqueue.queues"
        broker._delete_expired()
        await broker.stats("q")
        self.assertEqual(shared().ask(ask, database=name).strip(), "1")
        with psycopg.connect(url, autocommit=True) as other:  # a server that saw the queue before the key
            other.execute(SQL["delete_unused_queue"], {"default_options": DEFAULT_OPTIONS, "queue": 1})
        self.assertEqual(shared().ask(ask, database=name).strip(), "1")
        await deferLater(reactor, SOON + 0.1)
        broker._delete_expired()
        await broker.stats("q")
        self.assertEqual(shared().ask(ask, database=name).strip(), "0")

    async def test_key_is_found_by_its_index(self) -> None:
        url = shared().database()
        name, broker = url.rpartition("/")[2], self.broker(url)
        await add(broker)
        plan = shared().ask(
            "SET enable_seqscan = off; EXPLAIN SELECT t.number FROM tqueue.tasks t WHERE t.queue = 1 "
            "AND t.terms ->> 'unique' = 'u' AND t.terms ->> 'unique' IS NOT NULL AND t.state + 0 <> 3 "
            "ORDER BY t.number + 0 LIMIT 1",
            database=name,
        )
        self.assertIn("tasks_unique", plan)


class UniqueKeysTests(SynchronousTestCase):
    def test_key_is_free_when_all_its_tasks_have_ended(self) -> None:
        keys = UniqueKeys()
        for number in (5, 3, 5):
            keys.add("u", number)
        keys.discard("u", 4)
        self.assertEqual((keys.find("u"), keys.find("v")), (3, None))
        keys.discard("u", 3)
        self.assertEqual(keys.find("u"), 5)
        keys.discard("u", 5)
        keys.discard("u", 5)
        self.assertEqual((keys.find("u"), keys._numbers), (None, {}))

    def test_tasks_without_a_key_leave_no_memory(self) -> None:
        keys = UniqueKeys()
        keys.add("", 1)
        self.assertEqual(keys._numbers, {})

    def test_wrong_times_are_refused(self) -> None:
        for seconds in (-1.0, float("nan"), 1e9):
            error = self.assertRaises(ValueError, Terms, unique="u", unique_for=seconds)
            self.assertIn("unique_for must be more than 0 and at most 31622400 seconds, or inf", str(error))

    def test_time_is_not_stored_with_the_task(self) -> None:
        self.assertEqual(encode_terms(Terms(unique="u", unique_for=inf)), '{"unique":"u"}')
        self.assertEqual(Terms(unique="u", unique_for=inf).begun(5.0), Terms(unique="u"))
