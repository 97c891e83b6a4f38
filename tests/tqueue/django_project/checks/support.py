"""What the checks share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import TestCase

import django
from django.apps import apps

if not apps.ready:
    django.setup()

from django.conf import settings
from django.db import connection
from django.tasks import task_backends
from django.test import override_settings

from checks import tasks
from twisted_appserver.tqueue import Worker
from twisted_appserver.tqueue.client import Queue
from twisted_appserver.tqueue.django import perform
from twisted_appserver.tqueue.django.queues import prepared_queue

URL = os.environ["TQUEUE_URL"]
ON_POSTGRESQL = connection.vendor == "postgresql"
WAIT = 30.0  # seconds


def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {WAIT} seconds")
        time.sleep(0.01)


def finished(result: Any) -> Any:
    """Wait until a task has ended. Return its result."""

    def is_finished() -> bool:
        result.refresh()
        return bool(result.is_finished)

    until(is_finished)
    return result


def with_options(**options: Any) -> Any:
    """Change options of the backend, for the length of a block."""
    chosen = settings.TASKS["default"]
    options = {**chosen["OPTIONS"], **options}
    return override_settings(TASKS={"default": {**chosen, "OPTIONS": options}})


class BackendCase(TestCase):
    """Begins with queues that are new on the server."""

    def setUp(self) -> None:
        for name in ("urgent", "default"):
            with self.queue(name) as queue:
                queue.delete()
        prepared_queue.cache_clear()
        tasks.ran.clear()

    @contextmanager
    def queue(self, name: str = "default") -> Iterator[Queue]:
        queue = Queue(0, URL, name)
        try:
            yield queue
        finally:
            queue.close()

    @contextmanager
    def working(self, threads: int = 1, queues: str = "urgent,default") -> Iterator[Worker]:
        """Perform tasks in this process, as C{manage.py tqueue_work} does."""
        backend = task_backends["default"]
        for name in queues.split(","):
            prepared_queue(backend.read, name)
        delay = False if backend.read.retry is None else None
        worker = Worker(queues, perform, threads, url=URL, delay=delay, report=lambda text: None)
        worker.start()
        try:
            yield worker
        finally:
            worker.stop()
            until(lambda: not worker.alive)
            worker.close()

    def perform(self, result: Any) -> Any:
        """Perform tasks until one has ended. Return its result."""
        with self.working():
            return finished(result)
