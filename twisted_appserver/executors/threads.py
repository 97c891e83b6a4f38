"""Calls performed in threads.

Strategy: handing each call to a thread and back one at a time costs more than the call. So calls wait in
one deque; a thread that is awake takes call after call from it, and leaves its replies in another deque,
which the reactor empties as a whole at one wake-up. As many threads are awake as there are calls, up to
the size, so that no call waits for a slow one while a thread is idle.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from threading import Lock
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_appserver.calls import Call, Reply, perform
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import IExecutor


class _Job:
    __slots__ = ("call", "deferred")

    def __init__(self, call: Call, deferred: Deferred[Reply]) -> None:
        self.call, self.deferred = call, deferred


@implementer(IExecutor)
class ThreadExecutor:
    """
    Performs calls in threads of a pool.

    @param reactor: an L{IReactorThreads} and L{IReactorTime}; its thread pool is used if none is given.
    @param size: how many threads at most; as many as the pool has if C{None}.
    @param pool: a L{twisted.python.threadpool.ThreadPool}, started and stopped by its owner.
    """

    def __init__(self, reactor: Any, size: int | None = None, pool: Any = None) -> None:
        self._reactor = reactor
        self._pool = pool
        self._size = size
        self.completed = self.failed = 0
        self._jobs: set[_Job] = set()  # submitted and not ended
        self._waiting: deque[_Job] = deque()
        self._ended: deque[tuple[_Job, Reply]] = deque()
        self._lock = Lock()  # over _awake, with the look into _waiting that decides on it
        self._awake = 0
        self._kicked = self._returning = False

    @property
    def size(self) -> int:
        return self._size or (self._pool or self._reactor.getThreadPool()).max

    @property
    def pending(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._jobs) - len(self._waiting)

    def start(self) -> Deferred[None]:
        return succeed(None)

    def submit(self, call: Call) -> Deferred[Reply]:
        deferred: Deferred[Reply] = Deferred(lambda _: self._drop(job))
        job = _Job(call, deferred)
        self._jobs.add(job)
        self._waiting.append(job)
        if not self._kicked:
            self._kicked = True
            self._reactor.callLater(0, self._kick)
        return deferred

    def _drop(self, job: _Job) -> None:
        with suppress(ValueError):  # it runs: its thread is left to it
            self._waiting.remove(job)
            self._jobs.discard(job)

    def _kick(self) -> None:
        """At the end of a reactor turn, wake a thread for every call that waits."""
        self._kicked = False
        with self._lock:
            count = min(len(self._waiting), self.size - self._awake)
            self._awake += count
        pool = self._pool or self._reactor.getThreadPool()
        for _ in range(count):
            pool.callInThread(self._work)

    def _work(self) -> None:
        """In a thread: perform calls until none waits."""
        while True:
            try:
                job = self._waiting.popleft()
            except IndexError:
                with self._lock:
                    if self._waiting:
                        continue
                    self._awake -= 1
                    return
            self._ended.append((job, perform(job.call)))
            if not self._returning:
                self._returning = True
                self._reactor.callFromThread(self._return)

    def _return(self) -> None:
        """Hand all replies that there are to those who wait for them. Each fails alone."""
        self._returning = False  # first, so that a thread that comes too late for this batch wakes the next
        while self._ended:
            job, reply = self._ended.popleft()
            self._jobs.discard(job)
            if reply.status < 500:
                self.completed += 1
            else:
                self.failed += 1
            if not job.deferred.called:
                job.deferred.callback(reply)

    def stop(self) -> Deferred[None]:
        self._waiting.clear()
        for job in list(self._jobs):
            if not job.deferred.called:
                job.deferred.errback(HTTPError(503, "the server is stopping"))
        return succeed(None)
