"""The documents that describe tasks in any state, and the body of a request about a failure."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from twisted_appserver import Call, HTTPError
from twisted_appserver.core.request_data import read_fields
from twisted_appserver.queue.attempt import Attempt, Retry, TaskDetails
from twisted_appserver.queue.task_result import TaskResult
from twisted_appserver.tqueue.request_options import WEEK

UNKNOWN = "unknown"  # the reason if there is no such task
LONGEST_ERROR, LONGEST_TRACEBACK = 2_000, 64_000  # characters that are kept


def result_document(worker: str, task_id: str, found: TaskResult | None) -> dict[str, Any]:
    """Return the state and the result of a task."""
    if found is None:
        return {"worker": worker, "task_id": "", "state": UNKNOWN, "result": None, "reason": UNKNOWN}
    error = {"error": found.error} if found.error else {}
    result = msgspec.Raw(found.result or b"null")
    return {"worker": worker, "task_id": task_id, "state": found.state, "result": result, **error}


def details_document(worker: str, task_id: str, found: TaskDetails | None) -> dict[str, Any]:
    """Return all that is known of a task."""
    if found is None:
        return {"worker": worker, "task_id": "", "state": UNKNOWN, "reason": UNKNOWN}
    document = result_document(worker, task_id, found.result)
    if found.result.ended:
        document["ended"] = found.result.ended
    task = found.task
    if task is not None:
        del document["result"]
        document["task"] = msgspec.Raw(task.body)
        for name in ("deliveries", "priority", "order", "due", "lease"):
            document[name] = getattr(task, name)
        if task.lease:
            document |= {"began": task.began, "by": task.by}
    return {**document, "attempts": [_attempt_document(attempt) for attempt in found.attempts]}


def _attempt_document(attempt: Attempt) -> dict[str, Any]:
    fields = msgspec.structs.asdict(attempt)
    del fields["number"]
    return {name: value for name, value in fields.items() if value != "" or name == "by"}


def read_failure(call: Call) -> tuple[tuple[str, str], Retry]:
    """
    Return the error and the traceback in the body of a request, and C{retry}.

    @raise HTTPError: 422 when a field is unknown, or its value is wrong.
    """
    fields = read_fields(call.body, call.raw_headers)[0] if call.body else {}
    error, traceback = (_text(fields.pop(name, ""), name) for name in ("error", "traceback"))
    retry = _retry(fields.pop("retry", None))
    if fields:
        raise HTTPError(422, f"the body has fields error, traceback and retry, not {min(fields)!r}")
    return (error[:LONGEST_ERROR], traceback[-LONGEST_TRACEBACK:]), retry


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise HTTPError(422, f"{name} must be text, not {type(value).__name__}")
    return value.replace("\0", "\ufffd")  # PostgreSQL cannot store it


def _retry(value: Any) -> Retry:
    """Return C{retry}: a number of seconds, false to give the task up, or C{None} if it is missing."""
    if value is None or value is False or value == "false":
        return None if value is None else False
    try:
        seconds = math.nan if value is True else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds <= 53 * WEEK:
        raise HTTPError(422, f"retry must be 0 to {53 * WEEK:.0f} seconds or false, not {value!r}")
    return seconds
