"""Repeats the call of a job that has failed, when a client requests it."""

from __future__ import annotations

from os import urandom
from typing import Any

from msgspec.structs import replace

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.request_data import KEY_HEADER
from twisted_appserver.errors import HTTPError
from twisted_appserver.jobs.documents import shown

LARGEST_REPEATED = 65_536  # bytes of a call that is kept after a failure
REPEATABLE = ("failed", "cancelled")


def check_retry(state: str) -> None:
    """
    @raise HTTPError: 409 if a job in this state cannot be repeated.
    """
    if state not in REPEATABLE:
        raise HTTPError(
            409,
            f"the job is {state}; a job can be retried if it has failed, was cancelled, or waits for its "
            "next attempt",
        )


def call_not_kept() -> HTTPError:
    """Return the error for a job whose call was too large to be kept."""
    return HTTPError(410, "the call of this job is too large, so it was not kept; send it again")


def repeated(call: Call, handler: Any, groups: dict[str, str]) -> Call:
    """Return a new call like an earlier one. It has no C{Idempotency-Key}, which belongs to the first one."""
    headers = tuple(pair for pair in call.raw_headers if pair[0] != KEY_HEADER)
    return replace(
        call, handler=handler, groups=groups, raw_headers=headers, request_id=urandom(8).hex(), deadline=0.0
    )


def retried(job: str) -> Reply:
    """Return the reply that names the job whose attempt is next."""
    return shown({"job": job})
