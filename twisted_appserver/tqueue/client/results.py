"""Waits for the result of a task, step by step. Does no I/O; needs the standard library only."""

from __future__ import annotations

from typing import Any

from .attempts import Steps, waits
from .errors import NoResult
from .items import from_result
from .session import QueueSession

UNFINISHED = ("ready", "delayed", "leased")  # the states of tasks that may still get a result


def wait_for_result(session: QueueSession, task_id: str, timeout: float | None) -> Steps[Any]:
    """
    Wait until a task has ended, and return its result. C{timeout}: seconds; C{None} for ever.

    @raise NoResult: when there is no result.
    """
    state, error = "unknown", ""
    for wait in waits(timeout, session.clock):
        document = yield from session.ask(session.requests.result(task_id, wait))
        state, error = document["state"], document.get("error", "")
        if state == "done":
            return from_result(document["result"])
        if state not in UNFINISHED:
            break
    raise NoResult(task_id, state, error)
