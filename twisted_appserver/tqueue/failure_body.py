"""The body of a request about a failure."""

from __future__ import annotations

import math
from typing import Any, Literal, TypedDict

from twisted_appserver import Call, HTTPError
from twisted_appserver.core.request_data import read_fields
from twisted_appserver.queue.attempt import RetryAfter
from twisted_appserver.tqueue.request_options import WEEK

LONGEST_ERROR, LONGEST_TRACEBACK = 2_000, 64_000  # characters that are kept


class FailureBody(TypedDict, total=False):
    """
    Why a task has failed, as the description of the service shows it.

    @ivar error: one line.
    @ivar traceback: the traceback; its end is kept if it is too long.
    @ivar retry: seconds until the next attempt; C{false}: none; without it, the options of the queue apply.
    """

    error: str
    traceback: str
    retry: float | Literal[False] | None


def read_failure(call: Call) -> tuple[tuple[str, str], RetryAfter]:
    """
    Return the error and the traceback in the body of a request, and C{retry}.

    @raise HTTPError: 422 when a field is unknown, or its value is wrong.
    """
    fields = read_fields(call.body, call.raw_headers)[0] if call.body else {}
    error, traceback = (_text(fields.pop(name, ""), name) for name in ("error", "traceback"))
    retry = _retry(fields.pop("retry", None))
    if fields:
        raise HTTPError(422, f"the body has fields error, traceback and retry, not {min(fields)!r}")
    return (error[:LONGEST_ERROR], traceback[-LONGEST_TRACEBACK:]), retry


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise HTTPError(422, f"{name} must be text, not {type(value).__name__}")
    return value.replace("\0", "\ufffd")  # PostgreSQL cannot store it


def _retry(value: Any) -> RetryAfter:
    """Return C{retry}: a number of seconds, false to give the task up, or C{None} if it is missing."""
    if value is None or value is False or value == "false":
        return None if value is None else False
    try:
        seconds = math.nan if value is True else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds <= 53 * WEEK:
        raise HTTPError(422, f"retry must be 0 to {53 * WEEK:.0f} seconds or false, not {value!r}")
    return seconds
