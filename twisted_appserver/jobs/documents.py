"""What clients see of jobs: documents, replies and addresses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import replace

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.errors import HTTPError

PROBLEM = "application/problem+json"
JSON = ("application/json", PROBLEM)
LONGEST_PART = 500  # characters of the path and of the query of a job that has ended and is in a store
LISTED = 100  # jobs on a page, unless the client sends a limit
LARGEST_PROGRESS = 1000  # bytes of the progress of a job in a list
LONGEST_ERROR = 300  # characters of an error in a list
LONGEST_TRACEBACK = 20_000  # characters of the end of a traceback that are kept
UNFINISHED = ("waiting", "running")
State = Literal["", "waiting", "running", "done", "failed", "cancelled"]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class About(msgspec.Struct):
    """
    The facts about a job.

    @ivar user: the only user who may see the job.
    @ivar function: the name of its route.
    @ivar state: C{waiting}, C{running}, C{done}, C{failed} or C{cancelled}.
    @ivar items: how many items a generator has yielded.
    @ivar fingerprint: the fingerprint of the request, if it has an C{Idempotency-Key}.
    @ivar attempt: the number of its present or last attempt; 0 before the first one.
    @ivar seconds: how long this attempt has taken until now, or until its end.
    @ivar error: the beginning of the error of the last attempt that has failed; empty if there is none.
    @ivar method, path, query: of its call; empty if an older version has stored its end.
    @ivar began: when its present or last attempt began; C{None} before the first one.
    @ivar ended: when the job ended; C{None} until then.
    """

    user: str
    function: str
    request_id: str
    created: datetime
    state: str = "waiting"
    items: int = 0
    fingerprint: str = ""
    attempt: int = 0
    seconds: float = 0.0
    error: str = ""
    method: str = ""
    path: str = ""
    query: str = ""
    began: datetime | None = None
    ended: datetime | None = None


class Wanted(msgspec.Struct, frozen=True):
    """
    Which jobs a list contains.

    @ivar user: the user whose jobs are listed.
    @ivar state, function: only jobs with these values are listed; empty for all.
    """

    user: str
    state: str = ""
    function: str = ""

    def has(self, about: About) -> bool:
        """Return whether the list contains a job."""
        return (
            about.user == self.user
            and self.state in ("", about.state)
            and self.function in ("", about.function)
        )


def moment(seconds: float) -> datetime:
    """Return a time of a document, given the seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def summary(name: str, about: About, progress: bytes = b"") -> dict[str, Any]:
    """
    Return a job without its result.

    @param progress: its progress, as JSON; left out if it is empty or too large for a list, and at the end.
    """
    target = f"{about.path}?{about.query}" if about.query else about.path
    found: dict[str, Any] = {
        "job": name,
        "function": about.function,
        **({"method": about.method, "path": target} if target else {}),
        "state": about.state,
        "created": about.created,
        "began": about.began,
        "ended": about.ended,
        "items": about.items,
        "attempt": about.attempt,
        "seconds": about.seconds,
    }
    if about.error:
        found["error"] = about.error
    if about.state in UNFINISHED and 0 < len(progress) <= LARGEST_PROGRESS:
        found["progress"] = msgspec.Raw(progress)
    return found


class ShownAttempt(msgspec.Struct, omit_defaults=True):
    """
    An attempt that did not end well.

    @ivar began: when it began.
    @ivar reason: C{failed}; or C{expired} or C{released} if its process died or was stopped.
    @ivar traceback: empty if there is none, or clients may not see it.
    """

    began: datetime
    seconds: float
    reason: str
    error: str
    traceback: str = ""


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
    shown.pop("error", None)  # the whole error follows, or the attempts have it
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


Listing = tuple[str, About, bytes]  # a job with its name, its facts and its progress


def listed(jobs: Sequence[Listing], wanted: Wanted, after: str, limit: int) -> Reply:
    """
    Return a page of jobs, the number of all, the names of their functions, and the C{after} of the next page.

    @param jobs: all jobs, newest first.
    @param after: the name of the last job of the page before; empty for the first page.
    """
    own = [job for job in jobs if job[1].user == wanted.user]
    names = [name for name, _, _ in own]
    if after and after not in names:
        raise HTTPError(404, "the job named by after is not kept any more; begin with the first page")
    begin = names.index(after) + 1 if after else 0
    found = [job for job in own[begin:] if wanted.has(job[1])]
    page = [summary(*job) for job in found[:limit]]
    return shown(
        {
            "jobs": page,
            "total": sum(wanted.has(about) for _, about, _ in own),
            "functions": sorted({about.function for _, about, _ in own}),
            "next": page[-1]["job"] if len(found) > limit else None,
        }
    )


def shows_tracebacks(dispatcher: Any) -> bool:
    """
    Return whether clients may see the tracebacks of jobs: they have authenticated, or an option shows them.

    @param dispatcher: a L{dispatch.dispatcher.Dispatcher}.
    """
    guard = dispatcher.guard
    return bool(dispatcher.display_tracebacks or (guard is not None and guard.credentials is not None))


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
