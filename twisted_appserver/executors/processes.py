"""Calls performed in a pool of worker processes.

Strategy: the pool spawns its workers through the reactor and speaks frames with them on their standard
streams, which works wherever Twisted spawns processes. A worker has one call at a time; the others wait
here. A worker that dies fails the call that it was running, and is replaced, in L{_Worker.processEnded}
and nowhere else.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_appserver.application import Application
from twisted_appserver.calls import Call, Reply
from twisted_appserver.errors import ConfigurationError, HTTPError
from twisted_appserver.executors.frames import Calls, Fault, Frame, FrameReader, Ready, Replies, Start, encode
from twisted_appserver.executors.interface import IExecutor
from twisted_appserver.routing import Router

MODULE = "twisted_appserver.executors.worker"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BACK_OFF = 30.0  # seconds, the longest pause before a worker that did not start is tried again
PARTIAL = 1.0  # seconds after which a line without an end is logged as it is


class _Job:
    __slots__ = ("call", "deferred")

    def __init__(self, call: Call, deferred: Deferred[Reply]) -> None:
        self.call, self.deferred = call, deferred


class _Output:
    """What a worker prints, to the log line by line."""

    log = Logger(namespace="twisted_appserver.worker")

    def __init__(self, reactor: Any, pid: int) -> None:
        self._reactor, self._pid = reactor, pid
        self._partial = b""
        self._timer: Any = None

    def write(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._line(line)
        if self._partial and self._timer is None:
            self._timer = self._reactor.callLater(PARTIAL, self.flush)

    def flush(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._partial:
            self._line(self._partial)
            self._partial = b""

    def _line(self, line: bytes) -> None:
        self.log.info("[{pid}] {line}", pid=self._pid, line=line.decode("utf-8", "replace").rstrip("\r"))


class _Worker(ProcessProtocol):
    """One worker process, as the pool sees it."""

    transport: Any
    pid: int
    output: _Output

    def __init__(self, pool: ProcessExecutor) -> None:
        self.pool = pool
        self.reader = FrameReader()
        self.job: _Job | None = None
        self.ready = False
        self.reason = ""

    def connectionMade(self) -> None:
        self.pid = self.transport.pid
        self.output = _Output(self.pool.reactor, self.pid)
        application = self.pool.application
        environ = {"PYTHONPATH": os.environ.get("PYTHONPATH")}
        self.send(Start(sys.path, environ, application.module, application.file, application.name))

    def send(self, frame: Frame) -> None:
        self.transport.write(encode(frame))

    def perform(self, job: _Job) -> None:
        self.job = job
        self.send(Calls([job.call]))

    def outReceived(self, data: bytes) -> None:
        try:
            frames = self.reader.feed(data)
        except ValueError as error:
            self.reason = f"sent what is no frame: {error}"
            self.kill()
            return
        for frame in frames:
            self._received(frame)

    def _received(self, frame: Frame) -> None:
        if isinstance(frame, Replies):
            for reply in frame.replies:
                job, self.job = self.job, None
                self.pool.ended(job, reply)
            self.pool.assign()
        elif isinstance(frame, Ready):
            names = [handler.name for handler in self.pool.router.handlers]
            if frame.names == names:
                self.ready = True
                self.pool.became_ready()
            else:
                self.reason = "its url_patterns differ from the server's"
                self.kill()
        elif isinstance(frame, Fault):
            self.reason = frame.reason

    def errReceived(self, data: bytes) -> None:
        self.output.write(data)

    def kill(self) -> None:
        with suppress(ProcessExitedAlready):  # then processEnded is on its way
            self.transport.signalProcess("KILL")

    def processEnded(self, reason: Failure) -> None:
        self.output.flush()
        number = getattr(reason.value, "signal", None)
        status = getattr(reason.value, "exitCode", None)
        how = f"was killed by {signal.Signals(number).name}" if number else f"ended with status {status}"
        self.pool.worker_ended(self, f"{how}: {self.reason}" if self.reason else how)


@implementer(IExecutor)
class ProcessExecutor:
    """
    Performs calls in worker processes.

    @param reactor: an L{IReactorProcess} and L{IReactorTime}.
    @param application: where the workers find the functions, as for C{--app}.
    @param size: how many workers; one for each core if C{None}.
    @param router: the application's table, if it is loaded already.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        application: Application | str,
        size: int | None = None,
        router: Router | None = None,
    ) -> None:
        self.reactor = reactor
        self.application = Application.parse(application) if isinstance(application, str) else application
        self.router = router or Router(self.application.load())
        self.size = size or os.cpu_count() or 1
        self.completed = self.failed = 0
        self._waiting: deque[_Job] = deque()
        self._workers: list[_Worker] = []
        self._starting: Deferred[None] | None = None
        self._stopping: Deferred[None] | None = None
        self._failures = 0  # of workers, since one became ready
        self._retries: list[Any] = []

    @property
    def pending(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return sum(worker.job is not None for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        """Of the workers that take calls."""
        return [worker.pid for worker in self._workers if worker.ready]

    def start(self) -> Deferred[None]:
        self._starting = Deferred()
        self._stopping = None
        for _ in range(self.size):
            self._spawn()
        return self._starting

    def _spawn(self) -> None:
        worker = _Worker(self)
        self._workers.append(worker)
        search = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-m", MODULE]
        self.reactor.spawnProcess(worker, sys.executable, command, {**os.environ, "PYTHONPATH": search})

    def submit(self, call: Call) -> Deferred[Reply]:
        deferred: Deferred[Reply] = Deferred(lambda _: self._drop(job))
        job = _Job(call, deferred)
        self._waiting.append(job)
        self.assign()
        return deferred

    def _drop(self, job: _Job) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
        elif 0 < job.call.deadline <= self.reactor.seconds():
            for worker in self._workers:
                if worker.job is job:
                    worker.reason = "its call took longer than its time limit"
                    worker.kill()

    def assign(self) -> None:
        """Give the calls that wait to the workers that are free."""
        for worker in self._workers:
            if not self._waiting:
                break
            if worker.ready and worker.job is None:
                worker.perform(self._waiting.popleft())

    def ended(self, job: _Job | None, outcome: Reply | HTTPError) -> None:
        """Hand a job's outcome to those who wait for it."""
        if isinstance(outcome, Reply) and outcome.status < 500:
            self.completed += 1
        else:
            self.failed += 1
        if job is not None and not job.deferred.called:
            job.deferred.callback(outcome) if isinstance(outcome, Reply) else job.deferred.errback(outcome)

    def became_ready(self) -> None:
        self._failures = 0
        if self._starting is not None and all(worker.ready for worker in self._workers):
            starting, self._starting = self._starting, None
            starting.callback(None)
        self.assign()

    def worker_ended(self, worker: _Worker, how: str) -> None:
        """Fail the call that it was running, and put another in its place."""
        self._workers.remove(worker)
        if worker.job is not None:
            self.ended(worker.job, HTTPError(502, f"the worker process {how}"))
        if self._stopping is not None:
            if not self._workers:
                self._stopping.callback(None)
            return
        self.log.error("worker {pid} {how}", pid=worker.pid, how=how)
        if not worker.ready and self._starting is not None:
            starting, self._starting = self._starting, None
            starting.errback(ConfigurationError(f"a worker process {how}"))
        self._failures += not worker.ready
        pause = 0.0 if worker.ready else min(0.1 * 2**self._failures, BACK_OFF)
        self._retries = [retry for retry in self._retries if retry.active()]
        self._retries.append(self.reactor.callLater(pause, self._spawn))

    def stop(self) -> Deferred[None]:
        for retry in self._retries:
            if retry.active():
                retry.cancel()
        while self._waiting:
            self.ended(self._waiting.popleft(), HTTPError(503, "the server is stopping"))
        if not self._workers:
            return succeed(None)
        self._stopping = Deferred()
        for worker in self._workers:
            if worker.job is None and worker.ready:
                worker.transport.closeStdin()
            else:
                worker.kill()
        return self._stopping
