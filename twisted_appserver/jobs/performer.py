"""Performs stored jobs: the service is the worker of the queues of its routes.

Strategy: one request for each queue waits at the broker while its executor has a free place (L{jobs.slots}).
The call of a task is performed through the dispatcher. Meanwhile its lease is renewed. Its end is stored with
its reply (L{jobs.job_ends}). A lease that was lost before the function ended shows that its process has died,
or was out of reach.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_appserver.dispatch.background_calls import begin_background_call, submit_background_call
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.errors import AppserverError
from twisted_appserver.jobs.job import Job
from twisted_appserver.jobs.job_ends import AGAIN, JobEnds, log_lost
from twisted_appserver.jobs.retrying import error_of, pause_after
from twisted_appserver.jobs.route_queues import RouteQueues
from twisted_appserver.jobs.run import DIED, REMOVED, Run, failures, is_last, may_repeat
from twisted_appserver.jobs.slots import Slots
from twisted_appserver.queue.interface import SHUTDOWN, STOPPING, IBroker
from twisted_appserver.queue.queued_task import QueuedTask

LEASE = 60.0  # seconds; another host notices after so long that a process has died
WAIT = 3600.0  # seconds that a request for a job waits at the broker


class Performer:
    """
    @param most_bytes: maximum number of bytes of the results and the progress of the jobs that run here.
    @ivar runs: the jobs that this process has leased, by queue and number.
    """

    log = Logger()

    def __init__(self, dispatcher: Dispatcher, broker: IBroker, routes: RouteQueues, most_bytes: int) -> None:
        self._dispatcher, self._reactor = dispatcher, dispatcher.reactor
        self._broker, self._routes, self._most_bytes = broker, routes, most_bytes
        self._bytes = 0
        self._by = f"{socket.gethostname()}:{os.getpid()}"
        self._slots: dict[str, Slots] = {}
        self._loops: dict[str, Deferred[None]] = {}
        self._timer: Any = None
        self._performing: set[Deferred[None]] = set()
        self._ends = JobEnds(self._reactor, broker, self._follow, self._forget)
        self._taking = False
        self.runs: dict[tuple[str, int], Run] = {}

    # ---- the beginning and the end ----

    def start(self) -> None:
        """Begin to perform jobs."""
        self._taking, self._ends.stopped = True, False
        self._timer = self._reactor.callLater(LEASE / 3, self._renew)
        self.watch(self._routes.names)

    def watch(self, names: Iterable[str]) -> None:
        """Perform the jobs of queues, if that has not begun."""
        for name in names if self._taking else ():
            if name not in self._loops:
                loop = self._loops[name] = Deferred.fromCoroutine(self._take_jobs(name))
                loop.addErrback(lambda failure: failure.trap(CancelledError))
                loop.addErrback(lambda failure: self.log.failure("jobs are no longer performed", failure))
                loop.addBoth(self._forget_loop, name, loop)

    def _forget_loop(self, _: Any, name: str, loop: Deferred[None]) -> None:
        if self._loops.get(name) is loop:
            del self._loops[name]

    def rest(self) -> None:
        """Begin no further job."""
        self._taking = False
        for loop in list(self._loops.values()):
            loop.cancel()
        for slots in self._slots.values():
            slots.rest()

    async def stop(self) -> None:
        """
        End all jobs. Jobs that have not begun or may be repeated are given back. The others fail.

        @return: when this is stored.
        """
        self.rest()
        self._ends.stopped = True
        for run in list(self.runs.values()):
            if run.ending:
                continue
            if run.has_begun and not may_repeat(run.handler):
                run.job.fail(503, "the server was stopped while the job was running")  # type: ignore[union-attr]
            else:
                self._give_back(run)
        self._ends.flush()
        await DeferredList(list(self._performing))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _follow(self, coroutine: Any) -> None:
        """Run a coroutine, for which L{stop} waits."""
        followed = Deferred.fromCoroutine(coroutine)
        followed.addErrback(lambda failure: self.log.failure("internal error of a job", failure))
        if not followed.called:
            self._performing.add(followed)
            followed.addBoth(lambda _: self._performing.discard(followed))

    # ---- from the queue to the executor ----

    async def _take_jobs(self, name: str) -> None:
        """Perform the jobs of a queue, as long as the table has its route."""
        while self._taking and name in self._routes.names:
            try:
                is_refused = await self._take_next(name, self._slots_of(name))
            except AppserverError as error:
                self.log.warn("no job can be taken from {name}: {error}", name=name, error=error)
                is_refused = True
            if is_refused:
                await deferLater(self._reactor, AGAIN)

    async def _take_next(self, name: str, slots: Slots) -> bool:
        """
        Wait for a place and for jobs, and perform them. Return whether the broker refuses requests for a
        while.
        """
        ahead = getattr(self._routes.handler_of(name), "limits", None) is None
        if not slots.free(ahead):
            await slots.wait(ahead)
            await deferLater(self._reactor, 0)  # Other calls may end at the same time.
        if not (count := slots.reserve(ahead)):
            return False
        tasks = await self._get_ready(name, count, slots)
        for task in tasks:
            self._begin(name, task, slots)
        if tasks:
            return False
        found = await self._broker.get(name, LEASE, "", WAIT, self._by)
        if isinstance(found, QueuedTask):
            has_place = False
            try:
                has_place = await slots.take(ahead)
            finally:
                if not has_place:  # A leased job counts as running when the process dies.
                    self._follow(self._broker.release(name, found.number, 0.0, found.deliveries))
            if has_place:
                self._begin(name, found, slots)
        return found in (SHUTDOWN, STOPPING)

    async def _get_ready(self, name: str, count: int, slots: Slots) -> list[QueuedTask]:
        """Lease jobs that are ready, at most one for each place that was reserved."""
        tasks: list[QueuedTask] = []
        try:
            found = await self._broker.get_many(name, count, LEASE, "", 0.0, self._by)
            tasks = found if isinstance(found, list) else []
        finally:
            slots.settle(count, len(tasks))
        return tasks

    def _begin(self, name: str, task: QueuedTask, slots: Slots) -> None:
        """Perform a job that was leased, when it has a place."""
        if (name, task.number) in self.runs:  # The lease has ended here, too.
            self.lose(self.runs[name, task.number])
        try:
            run = Run(name, task)
        except ValueError as error:
            slots.give_back(None)
            self.log.error("{name}: a job is dropped, because its call cannot be read: {error}",
                           name=name, error=error)  # fmt: skip
            self._follow(self._broker.drop(name, task.number, b""))
            return
        self.runs[name, task.number] = run
        slots.begin(run)

    def _slots_of(self, name: str) -> Slots:
        executor = self._routes.executor_of(name)
        if executor not in self._slots:
            where = self._dispatcher.executors[executor]
            self._slots[executor] = Slots(self._reactor, where, self._perform, self._give_back)
        return self._slots[executor]

    def _perform(self, run: Run) -> None:
        """Perform a job that has a place."""
        try:
            self._route(run)
        except Exception:
            self.log.failure("internal error of a job")

    def _route(self, run: Run) -> None:
        stored, name = run.stored, run.queue
        found = self._routes.find(name, stored.method, stored.path)
        if found is None and name not in self._routes.names:  # The application was reloaded.
            self._give_back(run)
            return
        if found is None:  # The route has other methods, or another pattern of the same name.
            self.log.warn("{function} is not performed: {why}, {request_id}",
                          function=stored.function, why=REMOVED, request_id=stored.request_id)  # fmt: skip
            self._finish(run, run.problem(410, REMOVED))
            return
        run.handler, groups = found
        if run.task.deliveries > 1:
            self._follow(self._perform_again(run, groups))
        else:
            self._submit(run, groups)

    async def _perform_again(self, run: Run, groups: dict[str, str]) -> None:
        """Perform a job that was leased before, unless it must not be repeated."""
        details = await self._broker.show(run.queue, run.task.number)
        if run.lost or run.ending:
            return
        run.failures = failures(details)
        if is_last(run.handler, details):
            self.log.warn("{route} is not repeated: {why}, {request_id}",
                          route=run.handler.name, why=DIED, request_id=run.stored.request_id)  # fmt: skip
            self._finish(run, run.problem(502, DIED))
        else:
            self._submit(run, groups)

    def _submit(self, run: Run, groups: dict[str, str]) -> None:
        pending = begin_background_call(self._dispatcher, run.stored.to_call(run.handler, groups))
        run.job = Job(str(run.task.number), pending, self._dispatcher, self._keep, lambda _: self._ended(run))
        run.job.created, run.began = run.stored.created, pending.call.arrived
        pending.answer = run.job.answer
        submit_background_call(pending)

    def _keep(self, job: Job, size: int) -> bool:
        """Count the bytes that a job keeps. Returns whether there is room."""
        if self._bytes + size - job.size > self._most_bytes:
            return False
        self._bytes += size - job.size
        job.size = size
        return True

    # ---- from the executor to the queue ----

    def _ended(self, run: Run) -> None:
        run.ending = True
        reply: Any = run.job.reply if run.job is not None else None
        pause = None if self._ends.stopped else pause_after(run.handler, reply, run.failures + 1)
        if run.lost:
            return
        if run.slots is not None:
            run.slots.note(self._reactor.seconds() - run.began)
        if pause is None:
            self._finish(run, run.end())
        else:
            failure = error_of(reply), str(reply.traceback)
            self._leave(run)
            self._follow(self._ends.store(run, lambda: self._broker.fail(*run.place, failure, pause)))

    def _finish(self, run: Run, end: bytes) -> None:
        """Finish the task of a job, with its end as the result."""
        run.ending = True
        self._leave(run)
        self._ends.add(run, end)

    def _give_back(self, run: Run) -> None:
        """Let any process perform the job."""
        run.ending = True
        if run.job is not None:
            run.job.abandon()
        self._leave(run)
        self._forget(run)
        name, number, delivery = run.place
        self._follow(self._broker.release(name, number, 0.0, delivery))

    def _forget(self, run: Run) -> None:
        if self.runs.get(run.place[:2]) is run:
            del self.runs[run.place[:2]]

    def _leave(self, run: Run) -> None:
        """Give the place of a job back."""
        slots, run.slots = run.slots, None
        if slots is not None:
            slots.give_back(run)
        if run.job is not None:
            self._bytes -= run.job.size
            run.job.size = 0

    # ---- leases ----

    def _renew(self) -> None:
        self._timer = self._reactor.callLater(LEASE / 3, self._renew)
        by_queue: dict[str, list[Run]] = {}
        for run in self.runs.values():
            by_queue.setdefault(run.queue, []).append(run)
        for name, runs in by_queue.items():
            self._follow(self._renew_some(name, runs))

    async def _renew_some(self, name: str, runs: list[Run]) -> None:
        try:
            kept = await self._broker.renew(name, [run.place[1:] for run in runs], LEASE)
        except AppserverError as error:
            self.log.warn("the leases of jobs were not renewed: {error}", error=error)
            return
        for run, is_kept in zip(runs, kept, strict=True):
            if not is_kept and not run.ending:
                self.lose(run)
                log_lost(run)

    def lose(self, run: Run) -> None:
        """Abandon a job that another process has, or that was cancelled."""
        run.lost = True
        if run.job is not None:
            run.job.abandon()
        self._leave(run)
        self._forget(run)
