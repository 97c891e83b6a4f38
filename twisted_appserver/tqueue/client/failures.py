"""Describes why a task has failed, and who has performed it. Needs the standard library only."""

from __future__ import annotations

import os
import socket
import traceback as tracebacks
from typing import Literal, NamedTuple

LONGEST_BY = 200  # characters; the server has the same limit
Retry = float | Literal[False] | None  # seconds until the task is tried again; false to give it up


class Failure(NamedTuple):
    """
    Why a task has failed.

    @ivar retry: C{None} for what the queue's options require.
    """

    error: str
    traceback: str = ""
    retry: Retry = None


def describe(error: BaseException | str, traceback: str = "", retry: Retry = None) -> Failure:
    """
    Describe an exception for C{fail}. An exception without a message is described by its cause.

    @param traceback: that of the exception if empty.
    """
    if isinstance(error, str):
        return Failure(_encodable(error), _encodable(traceback), retry)
    if not str(error) and error.__cause__ is not None:
        error = error.__cause__
    line = "".join(tracebacks.format_exception_only(error)).strip()
    return Failure(_encodable(line), _encodable(traceback or _frames(error)), retry)


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
