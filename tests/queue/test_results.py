"""Results, failures and attempts of tasks: one table of cases for every store."""

from __future__ import annotations

from time import sleep, time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.task import deferLater

from tests.queue.test_stores import SOON, InTurn, OnLocalStores, OnPostgreSQL, StoreTestCase, begin, put
from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql, shared
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.queue.interface import STOPPING
from twisted_appserver.queue.postgresql import broker as broker_module
from twisted_appserver.queue.queued_task import QueuedTask

LONG = 60.0  # seconds that a request may wait: longer than a case may take, so a late wake-up fails


async def finish(broker: Any, result: bytes = b"") -> int:
    """Put, get and finish a task."""
    await put(broker, 1)
    task = await broker.get("q")
    await broker.done("q", task.number, task.deliveries, result)
    return int(task.number)


async def result(broker: Any, number: int, timeout: float = 0.0) -> tuple[str, bytes]:
    found = await broker.result("q", number, timeout)
    return ("unknown", b"") if found is None else (found.state, found.result)


class ResultCases:
    """The table: each method is a case. It receives a test, for assertions, and a broker."""

    async def result_of_finished_task_is_kept(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"keep": 60})
        first, second = await finish(broker, b'{"size": 7}'), await finish(broker)
        test.assertEqual(await result(broker, first), ("done", b'{"size": 7}'))
        test.assertEqual(await result(broker, second), ("done", b""))
        test.assertEqual(await result(broker, first, LONG), ("done", b'{"size": 7}'))
        ended = (await broker.result("q", first)).ended
        test.assertLess(abs(ended - time()), 10)

    async def result_of_dropped_task_is_kept(self, test: Any, broker: Any) -> None:
        """If there is one, and the queue keeps results. A drop without a result keeps nothing."""
        await broker.change("q", {"keep": 60})
        first, second, third = await put(broker, 3)
        task = await broker.get("q")
        waiting = begin(result(broker, first, LONG))
        await broker.fail("q", first, task.deliveries, ("wrong", ""), 60.0)
        test.assertEqual((await broker.drop("q", first, b'{"why": 1}')).number, first)
        test.assertEqual(await waiting, ("dropped", b'{"why": 1}'))
        shown = await broker.show("q", first)
        test.assertEqual(([each.error for each in shown.attempts], shown.task), (["wrong"], None))
        test.assertLess(abs(shown.result.ended - time()), 10)
        await broker.drop("q", second)
        test.assertEqual(await result(broker, second), ("unknown", b""))
        test.assertIsNone(await broker.drop("q", first, b"2"))
        test.assertEqual(await result(broker, first), ("dropped", b'{"why": 1}'))
        await broker.change("q", {"keep": 0})
        await broker.drop("q", third, b"3")
        test.assertEqual(await result(broker, third), ("unknown", b""))

    async def forgotten_result_is_not_kept(self, test: Any, broker: Any) -> None:
        """The task may have attempts. A task that has not ended is not forgotten."""
        await broker.change("q", {"keep": 60, "keep_count": 2})
        first, second = await finish(broker, b"1"), await finish(broker, b"2")
        (waiting,) = await put(broker, 1)
        for number in (first, first, waiting, 99):
            await broker.forget("q", number)
        await broker.forget("nowhere", first)
        test.assertEqual(await result(broker, first), ("unknown", b""))
        test.assertIsNone(await broker.show("q", first))
        test.assertEqual(await result(broker, waiting), ("ready", b""))
        await broker.drop("q", waiting)
        await finish(broker, b"3")
        test.assertEqual(await result(broker, second), ("done", b"2"))

    async def ended_tasks_are_listed_the_last_one_first(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"keep": SOON})
        await finish(broker, b"old")
        await deferLater(reactor, 2 * SOON)
        await broker.change("q", {"keep": 60})
        first, second = await finish(broker, b'"first"'), await finish(broker, b'"second"')
        (third,) = await put(broker, 1)
        await broker.drop("q", third, b'"third"')
        await put(broker, 1)
        found = await broker.ended("q", 10, 4)
        test.assertEqual(
            [(each.number, each.state, each.result) for each in found],
            [(third, "dropped", b'"thi'), (second, "done", b'"sec'), (first, "done", b'"fir')],
        )
        test.assertTrue(all(abs(each.ended - time()) < 10 for each in found))
        test.assertEqual([each.number for each in await broker.ended("q", 2, 100)], [third, second])
        test.assertEqual(await broker.ended("nowhere", 10, 10), [])

    async def kept_results_are_counted(self, test: Any, broker: Any) -> None:
        test.assertEqual((await broker.stats("q"))["results"], 0)
        await broker.change("q", {"keep": 60, "keep_count": 2})
        numbers = [await finish(broker) for _ in range(3)]
        test.assertEqual((await broker.stats("q"))["results"], 2)
        await broker.forget("q", numbers[-1])
        test.assertEqual((await broker.stats("q"))["results"], 1)

    async def nothing_is_kept_without_the_option(self, test: Any, broker: Any) -> None:
        number = await finish(broker, b"7")
        test.assertEqual(await result(broker, number), ("unknown", b""))
        test.assertEqual(await result(broker, 99), ("unknown", b""))
        test.assertEqual(await broker.result("nowhere", 1), None)

    async def result_waits_for_the_end(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"keep": 60})
        numbers = await put(broker, 3)
        waiting = [begin(result(broker, number, LONG)) for number in numbers]
        test.assertEqual(await result(broker, numbers[0]), ("ready", b""))
        test.assertEqual(await result(broker, numbers[0], 0.05), ("ready", b""))
        for number in numbers:
            task = await broker.get("q")
            test.assertFalse(waiting[numbers.index(number)].called)
            await broker.done("q", number, task.deliveries, b"%d" % number)
        found = await gatherResults(waiting)
        test.assertEqual(found, [("done", b"%d" % number) for number in numbers])

    async def result_of_task_in_each_state(self, test: Any, broker: Any) -> None:
        ready, leased = await put(broker, 2)
        delayed = (await broker.put("q", QueuedTask(0, b"{}"), "", 0.0, 1000.0)).number
        test.assertEqual((await broker.get("q")).number, ready)
        test.assertEqual(await result(broker, ready), ("leased", b""))
        test.assertEqual(await result(broker, leased), ("ready", b""))
        test.assertEqual(await result(broker, delayed), ("delayed", b""))

    async def result_does_not_wait_for_buried_task(self, test: Any, broker: Any) -> None:
        (number,) = await put(broker, 1)
        await broker.get("q")
        waiting = begin(result(broker, number, LONG))
        await deferLater(reactor, 0.05)
        await broker.bury("q", number)
        test.assertEqual(await waiting, ("buried", b""))
        test.assertEqual(await result(broker, number, LONG), ("buried", b""))

    async def result_does_not_wait_for_task_that_expires_into_burial(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"max_deliveries": 1})
        (number,) = await put(broker, 1)
        await broker.get("q", SOON)
        test.assertEqual(await result(broker, number, LONG), ("buried", b""))

    async def purged_task_ends_the_wait(self, test: Any, broker: Any) -> None:
        numbers = await put(broker, 2)
        waiting = [begin(result(broker, number, LONG)) for number in numbers]
        await deferLater(reactor, 0.05)
        await broker.purge("q")
        test.assertEqual(await gatherResults(waiting), [("unknown", b"")] * 2)

    async def deleted_queue_ends_the_wait_and_its_results(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"keep": 60})
        kept = await finish(broker, b"1")
        (number,) = await put(broker, 1)
        waiting = begin(result(broker, number, LONG))
        await deferLater(reactor, 0.05)
        await broker.delete("q")
        test.assertEqual(await waiting, ("unknown", b""))
        test.assertEqual(await result(broker, kept), ("unknown", b""))

    async def result_expires(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"keep": SOON})
        number = await finish(broker, b"7")
        test.assertEqual(await result(broker, number), ("done", b"7"))
        await deferLater(reactor, SOON + 0.1)
        test.assertEqual(await result(broker, number), ("unknown", b""))

    async def only_the_last_results_are_kept(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"keep": 60, "keep_count": 2})
        numbers = [await finish(broker, b"%d" % number) for number in range(5)]
        states = [(await result(broker, number))[0] for number in numbers]
        test.assertEqual(states, ["unknown"] * 3 + ["done"] * 2)

    async def cancelled_wait_disturbs_nothing(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"keep": 60})
        (number,) = await put(broker, 1)
        first, second = begin(result(broker, number, LONG)), begin(result(broker, number, LONG))
        await deferLater(reactor, 0.05)
        first.cancel()
        await test.assertFailure(first, CancelledError)
        await broker.get("q")
        await broker.done("q", number, 0, b"1")
        test.assertEqual(await second, ("done", b"1"))

    async def stopping_server_ends_the_wait(self, test: Any, broker: Any) -> None:
        if isinstance(broker, InTurn):
            return
        (number,) = await put(broker, 1)
        waiting = begin(broker.result("q", number, 20.0))
        await deferLater(reactor, 0.05)
        broker.stop_waiting()
        test.assertEqual(await waiting, STOPPING)


class AttemptCases:
    """Failures, attempts, and what is shown of a task."""

    async def failed_task_is_tried_again(self, test: Any, broker: Any) -> None:
        (number,) = await put(broker, 1)
        await broker.get("q", None, "", 0.0, "host:1")
        failed = await broker.fail("q", number, 1, ("KeyError: 'x'", "Traceback"), 0.0)
        test.assertEqual((failed[0].number, failed[1]), (number, 0.0))
        test.assertEqual(await broker.fail("q", number, 1, ("again", ""), None), None)
        again = await broker.get("q", None, "", 0.0, "host:2")
        test.assertEqual((again.number, again.deliveries), (number, 2))
        (attempt,) = (await broker.show("q", number)).attempts
        found = (attempt.attempt, attempt.by, attempt.reason, attempt.error, attempt.traceback)
        test.assertEqual(found, (1, "host:1", "failed", "KeyError: 'x'", "Traceback"))
        test.assertLess(abs(attempt.began - time()), 10)
        test.assertTrue(0 <= attempt.seconds < 10, attempt.seconds)

    async def failed_task_rests(self, test: Any, broker: Any) -> None:
        (number,) = await put(broker, 1)
        await broker.get("q")
        await broker.fail("q", number, 0, ("x", ""), 1000.0)
        test.assertEqual((await broker.stats("q"))["delayed"], 1)
        test.assertEqual(await broker.errors("q", [number, 99]), {number: "x"})

    async def failed_task_is_buried(self, test: Any, broker: Any) -> None:
        """If it gives up, or was delivered too often. The error is part of its result."""
        await broker.change("q", {"max_deliveries": 2})
        for deliveries, retry in ((1, False), (2, 0.0)):
            (number,) = await put(broker, 1)
            for _ in range(deliveries):
                await broker.get("q")
                await broker.fail("q", number, 0, ("no color", ""), retry)
            found = await broker.result("q", number, 20.0)
            test.assertEqual((found.state, found.error), ("buried", "no color"))
            test.assertEqual(len((await broker.show("q", number)).attempts), deliveries)

    async def each_end_of_a_lease_is_an_attempt(self, test: Any, broker: Any) -> None:
        (number,) = await put(broker, 1)
        for seconds in (SOON, 60.0, 60.0):
            await broker.get("q", seconds, "", 20.0, "me")
            if seconds == 60.0:
                attempts = (await broker.show("q", number)).attempts
                await (broker.release if len(attempts) == 1 else broker.bury)("q", number)
        attempts = (await broker.show("q", number)).attempts
        test.assertEqual([each.reason for each in attempts], ["expired", "released", "buried"])
        test.assertEqual([each.attempt for each in attempts], [1, 2, 3])
        test.assertEqual({each.by for each in attempts}, {"me"})
        test.assertGreaterEqual(attempts[0].seconds, SOON - 0.01)

    async def state_and_attempts_are_of_one_moment(self, test: Any, broker: Any) -> None:
        (number,) = await put(broker, 1)
        await broker.get("q")
        showing = begin(broker.show("q", number))
        sleep(0.05)  # the thread of the store reads the attempts, and the reactor does not know it yet
        await broker.fail("q", number, 0, ("no color", ""), False)
        shown = await showing
        test.assertIn((shown.result.state, len(shown.attempts)), (("leased", 0), ("buried", 1)))

    async def only_the_last_attempts_are_kept(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"max_deliveries": 0})
        (number,) = await put(broker, 1)
        for _ in range(25):
            await broker.get("q")
            await broker.release("q", number)
        attempts = (await broker.show("q", number)).attempts
        test.assertEqual([each.attempt for each in attempts], list(range(6, 26)))

    async def kicked_task_keeps_its_attempts(self, test: Any, broker: Any) -> None:
        (number,) = await put(broker, 1)
        for _ in range(2):
            await broker.get("q")
            await broker.bury("q", number)
            await broker.kick("q", 1)
        attempts = (await broker.show("q", number)).attempts
        test.assertEqual([each.attempt for each in attempts], [1, 2])

    async def shown_task_has_state_and_times(self, test: Any, broker: Any) -> None:
        first, second = await put(broker, 2)
        await broker.get("q", 100.0, "", 0.0, "host:1")
        shown = await broker.show("q", first)
        test.assertEqual((shown.result.state, shown.task.by, shown.task.deliveries), ("leased", "host:1", 1))
        test.assertLess(abs(shown.task.began - time()), 10)
        test.assertLess(abs(shown.task.lease - time() - 100), 10)
        shown = await broker.show("q", second)
        test.assertEqual((shown.result.state, shown.task.began, shown.task.lease), ("ready", 0.0, 0.0))
        test.assertEqual((shown.task.body, shown.attempts), (b"{}", []))
        delayed = (await broker.put("q", QueuedTask(0, b"{}"), "", 0.0, 1000.0)).number
        test.assertLess(abs((await broker.show("q", delayed)).task.due - time() - 1000), 10)
        test.assertEqual((await broker.show("q", 99), await broker.show("nowhere", 1)), (None, None))

    async def finished_task_is_shown_while_it_is_kept(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"keep": 60, "keep_count": 1})
        first = await finish(broker, b"1")
        shown = await broker.show("q", first)
        test.assertEqual((shown.result.state, shown.result.result, shown.task), ("done", b"1", None))
        test.assertEqual([each.reason for each in shown.attempts], ["done"])
        await finish(broker)
        test.assertEqual(await broker.show("q", first), None)

    async def attempts_are_deleted_with_their_task(self, test: Any, broker: Any) -> None:
        numbers = await put(broker, 4)
        for number in numbers:
            await broker.get("q")
            await broker.fail("q", number, 0, ("x", ""), 0.0 if number == numbers[3] else 1000.0)
        test.assertEqual((await broker.get("q")).number, numbers[3])
        await broker.done("q", numbers[3])
        await broker.purge("q")
        test.assertEqual(await broker.errors("q", numbers), {})
        (number,) = await put(broker, 1)
        await broker.get("q")
        await broker.fail("q", number, 0, ("x", ""), False)
        await broker.delete("q")
        await put(broker, 1)
        test.assertEqual(await broker.errors("q", [number]), {})

    async def task_that_nobody_received_has_no_attempt(self, test: Any, broker: Any) -> None:
        await put(broker, 1)
        waiting = begin(broker.get("q"))
        if waiting.called:  # in memory
            return
        waiting.addErrback(lambda failure: failure.trap(CancelledError))
        waiting.cancel()
        task = await broker.get("q", None, "", 20.0)
        test.assertEqual((await broker.show("q", task.number)).attempts, [])


class ResultTests(OnLocalStores, StoreTestCase):
    tables = (ResultCases, AttemptCases)

    async def test_results_survive_a_restart(self) -> None:
        """The results in a file are still there when it is opened again, and are not in memory."""
        path = sqlite_store(self)
        broker = make_broker(reactor, open_store(path))
        broker.start()
        await broker.change("q", {"keep": 60})
        number = await finish(broker, b"[1]")
        (failed,) = await put(broker, 1)
        await broker.get("q", None, "", 0.0, "host:1")
        await broker.fail("q", failed, 0, ("x", ""), 0.0)
        await broker.get("q", None, "", 0.0, "host:2")
        await broker.stop()
        broker = self.broker(path)
        self.assertEqual((await broker.stats("q"))["results"], 1)
        self.assertEqual(await result(broker, number), ("done", b"[1]"))
        shown = await broker.show("q", failed)
        self.assertEqual([(each.by, each.error) for each in shown.attempts], [("host:1", "x")])
        self.assertEqual((shown.result.state, shown.task.by), ("leased", "host:2"))
        self.assertLess(abs(shown.task.began - time()), 10)
        await broker.release("q", failed)
        self.assertEqual((await broker.show("q", failed)).attempts[-1].attempt, 2)


@needs_postgresql
class PostgreSQLResultTests(OnPostgreSQL, StoreTestCase):
    tables = (ResultCases, AttemptCases)

    async def test_result_of_another_server_arrives_at_once(self) -> None:
        """By a notification, not by the next poll."""
        url = shared().database()
        self.patch(broker_module, "POLL_INTERVAL", 1000.0)
        here, there = self.broker(url), self.broker(url)
        await here.change("q", {"keep": 60})
        await put(here, 1)
        await here.get("q")  # this task stays, so that no join is woken
        for _ in range(10):
            (number,) = await put(here, 1)
            waiting = begin(result(here, number, LONG))
            await there.get("q")
            await there.done("q", number, 0, b"1")
            self.assertEqual(await waiting, ("done", b"1"))

    async def test_tables_of_version_three_are_migrated(self) -> None:
        """A queue without options of its own still has none, and is deleted when it is empty."""
        url = shared().database()
        broker = make_broker(reactor, open_store(url))
        broker.start()
        await broker.stop()
        old = '{"kind":"fifo","maxsize":0,"lease":60.0,"max_deliveries":10,"remember":300.0,"shutdown":""}'
        name = url.rpartition("/")[2]
        later = "DROP TABLE tqueue.finished, tqueue.attempts, tqueue.taken, tqueue.progress, tqueue.outbox;"
        later += " DROP FUNCTION tqueue.put, tqueue.check_put, tqueue.trace_terms, tqueue.is_unprintable;"
        later += " ALTER TABLE tqueue.meta DROP COLUMN max_task;"
        later += " DROP TABLE tqueue.returned; DROP SEQUENCE tqueue.returns;"
        later += " DROP FUNCTION tqueue.note_return CASCADE;"
        later += " ALTER TABLE tqueue.keys DROP COLUMN numbers;"
        later += 'ALTER TABLE tqueue.tasks DROP COLUMN began, DROP COLUMN "by", DROP COLUMN attempts,'
        later += ' DROP COLUMN terms, DROP COLUMN put_at, DROP COLUMN "group";'
        later += " ALTER TABLE tqueue.queues DROP COLUMN has_terms, DROP COLUMN last_delivery,"
        later += " DROP COLUMN late_count, DROP COLUMN late_number"
        shared().ask(f"{later}; UPDATE tqueue.meta SET version = 3", database=name)
        for queue, options in (("q", old), ("own", old.replace("10", "11"))):
            insert = f"INSERT INTO tqueue.queues (name, config) VALUES ('{queue}', '{options}')"
            shared().ask(insert, database=name)
        broker = self.broker(url)
        self.assertEqual(await broker.qsizes(None), {"own": 0})
        self.assertEqual((await broker.config("own")).max_deliveries, 11)
        number = await finish(broker)
        self.assertEqual(await result(broker, number), ("unknown", b""))
