"""Takes the jobs that functions put with C{jobs.put}, in the process of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from concurrent.futures import Future
from threading import Lock, get_ident

from twisted.internet.defer import Deferred
from twisted.python import threadable

from twisted_appserver.core.call import Call
from twisted_appserver.core.enqueueing import EnqueuedJob, register, unregister
from twisted_appserver.core.router import Router
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.errors import AppserverError, HTTPError, JobError

STOPPED = "the service has stopped"
ON_REACTOR = "jobs.put() would block the reactor; write await jobs.put_async(...)"


class PutJobs:
    """
    Takes jobs for a service.

    @param dispatcher: the dispatcher of the service, which has the jobs and the table.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._lock = Lock()  # protects the following attributes
        self._waiting: set[Future[EnqueuedJob]] = set()
        self._open = False

    @property
    def router(self) -> Router:
        """The table that is served now."""
        return self._dispatcher.router

    def open(self) -> None:
        """Take jobs from now on, unless the service has none."""
        self._open = self._dispatcher.jobs is not None
        if self._open:
            register(self)

    def close(self) -> None:
        """Take no further jobs. Threads that wait get an error."""
        unregister(self)
        with self._lock:
            self._open = False
            waiting, self._waiting = self._waiting, set()
        for future in waiting:
            future.set_exception(JobError(STOPPED))

    def take_and_wait(self, call: Call, delay: float) -> EnqueuedJob:
        """As L{core.enqueueing.JobTaker.take_and_wait}."""
        if self._is_on_reactor():
            raise JobError(ON_REACTOR)
        future: Future[EnqueuedJob] = Future()
        with self._lock:
            if not self._open:
                raise JobError(STOPPED)
            self._waiting.add(future)
        self._dispatcher.reactor.callFromThread(self._take_for, future, call, delay)
        return future.result()

    def _is_on_reactor(self) -> bool:
        return threadable.ioThread in (None, get_ident())  # None before the reactor runs

    def _take_for(self, future: Future[EnqueuedJob], call: Call, delay: float) -> None:
        """Take a job for a thread that waits."""

        def settle(outcome: object) -> None:
            with self._lock:
                waits = future in self._waiting
                self._waiting.discard(future)
            if not waits:
                return
            if isinstance(outcome, EnqueuedJob):
                future.set_result(outcome)
            else:
                future.set_exception(outcome.value)  # type: ignore[attr-defined]

        Deferred.fromCoroutine(self.take(call, delay)).addBoth(settle)

    def take_soon(self, call: Call, delay: float) -> Awaitable[EnqueuedJob]:
        """As L{core.enqueueing.JobTaker.take_soon}: a C{Deferred}, or a coroutine in another thread."""
        if self._is_on_reactor():
            return Deferred.fromCoroutine(self.take(call, delay))
        return asyncio.to_thread(self.take_and_wait, call, delay)

    async def take(self, call: Call, delay: float) -> EnqueuedJob:
        """Make a job of a call. Call this in the reactor's thread."""
        if not self._open:
            raise JobError(STOPPED)
        try:
            return EnqueuedJob(await self._dispatcher.jobs.put(call, delay))
        except HTTPError as error:
            raise JobError(f"{call.handler.name}: {error.detail}") from None
        except AppserverError as error:
            raise JobError(f"{call.handler.name}: {error}") from None
