"""Calls performed on a Dask cluster.

Strategy: a call travels as bytes to L{executors.cluster.task.perform_calls}, which imports the application by
name, like a worker process, and looks up the function there. A task of Dask costs some milliseconds, so it
carries several calls if all of them should be quick, judging by earlier calls of the same functions. Dask has
a few more tasks than there are threads. Further calls wait here, where they can be dropped. Either all calls
of a task are idempotent, or none is: Dask may repeat idempotent calls, and L{executors.cluster.run_once}
keeps it from repeating others.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_appserver.core.application import Application
from twisted_appserver.core.call import Reply
from twisted_appserver.core.router import Router
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.call_costs import CallCosts
from twisted_appserver.executors.cluster.connection import DaskConnection
from twisted_appserver.executors.cluster.task import ONCE, REPEATABLE, BegunError, perform_calls
from twisted_appserver.executors.cluster.wire import decode_outcomes, encode_calls
from twisted_appserver.executors.file_reply import deliver
from twisted_appserver.executors.interface import IExecutor, PendingCall

TASKS_PER_THREAD = 2  # tasks that Dask has for each of its threads
MAX_CALLS = 8  # calls that a task may carry
MAX_DURATION = 0.15  # seconds that the calls of a task are expected to take at most, unless it is one call
GATHER_DELAY = 0.003  # seconds that calls wait for others to share their task while every thread has one


@implementer(IExecutor)
class DaskExecutor:
    """
    Performs calls on a cluster. Twisted must run on asyncio: C{twistd --reactor=asyncio}.

    @param application: where Dask's workers find the functions.
    @param scheduler: the address of a scheduler, like C{tcp://host:8786}; a cluster on this machine is
        started if it is empty.
    @param size: how many worker processes that cluster has; one for each core if C{None}.
    @param upload: whether to send the application's file to the workers.
    """

    log = Logger(namespace="twisted_appserver.executors.cluster")
    parked = 0  # Replies in parts are sent as a whole.
    here = reads_bodies = False
    now = None

    def __init__(
        self,
        reactor: Any,
        application: Application,
        router: Router,
        scheduler: str = "",
        size: int | None = None,
        upload: bool = False,
    ) -> None:
        self._reactor = reactor
        self.connection = DaskConnection(
            reactor, application, router, scheduler, size or os.cpu_count() or 1, upload,
            became_able=self._schedule, lost=self._fail_waiting,
        )  # fmt: skip
        self.completed = self.failed = 0
        self._waiting: deque[PendingCall] = deque()
        self._submitted: dict[PendingCall, Any] = {}  # calls that Dask has, with the futures of their tasks
        self._tasks: dict[Any, list[PendingCall]] = {}  # the calls of each task, by its future
        self._costs = CallCosts()
        self._timer: Any = None  # submits tasks

    @property
    def size(self) -> int:
        return self.connection.size

    @property
    def running(self) -> int:
        return min(len(self._tasks), self.size)

    @property
    def pending(self) -> int:
        return len(self._waiting) + len(self._submitted) - self.running

    def start(self) -> Deferred[None]:
        return self.connection.start()

    def adopt(self, router: Router) -> None:
        """
        Serve this table from now on. The workers' tables are compared with the new table when the workers are
        connected again.
        """
        self.connection.router = router
        self._costs.clear()

    def unready(self) -> str:
        return self.connection.unready()

    def calls(self) -> tuple[Sequence[PendingCall], Sequence[PendingCall]]:
        submitted = list(self._submitted)
        return submitted[: self.size], [*submitted[self.size :], *self._waiting]

    # ---- to the cluster ----

    def submit(self, pending: PendingCall) -> None:
        if not self.connection.is_open:
            raise _unavailable(self.connection.problem or "the scheduler is gone")
        self._waiting.append(pending)
        self._schedule()

    def _schedule(self) -> None:
        """Submit tasks in the next iteration of the reactor, or a little later if every thread has a task."""
        seconds = GATHER_DELAY if len(self._tasks) >= self.size else 0
        if self._timer is None:
            self._timer = self._reactor.callLater(seconds, self._submit_tasks)
        elif not seconds:
            self._timer.reset(0)

    def _submit_tasks(self) -> None:
        self._timer = None
        connection = self.connection
        while connection.is_open and self._waiting and len(self._tasks) < TASKS_PER_THREAD * self.size:
            calls = self._next_task()
            key = (REPEATABLE if calls[0].call.handler.idempotent else ONCE) + uuid4().hex
            data = encode_calls([each.call for each in calls])
            future = connection.client.submit(
                perform_calls, connection.location, data, key, key=key, pure=False
            )
            self._tasks[future] = calls
            self._submitted.update(dict.fromkeys(calls, future))
            connection.loop.create_task(self._await_task(calls, future))

    def _next_task(self) -> list[PendingCall]:
        """Return the calls of the next task: at most its share of all calls, so that each thread has work."""
        share = -(-(len(self._submitted) + len(self._waiting)) // (TASKS_PER_THREAD * self.size))
        calls = [self._waiting.popleft()]
        first = calls[0].call.handler
        seconds = self._costs.expected(first, MAX_DURATION)
        while self._waiting and len(calls) < min(MAX_CALLS, share):
            handler = self._waiting[0].call.handler
            seconds += self._costs.expected(handler, MAX_DURATION)
            if seconds > MAX_DURATION or handler.idempotent != first.idempotent:
                break
            calls.append(self._waiting.popleft())
        return calls

    # ---- from the cluster ----

    async def _await_task(self, calls: list[PendingCall], future: Any) -> None:
        outcomes: Sequence[Reply | HTTPError] = ()
        try:
            replies = decode_outcomes(await future)
            outcomes = [reply for reply, _ in replies]
            for pending, (_, seconds) in zip(calls, replies, strict=True):
                self._costs.learn(pending.call.handler, seconds)
        except (Exception, asyncio.CancelledError) as error:
            outcomes = [self._error(error, calls[0])] * len(calls)
        self._tasks.pop(future, None)
        for pending in calls:
            self._submitted.pop(pending, None)
        for pending, outcome in zip(calls, outcomes, strict=True):
            self._ended(pending, outcome)
        self._schedule()

    def _error(self, why: BaseException, first: PendingCall) -> HTTPError:
        """Return the error for the calls of a task that failed."""
        dask = self.connection.dask
        if isinstance(why, asyncio.CancelledError | dask.client.FutureCancelledError):
            return HTTPError(503, "the connection to the scheduler was lost; the call may have run")
        if isinstance(why, dask.scheduler.KilledWorker | BegunError):
            return HTTPError(502, "the cluster's worker died while it was running the call")
        self.log.error("{route} could not be performed: {why!r}", route=first.call.handler.name, why=why)
        return HTTPError(500, f"the cluster could not perform the call: {type(why).__name__}: {why}")

    def _ended(self, pending: PendingCall, outcome: Reply | HTTPError) -> None:
        if isinstance(outcome, Reply) and outcome.status < 500:
            self.completed += 1
        else:
            self.failed += 1
        deliver(pending, outcome)

    # ---- the end ----

    def _fail_waiting(self, why: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        for pending in waiting:
            self._ended(pending, _unavailable(why))

    def cancel(self, pending: PendingCall, kill: bool = False) -> None:
        with suppress(ValueError):
            self._waiting.remove(pending)
            return
        future, connection = self._submitted.get(pending), self.connection
        if future is None or not connection.is_open:
            return
        if all(each.called for each in self._tasks[future]):  # Dask drops the task if it has not begun.
            connection.loop.create_task(connection.client.cancel([future], force=True))

    def kill(self) -> None:
        for process in multiprocessing.active_children():  # the workers that Dask has started on this machine
            process.kill()

    def stop(self) -> Deferred[None]:
        self.connection.stop()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        for pending in [*self._waiting, *self._submitted]:
            pending.errback(HTTPError(503, "the server is stopping"))
        self._waiting.clear()
        return self.connection.close()


def _unavailable(why: str) -> HTTPError:
    return HTTPError(503, why, [("retry-after", "1")])
