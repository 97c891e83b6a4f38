"""Clients and workers report how far a task has come."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from tests.support import task_functions
from tests.support.queue_server import wait_for
from tests.support.slow import slow
from tests.tqueue.test_forked_worker import ForkedCase
from tests.tqueue.test_worker import WorkerCase
from twisted_appserver.tqueue import report_progress
from twisted_appserver.tqueue.client import Queue, ServerError
from twisted_appserver.tqueue.client.leases import BLOCK, LeasedTask, LeasedTasks
from twisted_appserver.tqueue.client.reported_progress import ReportedProgress, checked_progress


class ReportTests(SynchronousTestCase):
    """Pure."""

    def test_wrong_values_are_refused(self) -> None:
        for value, kind in (("x" * 999, ValueError), (math.nan, ValueError), (object(), TypeError)):
            self.assertRaises(kind, checked_progress, value)
        self.assertEqual(checked_progress("x" * 998), "x" * 998)

    def test_report_during_a_request_is_sent_with_the_next_one(self) -> None:
        progress = ReportedProgress()
        self.assertFalse(progress.unsent)
        progress.report(0.1)
        number = progress.begin_sending()
        progress.report(0.2)
        progress.was_sent(number)
        self.assertTrue(progress.unsent)
        progress.was_sent(progress.begin_sending())
        self.assertFalse(progress.unsent)

    def test_report_is_due_before_the_lease_needs_a_renewal(self) -> None:
        tasks = LeasedTasks(60.0, lambda: 0.0)
        task = LeasedTask("1-f", 2, BLOCK, 60.0)
        tasks.add(task)
        self.assertEqual(([*tasks.due()], task.renewal), ([], ("1-f", 2)))
        task.progress.report(0.5)
        self.assertEqual(([*tasks.due()], task.renewal), ([[task]], ("1-f", 2, 0.5)))
        task.progress.was_sent(task.progress.begin_sending())
        self.assertEqual(([*tasks.due()], task.renewal), ([], ("1-f", 2)))

    def test_report_needs_a_task(self) -> None:
        self.assertRaisesRegex(RuntimeError, "no worker performs a task", report_progress, 0.5)
        block = Queue(0, "http://127.0.0.1:1", "q").task()
        self.assertRaisesRegex(RuntimeError, "has not begun", block.report_progress, 0.5)


class BlockTests(WorkerCase):
    def test_progress_of_a_block_is_shown_until_its_end(self) -> None:
        """It is sent before the lease needs a renewal."""
        self.queue = Queue(0, self.server.url, "short", lease=1.2, patience=5)
        self.addCleanup(self.queue._pool.close)
        task_id = self.queue.put("y")
        task = self.queue.task()
        with task:
            for value in (0.25, "3 of 4", {"done": 4}):
                task.report_progress(value)
                wait_for(lambda value=value: self.queue.show(task_id).get("progress") == value)
            (shown,) = self.queue.peek(1, "leased")
            self.assertEqual(shown["progress"], {"done": 4})
        self.assertNotIn("progress", self.queue.show(task_id))

    def test_function_of_a_worker_reports(self) -> None:
        worker = self.worker(Queue(0, self.server.url, "q", lease=1.2), task_functions.act)
        task_id = self.queue.put({"do": "report", "value": 0.5, "seconds": 1.0})
        worker.start()
        wait_for(lambda: self.queue.show(task_id).get("progress") == 0.5)
        worker.stop()
        wait_for(lambda: not worker.alive)

    def test_too_long_progress_is_refused_by_the_server(self) -> None:
        task_id = self.queue.put("x")
        self.queue.get_task()
        error = self.assertRaises(ServerError, self.queue.renew, [(task_id, 1, "x" * 1001)])
        self.assertIn("at most 1000 bytes", str(error))


class ForkedTests(ForkedCase):
    @slow
    def test_function_in_a_process_reports(self) -> None:
        self.queue.config(lease=1.2)
        worker, (task_id,) = self.begin({"do": "report", "value": "half", "seconds": 2.0})
        worker.queues[0]._session.tasks.lease = 1.2
        wait_for(lambda: self.queue.show(task_id).get("progress") == "half")
