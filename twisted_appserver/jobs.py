"""Calls whose client does not wait: it is told where to look, and looks when it likes (RFC 7240, 4.1).

Strategy: a call that prefers to be answered asynchronously is performed like any other. Only who gets its
reply changes: the client gets the address of a job at once, and the job gets the reply.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from os import urandom
from typing import Any

import msgspec
from msgspec.structs import force_setattr, replace

from twisted_appserver.calls import Call, Reply
from twisted_appserver.dispatch import Dispatcher
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import Job as Performed
from twisted_appserver.executors.stream import Stream
from twisted_appserver.patterns import Route
from twisted_appserver.results import LINES, problem

PROBLEM = "application/problem+json"
JSON = ("application/json", PROBLEM)


class Job:
    """
    A call that became a job.

    @param ended: told that it is over.
    @ivar name: of it; hard to guess.
    @ivar items: how many a generator has yielded. C{progress}: the last of these, as JSON.
    @ivar lines: whether these are JSON, and not what a Reply of the function's own consists of.
    @ivar reply: once it is over.
    """

    def __init__(self, performed: Performed, ended: Callable[[Job], None]) -> None:
        self._performed: Performed | None = performed  # until it is over: the call has the request's body
        self._ended = ended
        self.name = urandom(16).hex()
        call = performed.call
        self.user, self.function, self._request_id = call.user, call.handler.name, call.request_id
        self.begun = datetime.now(UTC)
        self.items, self.progress = 0, b"null"
        self._parts: list[bytes] = []  # of a Reply of the function's own
        self.reply: Reply | None = None
        self.lines = self._cancelled = False

    def answer(self, _: Call, reply: Reply) -> None:
        """The reply is there, or begins."""
        headers = tuple(
            (name, text) for name, text in reply.headers if not name.startswith("access-control-")
        )
        reply = replace(reply, headers=headers)  # these are for whoever asks for it
        if isinstance(reply.body, Stream):
            self.lines = ("content-type", LINES) in reply.headers
            reply.body.begin(self._item, lambda failure: self._finish(reply, failure))
        else:
            self._settle(reply)

    def _item(self, data: bytes) -> None:
        self.items += 1
        if self.lines:
            self.progress = data.rstrip()
        elif self.reply is None:
            self._parts.append(data)

    def _finish(self, reply: Reply, failure: str) -> None:
        if failure:
            error = HTTPError(500, "the function failed; the log says why under this instance")
            self._settle(problem(error, self._request_id))
        else:  # what a generator yielded last is its result, if that is not a Reply in parts
            body = self.progress if self.lines else b"".join(self._parts)
            kinds = {LINES: JSON[0]}
            headers = tuple((name, kinds.get(value, value)) for name, value in reply.headers)
            self._settle(Reply(body, reply.status, headers))

    def _settle(self, reply: Reply) -> None:
        if self.reply is None:
            self.reply, self._performed = reply, None
            self._parts.clear()
            self._ended(self)

    def cancel(self, dispatcher: Dispatcher) -> None:
        """End it: a thread goes on to where its generator yields next, a worker process is killed."""
        performed, self._cancelled = self._performed, True
        assert performed is not None
        # With a deadline that has passed, a worker process is killed.
        force_setattr(performed.call, "deadline", dispatcher.reactor.seconds())
        dispatcher.cancel(performed)
        self._settle(problem(HTTPError(410, "the job was cancelled"), self._request_id))

    @property
    def state(self) -> str:
        """C{waiting}, C{running}, C{done}, C{failed} or C{cancelled}."""
        if self._cancelled:
            return "cancelled"
        if self.reply is not None:
            return "done" if self.reply.status < 400 else "failed"
        performed = self._performed
        assert performed is not None
        running = performed.stream is not None or performed in performed.executor.jobs()[0]
        return "running" if running else "waiting"

    def document(self) -> dict[str, Any]:
        """What is known of it."""
        shown: dict[str, Any] = {
            "job": self.name,
            "function": self.function,
            "state": self.state,
            "begun": self.begun,
            "items": self.items,
        }
        if self.lines:
            shown["progress"] = msgspec.Raw(self.progress)
        if self.reply is not None:
            status, kind = self.reply.status, dict(self.reply.headers).get("content-type", JSON[0])
            if status >= 400 and kind != PROBLEM:  # an answer of the function's own
                said = HTTPError(status, "the function says why in its answer, the result of this job")
                shown["error"] = msgspec.Raw(problem(said, self._request_id).body)
            elif kind in JSON:
                shown["result" if status < 400 else "error"] = msgspec.Raw(self.reply.body or b"null")
        return shown


class Jobs:
    """
    Those of a service, bounded in number and age.

    @param most: how many are kept; the oldest that is over makes room for a new one.
    @param age: seconds for which one is kept when it is over.
    """

    def __init__(self, dispatcher: Dispatcher, most: int, age: float) -> None:
        self._dispatcher, self._most, self._age = dispatcher, most, age
        self._jobs: dict[str, Job] = {}
        self._timers: dict[str, Any] = {}

    def url_patterns(self) -> tuple[Any, ...]:
        """The table of its functions."""
        return (
            (r"/-/jobs", self.index),
            (r"/-/jobs/(?P<job>)", self.show),
            Route(r"/-/jobs/(?P<job>)", self.cancel, methods=("DELETE",)),
            (r"/-/jobs/(?P<job>)/result", self.result),
        )

    def take(self, performed: Performed) -> None:
        """
        Make a job of a call that is about to be performed, and tell the client so.

        @raise HTTPError: 503 when there are too many.
        """
        if len(self._jobs) >= self._most:
            over = next((job for job in self._jobs.values() if job.reply is not None), None)
            if over is None:
                raise HTTPError(503, f"{self._most} jobs are at work already")
            self._forget(over.name)
        call, limit = performed.call, performed.limit
        if call.handler.timeout is None and limit is not None:  # that of the service is for clients that wait
            limit.jobs.pop(performed, None)
            performed.limit = None
            force_setattr(call, "deadline", 0.0)
        headers = tuple(
            pair for pair in call.raw_headers if pair[0] != b"accept"
        )  # so that items are JSON lines
        force_setattr(call, "raw_headers", headers)
        job = Job(performed, self._over)
        self._jobs[job.name] = job
        tell, performed.answer = performed.answer, job.answer
        place = "../" * (call.path.count("/") - 1) + f"-/jobs/{job.name}"  # wherever we are mounted
        body = msgspec.json.encode({"job": job.name, "place": place})
        reply = Reply(body, 202, (("location", place), ("preference-applied", "respond-async")))
        tell(call, self._dispatcher.marked(call, reply))

    def _over(self, job: Job) -> None:
        self._timers[job.name] = self._dispatcher.reactor.callLater(self._age, self._forget, job.name)

    def _forget(self, name: str) -> None:
        del self._jobs[name]
        timer = self._timers.pop(name)
        if timer.active():
            timer.cancel()

    def stop(self) -> None:
        """Forget all."""
        for name in list(self._timers):
            self._forget(name)

    def _find(self, name: str, call: Call) -> Job:
        job = self._jobs.get(name)
        if job is None or job.user != call.user:
            raise HTTPError(404, "there is no such job, or it is over for too long")
        return job

    # ---- the functions ----

    async def index(self, call: Call) -> Reply:
        """All jobs of whoever asks, the newest first."""
        jobs = [job.document() for job in reversed(self._jobs.values()) if job.user == call.user]
        return _shown({"jobs": jobs})

    async def show(self, job: str, call: Call) -> Reply:
        """What became of a job: its state, its progress, and its result or error."""
        return _shown(self._find(job, call).document())

    async def result(self, job: str, call: Call) -> Reply:
        """The answer that the call would have had; 404 while there is none."""
        reply = self._find(job, call).reply
        if reply is None:
            raise HTTPError(404, "the job is not over")
        if reply.body and "content-type" not in dict(reply.headers):
            return replace(reply, headers=(("content-type", JSON[0]), *reply.headers))
        return reply

    async def cancel(self, job: str, call: Call) -> Reply:
        """Cancel a job, or forget it if it is over."""
        found = self._find(job, call)
        if found.reply is None:
            found.cancel(self._dispatcher)
        else:
            self._forget(job)
        return _shown(found.document())


def _shown(document: dict[str, Any]) -> Reply:
    body = msgspec.json.encode(document)
    return Reply(body, 200, (("content-type", JSON[0]), ("cache-control", "no-store")))
