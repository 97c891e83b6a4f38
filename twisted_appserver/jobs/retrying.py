"""Decides when a job whose attempt has failed is tried again."""

from __future__ import annotations

from typing import Any

import msgspec

from twisted_appserver.core.call import Reply
from twisted_appserver.core.perform import RETRY_MEMBER
from twisted_appserver.jobs.documents import LONGEST_ERROR, PROBLEM

TOO_LARGE = 507  # the status of a result that does not fit; no further attempt would change that
DEFAULT_ATTEMPTS = 10  # of a job whose function raises RetryLater, and whose route has no retry


class _FailureDocument(msgspec.Struct):
    retry: float | bool | None = msgspec.field(name=RETRY_MEMBER, default=None)
    detail: str = ""
    instance: str = ""


def _problem(reply: Reply) -> _FailureDocument:
    if dict(reply.headers).get("content-type") != PROBLEM:
        return _FailureDocument()
    try:
        return msgspec.json.decode(reply.body, type=_FailureDocument)
    except ValueError:  # The function has made a problem document of its own.
        return _FailureDocument()


def has_failed(reply: Reply) -> bool:
    """Return whether the attempt with this reply has failed."""
    return reply.status >= 400


def pause_after(handler: Any, reply: Reply, failures: int) -> float | None:
    """
    Return the seconds until the next attempt; C{None} if this reply is the last one.

    @param failures: how many attempts have failed, this one included.
    """
    if reply.status < 500 or reply.status == TOO_LARGE:  # An error of the client would only repeat itself.
        return None
    policy, wanted = handler.retry, _problem(reply).retry
    most = policy.attempts if policy is not None else DEFAULT_ATTEMPTS
    if wanted is False or (most and failures >= most):
        return None
    if wanted is not None:
        return float(wanted)
    return None if policy is None else policy.delay(failures)


def error_of(reply: Reply) -> str:
    """
    Return the error of a failed attempt, as clients may see it. It is one line, and contains the id that a
    problem document has in C{instance}.
    """
    problem = _problem(reply)
    detail = problem.detail.replace("this instance", problem.instance or "this instance")
    return f"{reply.status}: {detail}" if detail else str(reply.status)


def short_error(error: str) -> str:
    """Return an error for a list. If it is a traceback, this is its last line."""
    first, _, rest = error.strip().partition("\n")
    if rest and first.endswith("(most recent call last):"):
        error = f"{first.partition(':')[0]}: {rest.rpartition(chr(10))[2]}"
    return error[:LONGEST_ERROR]
