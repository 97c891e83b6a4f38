"""Dead rows in PostgreSQL, which vacuum may not remove because of another transaction."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Awaitable, Callable
from threading import Event
from typing import Any

import psycopg
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from tests.queue.test_groups import add, get
from tests.queue.test_stores import StoreTestCase, begin, entries_read, put
from tests.support.postgres import needs_postgresql, shared
from tests.support.slow import slow
from twisted_appserver.queue.postgresql import dead_rows, schema
from twisted_appserver.queue.postgresql.dead_rows import ALL, TABLES, DeadRows, HotTable, has_too_many
from twisted_appserver.queue.queued_task import QueuedTask

FEW = 20  # dead rows


def file_of(connection: Any, table: str = "tasks") -> int:
    """Return the number of the file of a table."""
    return int(connection.execute(schema.SQL["file_of_table"], {"table": table}).fetchone()[0])


class HasTooManyTests(SynchronousTestCase):
    def test_table_is_rewritten_if_most_of_its_rows_are_dead(self) -> None:
        table = HotTable(100)
        self.assertFalse(has_too_many(table, 0, 100))
        self.assertTrue(has_too_many(table, 0, 101))
        self.assertFalse(has_too_many(table, 200, 200))
        self.assertTrue(has_too_many(table, 200, 201))

    def test_table_with_very_many_live_rows_is_not_rewritten(self) -> None:
        self.assertFalse(has_too_many(HotTable(100), dead_rows.MOST_LIVE + 1, 10**9))

    def test_rows_that_are_not_kept_count_as_dead(self) -> None:
        self.assertTrue(has_too_many(TABLES["commits"], 10**9, 0))


class DatabaseTestCase(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.url = shared().database()

    def connect(self) -> Any:
        """Open a connection that commits each statement."""
        connection = psycopg.connect(self.url, autocommit=True)
        self.addCleanup(connection.close)
        return connection

    def hold_vacuum_up(self) -> None:
        """Leave a transaction open that has read no table."""
        old = self.connect()
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT txid_current()")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait; the time limit of the test ends it."""
        while not condition():
            await deferLater(reactor, 0.02)


@needs_postgresql
class RewriteTests(DatabaseTestCase):
    def limit(self, most: int = FEW) -> None:
        """Let tables be rewritten when they have a few dead rows."""
        self.patch(dead_rows, "INTERVAL", 0.05)
        self.patch(
            dead_rows, "TABLES", {name: each._replace(most_dead=most) for name, each in TABLES.items()}
        )

    async def cycle(self, broker: Any, name: str, number: int) -> None:
        await broker.put("q", QueuedTask(0, b"{}"), f"\1{name}:{number}")
        task = await broker.get("q", None, f"\1for{name}.{number}", 60.0)
        await broker.done("q", task.number)

    async def test_tables_are_rewritten_while_a_transaction_is_left_open(self) -> None:
        self.limit()
        broker, connection = self.broker(self.url), self.connect()
        await broker.change("q", {"keep": 60.0, "keep_count": 5, "rate": "10000/s"})
        self.hold_vacuum_up()
        hot = ("tasks", "keys", "queues", "finished", "attempts", "commits", "meta")
        files = {name: file_of(connection, name) for name in hot}
        number = 0
        while still := [name for name in hot if file_of(connection, name) == files[name]]:
            connection.execute("UPDATE tqueue.meta SET alive = clock_timestamp()")
            await gatherResults([begin(self.cycle(broker, name, number)) for name in "abcde"])
            number += 1
            self.assertLess(number, 10_000, f"not rewritten: {still}")
        self.assertEqual((await broker.stats("q"))["unfinished"], 0)

    async def test_nothing_is_lost_while_tables_are_rewritten(self) -> None:
        """Two servers work, their connections are killed, and all tables are rewritten all the time."""
        brokers, connection, stop = [self.broker(self.url), self.broker(self.url)], self.connect(), Event()
        rewriting = psycopg.connect(self.url, autocommit=True)
        self.addCleanup(rewriting.close)
        self.addCleanup(stop.set)
        await put(brokers[0], 1)
        await brokers[0].done("q", (await brokers[0].get("q")).number)

        def rewrite_all() -> int:
            count = 0
            while not stop.is_set():
                for name in TABLES:
                    with contextlib.suppress(psycopg.errors.LockNotAvailable):
                        dead_rows.rewrite(rewriting, name, file_of(rewriting, name))
                        count += 1
            return count

        counting = deferToThread(rewrite_all)
        bodies, got = [b"%d" % number for number in range(200)], list[bytes]()

        async def work(broker: Any, mine: list[bytes]) -> None:
            for body in mine:
                await broker.put("q", QueuedTask(0, body), f"\1put{mine[0].decode()}:{body.decode()}")
                task = await broker.get("q", None, f"\1get{body.decode()}", 60.0)
                got.append(task.body)
                self.assertIsNotNone(await broker.extend("q", task.number, 60.0, task.deliveries))
                await broker.done("q", task.number, task.deliveries)

        working = [begin(work(brokers[place % 2], bodies[place::8])) for place in range(8)]
        for _ in range(4):
            wanted = len(got) + 20
            await self.until(lambda wanted=wanted: len(got) >= min(wanted, len(bodies)))  # type: ignore[misc]
            kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'perform_requests'"
            connection.execute(f"{kill} AND datname = current_database() AND pid <> pg_backend_pid()")
        await gatherResults(working)
        stop.set()
        self.assertGreater(await counting, len(TABLES))
        self.assertEqual(sorted(got), sorted(bodies))
        self.assertEqual((await brokers[0].stats("q"))["unfinished"], 0)

    async def test_error_in_the_middle_loses_nothing(self) -> None:
        broker, connection = self.broker(self.url), self.connect()
        numbers = await put(broker, 3)
        self.patch(dead_rows, "SQL", {**schema.SQL, "write_rows": "COPY tqueue.{table} FROM STDIN"})
        with self.assertRaises(psycopg.Error):
            dead_rows.rewrite(connection, "tasks", file_of(connection))
        self.assertEqual([task.number for task in await broker.peek("q", 5, "ready")], numbers)

    async def test_columns_keep_their_values(self) -> None:
        """All tables have the same rows as before, apart from transactions that nobody asks for."""
        broker, connection = self.broker(self.url), self.connect()
        await broker.change("q", {"keep": 60.0})
        await add(broker, "a", delay=5.0)
        await add(broker, "a", unique="u", unique_for=60.0, ttl=100.0)
        await broker.put("q", QueuedTask(0, b"\0\xff", 1.5, "\\N"), "\1k:1")
        task = await broker.get("q", None, "\1g:1")
        await broker.renew("q", [(task.number, task.deliveries)], 60.0, {task.number: b"half"})
        await broker.release("q", task.number)
        for name in TABLES:
            query = f"SELECT md5(t::text) FROM tqueue.{name} t ORDER BY 1"
            before = connection.execute(query).fetchall() if TABLES[name].kept == ALL else []
            file = file_of(connection, name)
            dead_rows.rewrite(connection, name, file)
            self.assertNotEqual(file_of(connection, name), file, name)
            if before:
                self.assertEqual(connection.execute(query).fetchall(), before, name)

    async def test_older_snapshot_does_not_see_an_empty_table(self) -> None:
        """A backup whose snapshot is older than the new file of a table has the tasks."""
        broker, connection, backup = self.broker(self.url), self.connect(), self.connect()
        await put(broker, 3)
        backup.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        backup.execute("SELECT 1 FROM pg_class")
        dead_rows.rewrite(connection, "tasks", file_of(connection))
        self.assertEqual(backup.execute("SELECT count(*) FROM tqueue.tasks").fetchone(), (3,))

    async def test_attempt_gives_up_if_somebody_reads_the_table(self) -> None:
        """The pauses between attempts grow, and requests go on."""
        self.limit(0)
        self.patch(dead_rows, "LOCK_TIMEOUT", "10ms")
        broker, connection, reader = self.broker(self.url), self.connect(), self.connect()
        await put(broker, 1)
        reader.execute("BEGIN")
        reader.execute("SELECT FROM tqueue.tasks")
        limiting, now = DeadRows(psycopg), [0.0]
        self.patch(dead_rows, "monotonic", lambda: now[0])
        self.patch(dead_rows, "has_too_many", lambda table, *_: table == dead_rows.TABLES["tasks"])
        self.patch(dead_rows, "TABLES", {"tasks": HotTable(0)})
        file, attempts = file_of(connection), list[float]()
        rewrite = dead_rows.rewrite
        self.patch(dead_rows, "rewrite", lambda *found: (attempts.append(now[0]), rewrite(*found)))
        for second in range(200):
            now[0] = second + 1.0
            limiting.limit(connection)
        await put(broker, 1)
        pauses = [later - earlier for earlier, later in itertools.pairwise(attempts)]
        self.assertEqual(pauses, sorted(pauses))
        self.assertLess(len(attempts), 15)
        self.assertEqual(file_of(connection), file)
        reader.execute("COMMIT")
        now[0] += dead_rows.LONGEST_PAUSE
        limiting.limit(connection)
        self.assertNotEqual(file_of(connection), file)

    async def test_large_rows_are_left_to_vacuum(self) -> None:
        broker, connection = self.broker(self.url), self.connect()
        await put(broker, 3)
        self.patch(dead_rows, "MOST_BYTES", 10)
        file = file_of(connection)
        with self.assertRaises(dead_rows.TooLargeError):
            dead_rows.rewrite(connection, "tasks", file)
        self.assertEqual(file_of(connection), file)
        self.assertEqual(await broker.qsizes("q"), {"q": 3})

    async def test_last_transaction_is_known_after_commits_are_rewritten(self) -> None:
        broker, connection = self.broker(self.url), self.connect()
        await put(broker, 5)
        dead_rows.rewrite(connection, "commits", file_of(connection, "commits"))
        store = broker.store
        (last,) = connection.execute("SELECT max(number) FROM tqueue.commits").fetchone()
        self.assertEqual(connection.execute("SELECT count(*) FROM tqueue.commits").fetchone(), (1,))
        self.assertEqual(last, store._transaction_number)
        self.assertTrue(await deferToThread(self.connected(store).was_committed, last))

    def connected(self, store: Any) -> Any:
        """Return another connection of the same server."""
        from twisted_appserver.queue.postgresql.database import Database

        database = Database(self.url, store.server, store.watchdog.__class__(), lambda found: None)
        database.connect()
        self.addCleanup(database.close)
        return database


@needs_postgresql
class FrontTests(DatabaseTestCase):
    """One server has handed out tasks, and another one makes an earlier task ready again."""

    async def returns_first(self, kind: str, again: Callable[[Any, QueuedTask], Awaitable[Any]]) -> None:
        here, there = self.broker(self.url), self.broker(self.url)
        await here.change("q", {"kind": kind, "max_deliveries": 0, "retry_first": 0.0})
        for number in range(6):
            await here.put("q", QueuedTask(0, b"%d" % number, float(number)))
        tasks = [await here.get("q", 60.0) for _ in range(4)]
        for task in tasks[1:]:
            await here.done("q", task.number)
        await again(there, tasks[0])
        found = await here.get("q", 60.0, "", 20.0)
        self.assertEqual(found.number, tasks[0].number, kind)
        await here.delete("q")
        await self.stop_brokers()

    async def every_kind(self, again: Callable[[Any, QueuedTask], Awaitable[Any]]) -> None:
        for kind in ("fifo", "lifo", "priority"):
            await self.returns_first(kind, again)

    async def test_released_task_comes_first(self) -> None:
        await self.every_kind(lambda there, task: there.release("q", task.number))

    async def test_failed_task_comes_first(self) -> None:
        await self.every_kind(lambda there, task: there.fail("q", task.number, 0, ("", ""), 0.0))

    async def test_kicked_task_comes_first(self) -> None:
        async def bury_and_kick(there: Any, task: QueuedTask) -> None:
            await there.bury("q", task.number)
            await there.kick_task("q", task.number)

        await self.every_kind(bury_and_kick)

    async def test_task_whose_lease_has_ended_comes_first(self) -> None:
        async def expire(there: Any, task: QueuedTask) -> None:
            await there.extend("q", task.number, 0.001)
            await self.until_ready(there, task.number)

        await self.every_kind(expire)

    async def test_task_whose_delay_has_ended_comes_first(self) -> None:
        async def delay(there: Any, task: QueuedTask) -> None:
            await there.release("q", task.number, 0.001)
            await self.until_ready(there, task.number)

        await self.every_kind(delay)

    async def until_ready(self, broker: Any, number: int) -> None:
        """Wait until a lease or delay has ended. Each request ends the leases and delays that are due."""
        while number not in [task.number for task in await broker.peek("q", 9, "ready")]:
            await deferLater(reactor, 0.01)

    async def test_urgent_task_of_another_server_comes_first(self) -> None:
        here, there = self.broker(self.url), self.broker(self.url)
        await here.change("q", {"kind": "priority"})
        for priority in (1.0, 2.0, 3.0):
            await here.put("q", QueuedTask(0, b"", priority))
        await here.get("q")
        for priority in (0.5, 0.25, 1.5):
            await there.put("q", QueuedTask(0, b"", priority))
        got = [(await here.get("q")).priority for _ in range(5)]
        self.assertEqual(got, [0.25, 0.5, 1.5, 2.0, 3.0])

    async def test_new_task_of_another_server_comes_first_in_a_stack(self) -> None:
        here, there = self.broker(self.url), self.broker(self.url)
        await here.change("q", {"kind": "lifo"})
        numbers = await put(here, 5)
        for _ in range(3):
            await here.get("q", 60.0)
        numbers += await put(there, 300)
        got = [(await here.get("q", 60.0)).number for _ in range(302)]
        self.assertEqual(got, [*reversed(numbers[5:]), numbers[1], numbers[0]])

    async def test_first_task_of_a_database_is_found_by_a_get_that_waits(self) -> None:
        """No number was used when the get looked at the empty queue."""
        for kind in ("fifo", "lifo", "priority"):
            self.url = shared().database()
            broker = self.broker(self.url)
            await broker.change("q", {"kind": kind})
            waiting = begin(broker.get("q", None, "", 20.0))
            await put(self.broker(self.url), 1)
            self.assertEqual((await waiting).number, 1)

    async def test_task_of_the_outbox_comes_first(self) -> None:
        """A program has put it before all others and commits late. Another server moves it into the queue."""
        for kind in ("fifo", "priority"):
            self.url = shared().database()
            here, there, program = self.broker(self.url), self.broker(self.url), self.connect()
            await here.change("q", {"kind": kind})
            with program.transaction():
                program.execute("SELECT tqueue.put('q', '{}')")
                await put(here, 4)
                for number in (2, 3, 4):
                    self.assertEqual((await here.get("q", 60.0)).number, number)
                    await here.done("q", number)
            self.assertEqual(await there.qsizes("q"), {"q": 2})
            self.assertEqual([(await here.get("q", 60.0)).number for _ in range(2)], [1, 5], kind)

    async def test_many_tasks_that_return_are_all_found(self) -> None:
        here, there = self.broker(self.url), self.broker(self.url)
        await here.change("q", {"kind": "priority"})
        await here.put_many("q", [QueuedTask(0, b"", float(number)) for number in range(700)])
        tasks = await here.get_many("q", 700, 60.0)
        await gatherResults([begin(there.release("q", task.number)) for task in reversed(tasks)])
        got = [task.priority for _ in range(7) for task in await here.get_many("q", 100, 60.0)]
        self.assertEqual(got, [float(number) for number in range(700)])

    async def test_kind_may_change_there_and_back(self) -> None:
        """A position of one kind means nothing for another one."""
        here, there = self.broker(self.url), self.broker(self.url)
        await here.change("q", {"kind": "priority"})
        numbers = await put(here, 4)
        await here.get("q", 60.0)
        await there.change("q", {"kind": "lifo"})
        self.assertEqual((await there.get("q", 60.0)).number, numbers[3])
        await there.change("q", {"kind": "priority"})
        await there.release("q", numbers[3])
        await there.release("q", numbers[0])
        got = [(await here.get("q", 60.0)).number for _ in range(4)]
        self.assertEqual(got, numbers)

    async def test_buried_task_of_a_group_gets_its_place_when_it_is_kicked(self) -> None:
        """The tasks before it were done, so the servers no longer look there."""
        here, there = self.broker(self.url), self.broker(self.url)
        buried, second = await add(here), await add(here)
        self.assertEqual(await get(here), buried)
        await here.bury("q", buried)
        self.assertEqual(await get(here), second)
        others = await put(here, 3)
        for number in others:
            self.assertEqual(await get(here), number)
            await here.done("q", number)
        await there.kick("q", 1)
        await here.done("q", second)
        self.assertEqual(await get(here, 20.0), buried)

    async def test_join_waits_for_a_task_that_was_kicked(self) -> None:
        here, there = self.broker(self.url), self.broker(self.url)
        buried, other = await put(here, 2)
        await here.get("q")
        await here.bury("q", buried)
        await here.get("q")
        await here.done("q", other)
        self.assertEqual(await here.join("q"), (0, 1))
        await there.kick_task("q", buried)
        self.assertEqual(await here.join("q"), (1, 0))
        await here.kick("q", 1)
        self.assertEqual(await here.join("q"), (1, 0))

    async def test_room_counts_tasks_that_have_returned(self) -> None:
        here, there = self.broker(self.url), self.broker(self.url)
        await here.change("q", {"maxsize": 2})
        numbers = await put(here, 2)
        for _ in numbers:
            await here.get("q", 60.0)
        later = await put(here, 2)
        await there.release("q", numbers[0])
        await here.get("q", 60.0)
        self.assertEqual(len(later), 2)
        self.assertEqual(await here.put("q", QueuedTask(0, b"")), "full")

    @slow
    async def test_cost_does_not_grow_with_deleted_tasks_of_any_kind(self) -> None:
        """A task is leased all the time, vacuum is held up, and tables are not rewritten."""
        self.patch(dead_rows, "TABLES", {})
        for kind in ("fifo", "lifo", "priority"):
            self.url = shared().database()
            broker, connection = self.broker(self.url), self.connect()
            connection.execute("ALTER TABLE tqueue.tasks SET (autovacuum_enabled = off)")
            self.hold_vacuum_up()
            await broker.change("q", {"kind": kind})
            await put(broker, 1)
            await broker.get("q", 3600.0)
            first = await self.cost(broker, connection)
            for _ in range(20):
                await self.cycles(broker)
            await deferLater(reactor, 2.0)  # a clock may be set back by a second unnoticed
            self.assertLess(await self.cost(broker, connection), first + 200, kind)

    async def cycles(self, broker: Any) -> None:
        puts = [begin(broker.put("q", QueuedTask(0, b"", float(n % 7)))) for n in range(50)]
        await gatherResults(puts)
        for task in await gatherResults([begin(broker.get("q", 60.0)) for _ in range(50)]):
            await broker.done("q", task.number)

    async def cost(self, broker: Any, connection: Any) -> int:
        """Return how many index entries a few cycles read."""
        first = await entries_read(broker, connection)
        await self.cycles(broker)
        return await entries_read(broker, connection) - first
