"""
A project of Django 6 enqueues tasks and reads their results through C{django.tasks}.

Settings of Django are global. So the checks of the project, in C{django_project/checks}, run in a process of
their own for each kind of store, against a real TQueueSrv.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests.support.files import sqlite_store
from tests.support.forks import ROOT
from tests.support.postgres import needs_postgresql, shared
from tests.support.queue_server import Server
from tests.support.slow import slow

PROJECT = os.path.join(ROOT, "tests", "tqueue", "django_project")
CHECKS = [f"checks.test_{name}" for name in ("options", "enqueue", "perform", "transactions", "command")]
# Connections stay open until the process ends.
WARNINGS = ("-W", "error", "-W", "ignore::ResourceWarning")
LITE = {"ENGINE": "django.db.backends.sqlite3"}
TOO_OLD = "Django 6 needs Python 3.12"
TABLE = """
import django; django.setup()
from django.db import connection
from shop.models import Order
with connection.schema_editor() as editor:
    editor.create_model(Order)
"""


@slow
class StoreTests(SynchronousTestCase):
    timeout = 300
    if sys.version_info < (3, 12):
        skip = TOO_OLD

    def check(self, store: str, database: dict[str, Any]) -> str:
        """
        Run the checks of the project with a store of TQueueSrv and a database of Django.

        @return: the last line that they print.
        """
        server = Server(store).start()
        self.addCleanup(server.kill)
        environ = {
            **os.environ,
            "DATABASES": json.dumps({"default": database, "lite": {**LITE, "NAME": ":memory:"}}),
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "PYTHONPATH": os.pathsep.join((PROJECT, ROOT)),
            "TQUEUE_URL": server.url,
        }
        for words in (["-c", TABLE], [*WARNINGS, "-m", "unittest", *CHECKS]):
            done = subprocess.run(
                [sys.executable, *words], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, timeout=240,
            )  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout.splitlines()[-1]

    def check_on_sqlite(self, store: str) -> None:
        """Only the checks of PostgreSQL are skipped."""
        found = self.check(store, {**LITE, "NAME": sqlite_store(self).removeprefix("sqlite:")})
        self.assertEqual(found, "OK (skipped=7)")

    def test_memory(self) -> None:
        self.check_on_sqlite("memory:")

    def test_sqlite(self) -> None:
        self.check_on_sqlite(sqlite_store(self))

    @needs_postgresql
    def test_postgresql_in_the_transactions_of_the_project(self) -> None:
        url = shared().database()
        database = {"NAME": url.rpartition("/")[2], "USER": "postgres", "HOST": "127.0.0.1"}
        database |= {"ENGINE": "django.db.backends.postgresql", "PORT": str(shared().port)}
        self.assertEqual(self.check(url, database), "OK")


class DocsTests(SynchronousTestCase):
    def test_page_shows_the_project(self) -> None:
        """Its settings, its tasks, and how they are enqueued."""
        with open(os.path.join(ROOT, "docs", "queues", "django-tasks.md")) as file:
            blocks = re.findall(r"```py\n(.*?)```", file.read(), re.DOTALL)
        for place, name in enumerate(("project/settings.py", "shop/tasks.py", "shop/orders.py")):
            with open(os.path.join(PROJECT, name)) as file:
                self.assertIn(blocks[place], file.read(), name)
        self.assertEqual(len(blocks), 5)


class VersionTests(SynchronousTestCase):
    def test_older_django_is_refused_with_one_line(self) -> None:
        from twisted_appserver.tqueue import django
        from twisted_appserver.tqueue.django import version

        with patch.dict(sys.modules, django=SimpleNamespace(VERSION=(5, 2, 9), __version__="5.2.9")):
            error = self.assertRaises(ImportError, version.require_django)
            self.assertRaises(ImportError, getattr, django, "Backend")
        self.assertEqual(str(error), "twisted_appserver.tqueue.django needs Django 6 or later, not 5.2.9")
