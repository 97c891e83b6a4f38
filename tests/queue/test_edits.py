"""Tasks that are changed or kicked by hand: one table of cases for every store."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.queue.test_stores import OnLocalStores, OnPostgreSQL, StoreTestCase, put
from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.same_errors import PAGE, kick_same_error
from twisted_appserver.queue.terms import Terms


async def fail(broker: Any, error: str) -> int:
    """Let the next task fail and be buried. Return its number."""
    task = await broker.get("q")
    await broker.fail("q", task.number, 0, (error, "Traceback"), False)
    return int(task.number)


class EditCases:
    """The table: each method is a case. It receives a test, for assertions, and a broker."""

    async def edited_task_is_ready_with_its_new_fields(self, test: Any, broker: Any) -> None:
        await put(broker, 1)
        number = await fail(broker, "no such customer")
        edited = await broker.edit("q", number, b'{"edited":true}')
        test.assertEqual((edited.number, edited.body), (number, b'{"edited":true}'))
        details = await broker.show("q", number)
        test.assertEqual((details.task.body, details.result.state), (b'{"edited":true}', "ready"))
        test.assertEqual([attempt.error for attempt in details.attempts], ["no such customer"])
        task = await broker.get("q")
        test.assertEqual((task.number, task.body), (number, b'{"edited":true}'))

    async def ready_and_delayed_tasks_are_edited(self, test: Any, broker: Any) -> None:
        first, second = await put(broker, 2)
        late = (await broker.put("q", QueuedTask(0, b"{}"), "", 0.0, 60.0)).number
        for number in (late, first):
            await broker.edit("q", number, b'{"n":%d}' % number)
        found = [(task.number, task.body) for task in [await broker.get("q") for _ in range(3)]]
        test.assertEqual(found[0], (first, b'{"n":%d}' % first))
        test.assertEqual((found[1][0], found[2]), (second, (late, b'{"n":%d}' % late)))

    async def leased_or_unknown_task_is_not_edited(self, test: Any, broker: Any) -> None:
        test.assertIsNone(await broker.edit("q", 1, b"{}"))
        await put(broker, 1)
        task = await broker.get("q")
        body = task.body
        for number in (task.number, task.number + 100):
            test.assertIsNone(await broker.edit("q", number, b'{"edited":true}'))
        await broker.release("q", task.number)
        test.assertEqual((await broker.get("q")).body, body)

    async def edited_task_of_a_full_group_waits_for_its_place(self, test: Any, broker: Any) -> None:
        numbers = [
            (await broker.put("q", QueuedTask(0, b"{}", terms=Terms(group="g")), "", 0.0, 0.0)).number
            for _ in range(2)
        ]
        await broker.edit("q", numbers[1], b'{"edited":true}')
        test.assertEqual([(await broker.show("q", each)).result.state for each in numbers], ["ready", "held"])
        first = await broker.get("q")
        await broker.done("q", first.number)
        test.assertEqual((await broker.get("q")).body, b'{"edited":true}')

    async def buried_tasks_with_the_same_error_are_kicked(self, test: Any, broker: Any) -> None:
        await put(broker, 5)
        numbers = [await fail(broker, error) for error in ("odd", "even", "odd", "", "odd")]
        test.assertEqual(await kick_same_error(broker, "q", "odd", 2), 2)
        ready = [task.number for task in await broker.peek("q", 9, "ready")]
        test.assertEqual(ready, [numbers[0], numbers[2]])
        test.assertEqual(await kick_same_error(broker, "q", "", 9), 1)
        buried = [task.number for task in await broker.peek("q", 9, "buried")]
        test.assertEqual(buried, [numbers[1], numbers[4]])
        test.assertEqual(await kick_same_error(broker, "none", "odd", 9), 0)

    async def all_pages_of_buried_tasks_are_searched(self, test: Any, broker: Any) -> None:
        numbers = await put(broker, PAGE + 2)
        for number in numbers[:-1]:
            await broker.bury("q", number)
        test.assertEqual(await fail(broker, "last"), numbers[-1])
        test.assertEqual(await kick_same_error(broker, "q", "last", 9), 1)
        test.assertEqual((await broker.get("q")).number, numbers[-1])


class EditTests(OnLocalStores, StoreTestCase):
    tables = (EditCases,)

    async def test_edits_survive_a_restart(self) -> None:
        """The last one of several in one commit."""
        path = sqlite_store(self)
        broker = self.broker(path)
        numbers = await put(broker, 3)
        for body in (b'{"n":1}', b'{"n":2}'):
            for number in numbers:
                Deferred.fromCoroutine(broker.edit("q", number, body))
        await self.stop_brokers()
        tasks = await self.broker(path).peek("q", 9, "ready")
        self.assertEqual([task.body for task in tasks], [b'{"n":2}'] * 3)


@needs_postgresql
class PostgreSQLEditTests(OnPostgreSQL, StoreTestCase):
    tables = (EditCases,)
