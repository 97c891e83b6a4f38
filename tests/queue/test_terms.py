"""What applies to single tasks, such as their time to live: one table of cases for every store."""

from __future__ import annotations

from time import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.queue.test_results import LONG, result
from tests.queue.test_stores import SOON, OnLocalStores, OnPostgreSQL, StoreTestCase, begin, put
from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql, shared
from twisted_appserver.core.retry import Retry
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.queue.interface import EMPTY
from twisted_appserver.queue.lifetimes import Lifetimes
from twisted_appserver.queue.model import TaskQueue
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.terms import OVER, Terms, decode_terms, encode_terms

FAILURE = ("no color", "")
SHORT, TTL = Terms(ttl=SOON), Terms(ttl=1000.0)


async def add(broker: Any, terms: Terms | None, delay: float = 0.0, key: str = "") -> int:
    """Put a task with these terms. Return its number."""
    return int((await broker.put("q", QueuedTask(0, b"{}", terms=terms), key, 0.0, delay)).number)


class TermCases:
    """The table: each method is a case. It receives a test, for assertions, and a broker."""

    async def task_with_its_own_max_deliveries_is_buried_earlier(self, test: Any, broker: Any) -> None:
        number = await add(broker, Terms(max_deliveries=2))
        other = await add(broker, None)
        for pause in (0.0, False):
            test.assertEqual((await broker.get("q")).number, number)
            test.assertEqual((await broker.fail("q", number, 0, FAILURE, 0.0))[1], pause)
        test.assertEqual(await result(broker, number), ("buried", b""))
        test.assertEqual((await broker.get("q")).number, other)

    async def own_limit_applies_to_expired_and_released_tasks(self, test: Any, broker: Any) -> None:
        number = await add(broker, Terms(max_deliveries=1))
        await broker.get("q", SOON)
        test.assertEqual(await result(broker, number, LONG), ("buried", b""))
        await broker.change("q", {"max_deliveries": 1})
        endless = await add(broker, Terms(max_deliveries=0))
        for _ in range(3):
            test.assertEqual((await broker.get("q")).number, endless)
            await broker.release("q", endless)

    async def task_rests_as_its_own_terms_require(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"retry_jitter": 0.0, "retry_factor": 3.0})
        number = await add(broker, Terms(retry_first=100.0))
        for pause in (100.0, 300.0):
            await broker.kick_task("q", number)
            await broker.get("q")
            test.assertEqual((await broker.fail("q", number, 0, FAILURE, None))[1], pause)

    async def batch_obeys_terms(self, test: Any, broker: Any) -> None:
        tasks = [QueuedTask(0, b"{}", terms=Terms(ttl=SOON, max_deliveries=3)) for _ in range(3)]
        added = await broker.put_many("q", tasks, "", 0.0, 0.0)
        await put(broker, 1)
        shown = await broker.peek("q", 9, "ready")
        test.assertEqual([task.terms and task.terms.max_deliveries for task in shown], [3, 3, 3, None])
        await deferLater(reactor, SOON + 0.1)
        test.assertEqual((await broker.stats("q"))["ready"], 1)
        test.assertEqual(await result(broker, added[0].number), ("unknown", b""))

    async def task_that_waits_too_long_is_removed(self, test: Any, broker: Any) -> None:
        """Wherever it is in the queue, and also if it is delayed."""
        for kind in ("fifo", "lifo", "priority"):
            await broker.change("q", {"kind": kind})
            first = await add(broker, None)
            await add(broker, SHORT)
            last = await add(broker, TTL)
            await add(broker, SHORT, SOON / 2)
            delayed = await add(broker, TTL, 500.0)
            await deferLater(reactor, SOON + 0.1)
            test.assertEqual(await broker.qsizes("q"), {"q": 2})
            test.assertEqual({(await broker.get("q")).number for _ in range(2)}, {first, last})
            test.assertEqual(await broker.get("q"), EMPTY)
            test.assertEqual([each.number for each in await broker.peek("q", 9, "delayed")], [delayed])
            await broker.delete("q")

    async def removed_task_is_not_listed(self, test: Any, broker: Any) -> None:
        await add(broker, SHORT)
        await deferLater(reactor, SOON + 0.1)
        test.assertEqual((await broker.qsizes(None)).get("q", 0), 0)
        stats = await broker.stats("q")
        test.assertEqual((stats["ready"], stats["unfinished"]), (0, 0))

    async def expired_task_has_a_state_if_results_are_kept(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"keep": 60})
        number = await add(broker, SHORT)
        waiting = begin(broker.result("q", number, LONG))
        await deferLater(reactor, 0.05)
        test.assertFalse(waiting.called)
        found = await waiting
        test.assertEqual((found.state, found.error), ("expired", OVER))
        test.assertLess(abs(found.ended - time()), 10)
        test.assertEqual((await broker.show("q", number)).result.state, "expired")

    async def expired_tasks_make_room_and_end_joins(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"maxsize": 1})
        await add(broker, SHORT)
        joining = begin(broker.join("q", LONG))
        await deferLater(reactor, 0.05)
        test.assertEqual(await joining, (0, 0))
        await add(broker, SHORT)
        added = await broker.put("q", QueuedTask(0, b"{}"), "", LONG)
        test.assertIsInstance(added, QueuedTask)

    async def leased_task_is_not_interrupted(self, test: Any, broker: Any) -> None:
        number = await add(broker, SHORT)
        await broker.get("q")
        await deferLater(reactor, SOON + 0.1)
        test.assertEqual(await result(broker, number), ("leased", b""))
        test.assertIsInstance(await broker.extend("q", number, 60.0), QueuedTask)
        test.assertEqual((await broker.done("q", number)).number, number)

    async def task_that_comes_back_too_late_expires(self, test: Any, broker: Any) -> None:
        """By a failure, a release, or the end of its lease."""
        await broker.change("q", {"keep": 60})
        numbers = [await add(broker, SHORT) for _ in range(3)]
        for seconds in (60.0, 60.0, SOON + 0.3):
            await broker.get("q", seconds)
        await deferLater(reactor, SOON + 0.1)
        failed = await broker.fail("q", numbers[0], 0, FAILURE, None)
        test.assertEqual((failed[0].number, failed[1]), (numbers[0], False))
        test.assertIsInstance(await broker.release("q", numbers[1]), QueuedTask)
        for number in numbers:
            test.assertEqual(await result(broker, number, LONG), ("expired", b""))
        (attempt,) = (await broker.show("q", numbers[0])).attempts
        test.assertEqual((attempt.reason, attempt.error), ("failed", "no color"))
        test.assertEqual(await broker.get("q"), EMPTY)

    async def task_that_comes_back_too_late_is_not_handed_out(self, test: Any, broker: Any) -> None:
        number = await add(broker, SHORT)
        await broker.get("q")
        await deferLater(reactor, SOON + 0.1)
        waiting = begin(broker.get("q", None, "", 1.0))
        await deferLater(reactor, 0.05)
        await broker.release("q", number)
        test.assertEqual(await waiting, EMPTY)

    async def buried_task_does_not_expire_and_its_kick_begins_anew(self, test: Any, broker: Any) -> None:
        by_id, by_count = await add(broker, SHORT), await add(broker, SHORT)
        await broker.bury("q", by_id)
        await broker.bury("q", by_count)
        await deferLater(reactor, SOON + 0.1)
        test.assertEqual((await broker.stats("q"))["buried"], 2)
        await broker.kick_task("q", by_id)
        test.assertEqual(await broker.kick("q", 9), 1)
        test.assertEqual((await broker.stats("q"))["ready"], 2)
        await deferLater(reactor, SOON + 0.1)
        test.assertEqual((await broker.stats("q"))["ready"], 0)

    async def repeated_put_keeps_the_time_to_live_of_the_first(self, test: Any, broker: Any) -> None:
        number = await add(broker, SHORT, key="k")
        test.assertEqual(await add(broker, TTL, key="k"), number)
        await deferLater(reactor, SOON + 0.1)
        test.assertEqual((await broker.stats("q"))["ready"], 0)
        test.assertEqual(await add(broker, TTL, key="k"), number)
        test.assertEqual((await broker.stats("q"))["ready"], 0)

    async def terms_are_shown(self, test: Any, broker: Any) -> None:
        number = await add(broker, Terms(ttl=1000.0, retry_first=2.0))
        for task in (await broker.peek("q", 1, "ready"))[0], (await broker.show("q", number)).task:
            test.assertEqual((task.terms.ttl, task.terms.retry_first), (1000.0, 2.0))
            test.assertLess(abs(task.terms.ends - time() - 1000), 10)

    async def terms_survive_all_that_happens_to_a_task(self, test: Any, broker: Any) -> None:
        number = await add(broker, Terms(ttl=1000.0, max_deliveries=5), SOON)
        (await broker.get("q", SOON, "", LONG)), (await broker.get("q", None, "", LONG))
        await broker.release("q", number)
        await broker.change("q", {"kind": "lifo"})
        (task,) = await broker.peek("q", 1, "ready")
        test.assertEqual((task.terms.ttl, task.terms.max_deliveries, task.deliveries), (1000.0, 5, 2))


class TermTests(OnLocalStores, StoreTestCase):
    tables = (TermCases,)

    async def test_time_to_live_continues_while_the_server_is_down(self) -> None:
        path = sqlite_store(self)
        broker = make_broker(reactor, open_store(path))
        broker.start()
        await broker.change("q", {"keep": 60})
        number, other = await add(broker, SHORT), await add(broker, TTL)
        await broker.stop()
        await deferLater(reactor, SOON)
        broker = self.broker(path)
        self.assertEqual(await result(broker, number), ("expired", b""))
        (task,) = await broker.peek("q", 9, "ready")
        self.assertEqual((task.number, task.terms and task.terms.ttl), (other, 1000.0))


@needs_postgresql
class PostgreSQLTermTests(OnPostgreSQL, StoreTestCase):
    tables = (TermCases,)

    async def test_queue_is_searched_only_while_it_has_tasks_with_terms(self) -> None:
        url = shared().database()
        name, broker = url.rpartition("/")[2], self.broker(url)
        ask = "SELECT has_terms FROM tqueue.queues"
        await put(broker, 1)
        self.assertEqual(shared().ask(ask, database=name).strip(), "f")
        number = await add(broker, TTL)
        self.assertEqual(shared().ask(ask, database=name).strip(), "t")
        broker._delete_expired()  # type: ignore[attr-defined]
        await broker.stats("q")
        self.assertEqual(shared().ask(ask, database=name).strip(), "t")
        await broker.drop("q", number)
        broker._delete_expired()  # type: ignore[attr-defined]
        await broker.stats("q")
        self.assertEqual(shared().ask(ask, database=name).strip(), "f")


class LifetimeTests(SynchronousTestCase):
    def test_tasks_of_each_place_end_in_time(self) -> None:
        lifetimes = Lifetimes()
        for number, ends in ((1, 5.0), (2, 3.0), (3, 0.0), (4, 3.0)):
            lifetimes.add(number, ends)
        lifetimes.discard(4)
        self.assertEqual((lifetimes.next, lifetimes.over(2.9)), (3.0, set()))
        self.assertEqual((lifetimes.over(3.0), lifetimes.next), ({2}, 5.0))
        self.assertEqual((lifetimes.over(9.0), lifetimes.next), ({1}, None))

    def test_tasks_that_are_done_leave_no_memory(self) -> None:
        lifetimes = Lifetimes()
        for number in range(10_000):
            lifetimes.add(number, 1000.0 + number)
            lifetimes.discard(number)
        self.assertLess(len(lifetimes._heap), 200)

    def test_head_and_inside_of_the_heap_end_alike(self) -> None:
        queue = TaskQueue("q")
        for number in range(1, 10):
            ends = 5.0 if number in (1, 2, 7) else 9.0 if number == 8 else 0.0
            queue.place(QueuedTask(number, b"", terms=Terms(ttl=1.0, ends=ends) if ends else None), 0.0)
        self.assertEqual(queue.alarm, 5.0)
        self.assertEqual(sorted(task.number for task in queue.end_lifetimes(5.0)), [1, 2, 7])
        self.assertEqual([task.number for task in queue.peek(9)], [3, 4, 5, 6, 8, 9])
        self.assertEqual((queue.expired, queue.alarm), (3, 9.0))


class TermsTests(SynchronousTestCase):
    def test_terms_replace_only_what_they_have(self) -> None:
        retry = Terms(max_deliveries=3, retry_most=7.0).applied_to(Retry(10, 1.0, 2.0))
        self.assertEqual(retry, Retry(3, 1.0, 2.0, 7.0))
        self.assertEqual(Terms(ttl=1.0).applied_to(Retry(10)), Retry(10))

    def test_wrong_terms_are_refused(self) -> None:
        for fields, message in (
            ({"ttl": -1.0}, "ttl must be more than 0 and at most 31622400 seconds, not -1.0"),
            ({"ttl": float("nan")}, "ttl must be"),
            ({"max_deliveries": -1}, "max_deliveries must be 0 to"),
            ({"retry_factor": 0.0}, "retry_factor must be 1 to 1000, not 0.0"),
        ):
            self.assertIn(message, str(self.assertRaises(ValueError, Terms, **fields)))

    def test_stored_terms_are_small_and_come_back(self) -> None:
        terms = Terms(ttl=60.0).begun(5.0)
        self.assertEqual(encode_terms(terms), '{"ttl":60.0,"ends":65.0}')
        self.assertEqual(decode_terms('{"ttl":60,"ends":65}'), terms)
        self.assertEqual(decode_terms({"ttl": 60, "ends": 65}), terms)
        self.assertEqual((terms.is_over(64.9), terms.is_over(65.0)), (False, True))
        self.assertEqual(Terms(max_deliveries=1).begun(5.0), Terms(max_deliveries=1))
