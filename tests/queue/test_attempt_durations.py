"""How long attempts take: one table of cases for every store."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.queue.test_stores import OnLocalStores, StoreTestCase, put
from tests.support.postgres import needs_postgresql, shared
from tests.support.slow import slow
from twisted_appserver.queue import attempt_durations
from twisted_appserver.queue.attempt_durations import AttemptDurations


class DurationCases:
    """The table: each method is a case. It receives a test, for assertions, and a broker."""

    async def attempts_are_counted_by_their_outcome(self, test: Any, broker: Any) -> None:
        await put(broker, 5)
        tasks = [await broker.get("q") for _ in range(5)]
        await broker.done("q", tasks[0].number)
        await broker.done_many("q", [(task.number, 0, b"") for task in tasks[1:3]])
        await broker.fail("q", tasks[3].number, 0, ("x", ""), 0.0)
        await broker.release("q", tasks[4].number)
        found = {key: each.number for key, each in broker.durations.items()}
        test.assertEqual(found, {("q", "done"): 3, ("q", "failed"): 1})
        test.assertTrue(all(0 <= each.total < 60 for each in broker.durations.values()))

    async def durations_of_a_deleted_queue_are_dropped(self, test: Any, broker: Any) -> None:
        await put(broker, 1)
        await broker.done("q", (await broker.get("q")).number)
        await broker.delete("q")
        while broker.durations:  # the case has a time limit
            await deferLater(reactor, 0.01)


class DurationTests(OnLocalStores, StoreTestCase):
    tables = (DurationCases,)


@needs_postgresql
class PostgreSQLDurationTests(StoreTestCase):
    @slow
    async def test_all_cases_on_one_server(self) -> None:
        """Each server counts the attempts that end there."""
        await self.all_cases(lambda: self.broker(shared().database()), (DurationCases,))


class AttemptDurationsTests(SynchronousTestCase):
    def test_duration_lasts_from_the_begin_to_the_end(self) -> None:
        clock = Clock()
        attempts = AttemptDurations(clock.seconds)
        attempts.begin(1)
        clock.advance(3)
        attempts.end("q", 1, "done")
        attempts.end("q", 1, "done")  # has no beginning any more
        durations = attempts.by_outcome["q", "done"]
        self.assertEqual((durations.number, durations.total), (1, 3.0))
        index = durations.counts.index(1)
        self.assertTrue(durations.bounds[index - 1] <= 3 < durations.bounds[index])

    def test_beginnings_take_limited_memory(self) -> None:
        self.patch(attempt_durations, "MOST_OPEN", 2)
        attempts = AttemptDurations(Clock().seconds)
        for number in (1, 2, 3):
            attempts.begin(number)
        for number in (1, 2, 3):
            attempts.end("q", number, "failed")
        self.assertEqual(attempts.by_outcome["q", "failed"].number, 2)
