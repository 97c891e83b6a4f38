"""Jobs in a store: they survive the process, and several hosts may share them.

Strategy: each route has a queue, a job is a task in it, and the L{Performer} is its worker. All that is known
of a job is read from the broker; only what changes while it runs is read from the process that runs it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from time import time
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.core.retry import YEAR
from twisted_appserver.dispatch.background_calls import ASYNC, seconds_to_wait, without_accept
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.errors import AppserverError, HTTPError
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.jobs.documents import (
    LISTED,
    About,
    Limit,
    State,
    Wanted,
    accepted,
    document,
    listed,
    no_such_job,
    result_of,
    shown,
    shows_tracebacks,
)
from twisted_appserver.jobs.idempotency import key_of
from twisted_appserver.jobs.interface import IJobs
from twisted_appserver.jobs.job import CANCELLED
from twisted_appserver.jobs.job_ends import AGAIN
from twisted_appserver.jobs.performer import LEASE, Performer
from twisted_appserver.jobs.recovery import recover
from twisted_appserver.jobs.repeating import call_not_kept, check_retry, repeated, retried
from twisted_appserver.jobs.route_queues import RouteQueues, queue_of, schedule_queue, tag_of
from twisted_appserver.jobs.run import REMOVED, shown_attempts
from twisted_appserver.jobs.scheduled_calls import ScheduledCalls
from twisted_appserver.jobs.scheduler import Scheduler
from twisted_appserver.jobs.stored_call import (
    FACTS,
    StoredReply,
    decode_end,
    decode_facts,
    encode_call,
    encode_end,
)
from twisted_appserver.jobs.stored_keys import find_reply, send_again, send_end, send_first
from twisted_appserver.jobs.stored_limits import limit_options, terms_of
from twisted_appserver.jobs.stored_list import StoredList
from twisted_appserver.jobs.waiting_client import WaitingClient
from twisted_appserver.queue.attempt import TaskDetails
from twisted_appserver.queue.interface import AwayError, IBroker, ReusedError, StoreError
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.task_ids import task_id, task_number

LEAST_REMEMBERED = 3600.0  # seconds for which the time of a scheduled call is remembered


@implementer(IJobs)
class StoredJobs:
    """
    The jobs of a service, in the queues of a broker.

    @param most: maximum number of waiting jobs of a route, and of its finished jobs.
    @param most_bytes: maximum number of bytes of the results of the jobs that run here.
    @param age: seconds for which a finished job is kept.
    """

    log = Logger()
    stored = True
    unavailable = ""

    def __init__(
        self,
        dispatcher: Dispatcher,
        broker: IBroker,
        most: int,
        most_bytes: int,
        age: float,
        wall: Callable[[], float] = time,
    ) -> None:
        self._dispatcher = dispatcher
        self.broker = self._broker = broker
        self._routes = RouteQueues(dispatcher)
        self._performer = Performer(dispatcher, broker, self._routes, most_bytes)
        self._list = StoredList(broker, self._performer, most, wall)
        self._scheduled = ScheduledCalls(dispatcher.reactor, broker, wall)
        self._scheduler = Scheduler(dispatcher, self.perform_at, partial(_last, self, broker), wall)
        kept = min(age, YEAR)
        self._options = {
            "maxsize": most, "keep": kept, "keep_count": most, "remember": max(kept, 1.0),
            "lease": LEASE, "max_deliveries": 0,
        }  # fmt: skip
        self._beginning: Deferred[None] | None = None
        self._prepared: set[str] = set()  # queues that have these options

    # ---- the beginning and the end ----

    def open(self) -> None:
        self._broker.start()

    def begin(self) -> None:
        self._beginning = Deferred.fromCoroutine(self._begin())
        self._beginning.addErrback(lambda failure: failure.trap(CancelledError))
        self._beginning.addErrback(lambda failure: self.log.failure("no job is performed", failure))

    async def _begin(self) -> None:
        while True:
            try:
                await recover(self._broker, self._routes)
            except AppserverError as error:
                self.log.warn("no job is performed yet: {error}", error=error)
                await deferLater(self._dispatcher.reactor, AGAIN)
            else:
                self._prepare_limited()
                self._performer.start()
                self._scheduler.follow_table()
                return

    def _prepare_limited(self) -> None:
        """Set the options of queues with limits, which may have jobs already."""
        for name in self._routes.limited():
            preparing = Deferred.fromCoroutine(self._prepare(name))
            preparing.addErrback(
                lambda failure: self.log.warn("limits are not set yet: {e}", e=failure.value)
            )

    def table_changed(self) -> None:
        self._prepared.clear()
        self._prepare_limited()
        self._performer.watch(self._routes.names)
        self._scheduler.follow_table()

    def rest(self) -> None:
        self._scheduler.stop()
        if self._beginning is not None:
            self._beginning.cancel()
        self._performer.rest()

    def stop(self) -> Deferred[None]:
        self._broker.stop_waiting()  # Clients that still wait get the addresses of their jobs.
        return Deferred.fromCoroutine(self._performer.stop())

    def close(self) -> Deferred[None]:
        self._prepared.clear()
        return self._broker.stop()

    # ---- new jobs ----

    def take(self, pending: PendingCall) -> bool:
        client = WaitingClient(self._dispatcher, pending, seconds_to_wait(pending.call))
        taken = Deferred.fromCoroutine(self._take(pending.call, client))
        taken.addErrback(lambda failure: self.log.failure("internal error of a job", failure))
        return True

    async def _take(self, call: Call, client: WaitingClient) -> None:
        """Store a job, and answer its client."""
        name = queue_of(call.handler)
        is_async = ASYNC.search(call.prefer) is not None
        try:
            key = key_of(call)
            number = await self._put(name, call, key)
        except ReusedError as error:
            job = self.name_of(name, error.number) if is_async else ""
            await send_again(self._broker, name, error.number, call, client, job)
        except HTTPError as error:
            client.refuse(error)
        except Exception:
            self.log.failure("a job was not stored, {request_id}", request_id=call.request_id)
            client.refuse(HTTPError(500, "the job was not stored; see the log of the server"))
        else:
            if key and not is_async:
                await send_first(self._broker, name, number, client)
            elif client.wait and await send_end(self._broker, name, number, client):
                if not key:
                    await self._broker.forget(name, number)
                return
            client.accept(self.name_of(name, number))

    async def put(self, call: Call, delay: float) -> str:
        name = queue_of(call.handler)
        try:
            number = await self._put(name, call, key_of(call), delay)
        except ReusedError as error:
            number = error.number
            await find_reply(self._broker, name, number, call, accepted(call, ""))
        return self.name_of(name, number)

    async def _put(self, name: str, call: Call, key: str, delay: float = 0.0) -> int:
        """Put a call into the queue of its route, and return the number of the task."""
        try:
            if name not in self._prepared:
                await self._prepare(name)
            body = encode_call(without_accept(call))
            task = QueuedTask(0, body, terms=terms_of(call))
            found = await self._broker.put(name, task, key, 0.0, delay)
        except AwayError as error:
            raise HTTPError(503, str(error), [("retry-after", "1")]) from None
        except StoreError as error:
            raise HTTPError(507, f"the job cannot be stored now: {error}", [("retry-after", "1")]) from None
        if not isinstance(found, QueuedTask):
            raise HTTPError(503, f"no further job can be stored: the queue of this route is {found}")
        return found.number

    async def _prepare(self, name: str, **others: Any) -> None:
        """Set the options of a queue, unless they are set."""
        if name in self._prepared:
            return
        options = {**self._options, **limit_options(self._routes.handler_of(name)), **others}
        config = await self._broker.config(name)
        if any(getattr(config, option) != value for option, value in options.items()):
            await self._broker.change(name, options)
        self._prepared.add(name)
        self._performer.watch((name,))

    async def perform_at(
        self,
        name: str,
        call: Call,
        due: float,
        sleep_until: Callable[[float], Awaitable[None]],
        begun: Callable[[str, float], None],
    ) -> tuple[str, str]:
        """
        Each host puts the call early, delayed until it is due, with the due time as its key. So the call
        exists once. If no host is up then, the next host to start performs it.
        """
        schedule = call.handler.schedule
        queue, period = schedule_queue(name, schedule.text), schedule.next(due) - due
        await self._prepare(queue, remember=min(max(4 * period, LEAST_REMEMBERED), YEAR))
        number, due = await self._scheduled.plan(queue, call, due, sleep_until)
        begun(job := self.name_of(queue, number), due)
        found = await self._scheduled.end(queue, number)
        state = "unknown" if found is None else decode_end(found.result)[0].state
        return job, state

    def name_of(self, queue: str, number: int) -> str:
        return self._list.name_of(queue, number)

    # ---- the functions ----

    def unfinished(self, user: str) -> int:
        return self._list.unfinished()

    async def index(
        self, call: Call, after: str = "", limit: Limit = LISTED, state: State = "", function: str = ""
    ) -> Reply:
        """Return a page of the jobs of this user without results, newest first, and their total."""
        wanted = Wanted(call.user, state, function)
        return listed(await self._list.all(), wanted, after, limit)

    async def _find(self, name: str, call: Call) -> tuple[str, int, About, StoredReply | None, TaskDetails]:
        """
        Find a job of the caller.

        @return: its queue, its number, its facts, its end if it has ended, and what the broker knows of it.
        @raise HTTPError: 404 if there is no such job.
        """
        tag, _, text = name.partition("-")
        names = [*self._routes.names, *await self._list.queues()]
        for queue in dict.fromkeys(each for each in names if tag_of(each) == tag):
            number = task_number(self._broker.secret, queue, text)
            details = await self._broker.show(queue, number) if number else None
            if details is None:
                continue
            outcome = None
            if details.task is not None:
                about = self._list.about(queue, details.task, details.result.state)
            else:
                about, outcome = decode_end(details.result.result)
            if about.user == call.user:
                return queue, number, about, outcome, details
        raise no_such_job()

    def _document(
        self,
        name: str,
        queue: str,
        number: int,
        about: About,
        end: StoredReply | None,
        details: TaskDetails,
    ) -> dict[str, Any]:
        progress, reply = b"", None
        run = self._performer.runs.get((queue, number))
        if end is not None:
            reply, progress = end.reply, end.progress
        elif run is not None:
            progress = run.progress
        attempts = shown_attempts(details, end, shows_tracebacks(self._dispatcher))
        shown = document(name, about, reply, progress, attempts)
        return {**shown, "queue": queue, "task": task_id(self._broker.secret, queue, number)}

    async def show(self, job: str, call: Call) -> Reply:
        """Return a job: its state, its progress, and its result or error."""
        return shown(self._document(job, *await self._find(job, call)))

    async def result(self, job: str, call: Call) -> Reply:
        """Return the reply that the call would have had; 404 until the job has finished."""
        outcome = (await self._find(job, call))[3]
        return result_of(None if outcome is None else outcome.reply)

    async def schedules(self) -> Reply:
        """Return the schedules, with the next time, the call that runs, and the last call of each."""
        return self._scheduler.index()

    async def retry(self, job: str, call: Call) -> Reply:
        """Repeat the call of a job that has failed, or begin the next attempt of a job now."""
        queue, number, about, end, details = await self._find(job, call)
        if end is None and details.result.state in ("delayed", "buried"):
            await self._broker.kick_task(queue, number)
            return retried(job)
        check_retry(about.state)
        if end is None or end.call is None:
            raise call_not_kept()
        found = self._routes.find(queue, end.call.method, end.call.path)
        if found is None:
            raise HTTPError(410, REMOVED)
        return retried(await self.put(repeated(end.call.to_call(*found), *found), 0.0))

    async def cancel(self, job: str, call: Call) -> Reply:
        """Cancel a job, or delete it if it has finished."""
        found = await self._find(job, call)
        queue, number, about, outcome, details = found
        if outcome is not None:
            await self._broker.forget(queue, number)
            return shown(self._document(job, *found))
        run = self._performer.runs.get((queue, number))
        progress = run.progress if run is not None else b""
        about.state = "cancelled"
        reply = problem_reply(HTTPError(410, CANCELLED), about.request_id)
        task = details.task.body if details.task is not None else b""
        if await self._broker.drop(queue, number, encode_end(about, reply, progress, task)) is None:
            return await self.show(job, call)  # It has ended meanwhile.
        if run is not None and not run.ending:
            self._performer.lose(run)
        return shown(document(job, about, reply, progress))


async def _last(jobs: StoredJobs, broker: IBroker, name: str, schedule: Any) -> tuple[str, str, float] | None:
    """Return the name, the state and the end of the last call of a schedule; C{None} if none is kept."""
    queue = schedule_queue(name, schedule.text)
    for ended in await broker.ended(queue, 1, FACTS):
        about = decode_facts(ended.result)
        return jobs.name_of(queue, ended.number), about.state if about else "unknown", ended.ended
    return None
