"""How long a task rests after it has failed: one table of cases for every store."""

from __future__ import annotations

from time import time
from typing import Any

from twisted.internet import reactor

from tests.queue.test_stores import OnLocalStores, OnPostgreSQL, StoreTestCase, put
from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql
from twisted_appserver.queue.attempt import RetryAfter
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.queue.interface import EMPTY

FAILURE = ("no color", "")


async def fail(broker: Any, number: int, retry: RetryAfter = None) -> float | bool:
    """Get and fail a task that may be delayed. Return what the broker returns of its pause."""
    await broker.kick_task("q", number)
    task = await broker.get("q")
    assert task.number == number, task
    failed, pause = await broker.fail("q", number, task.deliveries, FAILURE, retry)
    assert failed.number == number
    return pause  # type: ignore[no-any-return]


class BackoffCases:
    """The table: each method is a case. It receives a test, for assertions, and a broker."""

    async def failed_task_rests_longer_each_time(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"retry_first": 100.0, "retry_most": 350.0, "retry_jitter": 0.0})
        (number,) = await put(broker, 1)
        for pause in (100.0, 200.0, 350.0):
            test.assertEqual(await fail(broker, number), pause)
            test.assertEqual(await broker.get("q"), EMPTY)
            (task,) = await broker.peek("q", 9, "delayed")
            test.assertLess(abs(task.due - time() - pause), 10)

    async def default_pause_is_about_a_second(self, test: Any, broker: Any) -> None:
        (number,) = await put(broker, 1)
        pause = await fail(broker, number)
        test.assertTrue(0.9 <= pause <= 1.1, pause)
        test.assertEqual(await broker.get("q"), EMPTY)
        again = await broker.get("q", None, "", 20.0)
        test.assertEqual((again.number, again.deliveries), (number, 2))

    async def explicit_pause_is_obeyed(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"retry_first": 100.0})
        (number,) = await put(broker, 1)
        test.assertEqual(await fail(broker, number, 0.0), 0)
        test.assertEqual((await broker.stats("q"))["ready"], 1)
        test.assertEqual(await fail(broker, number, 1000.0), 1000.0)
        test.assertEqual((await broker.stats("q"))["delayed"], 1)
        test.assertIs(await fail(broker, number, False), False)
        test.assertEqual((await broker.stats("q"))["buried"], 1)

    async def last_attempt_has_no_pause(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"retry_first": 100.0, "max_deliveries": 2})
        (number,) = await put(broker, 1)
        test.assertGreater(await fail(broker, number), 0)
        test.assertIs(await fail(broker, number), False)
        await broker.kick("q", 1)
        test.assertGreater(await fail(broker, number), 0)

    async def released_task_rests_only_for_its_own_delay(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"retry_first": 100.0})
        (number,) = await put(broker, 1)
        await broker.get("q")
        await broker.release("q", number)
        test.assertEqual((await broker.get("q")).deliveries, 2)

    async def expired_task_does_not_rest(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"retry_first": 100.0})
        await put(broker, 1)
        await broker.get("q", 0.1)
        test.assertEqual((await broker.get("q", None, "", 20.0)).deliveries, 2)

    async def pauses_are_not_equal(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"retry_jitter": 0.5, "retry_first": 100.0})
        numbers = await put(broker, 10)
        pauses = [await fail(broker, number) for number in numbers]
        test.assertGreater(len(set(pauses)), 5)
        test.assertTrue(all(50 <= each <= 150 for each in pauses), pauses)

    async def task_that_is_not_leased_cannot_fail(self, test: Any, broker: Any) -> None:
        (number,) = await put(broker, 1)
        for delivery in (0, 1):
            test.assertEqual(await broker.fail("q", number, delivery, FAILURE, None), None)
        test.assertEqual(await broker.fail("q", 99, 0, FAILURE, None), None)
        test.assertEqual(await broker.fail("nowhere", 1, 0, FAILURE, None), None)

    async def wrong_options_are_refused(self, test: Any, broker: Any) -> None:
        for name, value in (("retry_first", -1), ("retry_factor", 0.5), ("retry_jitter", 2)):
            with test.assertRaisesRegex(ValueError, f"{name} must be"):
                await broker.change("q", {name: value})
        test.assertEqual((await broker.config("q")).retry_factor, 2.0)


class BackoffTests(OnLocalStores, StoreTestCase):
    tables = (BackoffCases,)

    async def test_pause_survives_a_restart(self) -> None:
        path = sqlite_store(self)
        broker = make_broker(reactor, open_store(path))
        broker.start()
        await broker.change("q", {"retry_first": 100.0})
        (number,) = await put(broker, 1)
        await fail(broker, number)
        await broker.stop()
        broker = self.broker(path)
        self.assertEqual((await broker.stats("q"))["delayed"], 1)
        self.assertEqual((await broker.config("q")).retry_first, 100.0)


@needs_postgresql
class PostgreSQLBackoffTests(OnPostgreSQL, StoreTestCase):
    tables = (BackoffCases,)
