"""Describes why a task has failed, and who has performed it. Needs the standard library only.

An exception may decide about its task with an attribute C{task_retry}: the seconds until the next attempt, or
false to bury the task. C{twisted_appserver.RetryLater} and C{GiveUp} have it.
"""

from __future__ import annotations

import os
import socket
import traceback as tracebacks
from typing import Literal, NamedTuple

LONGEST_BY = 200  # characters; the server has the same limit
RetryAfter = float | Literal[False] | None  # seconds until the task is tried again; false if it is buried


class Failure(NamedTuple):
    """
    Why a task has failed.

    @ivar retry: C{None} for the backoff of the queue.
    """

    error: str
    traceback: str = ""
    retry: RetryAfter = None


class RecordedError(Exception):
    """
    Raised when a task has failed in another place, where the failure was described.

    @ivar failure: the description.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure


def describe(error: BaseException | str, traceback: str = "", retry: RetryAfter = None) -> Failure:
    """
    Describe an exception for C{fail}. An exception without a message is described by its cause.

    @param traceback: the traceback; if empty, the traceback of the exception.
    @param retry: when the task is tried again, unless the exception decides it.
    """
    if isinstance(error, str):
        return Failure(_encodable(error), _encodable(traceback), retry)
    if isinstance(error, RecordedError):
        return error.failure._replace(retry=retry if error.failure.retry is None else error.failure.retry)
    decided = decided_retry(error)
    if not str(error) and error.__cause__ is not None:
        error = error.__cause__
    text = _encodable(traceback or _frames(error))
    return Failure(_encodable(summary(error)), text, retry if decided is None else decided)


def decided_retry(error: BaseException | None) -> RetryAfter:
    """
    Return the decision about its task that an exception, or a wrapped exception, contains; C{None} if there
    is none.
    """
    if error is None:
        return None
    own: RetryAfter = getattr(error, "task_retry", None)
    return decided_retry(error.__cause__) if own is None and not str(error) else own


def summary(error: BaseException) -> str:
    """Return the name and the message of an exception; the module too, unless it is of this package."""
    if type(error).__module__.partition(".")[0] == __name__.partition(".")[0]:
        return f"{type(error).__name__}: {error}".removesuffix(": ")
    return "".join(tracebacks.format_exception_only(error)).strip()


def _frames(error: BaseException) -> str:
    try:
        return "".join(tracebacks.format_exception(error)).rstrip()
    except RecursionError:
        return ""


def _encodable(text: str) -> str:
    """Replace lone surrogates, which JSON cannot represent in UTF-8."""
    return text.encode("utf-8", "replace").decode()


def this_process() -> str:
    """Return the name of this process for the records of attempts: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"[-LONGEST_BY:]
