"""
Makes a C{TaskResult} from what a server knows of a task.

The item of a task is a dict: C{task}, the dotted path of the function; C{args} and C{kwargs}; C{backend},
C{priority}, C{run_after} and C{enqueued_at}. While a task waits or runs, the server returns its item. The
result of a task contains the item too, since the server forgets the item at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.tasks.base import Task, TaskError, TaskResult, TaskResultStatus
from django.tasks.exceptions import InvalidTask
from django.utils.module_loading import import_string

from ..client.items import ItemError, from_result, from_task

STATUSES = {
    "ready": TaskResultStatus.READY,
    "delayed": TaskResultStatus.READY,
    "held": TaskResultStatus.READY,
    "leased": TaskResultStatus.RUNNING,
    "buried": TaskResultStatus.FAILED,
    "done": TaskResultStatus.SUCCESSFUL,
}
MEMBERS = {"task", "args", "kwargs", "backend", "priority", "run_after", "enqueued_at"}
CLASS_PATH = re.compile(r"((?:\w+\.)+)?[A-Za-z_][\w.<>]*(?=: |\n|$)")
LOST = "twisted_appserver.tqueue.client.errors.LeaseLost"
LOST_TEXT = "the lease has run out: the worker has died, or could not reach the server\n"
DIED = "twisted_appserver.tqueue.function_call.WorkerError"


def make_item(task: Any, args: Any, kwargs: Any, now: datetime) -> dict[str, Any]:
    """Return the item of a task."""
    return {
        "task": task.module_path,
        "args": args,
        "kwargs": kwargs,
        "backend": task.backend,
        "priority": task.priority,
        "run_after": task.run_after and task.run_after.isoformat(),
        "enqueued_at": now.isoformat(),
    }


def item_in(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the item of a task that the server has shown; C{None} if it has none of this backend."""
    is_done = document["state"] == "done"
    try:
        item = from_result(document.get("result")) if is_done else from_task(document.get("task", {}))
    except ItemError:
        return None
    return item if isinstance(item, dict) and item.keys() >= MEMBERS else None


def task_of(item: Mapping[str, Any], queue: str, backend: str) -> Any:
    """
    Return the C{Task} that an item names.

    @raise ImportError: when it cannot be imported.
    @raise InvalidTask: when the name belongs to no task, or the backend refuses it.
    """
    found = import_string(item["task"])
    if not isinstance(found, Task):
        raise InvalidTask(f"{item['task']} is not a task: decorate the function with @task")
    after = item["run_after"] and datetime.fromisoformat(item["run_after"])
    return found.using(priority=item["priority"], queue_name=queue, run_after=after, backend=backend)


def make_result(
    result_id: str, task: Any, item: Mapping[str, Any], document: Mapping[str, Any]
) -> TaskResult:
    """
    Return the result of a task.

    @param document: the description of the task by C{show}; C{state} is required.
    """
    attempts = document.get("attempts", [])
    began, by = [each["began"] for each in attempts], [each["by"] for each in attempts]
    if document["state"] == "leased":
        began, by = [*began, document["began"]], [*by, document["by"]]
    forgotten = attempts[0]["attempt"] - 1 if attempts else 0  # The server keeps the last attempts.
    status = STATUSES[document["state"]]
    ended = attempts and status in (TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL)
    result = TaskResult(
        task=task,
        id=result_id,
        status=status,
        enqueued_at=datetime.fromisoformat(item["enqueued_at"]),
        started_at=_time(began[0]) if began else None,
        finished_at=_time(began[-1] + attempts[-1]["seconds"]) if ended else None,
        last_attempted_at=_time(began[-1]) if began else None,
        args=item["args"],
        kwargs=item["kwargs"],
        backend=task.backend,
        errors=[_error(each) for each in attempts if each["reason"] == "expired" or each.get("error")],
        worker_ids=[""] * forgotten + by,
    )
    object.__setattr__(result, "_return_value", item.get("return_value"))
    return result


def _time(seconds: float) -> datetime:
    """Return a time in the form that C{django.utils.timezone.now} has."""
    return datetime.fromtimestamp(seconds, UTC if settings.USE_TZ else None)


def _error(attempt: Mapping[str, Any]) -> TaskError:
    """Return the error of an attempt."""
    error, traceback = attempt.get("error", ""), attempt.get("traceback", "")
    if not error:
        return TaskError(exception_class_path=LOST, traceback=LOST_TEXT)
    found = CLASS_PATH.match(error)
    if found:
        path = found[0] if found[1] else f"builtins.{found[0]}"
        return TaskError(exception_class_path=path, traceback=f"{traceback or error}\n")
    path = "builtins.TimeoutError" if error.startswith("time limit") else DIED
    return TaskError(exception_class_path=path, traceback=f"{traceback}\n{error}\n".lstrip())
