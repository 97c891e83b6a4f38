"""Tasks are enqueued, and their results read, before a worker performs them."""

from __future__ import annotations

import asyncio
import pickle
from datetime import datetime, timedelta
from typing import Any

from django.tasks import TaskResultStatus, default_task_backend, task_backends
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist, TaskResultMismatch
from django.tasks.signals import task_enqueued
from django.test import override_settings
from django.utils import timezone

from checks import tasks
from checks.support import BackendCase, with_options
from twisted_appserver.tqueue.django import Backend
from twisted_appserver.tqueue.django.options import LONGEST_NAME


class EnqueueTests(BackendCase):
    def test_settings_name_the_backend(self) -> None:
        backend = task_backends["default"]
        self.assertIs(type(backend), Backend)
        self.assertEqual(backend.names, ["urgent", "default"])
        self.assertEqual(list(default_task_backend.check()), [])
        for feature in ("defer", "async_task", "get_result", "priority"):
            self.assertIs(getattr(backend, f"supports_{feature}"), True)

    def test_enqueued_task_is_ready(self) -> None:
        for task in (tasks.note, tasks.note_later):
            result = task.using(priority=5).enqueue(1, two=[None, {"ä": 1.5}])
            self.assertEqual(result.status, TaskResultStatus.READY)
            self.assertEqual((result.args, result.kwargs), ([1], {"two": [None, {"ä": 1.5}]}))
            self.assertEqual((result.attempts, result.errors, result.is_finished), (0, [], False))
            self.assertEqual((result.started_at, result.last_attempted_at, result.finished_at), (None,) * 3)
            self.assertLessEqual(abs(result.enqueued_at - timezone.now()), timedelta(seconds=30))
            self.assertLess(len(result.id), 64)
            with self.assertRaisesRegex(ValueError, "Task has not finished yet"):
                result.return_value  # noqa: B018
            self.assertEqual(task.get_result(result.id), result)
            self.assertEqual(default_task_backend.get_result(result.id), result)
            self.assertEqual(pickle.loads(pickle.dumps(result)), result)

    def test_coroutines_enqueue_and_read_results(self) -> None:
        async def check() -> None:
            result = await tasks.note.aenqueue(1)
            self.assertEqual(await tasks.note.aget_result(result.id), result)
            await result.arefresh()
            self.assertEqual(result.status, TaskResultStatus.READY)
            for wrong in ("123", "1-23@default"):
                with self.assertRaises(TaskResultDoesNotExist):
                    await tasks.note.aget_result(wrong)

        asyncio.run(check())

    def test_id_that_belongs_to_no_task_of_the_queues_is_unknown(self) -> None:
        """This includes tasks of other queues of the server, and tasks of other programs."""
        with self.queue("other") as queue:
            known = queue.put({"any": "task"})
        with self.queue() as queue:
            foreign = queue.put({"any": "task"})
        wrong = ["", "123", "@", "1-2@default", "x@default", "x@", f"x@{'a' * 300}", "x@a/b"]
        for each in [*wrong, f"{known}@other", f"{known}@default", f"{foreign}@default", 123]:
            with self.subTest(id=each), self.assertRaises(TaskResultDoesNotExist):
                default_task_backend.get_result(each)

    def test_result_of_another_task_is_a_mismatch(self) -> None:
        result = tasks.note.enqueue()
        with self.assertRaises(TaskResultMismatch):
            tasks.fails.get_result(result.id)

    def test_dropped_task_is_unknown(self) -> None:
        result = tasks.note.enqueue()
        with self.queue() as queue:
            queue.drop(result.id.partition("@")[0])
        with self.assertRaises(TaskResultDoesNotExist):
            result.refresh()

    def test_signal_has_the_result(self) -> None:
        seen: list[Any] = []

        def receive(sender: Any, task_result: Any, **_: Any) -> None:
            seen.append((sender, task_result))

        task_enqueued.connect(receive)
        self.addCleanup(task_enqueued.disconnect, receive)
        result = tasks.note.enqueue()
        self.assertEqual(seen, [(Backend, result)])

    def test_priority_and_time_are_kept(self) -> None:
        moment = timezone.now() + timedelta(hours=1)
        task = tasks.note.using(priority=-7, queue_name="urgent", run_after=moment)
        result = task.enqueue()
        self.assertEqual(result.task, task)
        self.assertEqual(tasks.note.get_result(result.id), result)
        with self.queue("urgent") as queue:
            (found,) = queue.peek(state="delayed")
        self.assertEqual(found["priority"], 7)
        self.assertAlmostEqual(found["due"], moment.timestamp(), delta=10)

    def test_values_that_look_like_tagged_ones_arrive_as_they_are(self) -> None:
        value = {"$type": ["tuple", [1, 2]], "x": float("inf")}
        result = tasks.returned.enqueue(value)
        self.assertEqual(tasks.returned.get_result(result.id).args, [value])


class RefusedTests(BackendCase):
    def test_arguments_that_are_not_json_are_refused(self) -> None:
        for value, error, text in (
            (object(), TypeError, "Unsupported type: <class 'object'>"),
            ({1, 2}, TypeError, "Unsupported type: <class 'set'>"),
            (b"\xff", ValueError, "Unsupported value: <class 'bytes'>"),
            ("\ud800", TypeError, "surrogates not allowed"),
        ):
            with self.subTest(value=value):
                with self.assertRaises(error) as raised:
                    tasks.note.enqueue(value)
                found = str(raised.exception)
                self.assertTrue(found.startswith("the arguments of checks.tasks.note must be JSON: "), found)
                self.assertIn(text, found)
                self.assertNotIn("\n", found)

    def test_task_that_cannot_be_performed_is_refused(self) -> None:
        for options, text in (
            ({"queue_name": "other"}, "Queue 'other' is not valid for backend"),
            ({"priority": 101}, "priority must be a whole number"),
            ({"priority": 1.5}, "priority must be a whole number"),
            ({"run_after": datetime.now()}, "run_after must be an aware datetime"),
            (
                {"run_after": timezone.now() + timedelta(days=372)},
                "run_after must be at most 371 days from now",
            ),
        ):
            with self.subTest(options=options), self.assertRaisesRegex(InvalidTask, text):
                tasks.note.using(**options)

    def test_task_is_checked_again_when_it_is_enqueued(self) -> None:
        task = tasks.note.using(queue_name="urgent")
        with (
            override_settings(TASKS={"default": {"BACKEND": "twisted_appserver.tqueue.django.Backend",
                                                 "OPTIONS": {"url": "http://localhost:1"}}}),
            self.assertRaisesRegex(InvalidTask, "Queue 'urgent' is not valid for backend"),
        ):  # fmt: skip
            task.enqueue()

    def test_any_queue_is_allowed_without_names(self) -> None:
        chosen = {"BACKEND": "twisted_appserver.tqueue.django.Backend", "QUEUES": []}
        longest = "q" * LONGEST_NAME
        with override_settings(TASKS={"default": {**chosen, "OPTIONS": default_task_backend.options}}):
            result = tasks.note.using(queue_name=longest).enqueue()
            self.assertEqual(tasks.note.get_result(result.id), result)
            self.assertLess(len(result.id), 64)
            with self.assertRaisesRegex(InvalidTask, "the name of a queue must have at most 36 characters"):
                tasks.note.using(queue_name=f"{longest}q")

    def test_server_that_cannot_be_reached_is_an_error_within_the_patience(self) -> None:
        with with_options(url="http://127.0.0.1:1", patience=0.01), self.assertRaises(OSError):
            tasks.note.get_result("1-6f1ed002ab559585@default")

    def test_times_without_zones_work(self) -> None:
        """That is C{USE_TZ = False}."""
        with override_settings(USE_TZ=False):
            moment = datetime.now() + timedelta(hours=1)
            result = tasks.note.using(run_after=moment).enqueue()
            self.assertEqual(tasks.note.get_result(result.id), result)
            self.assertEqual(result.task.run_after, moment)
            with self.queue() as queue:
                (found,) = queue.peek(state="delayed")
            self.assertAlmostEqual(found["due"], moment.timestamp(), delta=10)
            done = self.perform(tasks.returned.enqueue(1))
            self.assertLessEqual(abs(done.finished_at - datetime.now()), timedelta(seconds=30))
