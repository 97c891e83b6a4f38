"""What clients see of jobs: documents, replies and addresses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec.structs import replace

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.errors import HTTPError

PROBLEM = "application/problem+json"
JSON = ("application/json", PROBLEM)
LISTED = 100  # jobs on a page, unless the client sends a limit
Limit = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class About(msgspec.Struct):
    """
    The facts about a job.

    @ivar user: the only user who may see the job.
    @ivar function: the name of its route.
    @ivar state: C{waiting}, C{running}, C{done}, C{failed} or C{cancelled}.
    @ivar items: how many items a generator has yielded.
    @ivar fingerprint: the fingerprint of the request, if it has an C{Idempotency-Key}.
    """

    user: str
    function: str
    request_id: str
    created: datetime
    state: str = "waiting"
    items: int = 0
    fingerprint: str = ""


def summary(name: str, about: About) -> dict[str, Any]:
    """Return a job without its progress and its result."""
    return {
        "job": name,
        "function": about.function,
        "state": about.state,
        "created": about.created,
        "items": about.items,
    }


class ShownAttempt(msgspec.Struct):
    """
    An attempt that did not end well.

    @ivar began: when it began, in seconds since the epoch.
    @ivar reason: C{failed}; or C{expired} or C{released} if its process died or was stopped.
    """

    began: float
    seconds: float
    reason: str
    error: str


def document(
    name: str,
    about: About,
    reply: Reply | None,
    progress: bytes = b"",
    attempts: Sequence[ShownAttempt] = (),
) -> dict[str, Any]:
    """
    Return a job with its progress, and its result or error.

    @param reply: C{None} until the job has finished.
    @param progress: the last item of a generator, as JSON; empty if the function is not a generator.
    @param attempts: the attempts that have failed, the oldest first.
    """
    shown = {**summary(name, about), "instance": about.request_id}
    if attempts:
        shown["attempts"] = attempts
    if progress:
        shown["progress"] = msgspec.Raw(progress)
    if reply is not None:
        status, kind = reply.status, dict(reply.headers).get("content-type", JSON[0])
        if status >= 400 and kind != PROBLEM:  # a reply that the function made itself
            said = HTTPError(status, "the function's answer, the job's result, has the reason")
            shown["error"] = msgspec.Raw(problem_reply(said, about.request_id).body)
        elif kind in JSON:
            shown["result" if status < 400 else "error"] = msgspec.Raw(reply.body or b"null")
    return shown


def listed(jobs: Sequence[dict[str, Any]], after: str, limit: int) -> Reply:
    """
    Return a page of jobs, the number of all, and the C{after} of the next page.

    @param jobs: all of them, newest first.
    @param after: the name of the last job of the page before; empty for the first page.
    """
    names = [job["job"] for job in jobs]
    if after and after not in names:
        raise HTTPError(404, "the job named by after is not kept any more; begin with the first page")
    begin = names.index(after) + 1 if after else 0
    page = jobs[begin : begin + limit]
    more = begin + limit < len(jobs)
    return shown({"jobs": page, "total": len(jobs), "next": page[-1]["job"] if more else None})


def shown(document: dict[str, Any]) -> Reply:
    """Return the reply that shows a document."""
    body = msgspec.json.encode(document)
    return Reply(body, 200, (("content-type", JSON[0]), ("cache-control", "no-store")))


def result_of(reply: Reply | None) -> Reply:
    """
    Return the reply that the call would have had.

    @raise HTTPError: 404 if the job has not finished.
    """
    if reply is None:
        raise HTTPError(404, "the job has not finished; the address without /result shows its state")
    if reply.body and "content-type" not in dict(reply.headers):
        return replace(reply, headers=(("content-type", JSON[0]), *reply.headers))
    return reply


def accepted(call: Call, name: str) -> Reply:
    """Return the reply that sends the address of a job to the client."""
    # Relative, because the application may be mounted anywhere.
    place = "../" * (call.path.count("/") - 1) + f"-/jobs/{name}"
    body = msgspec.json.encode({"job": name, "place": place})
    return Reply(body, 202, (("location", place), ("preference-applied", "respond-async")))


def no_such_job() -> HTTPError:
    """Return the error for a job that does not exist, or belongs to another user."""
    return HTTPError(404, "no such job; it may have expired")
