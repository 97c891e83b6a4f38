"""The documents that describe tasks in any state."""

from __future__ import annotations

from typing import Any

import msgspec

from twisted_appserver.queue.attempt import Attempt, TaskDetails
from twisted_appserver.queue.existing_task import ExistingTask
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.task_result import TaskResult

UNKNOWN = "unknown"  # the reason if there is no such task


def result_document(worker: str, task_id: str, found: TaskResult | None) -> dict[str, Any]:
    """Return the state and the result of a task."""
    if found is None:
        return {"worker": worker, "task_id": "", "state": UNKNOWN, "result": None, "reason": UNKNOWN}
    error = {"error": found.error} if found.error else {}
    result = msgspec.Raw(found.result or b"null")
    return {"worker": worker, "task_id": task_id, "state": found.state, "result": result, **error}


def added_document(found: QueuedTask | str) -> dict[str, bool]:
    """Return why a put has not added a task; nothing if it has."""
    if not isinstance(found, QueuedTask) or found.body:
        return {}
    return {"existing": True} if isinstance(found, ExistingTask) else {"repeated": True}


def trace_document(found: QueuedTask | str) -> dict[str, str]:
    """Return the trace that a task belongs to; nothing if it has none."""
    terms = found.terms if isinstance(found, QueuedTask) else None
    if terms is None or not terms.traceparent:
        return {}
    state = {"tracestate": terms.tracestate} if terms.tracestate else {}
    return {"traceparent": terms.traceparent, **state}


def details_document(
    worker: str, task_id: str, found: TaskDetails | None, progress: bytes = b""
) -> dict[str, Any]:
    """
    Return all that is known of a task.

    @param progress: the progress of the task, as JSON; empty if it is unknown.
    """
    if found is None:
        return {"worker": worker, "task_id": "", "state": UNKNOWN, "reason": UNKNOWN}
    document = result_document(worker, task_id, found.result)
    if found.result.ended:
        document["ended"] = found.result.ended
    task = found.task
    if task is not None:
        del document["result"]
        document["task"] = msgspec.Raw(task.body)
        for name in ("deliveries", "priority", "order", "put_at", "due", "lease"):
            document[name] = getattr(task, name)
        document |= _terms_document(task)
        if task.lease:
            document |= {"began": task.began, "by": task.by, **_progress_document(progress)}
    return {**document, "attempts": [_attempt_document(attempt) for attempt in found.attempts]}


def peeked_document(task: QueuedTask, task_id: str, error: str, progress: bytes = b"") -> dict[str, Any]:
    """Return a task as C{peek} shows it, with its last error and its progress."""
    document = {
        "task_id": task_id,
        "task": msgspec.Raw(task.body),
        **{name: getattr(task, name) for name in ("deliveries", "priority", "put_at", "due", "lease")},
        **_terms_document(task),
        **_progress_document(progress),
    }
    return {**document, "error": error} if error else document


def _progress_document(progress: bytes) -> dict[str, Any]:
    return {"progress": msgspec.Raw(progress)} if progress else {}


def _terms_document(task: QueuedTask) -> dict[str, Any]:
    """Return the terms of a task, if it has any."""
    if task.terms is None:
        return {}
    shown: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(task.terms, forgiven=0))
    return shown


def _attempt_document(attempt: Attempt) -> dict[str, Any]:
    fields = msgspec.structs.asdict(attempt)
    del fields["number"]
    return {name: value for name, value in fields.items() if value != "" or name == "by"}
