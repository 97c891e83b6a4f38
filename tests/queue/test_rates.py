"""Queues with a rate: one table of cases for every store."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import SynchronousTestCase

from tests.queue.test_results import LONG
from tests.queue.test_stores import OnLocalStores, OnPostgreSQL, StoreTestCase, begin, put
from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql, shared
from twisted_appserver.core.rate import seconds_between
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.queue.interface import EMPTY, SHUTDOWN
from twisted_appserver.queue.model import TaskQueue
from twisted_appserver.queue.pace import Pace, pace_for
from twisted_appserver.queue.postgresql import broker as broker_module
from twisted_appserver.queue.queued_task import QueuedTask

APART = 0.25  # seconds between two deliveries
RATE = "4/s"


async def time_of_get(broker: Any) -> float:
    """Wait for a task. Return when it came."""
    test = await broker.get("q", None, "", LONG)
    assert isinstance(test, QueuedTask), test
    return float(reactor.seconds())


class RateCases:
    """The table: each method is a case. It receives a test, for assertions, and a broker."""

    async def deliveries_are_apart(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"rate": RATE})
        await put(broker, 5)
        begun = reactor.seconds()
        times = sorted(await gatherResults([begin(time_of_get(broker)) for _ in range(4)]))
        # When the responses arrive varies, but not by a whole interval.
        test.assertGreater(times[3] - begun, 3 * APART - 0.01)
        test.assertLess(times[3] - begun, 3 * APART + 5)

    async def get_that_does_not_wait_is_refused(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"rate": "1/d"})
        numbers = await put(broker, 2)
        test.assertEqual((await broker.get("q")).number, numbers[0])
        test.assertEqual(await broker.get("q"), EMPTY)
        test.assertEqual(await broker.get("q", None, "", 0.05), EMPTY)
        await broker.done("q", numbers[0])
        test.assertEqual(await broker.get("q"), EMPTY)

    async def batch_get_returns_what_is_allowed(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"rate": RATE})
        numbers = await put(broker, 3)
        test.assertEqual([each.number for each in await broker.get_many("q", 9)], numbers[:1])
        found = await broker.get_many("q", 9, None, "", LONG)
        test.assertEqual([each.number for each in found], numbers[1:2])

    async def repeated_get_counts_once(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"rate": "1/d"})
        (number,) = await put(broker, 1)
        for _ in range(3):
            test.assertEqual((await broker.get("q", None, "k")).number, number)

    async def higher_rate_serves_waiting_gets(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"rate": "1/d"})
        await put(broker, 4)
        await broker.get("q")
        waiting = [begin(time_of_get(broker)) for _ in range(3)]
        await broker.change("q", {"rate": "100/s"})
        await waiting[0]
        await broker.change("q", {"rate": ""})
        await gatherResults(waiting[1:])

    async def queue_with_a_rate_ends(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"rate": "20/s"})
        numbers = await put(broker, 2)
        await broker.change("q", {"shutdown": "draining"})
        waiting = [begin(broker.get("q", None, "", LONG)) for _ in range(3)]
        found = await gatherResults(waiting)
        got = [each.number for each in found if isinstance(each, QueuedTask)]
        test.assertEqual((sorted(got), found.count(SHUTDOWN)), (numbers, 1))


class RateTests(OnLocalStores, StoreTestCase):
    tables = (RateCases,)

    async def test_last_delivery_is_known_after_a_restart(self) -> None:
        path = sqlite_store(self)
        broker = make_broker(reactor, open_store(path))
        broker.start()
        await broker.change("q", {"rate": "1/h"})
        first, second = await put(broker, 2)
        self.assertEqual((await broker.get("q")).number, first)
        await broker.done("q", first)
        await broker.stop()
        broker = self.broker(path)
        self.assertEqual(await broker.get("q"), EMPTY)
        await broker.change("q", {"rate": ""})
        self.assertEqual((await broker.get("q")).number, second)


@needs_postgresql
class PostgreSQLRateTests(OnPostgreSQL, StoreTestCase):
    tables = (RateCases,)

    async def test_waiting_get_is_answered_when_its_time_has_come(self) -> None:
        """Not only when the next poll finds it."""
        self.patch(broker_module, "POLL_INTERVAL", 1000.0)
        broker = self.broker(shared().database())
        await broker.change("q", {"rate": RATE})
        await put(broker, 3)
        await gatherResults([begin(time_of_get(broker)) for _ in range(3)])


class PaceTests(SynchronousTestCase):
    def test_rates_are_read(self) -> None:
        for rate, seconds in (
            ("", 0.0), ("10/s", 0.1), ("10", 0.1), ("0.5", 2.0), ("120/m", 0.5), ("5/h", 720.0),
            ("1/d", 86400.0),
        ):  # fmt: skip
            self.assertEqual(seconds_between(rate), seconds, rate)

    def test_wrong_rates_are_refused(self) -> None:
        for rate in (
            "x",
            "0",
            "0/s",
            "-1/s",
            "10/",
            "10/w",
            "1 /s",
            "/s",
            "10001/s",
            "nan",
            "0.001/d",
            "1e3",
        ):
            error = self.assertRaises(ValueError, seconds_between, rate)
            self.assertIn(f"rate must be like 10/s, 100/m, 5/h or 1/d, at most 10000/s; empty for none; not "
                          f"{rate!r}", str(error))  # fmt: skip

    def test_pace_keeps_the_last_delivery_when_the_rate_changes(self) -> None:
        pace = Pace(1.0, 10.0)
        self.assertEqual((pace.allows(10.9), pace.allows(11.0)), (False, True))
        faster = pace_for("10/s", pace)
        assert faster is not None
        self.assertEqual((faster.next, pace_for("", pace)), (10.1, None))

    def test_queue_hands_out_one_task_at_a_time(self) -> None:
        queue = TaskQueue("q")
        queue.configure(type(queue.config)(rate="1/s"))
        for number in (1, 2):
            queue.place(QueuedTask(number, b""), 0.0)
        self.assertIsNotNone(queue.take(5.0, 60.0))
        self.assertEqual((queue.can_hand_out(5.5), queue.take(5.5, 60.0)), (False, None))
        self.assertTrue(queue.can_hand_out(6.0))
