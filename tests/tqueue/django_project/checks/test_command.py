"""The command C{manage.py tqueue_work}, as a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.db import connection
from shop.models import Order
from shop.orders import remind_later, state
from shop.tasks import charge, count_orders, remind

from checks import tasks
from checks.support import BackendCase, finished, until

MANAGE = Path(__file__).parent.parent / "manage.py"


class WorkCase(BackendCase):
    def work(self, *options: str, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, MANAGE, "tqueue_work", *options], text=True, env={**os.environ, **environ},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)  # type: ignore[union-attr]
        return process

    def stopped(self, process: subprocess.Popen[str]) -> str:
        """Press Ctrl-C. Return what the process has printed."""
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0, output)
        return output


class CommandTests(WorkCase):
    def test_shop_works(self) -> None:
        """In threads and in processes."""
        for options in (("--threads", "2"), ("--type", "forked")):
            order = Order.objects.create(customer=len(options[0]), amount=7)
            results = [charge.enqueue(order.id), remind.enqueue(3), count_orders.enqueue(order.customer)]
            process = self.work(*options)
            for result in results:
                finished(result)
            self.assertEqual(state(results[0].id)["value"], {"amount": 7})
            self.assertEqual(results[1].return_value, f"{results[1].id}, attempt 1: please pay, customer 3")
            self.assertEqual(results[2].return_value, 1)
            order.refresh_from_db()
            self.assertIs(order.paid, True)
            output = self.stopped(process)
            self.assertIn("3 done, 0 failed, 0 lost", output)
            self.assertIn("of the queues urgent,default at", output)

    def test_shop_reminds_later(self) -> None:
        result_id = asyncio.run(remind_later(3, days=7))
        with self.queue("urgent") as queue:
            (found,) = queue.peek(state="delayed")
        self.assertEqual((f"{found['task_id']}@urgent", found["priority"]), (result_id, 5))
        self.assertAlmostEqual(found["due"] - found["put_at"], 7 * 86400, delta=10)

    def test_time_limit_fails_a_task(self) -> None:
        result = tasks.pauses.enqueue(60)
        process = self.work("--type", "forked", "--time-limit", "2")
        finished(result)
        self.assertEqual((result.attempts, result.errors[0].exception_class), (1, TimeoutError))
        self.stopped(process)

    def test_task_of_a_killed_worker_is_performed_by_another(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            result = tasks.pid.enqueue(folder)
            first = self.work("--lease", "1")
            self.assertEqual(first.wait(30), -signal.SIGKILL)
            second = self.work("--lease", "1")
            finished(result)
            self.assertEqual((result.return_value, result.attempts), (second.pid, 2))
            self.stopped(second)

    def test_mistakes_are_one_line(self) -> None:
        for options, environ, text in (
            (("--backend", "other"), {}, "The connection 'other' doesn't exist."),
            (("--queues", "default,other"), {}, "the queue 'other' is not in QUEUES of TASKS['default']"),
            (("--queues", "default,default"), {}, "a queue is named twice in 'default,default'"),
            ((), {"TQUEUE_URL": "localhost"}, "OPTIONS of TASKS['default']: the url must be like"),
        ):
            with self.subTest(options=options):
                process = self.work(*options, **environ)
                output, _ = process.communicate(timeout=30)
                self.assertEqual(process.returncode, 1, output)
                self.assertEqual(output.count("\n"), 1, output)
                self.assertIn(text, output)

    def test_worker_waits_for_the_server(self) -> None:
        """Until its patience ends."""
        process = self.work("--patience", "0.2", TQUEUE_URL="http://127.0.0.1:1")
        output, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 2, output)
        self.assertNotIn("Traceback", output)
        self.assertIn("http://127.0.0.1:1", output)

    def test_idle_worker_has_no_connection(self) -> None:
        """Without C{CONN_MAX_AGE}."""
        if connection.vendor != "postgresql":
            self.skipTest("SQLite has no list of connections")
        process = self.work()
        result: Any = finished(tasks.database_pid.enqueue())
        until(lambda: not _lives(result.return_value))
        self.stopped(process)

    def test_broken_connection_is_replaced(self) -> None:
        """A task finds a new connection after the database has closed the connection of its thread."""
        if connection.vendor != "postgresql":
            self.skipTest("SQLite has no server that closes connections")
        databases = json.loads(os.environ["DATABASES"])
        databases["default"] |= {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True}
        process = self.work(DATABASES=json.dumps(databases))
        first: Any = finished(tasks.database_pid.enqueue())
        self.assertTrue(_lives(first.return_value))
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [first.return_value])
        until(lambda: not _lives(first.return_value))
        second = finished(tasks.database_pid.enqueue())
        self.assertNotEqual(first.return_value, second.return_value)
        self.stopped(process)


def _lives(pid: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid])
        return cursor.fetchone() is not None
