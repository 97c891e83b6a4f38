"""A worker performs tasks, in this process."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection
from django.tasks import TaskResultStatus, task_backends
from django.tasks.signals import task_finished, task_started
from django.utils import timezone

from checks import tasks
from checks.support import BackendCase, finished, until, with_options
from twisted_appserver.tqueue.django import Backend

RETRY = {"attempts": 3, "first": 0.05, "jitter": 0}
LOST = "twisted_appserver.tqueue.client.errors.LeaseLost"


class ResultTests(BackendCase):
    def test_return_value_is_the_result(self) -> None:
        with self.working():
            for task, args, expected in (
                (tasks.note, (1,), None),
                (tasks.note_later, (1, "ä"), [1, "ä"]),
                (tasks.returned, ({"$type": ["tuple", []]},), {"$type": ["tuple", []]}),
                (tasks.returned, ([1.5, True, None],), [1.5, True, None]),
            ):
                with self.subTest(task=task.name, args=args):
                    result = finished(task.enqueue(*args))
                    self.assertEqual(result.status, TaskResultStatus.SUCCESSFUL)
                    self.assertEqual((result.return_value, result.args), (expected, [*args]))
                    self.assertEqual((result.attempts, result.errors, result.task), (1, [], task))
                    self.assertLessEqual(result.enqueued_at, result.started_at)
                    self.assertLessEqual(result.started_at, result.finished_at)
                    self.assertEqual(result.started_at, result.last_attempted_at)
                    self.assertEqual(task.get_result(result.id), result)
        self.assertEqual(tasks.ran, [[1], [1, "ä"]])

    def test_failed_task_has_the_exception_and_its_traceback(self) -> None:
        """It is tried once."""
        with self.working():
            for task, kind, text in (
                (tasks.fails, ValueError, "ValueError: no color\n"),
                (tasks.exits, SystemExit, "SystemExit: enough\n"),
                (tasks.returns_an_object, TypeError, "TypeError: Unsupported type: <class 'object'>\n"),
            ):
                with self.subTest(task=task.name):
                    result = finished(task.enqueue())
                    self.assertEqual((result.status, result.attempts), (TaskResultStatus.FAILED, 1))
                    with self.assertRaisesRegex(ValueError, "Task failed"):
                        result.return_value  # noqa: B018
                    (error,) = result.errors
                    self.assertIs(error.exception_class, kind)
                    self.assertEqual(error.traceback[-len(text) :], text)
                    self.assertLessEqual(result.started_at, result.finished_at)
                    self.assertEqual(task.get_result(result.id), result)

    def test_traceback_begins_with_the_function(self) -> None:
        (error,) = self.perform(tasks.fails.enqueue()).errors
        first, second = error.traceback.splitlines()[:2]
        self.assertEqual(first, "Traceback (most recent call last):")
        self.assertIn("checks/tasks.py", second)

    def test_context_has_the_id_and_the_attempt(self) -> None:
        result = self.perform(tasks.fails_until.enqueue(1))
        self.assertEqual(result.return_value, [1, 0, 1, result.id])

    def test_task_that_does_not_exist_has_failed(self) -> None:
        """The same applies to a function that is no task."""
        for path, text in (
            ("checks.tasks.missing", "ImportError"),
            ("checks.tasks.undecorated", "checks.tasks.undecorated is not a task"),
        ):
            item = {"task": path, "args": [], "kwargs": {}, "backend": "default", "priority": 0}
            with self.queue() as queue, self.working():
                task_id = queue.put({**item, "run_after": None, "enqueued_at": "2026-01-01T00:00:00+00:00"})
                until(lambda queue=queue, task_id=task_id: queue.show(task_id)["state"] == "buried")
                self.assertIn(text, queue.show(task_id)["error"])
        self.assertEqual(tasks.ran, [])

    def test_signals_frame_the_call(self) -> None:
        seen: list[Any] = []

        def receive(sender: Any, task_result: Any, signal: Any, **_: Any) -> None:
            name = "started" if signal is task_started else "finished"
            seen.append((name, sender, task_result.id, task_result.status, len(task_result.errors)))
            raise ZeroDivisionError("an error in a receiver does not affect the task")

        for signal in (task_started, task_finished):
            signal.connect(receive)
            self.addCleanup(signal.disconnect, receive)
        results = self.perform(tasks.note.enqueue()), self.perform(tasks.fails.enqueue())
        expected = []
        for result, errors in zip(results, (0, 1), strict=True):
            expected.append(("started", Backend, result.id, TaskResultStatus.RUNNING, 0))
            expected.append(("finished", Backend, result.id, result.status, errors))
        self.assertEqual(seen, expected)
        self.assertEqual(results[0].status, TaskResultStatus.SUCCESSFUL)


class OrderTests(BackendCase):
    def test_highest_priority_comes_first(self) -> None:
        """Among tasks of the same priority, the order is the order of their arrival."""
        for number, priority in enumerate((0, -100, 5, 100, 5)):
            last = tasks.note.using(priority=priority).enqueue(number)
        with self.working():
            finished(last)
            until(lambda: len(tasks.ran) == 5)
        self.assertEqual(tasks.ran, [[3], [2], [4], [0], [1]])

    def test_queues_come_in_the_order_of_the_setting(self) -> None:
        for number in range(3):
            tasks.note.enqueue(number)
            tasks.note.using(queue_name="urgent").enqueue(number + 10)
        with self.working():
            until(lambda: len(tasks.ran) == 6)
        self.assertEqual(tasks.ran, [[10], [11], [12], [0], [1], [2]])

    def test_task_runs_not_before_its_time(self) -> None:
        moment = timezone.now() + timedelta(seconds=1)
        late = tasks.note.using(run_after=moment).enqueue("late")
        past = tasks.note.using(run_after=timezone.now() - timedelta(days=1)).enqueue("past")
        with self.working():
            finished(past)
            self.assertEqual(finished(late).status, TaskResultStatus.SUCCESSFUL)
        self.assertEqual(tasks.ran, [["past"], ["late"]])
        self.assertGreaterEqual(late.started_at, moment - timedelta(seconds=0.01))


class RetryTests(BackendCase):
    def test_failed_task_is_tried_again(self) -> None:
        """The attempts and their errors are recorded."""
        seen: list[Any] = []

        def receive(task_result: Any, **_: Any) -> None:
            seen.append((task_result.status, task_result.attempts))

        task_finished.connect(receive)
        self.addCleanup(task_finished.disconnect, receive)
        with with_options(retry=RETRY):
            result = self.perform(tasks.fails_until.enqueue(3))
            self.assertEqual(result.return_value, [3, 2, 3, result.id])
            self.assertEqual((result.attempts, len(set(result.worker_ids))), (3, 1))
            texts = [each.traceback.splitlines()[-1] for each in result.errors]
            self.assertEqual(texts, ["KeyError: 'attempt 1'", "KeyError: 'attempt 2'"])
            self.assertLess(result.started_at, result.last_attempted_at)
            failed = self.perform(tasks.fails_until.enqueue(4))
            self.assertEqual((failed.status, failed.attempts), (TaskResultStatus.FAILED, 3))
            self.assertEqual([each.exception_class for each in failed.errors], [KeyError] * 3)
            self.kick(failed)
            self.perform(failed)
        self.assertEqual((failed.status, failed.attempts), (TaskResultStatus.SUCCESSFUL, 4))
        self.assertEqual(
            seen,
            [
                (TaskResultStatus.SUCCESSFUL, 3),
                (TaskResultStatus.FAILED, 3),
                (TaskResultStatus.SUCCESSFUL, 4),
            ],
        )

    def kick(self, result: Any) -> None:
        with self.queue() as queue:
            self.assertTrue(queue.kick_task(result.id.partition("@")[0]))
        result.refresh()
        self.assertEqual((result.status, result.attempts), (TaskResultStatus.READY, 3))

    def test_task_that_fails_after_a_kick_is_not_tried_again(self) -> None:
        with with_options(retry={**RETRY, "attempts": 1}):
            result = self.perform(tasks.fails.enqueue())
            with self.queue() as queue:
                queue.kick_task(result.id.partition("@")[0])
                self.perform(result)
        self.assertEqual((result.status, result.attempts), (TaskResultStatus.FAILED, 2))

    def test_exceptions_decide(self) -> None:
        """C{RetryLater} needs no option; C{GiveUp} prevails over the option."""
        later = tasks.puts_off.enqueue(1000)
        with self.working():
            until(lambda: tasks.puts_off.get_result(later.id).errors)
        later.refresh()
        self.assertEqual((later.status, later.attempts), (TaskResultStatus.READY, 1))
        with with_options(retry=RETRY):
            result = self.perform(tasks.gives_up.enqueue())
        self.assertEqual((result.status, result.attempts), (TaskResultStatus.FAILED, 1))
        self.assertEqual(result.errors[0].exception_class_path, "twisted_appserver.errors.GiveUp")

    def test_lease_that_ran_out_is_an_error_and_another_attempt(self) -> None:
        result = tasks.returned.enqueue(1)
        with self.queue() as queue:
            queue.get_task(timeout=5, lease=0.1)
        self.perform(result)
        self.assertEqual((result.status, result.attempts), (TaskResultStatus.SUCCESSFUL, 2))
        (error,) = result.errors
        self.assertEqual(error.exception_class_path, LOST)
        self.assertEqual(error.exception_class.__name__, "LeaseLost")


class ConnectionTests(BackendCase):
    def test_old_connections_are_closed_around_each_task(self) -> None:
        """With C{CONN_MAX_AGE} 0, no task finds the connection of the task before."""
        with self.working():
            for _ in range(3):
                self.assertIs(finished(tasks.begins_without_connection.enqueue()).return_value, True)

    def set_age(self, seconds: float) -> None:
        database = connection.settings_dict
        self.addCleanup(database.__setitem__, "CONN_MAX_AGE", database["CONN_MAX_AGE"])
        database["CONN_MAX_AGE"] = seconds

    def test_connection_is_kept_for_its_age(self) -> None:
        self.set_age(60)
        with self.working():
            found = [finished(tasks.begins_without_connection.enqueue()).return_value for _ in range(3)]
        self.assertEqual(found, [True, False, False])

    def test_connection_that_became_too_old_while_the_worker_was_idle_is_closed(self) -> None:
        self.set_age(0.5)
        later = tasks.begins_without_connection.using(run_after=timezone.now() + timedelta(seconds=2))
        with self.working():
            found = [
                finished(each.enqueue()).return_value for each in (tasks.begins_without_connection, later)
            ]
        self.assertEqual(found, [True, True])


class KeepTests(BackendCase):
    def test_options_of_the_queue_are_set(self) -> None:
        """The backend needs priorities and kept results; other options stay."""
        with self.queue() as queue:
            queue.config(maxsize=1000, kind="fifo")
            self.perform(tasks.note.enqueue())
            found = queue.config()
            self.assertEqual((found["kind"], found["keep"], found["maxsize"]), ("priority", 86400, 1000))

    def test_seconds_of_the_queue_are_kept_unless_the_option_is_set(self) -> None:
        with self.queue() as queue:
            queue.config(keep=7)
            self.perform(tasks.note.enqueue())
            self.assertEqual(queue.config()["keep"], 7)
            with with_options(keep=9):
                self.assertEqual(task_backends["default"].read.keep, 9)
                self.perform(tasks.note.enqueue())
            self.assertEqual(queue.config()["keep"], 9)
