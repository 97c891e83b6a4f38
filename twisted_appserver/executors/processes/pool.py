"""Starts worker processes, keeps their number, replaces them and stops them.

A new worker is ready before an old one retires, so replacing workers interrupts nothing.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger, LogLevel

from twisted_appserver.core.application import Application
from twisted_appserver.core.router import Router
from twisted_appserver.errors import ConfigurationError
from twisted_appserver.executors.processes.head_start import spawn
from twisted_appserver.executors.processes.worker_process import CANCELLED, LATE, WorkerProcess

MAX_BACKOFF = 30.0  # seconds; the longest pause after a worker that failed to start
MAX_BACKOFF_KILLED = 1.0  # seconds; the longest pause after a worker that was killed from outside
MAX_DOUBLINGS = 30  # of a pause; more would exceed the range of numbers some day
RELOAD_TIMEOUT = 60.0  # seconds that new workers have to become ready during a reload
MEMORY_CHECK_INTERVAL = 1.0  # seconds between two checks of the memory of workers
MAX_KILLED = 5  # workers that may be killed from outside, one after the other, before a reload fails
JITTER = 0.1  # a fraction of max_requests, so that workers are not all replaced at once


class WorkerPool:
    """
    The workers of a L{ProcessExecutor}.

    @param executor: the executor, to which workers report.
    @param size: how many workers there are.
    @param max_requests: the number of calls after which a worker is replaced; 0 for never.
    @param max_rss: bytes of resident memory above which a worker is replaced; 0 for never.
    @ivar workers: all workers that have not ended.
    @ivar start_error: why the most recent worker failed to start; empty as soon as one is ready.
    @ivar restarts: how many workers have ended unexpectedly.
    """

    log = Logger()

    def __init__(
        self,
        executor: Any,
        reactor: Any,
        application: Application,
        size: int,
        max_requests: int,
        max_rss: int,
    ) -> None:
        self._executor, self._reactor, self._application, self._size = executor, reactor, application, size
        self._max_requests, self._max_rss = max_requests, max_rss
        self.workers: list[WorkerProcess] = []
        self.start_error = ""
        self.restarts = 0
        self._starting: Deferred[None] | None = None
        self._stopping: list[Deferred[None]] = []
        self._reload: tuple[Router, Deferred[None]] | None = None
        self._failures = 0  # workers that failed to start, since one became ready
        self._proven = False  # whether any worker has ever become ready
        self._timers: list[Any] = []

    def start(self) -> Deferred[None]:
        """
        Start all workers.

        @return: fires when all are ready; fails with L{ConfigurationError} if the first one fails to start.
        """
        self._starting, self._proven = Deferred(), False
        starting = self._starting
        if not all(self._spawn() for _ in range(self._size)):
            self._fail_start()
        if self._max_rss:
            self._schedule(MEMORY_CHECK_INTERVAL, self._check_memory)
        return starting

    def _schedule(self, seconds: float, function: Any) -> None:
        self._timers = [timer for timer in self._timers if timer.active()]
        self._timers.append(self._reactor.callLater(seconds, function))

    def _spawn(self, router: Router | None = None) -> WorkerProcess | None:
        """Start a worker. If the system refuses, store the reason in L{start_error} and return C{None}."""
        router = router or self._executor.router
        try:
            worker = (
                self._executor.head_start.take(self._executor, router) if self._executor.head_start else None
            )
            if worker is None:
                worker = WorkerProcess(self._executor, self._reactor, self._application, router)
                spawn(self._reactor, worker)
        except OSError as error:  # No descriptors, memory or processes are left.
            self._failures += 1
            self.start_error = f"a worker process cannot be started: {error}"
            self.log.error("{error}", error=self.start_error)
            return None
        self.workers.append(worker)
        if self._max_requests:
            worker.max_requests = self._max_requests + random.randint(0, int(JITTER * self._max_requests))
        return worker

    def _respawn(self, router: Router | None = None) -> None:
        """
        Start a worker in place of one that has ended.

        @param router: the table of that worker. Nothing happens if it has been replaced meanwhile.
        """
        wanted = self._executor.router if self._reload is None or router is None else self._reload[0]
        if router not in (None, wanted):
            return
        successors = {worker.successor for worker in self.workers}
        staying = [w for w in self.workers if w.router is wanted and not w.retired and w not in successors]
        if len(staying) < self._size and self._spawn(wanted) is None:
            self._schedule(self._backoff(MAX_BACKOFF), partial(self._respawn, router))

    def became_ready(self, worker: WorkerProcess) -> None:
        """Use a worker that has imported the application."""
        self._failures, self.start_error, self._proven = 0, "", True
        if self._reload is not None and worker.router is self._reload[0]:
            self._take_over()
            return
        worker.ready = True
        for old in self.workers:
            if old.successor is worker:
                old.retire()
        if self._starting is not None and sum(worker.ready for worker in self.workers) >= self._size:
            starting, self._starting = self._starting, None
            starting.callback(None)

    def worker_ended(self, worker: WorkerProcess, how: str) -> None:
        """Start another worker in place of one that has ended. Nothing else replaces dead workers."""
        self.workers.remove(worker)
        if self._stopping:
            if not self.workers:
                stopping, self._stopping = self._stopping, []
                for each in stopping:
                    each.callback(None)
            return
        if worker.retired:
            return
        # If a client or a time limit has caused the end, the server has not failed.
        level = {CANCELLED: LogLevel.info, LATE: LogLevel.warn}.get(worker.reason, LogLevel.error)
        self.log.emit(level, "worker {pid} {how}", pid=worker.pid, how=how)
        self.restarts += worker.reason != CANCELLED
        if not worker.was_ready:
            self._failures += 1
            self.start_error = f"a worker process {how}"
        pause = (
            0.0
            if worker.was_ready
            else self._backoff(MAX_BACKOFF_KILLED if worker.killed_from_outside else MAX_BACKOFF)
        )
        if self._reload is not None and worker.router is self._reload[0]:
            if not worker.was_ready and (not worker.killed_from_outside or self._failures > MAX_KILLED):
                self._fail_reload()
            else:  # It was killed from outside.
                self._schedule(pause, partial(self._respawn, worker.router))
            return
        old = next((old for old in self.workers if old.successor is worker), None)
        if old is not None:  # The old worker stays, and is replaced a little later.
            self._schedule(pause, partial(self._try_again, old))
        elif worker.successor is None:
            self._schedule(pause, self._respawn)
        if self._starting is not None and not self._proven:
            self._fail_start()

    def _fail_start(self) -> None:
        assert self._starting is not None
        starting, self._starting = self._starting, None
        starting.errback(ConfigurationError(self.start_error))

    def _backoff(self, longest: float) -> float:
        """Return the seconds until the next attempt to start a worker."""
        return float(min(0.1 * 2 ** min(self._failures, MAX_DOUBLINGS), longest))

    # ---- new before old ----

    def replace(self, worker: WorkerProcess) -> None:
        """Start a successor. As soon as it is ready, this worker finishes its calls and exits."""
        if worker.successor is None and not worker.retired:
            worker.successor = self._spawn()
            if worker.successor is None:
                self._schedule(self._backoff(MAX_BACKOFF), partial(self._try_again, worker))

    def _try_again(self, old: WorkerProcess) -> None:
        if old in self.workers:
            old.successor = None
            self.replace(old)

    def _check_memory(self) -> None:
        """Replace workers whose memory exceeds the limit."""
        self._schedule(MEMORY_CHECK_INTERVAL, self._check_memory)
        for worker in list(self.workers):
            if worker.ready and worker.memory() > self._max_rss:
                self.log.info("worker {pid} exceeds its memory limit and is replaced", pid=worker.pid)
                self.replace(worker)

    def reload(self, router: Router) -> Deferred[None]:
        """
        Start new workers, which import the application again, and let them take over.

        @param router: the new table of the application.
        @return: fires when the new workers have taken over. Fails with L{ConfigurationError} if one of them
            cannot start or is not ready within L{RELOAD_TIMEOUT} seconds; then the old workers still serve.
        """
        reloaded: Deferred[None] = Deferred(self._reload_timed_out).addTimeout(RELOAD_TIMEOUT, self._reactor)
        self._reload = router, reloaded
        if not all(self._spawn(router) for _ in range(self._size)):
            self._fail_reload()
        return reloaded

    def _take_over(self) -> None:
        assert self._reload is not None
        router, reloaded = self._reload
        fresh = [worker for worker in self.workers if worker.router is router]
        if len(fresh) < self._size or not all(worker.was_ready for worker in fresh):
            return
        self._reload = None
        for worker in self.workers:
            if worker in fresh:
                worker.ready = True
            else:
                worker.retire()
        self._executor.adopt(router)
        reloaded.callback(None)

    def _reload_timed_out(self, _: Deferred[None]) -> None:
        self.start_error = f"the new workers were not ready after {RELOAD_TIMEOUT:g} seconds"
        self._fail_reload()

    def _fail_reload(self) -> None:
        assert self._reload is not None
        router, reloaded = self._reload
        self._reload = None
        for worker in self.workers:
            if worker.router is router:
                worker.retire()
        reloaded.errback(ConfigurationError(self.start_error))

    # ---- the end ----

    def kill(self) -> None:
        """Kill all workers, because the server ends at once. May be called in a signal handler."""
        if self._executor.head_start is not None:
            self._executor.head_start.stop()
        for worker in self.workers:
            worker.kill_at_once()

    def stop(self) -> Deferred[None]:
        """
        End all workers.

        @return: fires when no worker is left.
        """
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        if self._starting is not None:
            starting, self._starting = self._starting, None
            starting.errback(ConfigurationError("stopped before the workers were ready"))
        if self._reload is not None:
            reloaded, self._reload = self._reload[1], None
            reloaded.errback(ConfigurationError("stopped before the new workers were ready"))
        if not self.workers:
            return succeed(None)
        self._stopping.append(Deferred())
        for worker in self.workers:
            worker.stop()
        return self._stopping[-1]
