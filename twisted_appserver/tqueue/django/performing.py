"""Performs a task in a worker."""

from __future__ import annotations

from contextlib import suppress
from time import time
from types import TracebackType
from typing import Any

import django
from django.apps import apps
from django.db import close_old_connections
from django.tasks import task_backends
from django.tasks.base import TaskContext, TaskError, TaskResult, TaskResultStatus
from django.tasks.signals import task_finished, task_started
from django.utils import timezone
from django.utils.json import normalize_json

from twisted_appserver.core.retry import Retry

from ..client.errors import ServerError
from ..client.failures import Failure, RecordedError, RetryAfter, decided_retry, describe, this_process
from ..performed_task import CurrentTask, current_task
from .backend import Backend
from .queues import open_queue, prepared_queue
from .results import make_result, task_of

PACKAGES = (__package__, "django.tasks")  # Their frames are not shown in front of those of the function.

if not apps.ready:  # in a process of a worker
    django.setup()


def perform(item: dict[str, Any]) -> dict[str, Any]:
    """
    Perform a task. Return its item, with what its function has returned.

    Old and broken connections to databases are closed before and after the function, as Django does for
    requests.

    @raise RecordedError: when the function has raised an exception.
    """
    close_old_connections()
    try:
        return _perform(item, current_task())
    finally:
        close_old_connections()


def _perform(item: dict[str, Any], current: CurrentTask) -> dict[str, Any]:
    backend = task_backends[item["backend"]]
    with suppress(OSError, ServerError):  # If the server cannot be reached now, the options can wait.
        prepared_queue(backend.read, current.queue)
    result = _begun(backend, item, current)
    task_started.send_robust(type(backend), task_result=result)
    try:
        value = normalize_json(_call(result))
    except BaseException as error:
        rule = backend.read.retry
        is_last = _is_last(error, rule, current.delivery)
        # The worker and the server apply the same rule, but after a kick the server counts from one again.
        is_kicked = is_last and rule is not None and current.delivery > rule.attempts
        failure = _failure(error, False if is_kicked else decided_retry(error))
        if is_last:
            _change(result, status=TaskResultStatus.FAILED, finished_at=timezone.now())
            kind = f"{type(error).__module__}.{type(error).__qualname__}"
            result.errors.append(TaskError(exception_class_path=kind, traceback=f"{failure.traceback}\n"))
            task_finished.send_robust(type(backend), task_result=result)
        raise RecordedError(failure) from error
    _change(result, status=TaskResultStatus.SUCCESSFUL, finished_at=timezone.now(), _return_value=value)
    task_finished.send_robust(type(backend), task_result=result)
    return {**item, "return_value": value}


def _begun(backend: Backend, item: dict[str, Any], current: CurrentTask) -> TaskResult:
    """Return the state of a task that begins. A repeated task has earlier errors, which the server knows."""
    document: dict[str, Any] = {"state": "leased", "began": time(), "by": this_process()}
    if current.delivery > 1:
        with suppress(OSError, ServerError):
            document["attempts"] = open_queue(backend.read, current.queue).show(current.task_id)["attempts"]
    task = task_of(item, current.queue, backend.alias)
    return make_result(f"{current.task_id}@{current.queue}", task, item, document)


def _call(result: TaskResult) -> Any:
    context = [TaskContext(task_result=result)] if result.task.takes_context else []
    return result.task.call(*context, *result.args, **result.kwargs)


def _is_last(error: BaseException, rule: Retry | None, attempt: int) -> bool:
    """Return whether a task that has failed is not tried again."""
    decided = decided_retry(error)
    if decided is False or rule is None:
        return decided is None or decided is False
    return 0 < rule.attempts <= attempt


def _failure(error: BaseException, retry: RetryAfter) -> Failure:
    """Describe an exception, with the full name of its class."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__package__") in PACKAGES:
        trace = trace.tb_next
    traceback = describe(error.with_traceback(trace)).traceback
    if not str(error) and error.__cause__ is not None:
        error = error.__cause__
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return describe(f"{module}{kind.__qualname__}: {error}".removesuffix(": "), traceback, retry)


def _change(result: TaskResult, **values: Any) -> None:
    """Set attributes of a result, which Django declares frozen and changes in this way."""
    for name, value in values.items():
        object.__setattr__(result, name, value)
