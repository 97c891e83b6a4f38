"""Tasks that programs put in their own transactions: C{tqueue.put} in PostgreSQL."""

from __future__ import annotations

import unicodedata
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.queue.test_stores import StoreTestCase, begin, put
from tests.support.postgres import needs_postgresql, shared
from twisted_appserver.queue.interface import EMPTY, AwayError
from twisted_appserver.queue.postgresql import broker as broker_module
from twisted_appserver.queue.postgresql import outbox
from twisted_appserver.queue.postgresql.outbox_requests import OutboxRequests
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.task_ids import _earlier_id, task_id, task_number
from twisted_appserver.queue.terms import Terms

LONG = 30.0  # seconds that a get waits, at most
NEVER = 1000.0  # seconds between two polls, for tests in which only notifications count
INVALID = {  # arguments, and a part of the error
    "'', '{}'": "name of a queue",
    "'a/b', '{}'": "name of a queue",
    "'..', '{}'": "name of a queue",
    "e'a\\nb', '{}'": "name of a queue",
    "repeat('x', 201), '{}'": "name of a queue",
    "NULL, '{}'": "name of a queue",
    "'q', NULL": "a JSON object, not NULL",
    "'q', '[1]'": "a JSON object, not array",
    "'q', '\"text\"'": "a JSON object, not string",
    "'q', '{\"worker\": \"other\"}'": "reserved",
    "'q', '{}', priority => 'NaN'": "priority must be a number",
    "'q', '{}', delay => -1": "delay must be",
    "'q', '{}', delay => 'NaN'": "delay must be",
    "'q', '{}', delay => 1e9": "delay must be",
    "'q', '{}', \"order\" => repeat('x', 1001)": "order must be",
    "'q', '{}', \"order\" => repeat('ä€', 500)": "order must be",
    "'q', '{}', \"group\" => repeat('x', 501)": "group and unique",
    "'q', '{}', \"unique\" => repeat('x', 501)": "group and unique",
    "'q', '{}', unique_for => 5": "unique_for needs unique",
    "'q', '{}', \"unique\" => 'u', unique_for => 0": "unique_for must be",
    "'q', '{}', \"unique\" => 'u', unique_for => 1e9": "unique_for must be",
    "'q', '{}', ttl => 0": "ttl must be more than delay",
    "'q', '{}', ttl => 5, delay => 5": "ttl must be more than delay",
    "'q', '{}', ttl => 1e9": "ttl must be",
    "'q', '{}', max_deliveries => -1": "max_deliveries must be",
    "'q', '{}', retry_first => -1": "retry_first and retry_most",
    "'q', '{}', retry_most => 1e9": "retry_first and retry_most",
    "'q', '{}', retry_factor => 0.5": "retry_factor must be",
    "'q', '{}', retry_jitter => 2": "retry_jitter must be",
    "'q', jsonb_build_object('x', repeat('y', 1048576))": "at most 1048576 bytes, not 1048585",
    "'q', (repeat('{\"x\":', 100) || '{}' || repeat('}', 100))::jsonb": "100 levels deep",
}


class LookTests(SynchronousTestCase):
    def test_look_that_fails_is_repeated(self) -> None:
        asked: list[Any] = []
        requests = OutboxRequests(None, asked.append)  # type: ignore[arg-type]
        for _ in range(2):
            requests.look()
            asked[-1].deferred.errback(AwayError("the database cannot be reached"))
        self.assertEqual(len(asked), 2)


class OutboxTestCase(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.url = shared().database()

    def connect(self) -> Any:
        """Return a connection of a program, which begins transactions by itself."""
        import psycopg

        connection = psycopg.connect(self.url)
        self.addCleanup(connection.close)
        return connection

    def without_polls(self) -> None:
        self.patch(broker_module, "POLL_INTERVAL", NEVER)


def put_sql(connection: Any, arguments: str = "'q', '{}'") -> str:
    (found,) = connection.execute(f"SELECT tqueue.put({arguments})").fetchone()
    return str(found)


@needs_postgresql
class TransactionTests(OutboxTestCase):
    """The life of a task until it is in its queue."""

    async def test_task_is_visible_only_after_the_commit(self) -> None:
        broker, connection = self.broker(self.url), self.connect()
        put_sql(connection, """'q', '{"n": 1}'""")
        self.assertEqual((await broker.get("q"), await broker.qsizes("q")), (EMPTY, {"q": 0}))
        connection.commit()
        self.assertEqual((await broker.get("q")).body, b'{"n": 1}')
        self.assertEqual(await broker.get("q"), EMPTY)

    async def test_rolled_back_task_never_exists(self) -> None:
        broker, connection = self.broker(self.url), self.connect()
        number = task_number(broker.secret, "q", put_sql(connection))
        connection.rollback()
        await put(broker, 1)
        self.assertIsNone(await broker.show("q", number))
        self.assertEqual(await broker.qsizes("q"), {"q": 1})

    async def test_rolled_back_savepoint(self) -> None:
        broker, connection = self.broker(self.url), self.connect()
        put_sql(connection, """'q', '{"n": 1}'""")
        connection.execute("SAVEPOINT s")
        put_sql(connection, """'q', '{"n": 2}'""")
        connection.execute("ROLLBACK TO s")
        put_sql(connection, """'q', '{"n": 3}'""")
        connection.commit()
        bodies = [task.body for task in await broker.peek("q", 9, "ready")]
        self.assertEqual(bodies, [b'{"n": 1}', b'{"n": 3}'])

    async def test_id_is_the_one_that_servers_present(self) -> None:
        broker, connection = self.broker(self.url), self.connect()
        names = ["q", "schöne Aufgaben \U0001f600", "x" * 200]
        for name in names:
            (found,) = connection.execute("SELECT tqueue.put(%s, '{}')", (name,)).fetchone()
            connection.commit()
            task = await broker.get(name)
            self.assertEqual(found, task_id(broker.secret, name, task.number))

    async def test_every_request_sees_what_was_committed_before_it(self) -> None:
        """Without any notification."""
        self.without_polls()
        broker, connection = self.broker(self.url), self.connect()
        self.patch(broker.store.database, "_notified", lambda found: None)
        for name, request, expected in (
            ("get", lambda: broker.get("get"), lambda task: task.body == b"{}"),
            ("stats", lambda: broker.stats("stats"), lambda stats: stats["ready"] == 1),
            ("peek", lambda: broker.peek("peek", 5, "ready"), lambda tasks: len(tasks) == 1),
            ("size", lambda: broker.qsizes("size"), lambda sizes: sizes == {"size": 1}),
            ("join", lambda: broker.join("join"), lambda counts: counts == (1, 0)),
        ):
            await broker.change(name, {"lease": 5.0})  # the queue exists
            put_sql(connection, f"'{name}', '{{}}'")
            connection.commit()
            self.assertTrue(expected(await request()), name)
            await broker.delete(name)

    async def test_commits_in_another_order_than_the_numbers(self) -> None:
        """A task whose transaction took long has a lower number than tasks that are already done."""
        for kind in ("fifo", "lifo", "priority"):
            first, second = self.broker(self.url), self.broker(self.url)
            await first.change(kind, {"kind": kind})
            slow, quick = self.connect(), self.connect()
            late = task_number(first.secret, kind, put_sql(slow, f"'{kind}', '{{}}'"))
            for _ in range(3):
                put_sql(quick, f"'{kind}', '{{}}'")
                quick.commit()
                for broker in (first, second):
                    await broker.put(kind, QueuedTask(0, b"{}"))
                    for _ in range(2):
                        task = await broker.get(kind)
                        if isinstance(task, QueuedTask):
                            await broker.done(kind, task.number)
            slow.commit()
            self.assertEqual((await first.join(kind), await second.join(kind)), ((1, 0), (1, 0)))
            self.assertEqual((await second.stats(kind))["ready"], 1)
            self.assertEqual((await second.get(kind)).number, late)
            await self.stop_brokers()

    async def test_late_task_has_its_place_in_its_group_on_every_server(self) -> None:
        """Its number is lower than all that the other server knows, and no notification has told it."""
        self.patch(OutboxRequests, "move", lambda *_: None)
        first, second = self.broker(self.url), self.broker(self.url)
        slow, quick = self.connect(), self.connect()
        late = task_number(first.secret, "q", put_sql(slow, """'q', '{}', "group" => 'g'"""))
        for broker in (first, second):
            await broker.put("q", QueuedTask(0, b"{}"))
            await broker.done("q", (await broker.get("q")).number)
        slow.commit()
        self.assertEqual((await first.get("q")).number, late)
        put_sql(quick, """'q', '{}', "group" => 'g'""")
        quick.commit()
        self.assertEqual(await second.get("q"), EMPTY)
        await first.done("q", late)
        self.assertIsInstance(await second.get("q"), QueuedTask)

    async def test_long_transaction_of_another_program(self) -> None:
        """A transaction that was running at the last look is found when it has been committed."""
        broker, slow, quick = self.broker(self.url), self.connect(), self.connect()
        put_sql(slow, """'q', '{"n": 1}'""")
        for _ in range(3):
            put_sql(quick, """'q', '{"n": 2}'""")
            quick.commit()
            self.assertEqual((await broker.get("q")).body, b'{"n": 2}')
        slow.commit()
        self.assertEqual((await broker.get("q")).body, b'{"n": 1}')

    async def test_order_within_a_transaction(self) -> None:
        broker, connection = self.broker(self.url), self.connect()
        connection.execute(
            "SELECT tqueue.put('q', jsonb_build_object('n', n)) FROM generate_series(1, 50) AS n"
        )
        connection.commit()
        bodies = [(await broker.get("q")).body for _ in range(50)]
        self.assertEqual(bodies, [b'{"n": %d}' % n for n in range(1, 51)])

    async def test_more_tasks_than_one_statement_moves(self) -> None:
        self.patch(outbox, "MOST", 10)
        broker, connection = self.broker(self.url), self.connect()
        many = "SELECT tqueue.put('q', jsonb_build_object('n', n)) FROM generate_series(1, 35) AS n"
        connection.execute(many)
        connection.commit()
        got = await gatherResults([begin(broker.get("q", None, "", LONG)) for _ in range(35)])
        self.assertEqual(sorted(msgspec.json.decode(task.body)["n"] for task in got), list(range(1, 36)))
        connection.execute(many)
        connection.commit()
        await broker.delete("q")
        self.assertEqual((await broker.stats("q"))["unfinished"], 0)

    async def test_full_queue_takes_the_task(self) -> None:
        broker, connection = self.broker(self.url), self.connect()
        await broker.change("q", {"maxsize": 1})
        await put(broker, 1)
        put_sql(connection)
        connection.commit()
        self.assertEqual(await broker.qsizes("q"), {"q": 2})

    async def test_shut_down_queue(self) -> None:
        """The function refuses a task; a task that was put before the shutdown is delivered all the same."""
        import psycopg

        for kind in ("draining", "immediate"):
            broker, connection = self.broker(self.url), self.connect()
            put_sql(connection, f"'{kind}', '{{}}'")
            await broker.change(kind, {"shutdown": kind})
            connection.commit()
            self.assertEqual((await broker.get(kind)).body, b"{}")
            error = self.assertRaises(psycopg.Error, put_sql, connection, f"'{kind}', '{{}}'")
            self.assertIn("is shut down", str(error))
            self.assertEqual(error.sqlstate, "55000")

    async def test_unknown_queue_and_the_limit_of_queues(self) -> None:
        """Beyond the limit, tasks wait until there is room for their queue."""
        broker, connection = self.broker(self.url), self.connect()
        for number in range(6):
            put_sql(connection, f"'q{number}', '{{}}'")
        connection.commit()
        while len(await broker.qsizes(None)) < 5:
            await deferLater(reactor, 0.01)
        (left,) = {f"q{number}" for number in range(6)} - (await broker.qsizes(None)).keys()
        waiting = begin(broker.get(left, None, "", LONG))
        await broker.delete(next(iter(await broker.qsizes(None))))
        self.assertEqual((await waiting).body, b"{}")

    async def test_function_is_called_before_a_server_starts_again(self) -> None:
        await self.broker(self.url).stop()
        self.brokers.clear()
        connection = self.connect()
        put_sql(connection)
        connection.commit()
        broker = self.broker(self.url)
        while await broker.qsizes(None) != {"q": 1}:
            await deferLater(reactor, 0.01)

    async def test_purge_and_delete_include_committed_tasks(self) -> None:
        broker, connection = self.broker(self.url), self.connect()
        put_sql(connection)
        connection.commit()
        self.assertEqual(await broker.purge("q"), 1)
        put_sql(connection)
        connection.commit()
        await broker.delete("q")
        self.assertEqual((await broker.get("q"), await broker.qsizes("q")), (EMPTY, {"q": 0}))


@needs_postgresql
class WakeUpTests(OutboxTestCase):
    """Clients that wait."""

    async def test_waiting_get_is_served_by_a_notification(self) -> None:
        """At any server; if the queue is empty, and if it is unknown."""
        self.without_polls()
        brokers, connection = [self.broker(self.url) for _ in range(2)], self.connect()
        await put(brokers[0], 1)
        await brokers[0].get("q")
        for name in ("q", "unknown"):
            for broker in brokers:
                waiting = begin(broker.get(name, None, "", LONG))
                await broker.config(name)
                put_sql(connection, f"'{name}', '{{}}'")
                await broker.config(name)
                self.assertFalse(waiting.called)
                connection.commit()
                self.assertEqual((await waiting).body, b"{}")

    async def test_lost_notification(self) -> None:
        """Servers look once a second, whether a client waits or not."""
        broker, connection = self.broker(self.url), self.connect()
        self.patch(broker.store.database, "_notified", lambda found: None)
        waiting = begin(broker.get("q", None, "", LONG))
        put_sql(connection)
        put_sql(connection, "'other', '{}'")
        connection.commit()
        self.assertEqual((await waiting).body, b"{}")
        while (await broker.qsizes(None)).get("other") != 1:
            await deferLater(reactor, 0.01)

    async def test_two_servers_deliver_each_task_once(self) -> None:
        brokers, connection = [self.broker(self.url) for _ in range(2)], self.connect()
        got: list[int] = []

        async def work(broker: Any) -> None:
            while isinstance(task := await broker.get("q", None, "", 1.0), QueuedTask):
                got.append(task.number)
                await broker.done("q", task.number)

        workers = [begin(work(broker)) for broker in brokers for _ in range(3)]
        numbers = []
        for _ in range(100):
            numbers.append(task_number(brokers[0].secret, "q", put_sql(connection)))
            connection.commit()
            await deferLater(reactor, 0.0)
        await gatherResults(workers)
        self.assertEqual(sorted(got), numbers)

    async def test_get_waits_for_the_end_of_a_delay(self) -> None:
        """The delay counts from the call of the function."""
        broker, connection = self.broker(self.url), self.connect()
        put_sql(connection, "'q', '{}', delay => 0.2")
        put_sql(connection, "'q', '{}', delay => 1000")
        waiting = begin(broker.get("q", None, "", LONG))
        await deferLater(reactor, 0.3)
        connection.commit()
        self.assertEqual((await waiting).body, b"{}")
        stats = await broker.stats("q")
        self.assertEqual((stats["ready"], stats["delayed"]), (0, 1))


@needs_postgresql
class OptionTests(OutboxTestCase):
    """What applies to a task that was put by SQL is the same as for a put of a client."""

    async def test_invalid_arguments(self) -> None:
        import psycopg

        self.broker(self.url)
        connection = self.connect()
        connection.autocommit = True
        for arguments, expected in INVALID.items():
            error = self.assertRaises(psycopg.Error, put_sql, connection, arguments)
            self.assertIn(expected, str(error), arguments)
            self.assertIn(error.sqlstate, ("22023", "54000"), arguments)
        for arguments in (
            "'q', (repeat('{\"x\":', 99) || '{}' || repeat('}', 99))::jsonb",
            "'q', '{\"worker\": \"q\"}'",
            "'q', '{}', \"unique\" => 'u', unique_for => 'Infinity'",
            "'q', '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
        ):
            self.assertTrue(put_sql(connection, arguments))

    async def test_names_of_queues_are_printable_as_in_python(self) -> None:
        """Characters that Unicode has not assigned are left out, because versions of Unicode differ."""
        self.broker(self.url)
        connection = self.connect()
        rejected = {
            code
            for (code,) in connection.execute(
                "SELECT code FROM generate_series(1, 1114111) AS code WHERE NOT code BETWEEN 55296 AND 57343 "
                "AND tqueue.is_unprintable(chr(code))"
            )
        }
        wrong = [
            hex(code)
            for code in range(1, 0x110000)
            if not 0xD800 <= code < 0xE000
            and chr(code).isprintable() == (code in rejected)
            and unicodedata.category(chr(code)) != "Cn"
        ]
        self.assertEqual(wrong, [])

    async def test_unique_keys(self) -> None:
        """They are decided after the commit, in the order of the calls."""
        broker, connection = self.broker(self.url), self.connect()
        await broker.put("q", QueuedTask(0, b'{"n": 1}', terms=Terms(unique="a")))
        put_sql(connection, """'q', '{"n": 2}', "unique" => 'a'""")
        put_sql(connection, """'q', '{"n": 3}', "unique" => 'b', unique_for => 1000""")
        put_sql(connection, """'q', '{"n": 4}', "unique" => 'b'""")
        put_sql(connection, """'q', '{"n": 5}'""")
        connection.commit()
        got = [(await broker.get("q")).body for _ in range(3)]
        self.assertEqual(got, [b'{"n": 1}', b'{"n": 3}', b'{"n": 5}'])
        self.assertEqual(await broker.get("q"), EMPTY)
        for task in await broker.peek("q", 5, "leased"):
            await broker.done("q", task.number)
        put_sql(connection, """'q', '{"n": 6}', "unique" => 'b'""")
        put_sql(connection, """'q', '{"n": 7}', "unique" => 'a'""")
        connection.commit()
        self.assertEqual((await broker.get("q")).body, b'{"n": 7}')
        self.assertEqual(await broker.get("q"), EMPTY)

    async def test_groups_and_times_to_live(self) -> None:
        broker, connection = self.broker(self.url), self.connect()
        for number in range(3):
            put_sql(connection, f"""'q', '{{"n": {number}}}', "group" => 'g'""")
        put_sql(connection, """'expiring', '{}', ttl => 0.1""")
        connection.commit()
        for number in range(3):
            task = await broker.get("q", None, "", LONG)
            self.assertEqual(task.body, b'{"n": %d}' % number)
            self.assertEqual(await broker.get("q"), EMPTY)
            await broker.done("q", task.number)
        while (await broker.stats("expiring"))["unfinished"]:
            await deferLater(reactor, 0.01)
        self.assertEqual((await broker.stats("expiring"))["expired"], 1)

    async def test_ids_of_earlier_versions_are_valid(self) -> None:
        broker = self.broker(self.url)
        (number,) = await put(broker, 1)
        self.assertEqual(task_number(broker.secret, "q", _earlier_id(broker.secret, "q", number)), number)
        self.assertEqual(task_number(broker.secret, "p", _earlier_id(broker.secret, "q", number)), 0)


@needs_postgresql
class PrivilegeTests(OutboxTestCase):
    async def test_role_needs_two_privileges(self) -> None:
        """With them it can put tasks, and nothing else."""
        import psycopg

        broker = self.broker(self.url)
        owner, role = self.connect(), self.url.rpartition("/")[2] + "_role"
        owner.execute(f"CREATE ROLE {role} LOGIN")
        owner.commit()
        connection = psycopg.connect(self.url.replace("//postgres@", f"//{role}@"), autocommit=True)
        self.addCleanup(connection.close)
        self.assertRaises(psycopg.errors.InsufficientPrivilege, put_sql, connection)
        owner.execute(f"GRANT USAGE ON SCHEMA tqueue TO {role}")
        owner.commit()
        self.assertRaises(psycopg.errors.InsufficientPrivilege, put_sql, connection)
        owner.execute(f"GRANT EXECUTE ON FUNCTION tqueue.put TO {role}")
        owner.commit()
        put_sql(connection)
        self.assertEqual((await broker.get("q", None, "", LONG)).body, b"{}")
        for statement in (
            "SELECT * FROM tqueue.outbox",
            "SELECT secret FROM tqueue.meta",
            "INSERT INTO tqueue.tasks SELECT * FROM tqueue.tasks",
            "DELETE FROM tqueue.outbox",
        ):
            self.assertRaises(psycopg.errors.InsufficientPrivilege, connection.execute, statement)

    async def test_caller_cannot_replace_what_the_function_uses(self) -> None:
        """Its search path is fixed, so functions and operators of the caller are not used."""
        self.broker(self.url)
        connection = self.connect()
        connection.execute(
            "CREATE FUNCTION pg_temp.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT 1/0'"
        )
        connection.execute("CREATE FUNCTION public.to_hex(int8) RETURNS text LANGUAGE sql AS $$SELECT 'x'$$")
        connection.execute("CREATE TEMPORARY TABLE outbox (n int)")
        connection.execute("SET search_path = pg_temp, public, pg_catalog")
        self.assertRegex(put_sql(connection), "^[0-9a-f]+-[0-9a-f]{16}$")
