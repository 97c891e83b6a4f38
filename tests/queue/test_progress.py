"""How far leased tasks have come: one table of cases for every store."""

from __future__ import annotations

from typing import Any

from tests.queue.test_stores import OnLocalStores, OnPostgreSQL, StoreTestCase, put
from tests.support.postgres import needs_postgresql, shared
from tests.support.slow import slow
from twisted_appserver.queue.local.local_queue import STALE
from twisted_appserver.queue.postgresql.request import Request


class ProgressCases:
    """The table: each method is a case. It receives a test, for assertions, and a broker."""

    async def progress_is_shown_while_the_task_is_leased(self, test: Any, broker: Any) -> None:
        numbers = await put(broker, 2)
        tasks = [await broker.get("q") for _ in numbers]
        first, second = [(task.number, task.deliveries) for task in tasks]
        test.assertEqual(await broker.progress("q", numbers), {})
        test.assertEqual(await broker.renew("q", [first, second], 60.0, {first[0]: b"0.4"}), [True, True])
        test.assertEqual(await broker.progress("q", numbers), {first[0]: b"0.4"})
        await broker.renew("q", [first], 60.0, {first[0]: b'"5 of 9"'})
        test.assertEqual(await broker.progress("q", numbers), {first[0]: b'"5 of 9"'})
        await broker.renew("q", [first], 60.0)  # without progress, the last one stays
        test.assertEqual(await broker.progress("q", numbers), {first[0]: b'"5 of 9"'})
        test.assertEqual(await broker.progress("other", numbers), {})

    async def progress_ends_with_the_lease(self, test: Any, broker: Any) -> None:
        (number,) = await put(broker, 1)
        for end in (broker.release, broker.fail, broker.bury):
            delivery = (await broker.get("q")).deliveries
            await broker.renew("q", [(number, delivery)], 60.0, {number: b"1"})
            test.assertEqual(await broker.progress("q", [number]), {number: b"1"})
            await end("q", number, *((0, ("", ""), 0.0) if end == broker.fail else ()))
            test.assertEqual(await broker.progress("q", [number]), {})
        await broker.kick_task("q", number)
        await broker.get("q")
        test.assertEqual(await broker.progress("q", [number]), {})  # that of an earlier delivery
        await broker.done("q", number)
        test.assertEqual(await broker.progress("q", [number]), {})

    async def late_worker_cannot_report(self, test: Any, broker: Any) -> None:
        (number,) = await put(broker, 1)
        await broker.get("q")
        test.assertEqual(await broker.renew("q", [(number, 7)], 60.0, {number: b"1"}), [False])
        test.assertEqual(await broker.progress("q", [number]), {})


class ProgressTests(OnLocalStores, StoreTestCase):
    tables = (ProgressCases,)

    async def test_old_progress_takes_no_memory(self) -> None:
        broker: Any = self.broker("memory:")
        for _ in range(3 * STALE):
            (number,) = await put(broker, 1)
            await broker.get("q")
            await broker.renew("q", [(number, 1)], 60.0, {number: b"1"})
            await broker.done("q", number)
        self.assertLess(len(broker.table.find_or_make("q").progress), 2 * STALE)


@needs_postgresql
class PostgreSQLProgressTests(OnPostgreSQL, StoreTestCase):
    tables = (ProgressCases,)

    @slow
    async def test_old_progress_is_deleted(self) -> None:
        url = shared().database()
        broker: Any = self.broker(url)
        for number in await put(broker, 2):
            await broker.get("q")
            await broker.renew("q", [(number, 1)], 60.0, {number: b"1"})
        await broker.done("q", number)
        request = Request("delete_expired", "")
        broker.store.ask(request)
        await broker.stats("q")  # comes after it
        with broker.store.database.psycopg.connect(url) as connection:
            rows = connection.execute("SELECT count(*) FROM tqueue.progress").fetchall()
        self.assertEqual(rows, [(1,)])
