"""Describes a task whose function raised an exception."""

from __future__ import annotations

from types import TracebackType

from .client.failures import Failure, RetryAfter
from .client.queue import Task

LONGEST_ITEM = 200  # characters
PACKAGE = __name__.rpartition(".")[0]


def describe_failure(task: Task, queue: str, failure: Failure) -> str:
    """
    Return the id of the task, its attempt and its item; the traceback of the function; and what happens next.

    @param queue: the name of the queue.
    """
    parent = task.trace.get("traceparent", "")
    trace = f", trace {parent.split('-')[1]}" if parent else ""
    lines = [f"task {task.task_id} of {queue} failed, attempt {task.delivery}{trace}: {_item(task)}"]
    if failure.retry is not None or not failure.traceback.endswith(failure.error):
        lines.append(failure.error)
    if failure.retry is None and failure.traceback:  # without a decision of the function
        lines.append(failure.traceback)
    lines.append(_what_happens_next(task, queue, failure.retry))
    return "\n".join(lines)


def _what_happens_next(task: Task, queue: str, decided: RetryAfter) -> str:
    if task.retry is False:
        after = "" if decided is False else f" after {task.delivery} attempt{'s' * (task.delivery > 1)}"
        return f"It is buried{after}; tqueue kick {queue} makes it ready again."
    if task.retry is None:
        return "An older server does not report when it is tried again."
    seconds = f"{task.retry:.2g}" if task.retry < 10 else f"{task.retry:.0f}"
    return f"It is tried again in {seconds} s." if task.retry else "It is tried again at once."


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
