"""All jobs of a server: calls whose clients do not wait (C{Prefer: respond-async}; RFC 7240, section 4.1).

Strategy: such a call is performed like any other. The client receives the address of a job at once, and the
job receives the reply. All results together are limited in bytes.
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

LISTED = 100  # the newest jobs, which the list shows


class Jobs:
    """
    The jobs of a service, limited in number, bytes and age.

    @param most: maximum number of jobs. The oldest finished job makes room for a new one.
    @param most_bytes: maximum number of bytes of results and progress. The oldest finished jobs make room.
    @param age: seconds for which a finished job is kept.
    """

    def __init__(self, dispatcher: Dispatcher, most: int, most_bytes: int, age: float) -> None:
        self._dispatcher, self._most, self._most_bytes, self._age = dispatcher, most, most_bytes, age
        self._bytes = 0  # bytes that all jobs keep
        self._jobs: dict[str, Job] = {}
        self._timers: dict[str, Any] = {}

    def url_patterns(self) -> tuple[Any, ...]:
        """Return the table of the functions below."""
        return (
            Route(r"/-/jobs", self.index, methods=("GET",)),
            Route(r"/-/jobs/(?P<job>)", self.show, methods=("GET",)),
            Route(r"/-/jobs/(?P<job>)", self.cancel, methods=("DELETE",)),
            Route(r"/-/jobs/(?P<job>)/result", self.result, methods=("GET",)),
        )

    def take(self, pending: PendingCall) -> None:
        """
        Make a job of a call that is about to be submitted, and send its address to the client.

        @raise HTTPError: 503 if there are too many jobs.
        """
        if len(self._jobs) >= self._most:
            over = next((job for job in self._jobs.values() if job.reply is not None), None)
            if over is None:
                raise HTTPError(503, f"{self._most} jobs are running already")
            self._forget(over.name)
        call, limit, deadline = pending.call, pending.limit, pending.deadline
        if call.handler.timeout is None and limit is not None:  # the service's limit is for clients that wait
            limit.calls.pop(pending, None)
            pending.limit, deadline = None, 0.0
        # Without the Accept header, the items of a generator are JSON lines.
        headers = tuple(pair for pair in call.raw_headers if pair[0] != b"accept")
        pending.deadline = deadline
        pending.call = call = replace(call, raw_headers=headers, deadline=deadline)
        job = Job(pending, self._dispatcher, self._keep, self._over)
        self._jobs[job.name] = job
        answer, pending.answer = pending.answer, job.answer
        # Relative, because the application may be mounted anywhere.
        place = "../" * (call.path.count("/") - 1) + f"-/jobs/{job.name}"
        body = msgspec.json.encode({"job": job.name, "place": place})
        reply = Reply(body, 202, (("location", place), ("preference-applied", "respond-async")))
        answer(call, self._dispatcher.add_cors_headers(call, reply))

    def _over(self, job: Job) -> None:
        self._timers[job.name] = self._dispatcher.reactor.callLater(self._age, self._forget, job.name)

    def _keep(self, job: Job, size: int) -> bool:
        """Count the bytes that a job keeps, and make room for them. Returns whether there is room."""
        if self._jobs.get(job.name) is not job:  # The job was forgotten when the service stopped.
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
        """Forget all finished jobs."""
        for name in list(self._timers):
            self._forget(name)

    def _find(self, name: str, call: Call) -> Job:
        job = self._jobs.get(name)
        if job is None or job.user != call.user:
            raise HTTPError(404, "no such job; it may have expired")
        return job

    # ---- the functions ----

    async def index(self, call: Call) -> Reply:
        """Return the newest 100 jobs of this user without results, newest first, and their total."""
        jobs = [job for job in reversed(self._jobs.values()) if job.user == call.user]
        return _shown({"jobs": [job.summary() for job in jobs[:LISTED]], "total": len(jobs)})

    async def show(self, job: str, call: Call) -> Reply:
        """Return a job: its state, its progress, and its result or error."""
        return _shown(self._find(job, call).document())

    async def result(self, job: str, call: Call) -> Reply:
        """Return the reply that the call would have had; 404 until the job has finished."""
        reply = self._find(job, call).reply
        if reply is None:
            raise HTTPError(404, "the job has not finished")
        if reply.body and "content-type" not in dict(reply.headers):
            return replace(reply, headers=(("content-type", JSON[0]), *reply.headers))
        return reply

    async def cancel(self, job: str, call: Call) -> Reply:
        """Cancel a job, or delete it if it has finished."""
        found = self._find(job, call)
        if found.reply is None:
            found.cancel()
        else:
            self._forget(job)
        return _shown(found.document())


def _shown(document: dict[str, Any]) -> Reply:
    body = msgspec.json.encode(document)
    return Reply(body, 200, (("content-type", JSON[0]), ("cache-control", "no-store")))
