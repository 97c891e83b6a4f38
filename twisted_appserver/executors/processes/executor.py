"""Calls performed in a pool of worker processes.

Strategy: calls wait here, and go to the workers at the end of a reactor turn, when all that arrived in it
are known. A worker that is free gets a call of any kind. More calls than one go to a worker only if all of
them are known to be quick, from what calls of the same function took before; should one of them be slow
after all, those behind it are taken back for a worker that is free. A worker that dies fails the call that
it was running in L{ProcessExecutor.worker_ended}, and is replaced in L{WorkerPool.ended}, and nowhere else.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_appserver.core.application import Application
from twisted_appserver.core.call import Reply
from twisted_appserver.core.router import Router
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.call_costs import CallCosts
from twisted_appserver.executors.end_of_turn import at_end_of_turn
from twisted_appserver.executors.interface import IExecutor, PendingCall
from twisted_appserver.executors.processes.head_start import HeadStart
from twisted_appserver.executors.processes.pool import WorkerPool
from twisted_appserver.executors.processes.worker_process import WorkerProcess

QUICK = 0.0005  # seconds that a quick call takes at most
AHEAD = 32  # quick calls that a worker may have at the same time,
BUDGET = 0.002  # and the seconds that all of them are expected to take
STUCK = 0.005  # seconds without an answer after which calls are taken back from a worker


@implementer(IExecutor)
class ProcessExecutor:
    """
    Performs calls in worker processes.

    @param reactor: an C{IReactorProcess} and C{IReactorTime}.
    @param application: where the workers find the functions, as for C{--app}.
    @param size: how many workers; one for each core if C{None}.
    @param router: the application's table, if it is loaded already.
    @param max_requests: calls after which a worker is replaced; 0 for never.
    @param head_start: workers that have been started already.
    @param max_rss: bytes of resident memory above which it is; 0 for never.
    """

    now = None

    def __init__(
        self,
        reactor: Any,
        application: Application | str,
        size: int | None = None,
        router: Router | None = None,
        max_requests: int = 0,
        max_rss: int = 0,
        head_start: HeadStart | None = None,
    ) -> None:
        self.reactor, self._soon = reactor, at_end_of_turn(reactor)
        self.application = Application.parse(application) if isinstance(application, str) else application
        self.router = router or Router(self.application.load())
        self.size = size or os.cpu_count() or 1
        self.head_start = head_start
        self.pool = WorkerPool(self, reactor, self.application, self.size, max_requests, max_rss)
        self._workers = self.pool.workers
        self.completed = self.failed = 0
        self._waiting: deque[PendingCall] = deque()
        self._costs = CallCosts()
        self._kicked = self._stopped = False
        self._watch: Any = None  # a timer, while a worker may have calls that it has not begun

    @property
    def pending(self) -> int:
        count = len(self._waiting)
        for worker in self._workers:  # asked for at each call: a generator costs more
            if worker.streams.open:
                count += worker.assigned.queued
            elif len(worker.assigned.calls) > 1:
                count += len(worker.assigned.calls) - 1
        return count

    @property
    def running(self) -> int:
        return sum(worker.busy for worker in self._workers)

    @property
    def parked(self) -> int:
        """Generators that wait for their clients."""
        return sum(worker.streams.parked for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        """Of the workers that take calls."""
        return [worker.pid for worker in self._workers if worker.ready]

    def start(self) -> Deferred[None]:
        self._stopped = False
        return self.pool.start()

    def calls(self) -> tuple[Sequence[PendingCall], Sequence[PendingCall]]:
        given = [job for worker in self._workers for job in worker.assigned.calls]
        running = [job for worker in self._workers for job in worker.running_calls()]
        return running, [*(job for job in given if job not in running), *self._waiting]

    def unready(self) -> str:
        if any(worker.ready for worker in self._workers):
            return ""
        return f"no worker process is ready: {self.pool.start_error or 'they start'}"

    # ---- calls ----

    def submit(self, job: PendingCall) -> None:
        if self._stopped:
            self.ended(job, HTTPError(503, "the server is stopping"))
            return
        self._waiting.append(job)
        self.kick()

    def kick(self) -> None:
        """Give calls that wait to workers at the end of this reactor turn."""
        if self._waiting and not self._kicked:
            self._kicked = True
            self._soon(self._assign)

    def cancel(self, job: PendingCall, kill: bool = False) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
        elif kill:
            for worker in self._workers:
                worker.abort(job)

    def _assign(self) -> None:
        self._kicked = False
        waiting = self._waiting
        free = [worker for worker in self._workers if worker.ready and not worker.assigned.paused]
        while waiting and free:
            cost = self._costs.expected(waiting[0].call.handler, QUICK)
            assigned = min(free, key=_load).assigned
            calls = assigned.calls
            if calls and (cost >= QUICK or assigned.load + cost > BUDGET or len(calls) >= AHEAD):
                between = [each for each in free if each.streams.open and not each.assigned.calls]
                if not between:
                    break
                assigned = between[0].assigned
            assigned.add(waiting.popleft(), cost if cost < QUICK else BUDGET)
        for worker in free:
            worker.flush()
        if self._watch is None and any(worker.assigned.calls for worker in free):
            self._watch = self.reactor.callLater(STUCK, self._look)

    def _look(self) -> None:
        """Take calls back from workers that one call keeps longer than expected, or that stand still."""
        self._watch = None
        free = any(worker.ready and not worker.busy for worker in self._workers)
        for worker in self._workers:
            if worker.assigned.queued:
                self.requeue(worker.reclaim(free))
        if any(worker.assigned.queued for worker in self._workers):
            self._watch = self.reactor.callLater(STUCK, self._look)

    def requeue(self, jobs: list[PendingCall]) -> None:
        """Let calls that were given to a worker and not begun wait again, before all others."""
        self._waiting.extendleft(job for job in reversed(jobs) if not job.called and self._fits(job))
        self.kick()

    def ended(self, job: PendingCall, outcome: Reply | HTTPError, seconds: float | None = None) -> None:
        """Hand a job's outcome to those who wait for it."""
        if seconds is not None:
            self._costs.learn(job.call.handler, seconds)
        if isinstance(outcome, Reply) and outcome.status < 500:
            self.completed += 1
        else:
            self.failed += 1
        job.callback(outcome) if isinstance(outcome, Reply) else job.errback(outcome)

    # ---- the life of workers ----

    def became_ready(self, worker: WorkerProcess) -> None:
        self.pool.became_ready(worker)
        self.kick()

    def worker_ended(self, worker: WorkerProcess, how: str) -> None:
        """Fail the call that it was running; those that it had not begun wait again."""
        running, rest = worker.assigned.unfinished()
        lost = [*([running] if running else []), *worker.streams.calls()]
        if self._stopped:
            for job in [*lost, *rest]:
                self.ended(job, HTTPError(503, "the server is stopping"))
        else:
            for job in lost:
                self.ended(job, HTTPError(502, f"the worker process {how}"))
            self.requeue(rest)
        worker.streams.end_all()
        self.pool.ended(worker, how)

    def renew(self, router: Router) -> Deferred[None]:
        """As L{WorkerPool.renew}."""
        return self.pool.renew(router)

    def adopt(self, router: Router) -> None:
        """From now on workers have this table: what waits is routed anew."""
        self.router = router
        self._costs.clear()
        waiting, self._waiting = self._waiting, deque()
        self._waiting.extend(job for job in waiting if self._fits(job))

    def _fits(self, job: PendingCall) -> bool:
        """Have a call of an earlier table routed by this one; it fails where that has no place for it."""
        call = job.call
        if call.handler.router is not self.router:
            try:
                handler, groups = self.router.match(call.method, call.path)
            except HTTPError as error:
                self.ended(job, error)
                return False
            job.call = replace(call, handler=handler, groups=groups)
        return True

    def stop(self) -> Deferred[None]:
        self._stopped = True
        if self._watch is not None and self._watch.active():
            self._watch.cancel()
        while self._waiting:
            self.ended(self._waiting.popleft(), HTTPError(503, "the server is stopping"))
        for job in [job for worker in self._workers for job in worker.streams.calls()]:
            job.errback(HTTPError(503, "the server is stopping"))
        return self.pool.stop()


def _load(worker: WorkerProcess) -> int:
    """Its calls; one that is in the middle of a generator comes last, and one that has none first."""
    jobs = 2 * len(worker.assigned.calls)
    if not worker.streams.open:
        return jobs
    return jobs + (1 if worker.streams.running is None else 2 * AHEAD)
