"""Jobs in memory: calls whose clients do not wait (C{Prefer: respond-async}; RFC 7240, section 4.1).

Strategy: such a call is performed like any other. The client receives the address of a job at once, and the
job receives the reply. All results together are limited in bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from os import urandom
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.dispatch.background_calls import (
    ASYNC,
    begin_background_call,
    seconds_to_wait,
    submit_background_call,
    without_accept,
)
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.jobs.documents import (
    LISTED,
    Limit,
    State,
    Wanted,
    accepted,
    listed,
    no_such_job,
    result_of,
    shown,
)
from twisted_appserver.jobs.idempotency import fingerprint, key_of, repeated_reply
from twisted_appserver.jobs.interface import IJobs
from twisted_appserver.jobs.job import Job
from twisted_appserver.jobs.job_limits import JobLimits
from twisted_appserver.jobs.repeating import call_not_kept, check_retry, repeated, retried
from twisted_appserver.jobs.retrying import error_of, has_failed, pause_after
from twisted_appserver.jobs.route_queues import queue_of
from twisted_appserver.jobs.scheduler import Scheduler
from twisted_appserver.jobs.waiting_client import WaitingClient


@implementer(IJobs)
class MemoryJobs:
    """
    The jobs of a service, limited in number, bytes and age.

    @param most: maximum number of jobs. The oldest finished job makes room for a new one.
    @param most_bytes: maximum number of bytes of results and progress. The oldest finished jobs make room.
    @param age: seconds for which a finished job is kept.
    """

    stored = False
    unavailable = ""
    broker = None

    def __init__(self, dispatcher: Dispatcher, most: int, most_bytes: int, age: float) -> None:
        self._dispatcher, self._most, self._most_bytes, self._age = dispatcher, most, most_bytes, age
        self._bytes = 0  # bytes that all jobs keep
        self._jobs: dict[str, Job] = {}
        self._keys: dict[tuple[str, str], str] = {}  # names of jobs by route and key
        self._timers: dict[str, Any] = {}
        self._scheduler = Scheduler(dispatcher, self.perform_at)
        self._scheduled: dict[str, Job] = {}  # the last call of each schedule
        self._ends: dict[str, list[Deferred[None]]] = {}  # who waits for the end of a job
        self._limits = JobLimits(dispatcher.reactor)

    def take(self, pending: PendingCall) -> bool:
        if key := key_of(pending.call):
            self._take_key((queue_of(pending.call.handler), key), pending)
            return True
        self._make_room()
        call, limit, deadline = pending.call, pending.limit, pending.deadline
        call = without_accept(call)
        if wait := seconds_to_wait(call):
            self._begin(call, WaitingClient(self._dispatcher, pending, wait))
            return True
        if call.handler.limits is not None:
            job, begin = self._new(call)
            WaitingClient(self._dispatcher, pending, 0).accept(job.name)
            begin()
            return True
        if call.handler.timeout is None and limit is not None:  # the service's limit is for clients that wait
            limit.calls.pop(pending, None)
            pending.limit, deadline = None, 0.0
        pending.deadline = deadline
        pending.call = call = replace(call, deadline=deadline)
        job = self._add(pending)
        answer, pending.answer = pending.answer, job.answer
        answer(call, self._dispatcher.add_cors_headers(call, accepted(call, job.name)))
        return False

    def _take_key(self, key: tuple[str, str], pending: PendingCall) -> None:
        """Perform the first call with a key, and send its reply to each further one."""
        call, name = pending.call, self._keys.get(key, "")
        job = self._jobs.get(name)
        is_async = ASYNC.search(call.prefer) is not None
        if job is not None:
            reply = repeated_reply(call, job.fingerprint, accepted(call, name) if is_async else job.reply)
            client = WaitingClient(self._dispatcher, pending, seconds_to_wait(call))
            if is_async:
                job.add_client(client)
            else:
                client.finish(reply)
            return
        self._make_room()
        client = WaitingClient(self._dispatcher, pending, seconds_to_wait(call))
        job, begin = self._new(without_accept(call))
        self._keys[key] = job.name
        job.key, job.fingerprint = key, fingerprint(call)
        if is_async:
            job.add_client(client)
        else:
            job.clients.append(client)
        begin()

    async def put(self, call: Call, delay: float) -> str:
        key = queue_of(call.handler), key_of(call)
        if name := self._keys.get(key, ""):
            repeated_reply(call, self._jobs[name].fingerprint, accepted(call, name))
            return name
        self._make_room()
        job = self._waiting(call)
        if key[1]:
            self._keys[key] = job.name
            job.key, job.fingerprint = key, fingerprint(call)
        # A coroutine must not begin in a step of the coroutine that puts it.
        if call.handler.limits is None:
            self._begin_after(delay, job, call)
        else:
            due = self._dispatcher.reactor.seconds() + delay
            self._limits.enter(job.name, call, lambda: self._begin_at(due, job, call))
        return job.name

    def _begin_at(self, due: float, job: Job, call: Call) -> None:
        """Begin a job at a time of the reactor, or now if this time has passed."""
        self._begin_after(max(0.0, due - self._dispatcher.reactor.seconds()), job, call)

    def _begin_after(self, seconds: float, job: Job, call: Call) -> None:
        self._timers[job.name] = self._dispatcher.reactor.callLater(seconds, self._try_again, job, call)

    def _waiting(self, call: Call) -> Job:
        """Add a job that begins later."""
        job = self._add(PendingCall(call, lambda *_: None, lambda *_: None))
        job.wait()
        return job

    def _new(self, call: Call) -> tuple[Job, Callable[[], None]]:
        """Add a job. Return the job, and a function that begins the job as soon as its limits allow."""
        if call.handler.limits is None:
            pending = begin_background_call(self._dispatcher, call)
            job = self._add(pending)
            pending.answer = job.answer
            return job, lambda: submit_background_call(pending)
        job = self._waiting(call)
        return job, lambda: self._limits.enter(job.name, call, lambda: self._begin_after(0.0, job, call))

    def _make_room(self) -> None:
        """
        Delete the oldest finished job if the maximum number of jobs is reached.

        @raise HTTPError: 503 if none has finished.
        """
        if len(self._jobs) >= self._most:
            over = next((job for job in self._jobs.values() if job.reply is not None), None)
            if over is None:
                raise HTTPError(503, f"{self._most} jobs are running already")
            self._forget(over.name)

    async def perform_at(
        self,
        name: str,
        call: Call,
        due: float,
        sleep_until: Callable[[float], Awaitable[None]],
        begun: Callable[[str, float], None],
    ) -> tuple[str, str]:
        job = self._scheduled.get(name)
        if job is not None and job.reply is None:  # It began before the table was reloaded.
            begun(job.name, 0.0)
        else:
            await sleep_until(due)
            if job is not None and job.name in self._timers:
                self._forget(job.name)  # Only the last call of a schedule is kept.
            self._make_room()
            pending = begin_background_call(self._dispatcher, call)
            job = self._scheduled[name] = self._add(pending)
            begun(job.name, due)
            pending.answer = job.answer
            submit_background_call(pending)
        if job.reply is None:
            ended: Deferred[None] = Deferred()
            self._ends.setdefault(job.name, []).append(ended)
            await ended
        return job.name, job.state

    def _add(self, pending: PendingCall) -> Job:
        job = Job(urandom(16).hex(), pending, self._dispatcher, self._keep, self._over)
        self._jobs[job.name] = job
        return job

    def _begin(self, call: Call, client: WaitingClient) -> None:
        """Perform a job whose client waits for a while."""
        job, begin = self._new(call)
        job.add_client(client)
        begin()

    def _over(self, job: Job) -> None:
        before = self._timers.pop(job.name, None)  # if it was cancelled between two attempts
        if before is not None:
            before.cancel()
        call, reply, later = job.call, job.reply, self._dispatcher.reactor.callLater
        assert reply is not None
        if has_failed(reply) and job.state != "cancelled":
            job.add_failure(error_of(reply), reply.traceback)
        pause = None if call is None else pause_after(call.handler, reply, job.failures)
        if call is None or pause is None:
            job.call = None
            self._limits.leave(job.name)
            self._timers[job.name] = later(self._age, self._forget, job.name)
            for ended in self._ends.pop(job.name, ()):
                if not ended.called:
                    ended.callback(None)
            if job.answer_clients(reply) and not job.key:
                self._forget(job.name)
            return
        job.rest()
        self._begin_after(pause, job, call)

    def _try_again(self, job: Job, call: Call) -> None:
        del self._timers[job.name]
        self._limits.attempt(job.name, lambda: self._attempt(job, call))

    def _attempt(self, job: Job, call: Call) -> None:
        pending = begin_background_call(self._dispatcher, call)
        job.call = pending.call
        job.resume(pending)
        submit_background_call(pending)

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
        job = self._jobs.pop(name)
        self._bytes -= job.size
        if job.key:
            del self._keys[job.key]
        timer = self._timers.pop(name)
        if timer.active():
            timer.cancel()

    def open(self) -> None:
        """Nothing needs to be opened."""

    def begin(self) -> None:
        self._scheduler.follow_table()

    table_changed = begin

    def rest(self) -> None:
        self._scheduler.stop()

    def stop(self) -> Deferred[None]:
        for job in self._jobs.values():
            for client in job.clients if job.rests else ():  # The executors end running jobs.
                client.refuse(HTTPError(503, "the server is stopping"))
        return succeed(None)

    def close(self) -> Deferred[None]:
        self._limits.stop()
        for name in list(self._timers):
            self._forget(name)
        return succeed(None)

    def _find(self, name: str, call: Call) -> Job:
        job = self._jobs.get(name)
        if job is None or job.user != call.user:
            raise no_such_job()
        return job

    # ---- the functions ----

    def unfinished(self, user: str) -> int:
        return sum(job.reply is None and job.user == user for job in self._jobs.values())

    async def index(
        self, call: Call, after: str = "", limit: Limit = LISTED, state: State = "", function: str = ""
    ) -> Reply:
        """Return a page of the jobs of this user without results, newest first, and their total."""
        jobs = [(job.name, job.about(), job.shown_progress) for job in reversed(self._jobs.values())]
        return listed(jobs, Wanted(call.user, state, function), after, limit)

    async def show(self, job: str, call: Call) -> Reply:
        """Return a job: its state, its progress, and its result or error."""
        return shown(self._find(job, call).document())

    async def result(self, job: str, call: Call) -> Reply:
        """Return the reply that the call would have had; 404 until the job has finished."""
        return result_of(self._find(job, call).reply)

    async def schedules(self) -> Reply:
        """Return the schedules, with the next time, the call that runs, and the last call of each."""
        return self._scheduler.index()

    async def retry(self, job: str, call: Call) -> Reply:
        """Repeat the call of a job that has failed, or begin the next attempt of a job now."""
        found = self._find(job, call)
        if found.rests and found.call is not None and job in self._timers:
            self._timers[job].reset(0)
            return retried(job)
        check_retry(found.state)
        if found.repeatable is None:
            raise call_not_kept()
        matched = self._dispatcher.router.match(found.repeatable.method, found.repeatable.path)
        return retried(await self.put(repeated(found.repeatable, *matched), 0.0))

    async def cancel(self, job: str, call: Call) -> Reply:
        """Cancel a job, or delete it if it has finished."""
        found = self._find(job, call)
        if found.reply is None:
            found.cancel()
        else:
            self._forget(job)
        return shown(found.document())
