"""Puts one task, step by step. Does no I/O; needs the standard library only."""

from __future__ import annotations

import json

from .attempts import Steps
from .requests import Document
from .session import QueueSession
from .terms import TaskId


def put_item(
    session: QueueSession,
    task: bytes,
    timeout: float | None,
    priority: float | None,
    order: str | None,
    options: Document,
) -> Steps[TaskId]:
    """
    Add a task, see L{QueueSession.put}. Return its id, or the id of the existing task with its unique key.
    """
    document = yield from session.put(task, timeout, priority, order, terms=options)
    return TaskId(document["task_id"], document.get("existing", False))


def put_task(
    session: QueueSession,
    fields: Document,
    timeout: float | None,
    priority: float | None,
    key: str | None,
    options: Document,
) -> Steps[Document]:
    """Add a task that is given by its fields."""
    body = json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()
    document = yield from session.put(body, timeout, priority, None, key, options)
    why = {name: document.get(name, False) for name in ("repeated", "existing")}
    return {"task_id": document["task_id"], **why}
