"""Tests of C{--check}, in this process."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql, shared
from tests.support.queue_server import Server
from twisted_appserver import Retry, Route, include
from twisted_appserver.core.application import Application
from twisted_appserver.serving.check import check, load
from twisted_appserver.settings import settings_from_keywords
from twisted_appserver.tqueue.client import Queue


def nothing() -> None: ...


def fine() -> dict[str, Any]:
    return {}


class CheckTests(SynchronousTestCase):
    def check(
        self, patterns: Any = (("/", fine),), lifespan: Any = None, **options: Any
    ) -> tuple[list[str], bool]:
        class Given(Application):
            def load_all(self, fresh: bool = False) -> tuple[Any, Any]:
                return patterns, lifespan

        text, passed = check(reactor, settings_from_keywords(**options), load(lambda: Given(name="")))
        return text.splitlines(), passed

    def problem(self, patterns: Any = (("/", fine),), **options: Any) -> str:
        lines, passed = self.check(patterns, **options)
        self.assertEqual((len(lines), passed), (2, False), lines)
        self.assertEqual(lines[1], "a table without a file, 1 route: 1 problem")
        self.assertTrue(lines[0].startswith("problem: "))
        return lines[0]

    def test_success_names_what_was_checked(self) -> None:
        """One line, with the options that were checked."""
        checked = "a table without a file, 1 route: no problems; checked: patterns, functions"
        self.assertEqual(self.check(), ([f"{checked}, addresses"], True))
        path = Path(self.mktemp())
        path.touch(0o600)
        path.write_text("0123456789abcdefTOKEN")
        expected = f"{checked}, hosts, addresses, token and passwords, access log"
        found = self.check(token_file=path, access_log=str(path), allow_host=("a", "b"))
        self.assertEqual(found, ([expected], True))

    def test_parameter_that_may_be_misspelt_is_a_problem(self) -> None:
        def one(a):  # type: ignore[no-untyped-def]
            return {}

        problem = self.problem([("/(?P<b>)/", one)])
        self.assertIn("a receives all variables as a dict, because no parameter has the name of", problem)

    def test_table_that_cannot_work_fails(self) -> None:
        """All problems are listed: in the table and in the options."""
        lines, passed = self.check([("/<m>/", nothing)], token_file="/no/token")
        self.assertFalse(passed)
        self.assertEqual([line.startswith("problem: ") for line in lines], [True, True, True, False])
        self.assertEqual(lines[-1], "a table without a file, 1 route: 3 problems")

    def test_every_error_of_a_table_has_its_line(self) -> None:
        """What cannot be used at all hides nothing else, and a summary ends the list."""
        table = [
            ("/a(", fine),
            ("/b[", fine),
            ("/c/", "nowhere:f"),
            ("/d/", f"{__name__}:wrong"),
            Route("/e/", fine, executor="proceses"),
            Route("/f/", fine, timeout=-1),
            ("/g/(?P<h>)/", fine),
            Route("/i(", "nowhere:f", methods="GET"),
            "/j/",
            Route("/k/", fine, methods=("GTE",)),
            include("/l/", [("(", fine)]),
            ("/m/<n>/", fine),
            ("/o/", fine),
        ]
        lines, passed = self.check(
            table, lifespan=7, token_file="/no/token", auth=("x",), allow_origin=("*", "y"), listen=("tcp:x",)
        )
        self.assertFalse(passed)
        self.assertEqual(lines[-1], "a table without a file, 13 routes: 20 problems")
        for text in (
            *("[0] '/a('", "[1] '/b['", "[2] '/c/'", "[3] '/d/'", "[4] '/e/'", "[5] '/f/'", "no parameter"),
            *("[7] '/i(': methods", "[7] '/i(': missing )", "[7] '/i(': there is", "[8] must be", "'GTE'"),
            *("[10][0] '('", "<n>", "lifespan must", "--token-file", "--auth x", "--allow-origin '*'"),
            *("--allow-origin 'y'", "--listen tcp:x"),
        ):
            self.assertEqual(len([line for line in lines if text in line]), 1, (text, lines))

    def test_application_that_cannot_be_imported_hides_no_other_problem(self) -> None:
        def find() -> Application:
            return Application(module="nowhere")

        settings = settings_from_keywords(app="nowhere", token_file="/no/token")
        text, passed = check(reactor, settings, load(find))
        first, second, summary = text.splitlines()
        self.assertIn("there is no module nowhere", first)
        self.assertIn("--token-file", second)
        self.assertEqual((summary, passed), ("nowhere: 2 problems", False))

    def test_option_that_cannot_work_fails(self) -> None:
        """A missing token, an access log that cannot be written, and an address that others can reach."""
        self.assertIn("--token-file /no/token: No such file", self.problem(token_file="/no/token"))
        self.assertIn("--access-log /no/log: cannot be written", self.problem(access_log="/no/log"))
        self.assertIn("0.0.0.0 can be reached from other machines", self.problem(listen=("tcp:1",)))

    def test_missing_package_fails(self) -> None:
        """An option or a route needs a package that is not installed."""
        postgresql = {"store": "postgresql://x@localhost/y"}
        with patch.dict(sys.modules, watchfiles=None, distributed=None, psycopg=None):
            self.assertIn("--reload needs the extra reload; in a clone", self.problem(reload=True))
            self.assertIn("PostgreSQL needs the extra postgresql; in a clone", self.problem(**postgresql))
            self.assertIn("--type cluster needs the extra cluster", self.problem(server_type="cluster"))
            on_cluster = [Route("/", fine, executor="cluster")]
            self.assertIn("the executor cluster of fine needs the extra cluster", self.problem(on_cluster))

    def test_schedule_and_retry_without_jobs_are_notes(self) -> None:
        """--no-admin switches jobs off."""
        table = [Route("/a", fine, every=60), Route("/b", fine, retry=Retry(attempts=2)), ("/c", fine)]
        lines, passed = self.check(table, no_admin=True)
        why = "--no-admin switches jobs off"
        expected = [
            f"url_patterns[0] '/a': fine is never called as scheduled: {why}",
            f"url_patterns[1] '/b': retry has no effect on fine: {why}",
        ]
        self.assertEqual((lines[:-1], passed), (expected, True))
        self.assertEqual(len(self.check(table)[0]), 1)

    def test_store_that_cannot_be_used_fails(self) -> None:
        self.assertIn("there is no folder /no", self.problem(store="sqlite:/no/store"))
        self.assertIn("is not a database of SQLite", self.problem(store=f"sqlite:{__file__}"))
        self.assertIn("--store must be memory:, sqlite:PATH", self.problem(store="jobs.db"))
        path = Path(self.mktemp())
        lines, passed = self.check(store=f"sqlite:{path}")
        self.assertTrue(passed)
        self.assertIn("store", lines[-1])
        self.assertFalse(path.exists())

    def test_file_that_another_server_uses_is_a_note(self) -> None:
        """It may be the server that the checked one replaces. Nothing is changed."""
        store = sqlite_store(self)
        server = Server(store).start()
        path = Path(store.partition(":")[2])
        files = sorted(path.parent.iterdir())
        lines, passed = self.check(store=store)
        note = f"another process uses the store {path}: a second server cannot start with it; "
        self.assertEqual((lines[:-1], passed), ([note + "the store is not checked"], True))
        self.assertIn("1 note; checked: patterns, functions, addresses", lines[-1])
        self.assertNotIn("store", lines[-1])
        self.assertEqual(sorted(path.parent.iterdir()), files)
        self.assertTrue(Queue(url=server.url, name="q").put(1))
        server.kill()
        lines, passed = self.check(store=store)
        self.assertEqual((len(lines), passed), (1, True), lines)
        self.assertIn(", store", lines[0])

    def test_url_of_sqlalchemy_is_refused_with_what_to_write(self) -> None:
        both = "for a file in the current folder, or sqlite:/tasks.db for an absolute path"
        for url, advice in (
            ("sqlite:///tasks.db", f"write sqlite:tasks.db {both}"),
            ("sqlite+pysqlite:///tasks.db", f"write sqlite:tasks.db {both}"),
            ("sqlite://tasks.db", f"write sqlite:tasks.db {both}"),
            ("sqlite:////var/tasks.db", "write sqlite:/var/tasks.db"),
            ("sqlite://", "write sqlite:PATH"),
            ("postgresql+psycopg://me@db/x", "did you mean postgresql://me@db/x?"),
        ):
            problem = self.problem(store=url)
            self.assertIn("--store", problem)
            self.assertIn(advice, problem)

    def test_database_that_cannot_be_reached_is_a_problem(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections, and answers nothing
            for port in (1, silent.getsockname()[1]):
                problem = self.problem(store=f"postgresql://postgres@127.0.0.1:{port}/x?connect_timeout=2")
                self.assertIn("problem: the database cannot be used: ", problem)

    @needs_postgresql
    def test_database_is_checked_and_not_changed(self) -> None:
        """No tables are made, and none are migrated."""
        url = shared().database()
        name = url.rpartition("/")[2]
        lines, passed = self.check(store=url)
        self.assertEqual((len(lines), passed), (1, True), lines)
        self.assertIn(", store", lines[0])
        self.assertEqual(shared().ask("SELECT to_regnamespace('tqueue') IS NULL", database=name), "t")
        self.assertIn("does not exist", self.problem(store=f"{url}_missing"))
        self.assertIn(
            "it is read-only", self.problem(store=f"{url}?options=-cdefault_transaction_read_only%3Don")
        )
        shared().ask(
            f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC", "CREATE ROLE guest LOGIN", database=name
        )
        guest = url.replace("postgres@", "guest@")
        self.assertIn("the role guest lacks the privilege TEMPORARY", self.problem(store=guest))
        shared().ask(f"GRANT TEMPORARY ON DATABASE {name} TO guest", database=name)
        self.assertIn("the role guest lacks the privilege CREATE", self.problem(store=guest))
        Server(url).start().kill()
        shared().ask("UPDATE tqueue.meta SET version = 99", database=name)
        self.assertIn("the tables have version 99", self.problem(store=url))

    def test_what_fails_only_when_the_parts_are_put_together_is_a_problem(self) -> None:
        """Worker processes could not import this table."""
        self.assertIn("save the program to a file", self.problem(server_type="forked"))
