"""The result of a put that has added nothing, because its unique key is taken."""

from __future__ import annotations

from twisted_appserver.queue.queued_task import QueuedTask


class ExistingTask(QueuedTask, gc=False):
    """The task that has the unique key of a put. Only its number is known."""


def remembered_number(task: QueuedTask) -> int:
    """Return the number by which the key of a batch remembers one of its tasks: negative if it existed."""
    return -task.number if isinstance(task, ExistingTask) else task.number


def remembered_task(number: int) -> QueuedTask:
    """Return the task for which L{remembered_number} has returned a number."""
    return ExistingTask(-number, b"") if number < 0 else QueuedTask(number, b"")
