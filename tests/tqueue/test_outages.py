"""Outages of the server, the database and the clock: leases, readiness, and the errors of clients."""

from __future__ import annotations

import glob
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import skipIf

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.files import sqlite_store
from tests.support.postgres import PostgreSQL, needs_postgresql, shared
from tests.support.queue_server import Server, wait_for
from tests.support.slow import slow
from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.backends import check_store, make_broker, open_store
from twisted_appserver.queue.interface import EMPTY, SHUTDOWN, StoreError
from twisted_appserver.queue.local.broker import LocalBroker
from twisted_appserver.queue.local.memory_journal import MemoryStore
from twisted_appserver.queue.model import GRACE
from twisted_appserver.queue.postgresql import heartbeat, poolers, schema
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.store_health import StoreHealth
from twisted_appserver.tqueue import transactions

LEASE, OUTAGE = 1.0, 2.5  # seconds
JUMPING = (  # a server whose wall clock jumps forward by an hour as soon as this file exists
    "import os, time; real = time.time; "
    "time.time = lambda: real() + 3600 * os.path.exists({flag!r}); "
    "from twisted.scripts.twistd import run; run()"
)


def begin(awaitable: Any) -> Deferred[Any]:
    return Deferred.fromCoroutine(awaitable)


def ask(server: Server, path: str, body: bytes = b"", method: str = "POST") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def ready(server: Server) -> int:
    return ask(server, "/-/ready", method="GET")[0]


def family(pid: int) -> list[int]:
    """Return the ids of a process and of its children."""
    found = [pid]
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == pid:
            found.append(int(path.split("/")[2]))
    return found


@contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


class GraceTests(SynchronousTestCase):
    """Leases of a broker on a clock that the test moves."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.broker: Any = LocalBroker(self.clock, MemoryStore(), wall=lambda: self.clock.seconds() + 3600.0)
        self.broker.start()
        self.addCleanup(self.broker.stop)

    def now(self, asked: Any) -> Any:
        return self.successResultOf(begin(asked))

    def leased(self, seconds: float) -> Any:
        self.now(self.broker.put("q", QueuedTask(0, b"{}")))
        return self.now(self.broker.get("q", seconds))

    def test_lease_that_ended_while_the_process_was_stopped_lasts_longer(self) -> None:
        """Its holder has a few seconds to renew it."""
        for verb in ("timer", "get", "done", "extend"):
            task = self.leased(10.0)
            if verb == "timer":
                self.clock.advance(15.0)
            else:
                self.clock.rightNow += 15.0  # the request is read before the timer fires
            if verb == "extend":
                self.assertIs(self.now(self.broker.extend("q", task.number, 60.0, 1)), task)
                self.clock.advance(30.0)
            self.assertEqual(self.now(self.broker.get("q")), EMPTY, verb)
            self.assertIs(self.now(self.broker.done("q", task.number, 1)), task, verb)

    def test_prolonged_lease_ends_if_it_is_not_renewed(self) -> None:
        self.leased(10.0)
        waiting = begin(self.broker.get("q", None, "", 100.0))
        self.clock.advance(15.0)
        self.clock.advance(GRACE - 0.1)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(waiting).deliveries, 2)

    def test_lease_ends_on_time_while_the_process_runs(self) -> None:
        self.leased(10.0)
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.now(self.broker.get("q")).deliveries, 2)

    def test_peek_returns_the_time_of_day(self) -> None:
        """Whatever the reactor's clock is."""
        self.leased(10.0)
        (task,) = self.now(self.broker.peek("q", 1, "leased"))
        self.assertEqual(task.lease, 1000.0 + 3600.0 + 10.0)

    def test_unused_queues_are_forgotten_within_seconds(self) -> None:
        """Their keys are not."""
        for number in range(100):
            name = f"q{number}"
            self.now(self.broker.put(name, QueuedTask(0, b"{}"), "k"))
            self.now(self.broker.done(name, self.now(self.broker.get(name)).number))
            self.now(self.broker.get(name + "x"))
        waiting = begin(self.broker.get("waits", None, "", 1000.0))
        self.clock.pump([5.0, 5.1])
        self.assertEqual([local.queue.name for local in self.broker.table.all()], ["waits"])
        self.assertEqual(self.now(self.broker.put("q7", QueuedTask(0, b"{}"), "k")).body, b"")
        self.clock.pump([60.0] * 6)
        self.assertEqual((self.broker.table._keys, self.broker.names()), ({}, []))
        self.now(self.broker.put("waits", QueuedTask(0, b"{}")))
        self.assertIsInstance(self.successResultOf(waiting), QueuedTask)


class HealthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.writes = Clock(), list[Deferred[None]]()
        self.health = StoreHealth(self.clock, self.write)

    def write(self) -> Deferred[None]:
        self.writes.append(Deferred())
        return self.writes[-1]

    def test_one_write_for_many_probes(self) -> None:
        """Probes share a write, and need none for a second after a write or a put."""
        probes = [begin(self.health.check()) for _ in range(100)]
        self.assertEqual(len(self.writes), 1)
        self.writes[0].callback(None)
        for probe in probes:
            self.successResultOf(probe)
        for _ in range(9):
            self.clock.advance(0.9)
            self.health.note()
            self.successResultOf(begin(self.health.check()))
        self.assertEqual((len(self.writes), self.health.trouble), (1, ""))

    def test_store_that_does_not_answer_is_in_trouble_after_two_seconds(self) -> None:
        """Later probes do not wait again."""
        first = begin(self.health.check())
        self.clock.advance(1.9)
        self.assertNoResult(first)
        self.clock.advance(0.2)
        self.successResultOf(first)
        self.successResultOf(begin(self.health.check()))
        self.assertIn("does not answer", self.health.trouble)
        self.writes[0].errback(StoreError("the disk is full"))
        self.assertEqual((self.health.trouble, len(self.writes)), ("the disk is full", 1))
        self.clock.advance(1.1)
        again = begin(self.health.check())
        self.writes[1].callback(None)
        self.successResultOf(again)
        self.assertEqual(self.health.trouble, "")


class ServerCase(SynchronousTestCase):
    def server(self, store: str = "memory:", **options: Any) -> Server:
        server = Server(store, **options).start()
        self.addCleanup(lambda: server.kill())
        return server

    def sqlite(self) -> str:
        return sqlite_store(self)

    def held(self, server: Server) -> str:
        """Put and lease a task for a short time. Return its id."""
        ask(server, "/q/put", b"{}")
        return str(ask(server, f"/q/get?lease={LEASE}")[1]["task_id"])

    def finished(self, server: Server, task_id: str) -> None:
        """Check that the task is still leased, and finish it."""
        self.assertEqual(ask(server, f"/q/done/{task_id}?delivery=1")[1]["task_id"], task_id)


class StopTests(ServerCase):
    def check(self, store: str) -> None:
        """Check that a lease outlasts an outage of the server that is longer than the lease."""
        server = self.server(store)
        if store != "memory:":
            task_id = self.held(server)
            server.kill()
            time.sleep(OUTAGE)
            server.start()
            self.finished(server, task_id)
        task_id = self.held(server)
        assert server.process is not None
        with frozen([server.process.pid]):
            time.sleep(OUTAGE)
        self.finished(server, task_id)
        self.held(server)  # nobody renews or finishes it
        wait_for(lambda: ask(server, "/q/get")[1]["task_id"])

    @slow
    def test_lease_outlasts_a_stopped_server_in_memory(self) -> None:
        self.check("memory:")

    @slow
    def test_lease_outlasts_a_stopped_server_on_sqlite(self) -> None:
        self.check(self.sqlite())

    @slow
    @needs_postgresql
    def test_lease_outlasts_a_stopped_server_on_postgresql(self) -> None:
        self.check(shared().database())


class ClockTests(ServerCase):
    def check(self, store: str) -> None:
        flag = os.path.abspath(self.mktemp())
        server = self.server(store, script=("-c", JUMPING.format(flag=flag)))
        ask(server, "/q/put", b"{}")
        task_id = ask(server, "/q/get?lease=60")[1]["task_id"]
        waiting = socket.create_connection(("127.0.0.1", server.port))
        self.addCleanup(waiting.close)
        waiting.sendall(b"GET /q/get/?timeout=600 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: ask(server, "/q/stats", method="GET")[1]["getters"] == 1)
        with open(flag, "w"):
            pass
        time.sleep(1.5)
        stats = ask(server, "/q/stats", method="GET")[1]
        self.assertEqual((stats["getters"], stats["leased"], stats["ready"]), (1, 1, 0))
        (task,) = ask(server, "/q/peek?state=leased", method="GET")[1]["tasks"]
        self.assertLess(abs(task["lease"] - time.time() - 3660), 30)
        self.finished(server, task_id)

    def test_jump_of_the_wall_clock_ends_no_lease_in_memory(self) -> None:
        """Clients that wait notice nothing either."""
        self.check("memory:")

    def test_jump_of_the_wall_clock_ends_no_lease_on_sqlite(self) -> None:
        self.check(self.sqlite())


@needs_postgresql
class ReadyTests(ServerCase):
    def setUp(self) -> None:
        self.database = PostgreSQL().start()
        self.addCleanup(self.database.remove)

    @slow
    def test_server_is_ready_only_while_its_database_works(self) -> None:
        """Not while it is stopped, read-only or frozen."""
        server = self.server(self.database.database())
        self.assertEqual(ready(server), 200)
        self.database.ask("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
        wait_for(lambda: ready(server) == 503)
        status, problem = ask(server, "/q/put", b'{"secret": 1}')
        self.assertEqual((status, "read-only" in problem["detail"]), (507, True))
        self.database.ask("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
        wait_for(lambda: ready(server) == 200)
        self.database.stop()
        wait_for(lambda: ready(server) == 503)
        self.database.start()
        wait_for(lambda: ready(server) == 200)
        assert self.database.process is not None
        with frozen(family(self.database.process.pid)):
            wait_for(lambda: ready(server) == 503)
            start = time.monotonic()
            self.assertEqual(ask(server, "/q/put", b"{}")[0], 503)
            self.assertEqual(ready(server), 503)
            self.assertLess(time.monotonic() - start, 10)
        wait_for(lambda: ready(server) == 200)
        self.assertEqual(ask(server, "/q/put", b"{}")[0], 200)

    @slow
    def test_lease_outlasts_an_outage_of_the_database(self) -> None:
        server = self.server(self.database.database())
        task_id = self.held(server)
        self.database.stop()
        time.sleep(OUTAGE)
        self.database.start()
        self.finished(server, task_id)


@needs_postgresql
class DatabaseTests(TestCase):
    timeout = 120

    def broker(self, url: str) -> Any:
        broker = make_broker(reactor, open_store(url))
        broker.start()
        self.addCleanup(broker.stop)
        return broker

    def connect(self, url: str) -> Any:
        import psycopg

        connection = psycopg.connect(url, autocommit=True)
        self.addCleanup(connection.close)
        return connection

    @slow
    async def test_frozen_database_process_is_replaced(self) -> None:
        """The requests that were waiting for the database are performed."""
        broker = self.broker(shared().database())
        await broker.put("q", QueuedTask(0, b"{}"))
        pid = broker.store.database.connection.info.backend_pid
        with frozen([pid]):
            found = await gatherResults([begin(broker.put("q", QueuedTask(0, b"{}"))) for _ in range(3)])
            self.assertEqual(len({task.number for task in found}), 3)
            self.assertNotEqual(broker.store.database.connection.info.backend_pid, pid)
        await deferLater(reactor, 0.5)
        self.assertEqual(await broker.qsizes("q"), {"q": 4})

    @slow
    async def test_slow_statement_keeps_its_connection(self) -> None:
        """For example, one that waits for the lock of another server."""
        url = shared().database()
        broker, other = self.broker(url), self.connect(url)
        await broker.put("q", QueuedTask(0, b"{}"))
        pid = broker.store.database.connection.info.backend_pid
        other.execute("SELECT pg_advisory_lock(%s::int, id) FROM tqueue.queues", (schema.QUEUE_LOCK,))
        waiting = begin(broker.put("q", QueuedTask(0, b"{}"), "", 20.0))
        await deferLater(reactor, 4.5)
        self.assertFalse(waiting.called)
        other.execute("SELECT pg_advisory_unlock_all()")
        await waiting
        self.assertEqual(broker.store.database.connection.info.backend_pid, pid)

    async def test_forged_notification_of_a_deletion_ends_no_wait(self) -> None:
        """Every user of the database may send it."""
        url = shared().database()
        broker, there = self.broker(url), self.broker(url)
        await there.delete("q")
        while "q" not in broker._deletions:  # a wait that begins before that would end rightly
            await deferLater(reactor, 0.02)
        waiting = begin(broker.get("q", None, "", 60.0))
        while not broker.pending.count("q", "get"):
            await deferLater(reactor, 0.02)
        forger = self.connect(url)
        forger.execute("CREATE ROLE forger")
        self.addCleanup(forger.execute, "DROP ROLE forger")
        forger.execute("SET ROLE forger")
        for words in (
            "x gone q",
            f"{there.store.server} gone q",
            f"{broker.store.server} gone q",
            "x all q",
        ):
            forger.execute("SELECT pg_notify('tqueue', %s)", (words,))
        forger.execute("RESET ROLE")
        await broker.put("other", QueuedTask(0, b"{}"))
        await deferLater(reactor, 0.3)
        self.assertFalse(waiting.called)
        await there.delete("q")
        self.assertEqual(await waiting, SHUTDOWN)

    async def test_error_of_the_database_shows_neither_sql_nor_data(self) -> None:
        url = shared().database()
        broker, other = self.broker(url), self.connect(url)
        await broker.put("q", QueuedTask(0, b"{}"))
        for statement in (
            "ALTER TABLE tqueue.tasks ADD CONSTRAINT odd CHECK (length(body) < 10)",
            "ALTER TABLE tqueue.tasks RENAME COLUMN body TO corpse",
        ):
            other.execute(statement)
            putting = begin(broker.put("q", QueuedTask(0, b'{"secret": 12}')))
            error = await self.assertFailure(putting, StoreError)
            for word in ("secret", "INSERT", "tasks", "row", "odd", "body", "\n"):
                self.assertNotIn(word, str(error))

    async def test_options_of_another_version_are_ignored_or_an_error(self) -> None:
        """Unknown options are ignored; a value that cannot be used is an error."""
        url = shared().database()
        broker, other = self.broker(url), self.connect(url)
        await broker.change("q", {"maxsize": 5})
        other.execute("UPDATE tqueue.queues SET config = replace(config, '{', '{\"colour\": \"red\", ')")
        self.assertEqual((await broker.config("q")).maxsize, 5)
        self.assertIsInstance(await broker.put("q", QueuedTask(0, b"{}")), QueuedTask)
        other.execute("UPDATE tqueue.queues SET config = replace(config, 'fifo', 'odd')")
        error = await self.assertFailure(begin(broker.config("q")), StoreError)
        self.assertIn("kind", str(error))

    @slow
    async def test_no_lease_ends_while_no_server_is_alive(self) -> None:
        """When a server is alive again, it first prolongs all leases."""
        broker = self.broker(shared().database())
        (number, later) = [(await broker.put("q", QueuedTask(0, b"{}"))).number for _ in range(2)]
        await broker.get("q", LEASE)
        patch = self.patch(heartbeat, "record_alive", lambda connection: None)
        await broker.put("q", QueuedTask(0, b"{}"), "", 0.0, LEASE)  # a delay ends nevertheless
        await deferLater(reactor, OUTAGE)
        self.assertEqual((await broker.get("q", 60.0)).number, later)
        self.assertEqual((await broker.stats("q"))["ready"], 1)
        patch.restore()
        await deferLater(reactor, 2 * heartbeat.INTERVAL)
        self.assertEqual((await broker.done("q", number, 1)).number, number)

    @slow
    async def test_leases_end_while_one_of_two_servers_is_alive(self) -> None:
        url = shared().database()
        here, there = self.broker(url), make_broker(reactor, open_store(url))
        there.start()
        number = (await there.put("q", QueuedTask(0, b"{}"))).number
        await there.get("q", LEASE)
        await there.stop()
        await deferLater(reactor, OUTAGE)
        task = await here.get("q", None, "", 5.0)
        self.assertEqual((task.number, task.deliveries), (number, 2))


PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")


@needs_postgresql
@skipIf(PGBOUNCER is None, "there is no pgbouncer (Debian: apt-get install pgbouncer)")
class PoolerTests(TestCase):
    timeout = 120

    def pooler(self, mode: str, size: int = 5) -> str:
        """Start a pooler in front of a new database. Return its URL."""
        folder = tempfile.mkdtemp(prefix="pooler-")
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        name = shared().database().rpartition("/")[2]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with open(os.path.join(folder, "users"), "w") as file:
            file.write('"postgres" ""\n')
        with open(os.path.join(folder, "ini"), "w") as file:
            file.write(
                f"[databases]\n* = host=127.0.0.1 port={shared().port}\n[pgbouncer]\nlisten_port={port}\n"
                f"listen_addr=127.0.0.1\nauth_type=trust\nauth_file={folder}/users\npool_mode={mode}\n"
                f"default_pool_size={size}\nunix_socket_dir=\n"
            )
        user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
        assert PGBOUNCER is not None
        process = subprocess.Popen(
            [*user, PGBOUNCER, os.path.join(folder, "ini")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait, 20)
        self.addCleanup(process.kill)

        def accepts() -> bool:
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", port)) == 0

        wait_for(accepts)
        return f"postgresql://postgres@127.0.0.1:{port}/{name}"

    def test_pooler_that_shares_connections_is_refused(self) -> None:
        """In one line, and the database is unchanged."""
        for mode in ("transaction", "statement"):
            url = self.pooler(mode)
            self.assertIn("pool_mode=session", str(self.assertRaises(ConfigurationError, check_store, url)))
            broker = make_broker(reactor, open_store(url))
            error = str(self.assertRaises(ConfigurationError, broker.start))
            self.assertIn("pool_mode=session", error)
            self.assertNotIn("\n", error)
            name = url.rpartition("/")[2]
            found = shared().ask(
                "SELECT to_regnamespace('tqueue') IS NULL", "SHOW enable_seqscan", database=name
            )
            self.assertEqual(found.split(), ["t", "on"])

    async def test_programs_put_tasks_through_a_pooler_that_shares_connections(self) -> None:
        """Only the servers need connections of their own."""
        import psycopg

        url = self.pooler("transaction", 2)
        broker = make_broker(reactor, open_store(shared().url(url.rpartition("/")[2])))
        broker.start()
        programs = [psycopg.connect(url, prepare_threshold=None) for _ in range(3)]
        for number in range(9):
            program = programs[number % 3]
            transactions.put(program, "q", {"n": number})
            if number < 6:
                program.commit()
            else:
                program.rollback()
        bodies = [(await broker.get("q", None, "", 20.0)).body for _ in range(6)]
        self.assertEqual(bodies, [b'{"n": %d}' % number for number in range(6)])
        self.assertEqual(await broker.qsizes("q"), {"q": 0})
        for program in programs:
            program.close()
        await broker.stop()

    @slow
    async def test_pooler_with_a_connection_for_each_client_works(self) -> None:
        """Even if it has only one connection."""
        for size in (1, 5):
            self.patch(poolers, "PATIENCE", 1.0)
            url = self.pooler("session", size)
            self.assertEqual(check_store(url), "")
            broker = make_broker(reactor, open_store(url))
            broker.start()
            self.assertIsInstance(await broker.put("q", QueuedTask(0, b"{}")), QueuedTask)
            await broker.stop()
