"""CPython's own tests of C{queue} with every installed interpreter, against our client over HTTP.

All of them take ten minutes, and run only if TQUEUE_ALL is set. Otherwise two groups are left out: the tests
of the C variant, which are the same for our client, and on SQLite those that put 65,536 tasks.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql, shared
from tests.support.queue_server import ROOT, Server
from tests.support.slow import slow

FOLDER = os.path.join(ROOT, "twisted_appserver", "tqueue")


def interpreters() -> dict[str, str]:
    """Return the paths of interpreters that have CPython's tests, by version, from 3.11 on."""
    places = [sys.executable, *glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python3"))]
    places += [path for minor in range(11, 20) if (path := shutil.which(f"python3.{minor}"))]
    question = "import sys, test.test_queue; print('%d.%d' % sys.version_info[:2])"
    found: dict[str, str] = {}
    for place in places:
        answer = subprocess.run([place, "-c", question], capture_output=True, text=True)
        version = answer.stdout.strip()
        if answer.returncode == 0 and tuple(map(int, version.split("."))) >= (3, 11):
            found.setdefault(version, place)
    return found


class CPythonTests(SynchronousTestCase):
    def run_all(self, store: str, *without: str) -> None:
        without = () if "TQUEUE_ALL" in os.environ else without
        server = Server(store).start()
        self.addCleanup(server.kill)
        for version, interpreter in interpreters().items():
            finished = subprocess.run(
                [
                    interpreter,
                    os.path.join(ROOT, "tests/support/cpython_queue_tests.py"),
                    FOLDER,
                    server.url,
                    *without,
                ],
                capture_output=True,
                text=True,
                timeout=900,
            )
            self.assertEqual(finished.returncode, 0, f"{version}:\n{finished.stderr[-5000:]}")

    @slow
    def test_cpythons_tests_pass_in_memory(self) -> None:
        self.run_all(
            "memory:", "CQueue", "CLifo", "CPriority", "LifoQueueTest.test_shutdown_all_methods_in_many"
        )

    @slow
    def test_cpythons_tests_pass_on_sqlite(self) -> None:
        store = sqlite_store(self)
        self.run_all(store, "CQueue", "CLifo", "CPriority", "many_threads")

    @slow
    @needs_postgresql
    def test_cpythons_tests_pass_on_postgresql(self) -> None:
        self.run_all(shared().database(), "CQueue", "CLifo", "CPriority", "many_threads")
