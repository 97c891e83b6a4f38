"""Describes a task whose function raised an exception."""

from __future__ import annotations

import traceback
from types import TracebackType

from .client.queue import Task
from .client.session import delay_after

LONGEST_ITEM = 200  # characters
PACKAGE = __name__.rpartition(".")[0]


def describe_failure(
    task: Task, queue: str, error: BaseException | None, delay: float | None, max_deliveries: int
) -> str:
    """
    Return the id of the task, its attempt and its item; the traceback of the function; and what happens next.

    @param queue: the name of the queue.
    @param delay: seconds until the task is tried again; C{None} for a pause that grows with each attempt.
    @param max_deliveries: the option of the queue; 0 for no limit or if it is not known.
    """
    lines = [f"task {task.task_id} of {queue} failed, attempt {task.delivery}: {_item(task)}"]
    if error is not None:
        lines.append("".join(traceback.format_exception(own_frames_removed(error))).rstrip())
    if 0 < max_deliveries <= task.delivery:
        lines.append(
            f"It is buried after {task.delivery} attempts; tqueue kick {queue} makes it ready again."
        )
    else:
        seconds = delay_after(RuntimeError(), delay, task.delivery)
        lines.append(f"It is tried again in {seconds:g} s." if seconds else "It is tried again at once.")
    return "\n".join(lines)


def own_frames_removed(error: BaseException) -> BaseException:
    """Return an exception whose traceback begins with the first frame that is not of this package."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__package__") == PACKAGE:
        trace = trace.tb_next
    return error.with_traceback(trace)


def _item(task: Task) -> str:
    try:
        text = repr(task.item)
    except RecursionError:
        text = "..."
    return text if len(text) <= LONGEST_ITEM else f"{text[:LONGEST_ITEM]}... ({len(text)} characters)"
