"""What a client does with many tasks at once, step by step. Does no I/O; needs the standard library only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from .attempts import Steps, poll
from .items import to_task
from .requests import LONGEST_ORDER
from .session import QueueSession

MOST_TASKS = 1000  # in one batch; the server has the same limit
SortKey = Callable[[Any], tuple[float | None, str | None]]


def put_many(
    session: QueueSession, items: Iterable[Any], sort_key: SortKey, timeout: float | None
) -> Steps[list[str]]:
    """
    Add many items: all or none. Return the ids of their tasks.

    @param sort_key: returns the priority of an item and the text that sorts it; C{None} for none.
    """
    elements = [_element(item, *sort_key(item)) for item in items]
    if len(elements) > MOST_TASKS:
        raise ValueError(f"a batch has at most {MOST_TASKS} items, not {len(elements)}: put several batches")
    if not elements:
        return []
    body, key = b"[%b]" % b",".join(elements), session.key()
    return (
        yield from poll(
            lambda wait: session.ask(session.requests.put_many(body, key, wait)), timeout, session.clock
        )
    )


def _element(item: Any, priority: float | None, order: str | None) -> bytes:
    """Return an element of the array that adds many tasks."""
    task = to_task(item)
    if priority is None:
        return task
    number: float | str = priority if abs(priority) < float("inf") else str(priority)
    return b"[%b,%b]" % (task, json.dumps([number, (order or "")[:LONGEST_ORDER]])[1:-1].encode())
