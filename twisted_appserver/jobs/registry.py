"""Calls whose client does not wait: it is told where to look, and looks when it likes (RFC 7240, 4.1).

Strategy: a call that prefers to be answered asynchronously is performed like any other. Only who gets its
reply changes: the client gets the address of a job at once, and the job gets the reply. All results together
are limited in bytes.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.routes import Route
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.jobs.job import JSON, Job

LISTED = 100  # jobs in the list: the newest


class Jobs:
    """
    The jobs of a service, limited in number, bytes and age.

    @param most: how many are kept; the oldest that is over makes room for a new one.
    @param most_bytes: how many bytes of results and progress are kept; the oldest that are over make room.
    @param age: seconds for which one is kept when it is over.
    """

    def __init__(self, dispatcher: Dispatcher, most: int, most_bytes: int, age: float) -> None:
        self._dispatcher, self._most, self._most_bytes, self._age = dispatcher, most, most_bytes, age
        self._bytes = 0  # that all jobs keep
        self._jobs: dict[str, Job] = {}
        self._timers: dict[str, Any] = {}

    def url_patterns(self) -> tuple[Any, ...]:
        """The table of its functions."""
        return (
            Route(r"/-/jobs", self.index, methods=("GET",)),
            Route(r"/-/jobs/(?P<job>)", self.show, methods=("GET",)),
            Route(r"/-/jobs/(?P<job>)", self.cancel, methods=("DELETE",)),
            Route(r"/-/jobs/(?P<job>)/result", self.result, methods=("GET",)),
        )

    def take(self, performed: PendingCall) -> None:
        """
        Make a job of a call that is about to be performed, and tell the client so.

        @raise HTTPError: 503 when there are too many.
        """
        if len(self._jobs) >= self._most:
            over = next((job for job in self._jobs.values() if job.reply is not None), None)
            if over is None:
                raise HTTPError(503, f"{self._most} jobs are at work already")
            self._forget(over.name)
        call, limit, deadline = performed.call, performed.limit, performed.deadline
        if call.handler.timeout is None and limit is not None:  # that of the service is for clients that wait
            limit.calls.pop(performed, None)
            performed.limit, deadline = None, 0.0
        headers = tuple(
            pair for pair in call.raw_headers if pair[0] != b"accept"
        )  # so that items are JSON lines
        performed.deadline = deadline
        performed.call = call = replace(call, raw_headers=headers, deadline=deadline)
        job = Job(performed, self._dispatcher, self._keep, self._over)
        self._jobs[job.name] = job
        tell, performed.answer = performed.answer, job.answer
        place = "../" * (call.path.count("/") - 1) + f"-/jobs/{job.name}"  # wherever we are mounted
        body = msgspec.json.encode({"job": job.name, "place": place})
        reply = Reply(body, 202, (("location", place), ("preference-applied", "respond-async")))
        tell(call, self._dispatcher.marked(call, reply))

    def _over(self, job: Job) -> None:
        self._timers[job.name] = self._dispatcher.reactor.callLater(self._age, self._forget, job.name)

    def _keep(self, job: Job, size: int) -> bool:
        """Count what a job keeps, and make room for it. Returns whether there is any."""
        if self._jobs.get(job.name) is not job:  # forgotten, when the service stopped
            return True
        wanted = self._bytes + size - job.size
        if wanted > self._most_bytes:
            over = [each for each in self._jobs.values() if each.reply is not None and each.size]
            if wanted - sum(each.size for each in over) > self._most_bytes:
                return False
            for each in over:
                if self._bytes + size - job.size > self._most_bytes:
                    self._forget(each.name)
        self._bytes += size - job.size
        job.size = size
        return True

    def _forget(self, name: str) -> None:
        self._bytes -= self._jobs.pop(name).size
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
            raise HTTPError(404, "no such job; it may have expired")
        return job

    # ---- the functions ----

    async def index(self, call: Call) -> Reply:
        """The newest 100 jobs of this user, the newest first, and how many there are. Without results."""
        jobs = [job for job in reversed(self._jobs.values()) if job.user == call.user]
        return _shown({"jobs": [job.summary() for job in jobs[:LISTED]], "total": len(jobs)})

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
            found.cancel()
        else:
            self._forget(job)
        return _shown(found.document())


def _shown(document: dict[str, Any]) -> Reply:
    body = msgspec.json.encode(document)
    return Reply(body, 200, (("content-type", JSON[0]), ("cache-control", "no-store")))
