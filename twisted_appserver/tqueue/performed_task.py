"""The task that is performed in this thread or process, for functions that a worker calls."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple


class CurrentTask(NamedTuple):
    """
    A task that a worker performs.

    @ivar queue: the name of its queue.
    @ivar task_id: its id, as C{put} has returned it.
    @ivar delivery: how often the task has been handed out, this time included.
    """

    queue: str
    task_id: str
    delivery: int


CURRENT: ContextVar[CurrentTask | None] = ContextVar("current", default=None)


def current_task() -> CurrentTask:
    """
    Return the task that this function performs.

    @raise RuntimeError: when no worker has called the function here.
    """
    task = CURRENT.get()
    if task is None:
        raise RuntimeError("current_task(): no worker performs a task in this thread")
    return task
