"""A record of each attempt to perform a task, except attempts that ended with a plain done."""

from __future__ import annotations

from typing import Literal

import msgspec

from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.task_result import TaskResult

MOST_ATTEMPTS = 20  # of each task; the last ones are kept
# Seconds until a failed task is tried again; false to bury it; None for the backoff of its queue.
RetryAfter = float | Literal[False] | None
Reason = Literal["failed", "released", "expired", "buried", "done"]


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """
    One ended lease of a task.

    @ivar number: the number of the task.
    @ivar attempt: counts the attempts of the task, from 1; a kick does not reset it.
    @ivar began: when it began, in seconds since the epoch.
    @ivar seconds: how long it took.
    @ivar by: the name of the client that had leased the task, as it was sent.
    @ivar reason: how it ended.
    """

    number: int
    attempt: int
    began: float
    seconds: float
    by: str
    reason: str
    error: str = ""
    traceback: str = ""


class TaskDetails(msgspec.Struct, frozen=True):
    """
    All that is known of a task.

    @ivar task: the task, unless it has ended. Its times are in seconds since the epoch.
    @ivar attempts: the last attempts, the oldest first.
    """

    result: TaskResult
    task: QueuedTask | None
    attempts: list[Attempt]


def end_attempt(
    task: QueuedTask, now: float, shift: float, reason: Reason, error: str = "", traceback: str = ""
) -> Attempt:
    """
    Count an attempt that ends now, and return its record.

    @param now: in seconds of the reactor.
    @param shift: the seconds since the epoch, minus the seconds of the reactor.
    """
    task.attempts += 1
    began = task.began or now  # a lease that an older version has stored has no beginning
    return Attempt(task.number, task.attempts, began + shift, now - began, task.by, reason, error, traceback)
