"""Calls performed in a pool of worker processes.

Strategy: calls wait here. When the reactor has read everything that is readable, waiting calls are assigned
to workers. A free worker gets a call of any kind. A worker gets several calls only if all of them are
expected to be quick, judging by earlier calls of the same functions. If one of them is slow after all, the
calls behind it are taken back for a free worker. When a worker dies, L{ProcessExecutor.worker_ended} fails
the call that it was running, and L{WorkerPool.worker_ended} replaces the worker. Nothing else fails such
calls or replaces workers.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
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
from twisted_appserver.executors.file_reply import deliver
from twisted_appserver.executors.interface import IExecutor, PendingCall
from twisted_appserver.executors.processes.head_start import HeadStart
from twisted_appserver.executors.processes.pool import WorkerPool
from twisted_appserver.executors.processes.worker_process import CANCELLED, WorkerProcess

QUICK = 0.0005  # seconds that a quick call takes at most
AHEAD = 32  # maximum number of quick calls that a worker has at the same time
BUDGET = 0.002  # seconds that all of these may be expected to take
CALL_LOAD = 2  # what a call adds to the load of a worker; more than a generator that waits
STUCK = 0.005  # seconds without a reply after which calls are taken back from a worker


@implementer(IExecutor)
class ProcessExecutor:
    """
    Performs calls in worker processes.

    @param reactor: an C{IReactorProcess} and C{IReactorTime}.
    @param application: where the workers find the functions, as in C{--app}.
    @param size: the number of workers; C{None} for one per core.
    @param router: the application's table, if it has been loaded already.
    @param max_requests: calls after which a worker is replaced; 0 for never.
    @param max_rss: bytes of resident memory above which a worker is replaced; 0 for never.
    @param head_start: workers that have been started already.
    @ivar move: called with a waiting call that has another function since a reload. Returns whether another
        executor has taken it. C{None} if there is no other executor.
    """

    here = False
    reads_bodies = True
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
        self.reactor, self._at_end_of_turn = reactor, at_end_of_turn(reactor)
        self.application = Application.parse(application) if isinstance(application, str) else application
        self.router = router or Router(*self.application.load_all())
        self.size = size or os.cpu_count() or 1
        self.head_start = head_start
        self.move: Callable[[PendingCall], bool] | None = None
        self.pool = WorkerPool(self, reactor, self.application, self.size, max_requests, max_rss)
        self._workers = self.pool.workers
        self.completed = self.failed = 0
        self._waiting: deque[PendingCall] = deque()
        self._costs = CallCosts()
        self._assigning = self._stopped = False
        # The timer of _check_stuck, while a worker may have calls that it has not begun.
        self._stuck_timer: Any = None

    @property
    def pending(self) -> int:
        count = len(self._waiting)
        for (
            worker
        ) in self._workers:  # A loop, because this runs for each call and a generator expression costs more.
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
        """Generators that wait until their clients read."""
        return sum(worker.streams.parked for worker in self._workers)

    @property
    def idle(self) -> bool:
        """Whether every call that was submitted has ended."""
        busy = any(worker.assigned.calls or worker.streams.open for worker in self._workers)
        return not (self._waiting or busy)

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that accept calls."""
        return [worker.pid for worker in self._workers if worker.ready]

    def start(self) -> Deferred[None]:
        self._stopped = False
        return self.pool.start()

    def calls(self) -> tuple[Sequence[PendingCall], Sequence[PendingCall]]:
        given = [pending for worker in self._workers for pending in worker.assigned.calls]
        running = [pending for worker in self._workers for pending in worker.running_calls()]
        return running, [*(pending for pending in given if pending not in running), *self._waiting]

    def unready(self) -> str:
        if any(worker.ready for worker in self._workers):
            return ""
        return f"no worker process is ready: {self.pool.start_error or 'they are starting'}"

    # ---- calls ----

    def submit(self, pending: PendingCall) -> None:
        if self._stopped:
            self.finish(pending, HTTPError(503, "the server is stopping"))
            return
        self._waiting.append(pending)
        self.assign_soon()

    def assign_soon(self) -> None:
        """Assign waiting calls to workers when the reactor has read everything that is readable."""
        if self._waiting and not self._assigning:
            self._assigning = True
            self._at_end_of_turn(self._assign)

    def cancel(self, pending: PendingCall, kill: bool = False) -> None:
        if pending in self._waiting:
            self._waiting.remove(pending)
        elif kill:
            for worker in self._workers:
                worker.abort(pending)

    def _assign(self) -> None:
        self._assigning = False
        waiting = self._waiting
        free = [worker for worker in self._workers if worker.ready and not worker.assigned.paused]
        loads = [_load(worker) for worker in free]
        while waiting and free:
            cost = self._costs.expected(waiting[0].call.handler, QUICK)
            index = loads.index(min(loads))
            assigned = free[index].assigned
            calls = assigned.calls
            if calls and (cost >= QUICK or assigned.load + cost > BUDGET or len(calls) >= AHEAD):
                between = [each for each in free if each.streams.open and not each.assigned.calls]
                if not between:
                    break
                index, assigned = free.index(between[0]), between[0].assigned
            loads[index] += CALL_LOAD
            assigned.add(waiting.popleft(), cost if cost < QUICK else BUDGET)
        for worker in free:
            worker.flush()
        if self._stuck_timer is None and any(worker.assigned.calls for worker in free):
            self._stuck_timer = self.reactor.callLater(STUCK, self._check_stuck)

    def _check_stuck(self) -> None:
        """Take calls back from workers that are stuck, or busy longer than expected."""
        self._stuck_timer = None
        free = any(worker.ready and not worker.busy for worker in self._workers)
        for worker in self._workers:
            if worker.assigned.queued:
                self.requeue(worker.reclaim(free))
        if any(worker.assigned.queued for worker in self._workers):
            self._stuck_timer = self.reactor.callLater(STUCK, self._check_stuck)

    def requeue(self, calls: list[PendingCall]) -> None:
        """Let calls that a worker has not begun wait again, before all others."""
        self._waiting.extendleft(
            pending for pending in reversed(calls) if not pending.called and self._fits(pending)
        )
        self.assign_soon()

    def finish(self, pending: PendingCall, outcome: Reply | HTTPError, seconds: float | None = None) -> None:
        """Count a call as ended, and deliver its outcome."""
        if seconds is not None:
            self._costs.learn(pending.call.handler, seconds)
        if isinstance(outcome, Reply) and outcome.status < 500:
            self.completed += 1
        else:
            self.failed += 1
        deliver(pending, outcome)

    # ---- workers ----

    def became_ready(self, worker: WorkerProcess) -> None:
        self.pool.became_ready(worker)
        self.assign_soon()

    def worker_ended(self, worker: WorkerProcess, how: str) -> None:
        """Fail the call that the worker was running. Calls that the worker had not begun wait again."""
        running, rest = worker.assigned.unfinished()
        lost = [*([running] if running else []), *worker.streams.calls()]
        if self._stopped:
            for pending in [*lost, *rest]:
                self.finish(pending, HTTPError(503, "the server is stopping"))
        else:
            for pending in lost:
                unwanted = pending.called and (pending.stream is None or pending.stream.dropped)
                if unwanted and worker.reason == CANCELLED:
                    self.finish(pending, Reply(b"", 499))  # it has not failed
                else:
                    self.finish(pending, HTTPError(502, f"the worker process {how}"))
            self.requeue(rest)
        worker.streams.end_all()
        self.pool.worker_ended(worker, how)

    def reload(self, router: Router) -> Deferred[None]:
        """Like L{WorkerPool.reload}."""
        return self.pool.reload(router)

    def adopt(self, router: Router) -> None:
        """Use this table from now on. Waiting calls are routed again."""
        self.router = router
        self._costs.clear()
        waiting, self._waiting = self._waiting, deque()
        self._waiting.extend(pending for pending in waiting if self._fits(pending))

    def _fits(self, pending: PendingCall) -> bool:
        """
        Route a call again if the table has changed. A call that no entry matches now fails.

        @return: whether the call still waits here.
        """
        call = pending.call
        if call.handler.router is not self.router:
            try:
                handler, groups = self.router.match(call.method, call.path)
            except HTTPError as error:
                self.finish(pending, error)
                return False
            pending.call = replace(call, handler=handler, groups=groups)
            return self.move is None or not self.move(pending)
        return True

    def kill(self) -> None:
        self.pool.kill()

    def stop(self) -> Deferred[None]:
        self._stopped = True
        if self._stuck_timer is not None and self._stuck_timer.active():
            self._stuck_timer.cancel()
        while self._waiting:
            self.finish(self._waiting.popleft(), HTTPError(503, "the server is stopping"))
        for pending in [pending for worker in self._workers for pending in worker.streams.calls()]:
            pending.errback(HTTPError(503, "the server is stopping"))
        return self.pool.stop()


def _load(worker: WorkerProcess) -> int:
    """Return how busy a worker is. Idle workers come first, and workers that run a generator come last."""
    calls = CALL_LOAD * len(worker.assigned.calls)
    if not worker.streams.open:
        return calls
    return calls + (1 if worker.streams.running is None else CALL_LOAD * AHEAD)
