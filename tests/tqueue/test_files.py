"""Files that are opened as a store, and faults of the disk and of the file."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.files import sqlite_store
from tests.support.queue_server import Server
from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.config import Config
from twisted_appserver.queue.interface import StoreError
from twisted_appserver.queue.local import sqlite_journal as sqlite
from twisted_appserver.queue.local.broker import LocalBroker
from twisted_appserver.queue.local.sqlite_journal import MIGRATIONS, SQLiteStore
from twisted_appserver.queue.queued_task import QueuedTask


def content(folder: str) -> dict[str, bytes]:
    """Return the content of every file of a folder."""
    found = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as file:
            found[name] = file.read()
    return found


class FileCase(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, "a?b#c.db")

    def database(self, *statements: str) -> None:
        """Create a database with these statements."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            for statement in statements:
                database.execute(statement)

    def begin(self) -> Any:
        broker = LocalBroker(reactor, SQLiteStore(self.path))
        broker.start()
        self.addCleanup(lambda: broker.stop() if broker.started else None)
        return broker

    def put(self, broker: Any, body: bytes = b"{}", key: str = "") -> Deferred[Any]:
        return Deferred.fromCoroutine(broker.put("q", QueuedTask(0, body), key))


class ForeignTests(FileCase):
    def refused(self, *words: str) -> None:
        """Check that the file is refused in one line with these words, and that the folder is unchanged."""
        before = content(self.folder)
        error = str(self.assertRaises(ConfigurationError, SQLiteStore(self.path).open, reactor))
        for word in (self.path, *words):
            self.assertIn(word, error)
        self.assertNotIn("\n", error)
        self.assertEqual(content(self.folder), before)

    def test_database_of_another_application_is_refused_unchanged(self) -> None:
        """Whatever its version, its journal mode and its application id are."""
        for statements in (
            ["CREATE TABLE users (name)"],
            ["CREATE TABLE store (prefix)", "PRAGMA user_version=1"],
            ["CREATE TABLE users (name)", "PRAGMA user_version=2"],
            ["PRAGMA journal_mode=WAL", "CREATE TABLE users (name)"],
            ["PRAGMA application_id=77"],
            ["PRAGMA user_version=3"],
        ):
            self.database(*statements)
            self.refused("another application")
            os.unlink(self.path)

    def test_database_that_another_application_writes_is_refused_unchanged(self) -> None:
        """Its tables may be in its write-ahead log only."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE users (name)")
            with open(self.path, "rb") as file:
                before = file.read()
            error = str(self.assertRaises(ConfigurationError, SQLiteStore(self.path).open, reactor))
            self.assertIn("another application", error)
            with open(self.path, "rb") as file:
                self.assertEqual(file.read(), before)
            database.execute("INSERT INTO users VALUES ('x')")

    def test_file_that_is_no_database_is_refused(self) -> None:
        for text in (b"x", b"name,age\n" * 100):
            with open(self.path, "wb") as file:
                file.write(text)
            self.refused("not a database")

    def test_folder_that_does_not_exist_is_named(self) -> None:
        folder = os.path.join(self.folder, "missing")
        self.path = os.path.join(folder, "tasks.db")
        self.refused(f"there is no folder {folder}")

    def test_folder_is_refused(self) -> None:
        os.mkdir(self.path)
        error = str(self.assertRaises(ConfigurationError, SQLiteStore(self.path).open, reactor))
        self.assertIn("directory", error)

    async def test_invalid_options_in_the_file_are_one_line_with_the_queue(self) -> None:
        await self.begin().stop()
        self.database("INSERT INTO queues VALUES ('painter', '{\"lease\": -5}')")
        error = str(self.assertRaises(ConfigurationError, SQLiteStore(self.path).open, reactor))
        self.assertIn("painter", error)
        self.assertIn("lease", error)


class OwnTests(FileCase):
    async def test_empty_file_becomes_a_store(self) -> None:
        """Also one whose creation was interrupted."""
        for statements in ([], ["PRAGMA journal_mode=WAL"]):
            self.database(*statements)
            broker = self.begin()
            await self.put(broker)
            await broker.stop()
            os.unlink(self.path)

    async def test_option_of_another_version_is_ignored_with_a_warning(self) -> None:
        """The other options apply."""
        await self.begin().stop()
        self.database('INSERT INTO queues VALUES (\'q\', \'{"maxsize": 7, "colour": "red"}\')')
        broker = self.begin()
        self.assertEqual(broker.look("q").config, Config(maxsize=7))

    async def test_store_of_the_first_version_keeps_its_tasks_and_gets_a_secret(self) -> None:
        """It also keeps keys, options and delays."""
        now = 1_700_000_000.0
        self.database(
            *MIGRATIONS[0].split(";"),
            "PRAGMA user_version=1",
            "INSERT INTO store VALUES ('0123abcd-')",
            "INSERT INTO queues VALUES ('q', '{\"maxsize\": 9}')",
            "INSERT INTO keys VALUES ('q', 'invoice', 'invoice:1', 1, 1e11), ('q', 'k', 'k', 2, 1e11), "
            "('q', 'invoice:1', 'x', 3, 1e11)",
            f"INSERT INTO tasks VALUES (1, 'q', '{{}}', 0, '', 0, {now}, 1, 'g:1', 0), "
            "(2, 'q', '{}', 0, '', 1e11, 0, 0, '', 0), (3, 'q', '{}', 0, '', 0, 0, 2, '', 1)",
        )
        broker = self.begin()
        queue = broker.look("q")
        self.assertEqual(
            (queue.config.maxsize, [*queue.leased], [*queue.delayed], [*queue.buried]), (9, [1], [2], [3])
        )
        self.assertEqual((await broker.get("q", None, "g:1")).number, 1)
        self.assertEqual((await self.put(broker, b"any", "invoice:1")).number, 1)
        self.assertEqual((await self.put(broker, b"any", "k")).number, 2)
        self.assertEqual((await self.put(broker, b"any", "x")).number, 3)
        self.assertEqual((await self.put(broker, b"any", "invoice:2")).number, 4)
        self.assertEqual(len(broker.secret), 32)
        await broker.stop()
        again = self.begin()
        self.assertEqual((again.secret, len(again.look("q").ready)), (broker.secret, 1))
        (delayed,) = await again.peek("q", 1, "delayed")
        self.assertLess(abs(delayed.due - 1e11), 1)


class TroubleTests(FileCase):
    async def test_missing_reserve_refuses_puts_and_is_logged_at_the_start(self) -> None:
        os.mkdir(self.path + "-reserve")
        broker = self.begin()
        error = await self.assertFailure(self.put(broker), StoreError)
        self.assertIn("reserve", str(error))
        self.assertNotIn("full", str(error))
        await broker.check()
        self.assertEqual(broker.unready(), str(error))
        self.patch(sqlite, "RETRY", 0.0)
        os.rmdir(self.path + "-reserve")
        broker.store._look_again = 0.0
        broker._health._noted = 0.0
        await broker.check()
        self.assertEqual(broker.unready(), "")
        await self.put(broker)

    async def test_error_of_the_database_shows_neither_sql_nor_data(self) -> None:
        broker = self.begin()
        await self.put(broker)
        broker._puts.last_number = 0  # the next task gets a number that is in use
        error = await self.assertFailure(self.put(broker, b'{"secret": 1}'), StoreError)
        for word in ("INSERT", "tasks", "UNIQUE", "secret", self.path):
            self.assertNotIn(word, str(error))

    async def test_server_is_unready_while_the_disk_is_full(self) -> None:
        """A probe notices both, also that there is space again."""
        broker = self.begin()
        await self.put(broker)
        ask = broker.store._database.execute
        pages = ask("PRAGMA page_count").fetchone()[0]
        ask(f"PRAGMA max_page_count={pages}")
        error = await self.assertFailure(self.put(broker, b"x" * 100_000), StoreError)
        self.assertIn("the disk is full", str(error))
        self.assertEqual(broker.unready(), str(error))
        task = await broker.get("q")
        await broker.done("q", task.number)
        ask("PRAGMA max_page_count=1000000")
        broker.store._look_again = broker._health._noted = 0.0
        await broker.check()
        self.assertEqual(broker.unready(), "")


class StartTests(SynchronousTestCase):
    def test_command_refuses_the_database_of_another_application_in_one_line(self) -> None:
        path = os.path.abspath(self.mktemp())
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE users (name)")
        server = Server(f"sqlite:{path}")
        error = str(self.assertRaises(RuntimeError, server.start, 5.0))
        self.assertIn("the database of another application", error)
        self.assertNotIn("Traceback", error)

    def test_task_ids_stay_valid_over_a_restart(self) -> None:
        from twisted_appserver.tqueue.client import Queue

        server = Server(sqlite_store(self)).start()
        self.addCleanup(lambda: server.kill())
        queue = Queue(0, server.url, "q")
        self.addCleanup(queue.close)
        queue.put_task({"n": 1})
        task_id = queue.get_task()["task_id"]
        server.kill()
        server.start()
        self.assertEqual(queue.done(task_id), {"n": 1})
