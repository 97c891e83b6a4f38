"""
The backends that Django's own tests use, see L{djangos_tests}. This module needs Django 6.

It does not import Twisted, which changes how class methods are pickled, and with them tasks of Django.
"""

from __future__ import annotations

import os
import time
import unittest
from collections.abc import Callable
from typing import Any

import django

from twisted_appserver.tqueue import Worker
from twisted_appserver.tqueue.client import Queue
from twisted_appserver.tqueue.django.backend import Backend

MODULES = ("immediate_backend", "dummy_backend", "tasks", "custom_backend")
# Tests that must fail with any backend that stores tasks, and why.
EXPECTED = {
    "test_cannot_get_result": "results can be read",
    "test_cannot_refresh_result": "results can be read",
    "test_cannot_pass_run_after": "tasks can be delayed",
    "test_throws_keyboard_interrupt": "an exception ends in the worker, not in the caller",
    "test_refresh_result": "the test changes an object in memory that the dummy backend returns again",
    "test_refresh_result_async": "the same",
}


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("not within 20 seconds")
        time.sleep(0.01)


class WaitingBackend(Backend):
    """
    Enqueues tasks that nothing performs.

    @ivar results: of these tasks.
    """

    results: list[Any] = []

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        result = super().enqueue(task, args, kwargs)
        self.results.append(result)
        return result

    def clear(self) -> None:
        """Forget all tasks."""
        queue = Queue(0, os.environ["TQUEUE_URL"], "default")
        queue.delete()
        queue.close()
        self.results.clear()


class PerformingBackend(Backend):
    """Performs each task before C{enqueue} returns."""

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        from twisted_appserver.tqueue.django import perform

        result = super().enqueue(task, args, kwargs)
        url = os.environ["TQUEUE_URL"]
        worker = Worker(result.task.queue_name, perform, url=url, delay=False, report=lambda text: None)
        worker.start()

        def is_finished() -> bool:
            result.refresh()
            return bool(result.is_finished)

        wait_for(is_finished)
        worker.stop()
        wait_for(lambda: not worker.alive)
        worker.close()
        return result


def run_tests() -> int:
    """Run the tests in this process. Return its exit status."""
    django.setup()
    suite = unittest.defaultTestLoader.loadTestsFromNames([f"tasks.test_{each}" for each in MODULES])
    result = unittest.TextTestRunner(warnings="ignore").run(suite)
    failed: set[str] = {each._testMethodName for each, _ in (*result.failures, *result.errors)}  # type: ignore[attr-defined]
    wrong = sorted(failed ^ EXPECTED.keys())
    print(f"{result.testsRun} tests; not as expected: {', '.join(wrong) or 'none'}")
    return 1 if wrong else 0
