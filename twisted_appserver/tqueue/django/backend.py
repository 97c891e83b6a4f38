"""The backend that C{TASKS} names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import ProgrammingError, connections
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import TaskResult
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from django.tasks.signals import task_enqueued
from django.utils import timezone

from twisted_appserver.errors import LATEST

from ..client.errors import ServerError
from ..client.items import to_task
from ..transactions import put
from .options import checked_queue, read_backend_options, read_queue_names
from .queues import open_queue, prepared_queue
from .results import item_in, make_item, make_result, task_of

MISSING = ("3F000", "42883")  # SQLSTATE: no such schema, no such function


class Backend(BaseTaskBackend):  # type: ignore[misc]
    """
    Enqueues tasks of Django in a TQueueSrv.

    @ivar read: C{OPTIONS}, checked.
    @ivar names: C{QUEUES}, in their order; empty if all queues are allowed.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self.read = read_backend_options(alias, self.options)
        self.names = read_queue_names(alias, params.get("QUEUES", self.queues))

    def validate_task(self, task: Any) -> None:
        """
        Check that the backend can perform a task.

        @raise InvalidTask: when it cannot.
        """
        super().validate_task(task)
        try:
            checked_queue(task.queue_name)
        except ValueError as error:
            raise InvalidTask(str(error)) from None
        if task.run_after is not None and _seconds_until(task.run_after) > LATEST:
            raise InvalidTask(
                f"run_after must be at most {LATEST / 86400:.0f} days from now, not {task.run_after}"
            )

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> TaskResult:
        """
        Put a task into its queue, in the current transaction if the option C{database} is set.

        @raise TypeError: when an argument is not JSON.
        @raise InvalidTask: when the task cannot be performed.
        @raise OSError: when the server cannot be reached for longer than the option C{patience}.
        """
        self.validate_task(task)
        item = make_item(task, args, kwargs, timezone.now())
        try:
            result = make_result("", task, item, {"state": "ready"})
            item |= {"args": result.args, "kwargs": result.kwargs}
            fields = json.loads(to_task(item))
        except (TypeError, ValueError) as error:
            raise type(error)(f"the arguments of {task.module_path} must be JSON: {error}") from None
        terms: dict[str, Any] = {
            "priority": float(-task.priority),
            "delay": _seconds_until(task.run_after) if task.run_after else 0.0,
            "retry": self.read.retry,
        }
        if self.read.database is None:
            task_id = prepared_queue(self.read, task.queue_name).put_task(fields, **terms)["task_id"]
        else:
            task_id = self._put_in_transaction(self.read.database, task.queue_name, item, terms)
        object.__setattr__(result, "id", f"{task_id}@{task.queue_name}")
        task_enqueued.send(type(self), task_result=result)
        return result

    def _put_in_transaction(self, database: str, queue: str, item: Any, terms: Any) -> str:
        try:
            return put(connections[database], queue, item, **terms)
        except ProgrammingError as error:
            if getattr(error.__cause__, "sqlstate", "") not in MISSING:
                raise
            raise ImproperlyConfigured(
                f"the database {database!r} has no function tqueue.put: start a TQueueSrv with --store "
                "postgresql://... on this database first"
            ) from error

    def get_result(self, result_id: str) -> TaskResult:
        """
        Return the state of a task, and its result.

        @raise TaskResultDoesNotExist: when there is no such task, or its result is not kept any more.
        @raise OSError: when the server cannot be reached for longer than the option C{patience}.
        """
        task_id, _, queue = str(result_id).partition("@")
        if not task_id or not queue or (self.names and queue not in self.names):
            raise TaskResultDoesNotExist(result_id)
        try:
            document = open_queue(self.read, checked_queue(queue)).show(task_id)
        except ValueError:  # no queue can have this name
            raise TaskResultDoesNotExist(result_id) from None
        except ServerError as error:
            if error.status == 422:  # no task can have this id
                raise TaskResultDoesNotExist(result_id) from None
            raise
        item = item_in(document)
        if item is None:
            raise TaskResultDoesNotExist(result_id)
        try:
            task = task_of(item, queue, self.alias)
        except (ImportError, InvalidTask) as error:
            raise TaskResultDoesNotExist(f"{result_id}: {error}") from error
        return make_result(str(result_id), task, item, document)

    async def aget_result(self, result_id: str) -> TaskResult:
        """Do the same as L{get_result}, in a thread of its own: it needs no database connection."""
        found: TaskResult = await sync_to_async(self.get_result, thread_sensitive=False)(result_id)
        return found


def _seconds_until(moment: datetime) -> float:
    """Return the seconds from now on; 0 if the moment has passed. A naive moment is local time."""
    now = datetime.now(UTC) if timezone.is_aware(moment) else datetime.now()
    return max((moment - now).total_seconds(), 0.0)
