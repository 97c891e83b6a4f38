"""One worker process, as its pool sees it: its frames, its calls, and what it prints."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec.structs import replace
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_appserver.core.application import Application
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.router import Router
from twisted_appserver.core.shadowed_modules import advice
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.executors.processes.frames import (
    LONGEST,
    Calls,
    Drop,
    End,
    Fault,
    Frame,
    FrameReader,
    Part,
    Ready,
    Replies,
    Resume,
    Start,
    encode,
    ready,
)
from twisted_appserver.executors.processes.progress import NO_LIMIT, Progress
from twisted_appserver.executors.stream import Stream

MARK = re.compile(rb"\x1e([^\x1e\x1f]*)\x1f")  # the id of the call that a line comes of
PARTIAL_LINE_DELAY = 1.0  # seconds after which a line without an end is logged as it is
CLOSE_CHECK_INTERVAL = 5.0  # seconds between two looks at a generator that was closed
RETIRE_TIMEOUT = 10.0  # seconds that a worker which was replaced has to end by itself,
STALL_TIMEOUT = 10.0  # and that it has to go on where it has begun nothing of what it has,
STOP_TIMEOUT = 0.5  # and to end when the server stops
LAST_FRAMES_TIMEOUT = 0.5  # seconds after its exit in which its last frames are read


class WorkerOutput:
    """What a worker prints, to the log line by line."""

    log = Logger(namespace="twisted_appserver.worker")

    def __init__(self, reactor: Any, pid: int) -> None:
        self._reactor, self._pid = reactor, pid
        self.last = ""  # the last line that was not empty
        self._partial = b""
        self._timer: Any = None

    def write(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._line(line)
        if self._partial and self._timer is None:
            self._timer = self._reactor.callLater(PARTIAL_LINE_DELAY, self.flush)

    def flush(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._partial:
            self._line(self._partial)
            self._partial = b""

    def _line(self, line: bytes) -> None:
        marks = MARK.findall(line)
        shown = MARK.sub(b"", line).decode("utf-8", "replace").rstrip("\r")
        self.last = shown.strip() or self.last
        request_id = marks[-1].decode("utf-8", "replace") if marks else ""
        self.log.info("[{pid}] {line}", pid=self._pid, line=shown, request_id=request_id)


class WorkerProcess(ProcessProtocol):
    """
    A worker process.

    @param executor: the L{ProcessExecutor} that is told what becomes of it and of its calls.
    @param router: the table that it must have too; C{None} until L{attach}.
    @ivar calls: what it was given and has not answered, in this order. Its calls are numbered from 1.
    @ivar load: seconds that all of these are expected to take.
    @ivar ready: whether it takes calls.
    @ivar successor: the one that takes its place, once that is ready.
    @ivar retired: whether it takes no more calls, and ends when it has answered those that it has.
    @ivar max_requests: calls after which it is replaced; 0 for no limit.
    @ivar answered: calls that it has answered.
    @ivar paused: whether it may begin no more calls until it has answered all that it has.
    @ivar streams: answers that it sends in parts, until their generators have ended, by numbers of calls.
    """

    transport: Any
    pid: int
    _output: WorkerOutput

    def __init__(self, executor: Any, reactor: Any, application: Application, router: Router | None) -> None:
        self._executor, self._reactor, self._application = executor, reactor, application
        self.router = router
        self.successor: WorkerProcess | None = None
        self.retired, self.max_requests = False, 0
        self.started = reactor.seconds()
        self.calls: deque[PendingCall] = deque()
        self._unsent: list[Call] = []
        self.answered = 0
        self.load = 0.0
        self.ready = self.was_ready = self.paused = False
        self._last_answered = -1  # how many it had answered at the last look
        self._reclaimed: set[PendingCall] = set()
        self.streams: dict[int, tuple[PendingCall, Stream]] = {}
        self._closing: dict[int, Any] = {}  # timers of those whose generators must be closed by then
        self._sent = 0  # bytes
        self._reason = ""
        self._reader, self._progress = FrameReader(LONGEST), Progress()
        self._exit: Failure | None = None
        self._stdout_open = True  # whether frames may still come
        self._stderr_open = True  # whether it may still print something
        self._ended_reported = False
        self._timer: Any = None

    def attach(self, executor: Any, router: Router) -> None:
        """Belong to another pool, whose table is known."""
        self._executor, self.router = executor, router

    def release(self) -> None:
        """Give back what it has opened, if it has no process or nobody waits for the end of that."""
        self._progress.remove()
        self._progress.close()

    def connectionMade(self) -> None:
        self.pid = self.transport.pid
        self._pipes = getattr(self.transport, "pipes", {})  # none on Windows
        self._output = WorkerOutput(self._reactor, self.pid)
        where = self._application
        environ = {"PYTHONPATH": os.environ.get("PYTHONPATH")}
        self._send(Start(sys.path, environ, where.module, where.file, where.name, self._progress.path))

    def _send(self, frame: Frame) -> None:
        """Straight to the pipe, if nothing waits: C{transport.write} leaves it to the poller."""
        data = encode(frame)
        self._sent += len(data)
        pipe = self._pipes.get(0)
        if pipe is not None and not (pipe.dataBuffer or pipe._tempDataBuffer or pipe.disconnecting):
            with suppress(OSError):  # what is wrong, if it lasts, transport.write finds out
                data = data[os.write(pipe.fd, data) :]
        if data:
            self.transport.write(data)
        self._progress.sent = self._sent

    # ---- calls ----

    def assign(self, job: PendingCall, cost: float) -> None:
        """Have a call performed after those that it has; sent by L{flush}."""
        job.cost = cost
        self.load += cost
        self.calls.append(job)
        self._unsent.append(job.call)

    def flush(self) -> None:
        if self._unsent:
            calls, self._unsent = self._unsent, []
            self._send(Calls(calls))

    @property
    def running_call(self) -> PendingCall | None:
        """The call that it has begun and not answered."""
        return self.calls[0] if self.calls and self._progress.begun > self.answered else None

    @property
    def streaming_call(self) -> PendingCall | None:
        """The job whose generator runs at the moment."""
        found = self.streams.get(self._progress.generator) if self.streams else None
        return found and found[0]

    @property
    def _at_work(self) -> bool:
        """Whether a generator runs whose parts somebody wants."""
        found = self.streams.get(self._progress.generator)
        return found is not None and not found[1].dropped

    @property
    def queued(self) -> int:
        """How many calls it has that it has not begun."""
        return len(self.calls) - (self.running_call is not None)

    def reclaim(self, wanted: bool) -> list[PendingCall]:
        """
        Looks at it, time after time, while it has calls that it has not begun. If they are C{wanted}, since
        others are free, and it has answered nothing since the last look, it may begin no further one; at the
        look after that, if it still stands where it stood, they are taken back. One that stands still with
        nothing begun, and no generator at work, has no function to blame: it has to go on within some time,
        or is replaced.
        """
        stands = self._last_answered == self.answered
        self._last_answered = self.answered
        if self.paused:
            if stands and self._progress.begun <= self._progress.limit:
                begun = self.running_call is not None
                back = [job for job in list(self.calls)[begun:] if job not in self._reclaimed]
                self._reclaimed.update(back)
                if back and not begun and not self._at_work:
                    self._set_timer(STALL_TIMEOUT, self.kill, "it stood still")
                return back
        elif stands and wanted and self.queued:
            self.paused = True
            self._progress.limit = self.answered + (self.running_call is not None)
        return []

    def abort(self, job: PendingCall) -> None:
        """A job, perhaps one of this worker's, has taken too long or was cancelled."""
        first = bool(self.calls) and self.calls[0] is job  # runs, or should: it may stand still before that
        if self.streaming_call is job or (first and not self._withhold()):
            self.kill("its call took too long, or was cancelled")
        for number, (each, _) in self.streams.items():
            if each is job and number not in self._closing:
                self._closing[number] = self._reactor.callLater(
                    CLOSE_CHECK_INTERVAL, self._look_at, number, False
                )

    def _withhold(self) -> bool:
        """Keep the next call from beginning, if it waits for a generator that is at work. Returns whether."""
        if self.running_call or not self._at_work:
            return False
        self.paused, self._progress.limit = True, self.answered
        return self.running_call is None

    def _look_at(self, number: int, before: bool) -> None:
        """Kill it if a generator that was closed has been running since the last look."""
        runs = self._progress.generator == number
        if runs and before:
            self.kill("its generator did not end when it was closed")
        else:
            self._closing[number] = self._reactor.callLater(CLOSE_CHECK_INTERVAL, self._look_at, number, runs)

    def _grant(self, number: int, credits: int) -> None:
        if self._exit is None:
            self._send(Resume(number, credits))

    def _drop(self, number: int) -> None:
        if self._exit is None:
            self._send(Drop(number))

    def _begin_stream(self, job: PendingCall, reply: Reply) -> None:
        number = self.answered
        stream = Stream(partial(self._grant, number), partial(self._drop, number))
        self.streams[number] = job, stream
        job.begin(replace(reply, body=stream))

    def _continue(self, frame: Part | End) -> None:
        job, stream = self.streams.get(frame.number, (None, None))
        if isinstance(frame, Part):
            if stream is not None and frame.data:  # an empty chunk would end the body
                stream.part(frame.data)
        elif job is None or stream is None:
            self.kill("it ended what it had not begun")
        else:
            del self.streams[frame.number]
            self._expect(frame.number)
            stream.end(frame.failure, frame.error)
            self._executor.ended(job, Reply(b"", 500 if frame.failure else 200), frame.seconds)
            self._end_if_retired()

    def _expect(self, number: int) -> None:
        """A generator has ended."""
        timer = self._closing.pop(number, None)
        if timer is not None and timer.active():
            timer.cancel()

    def _replied(self, reply: Reply | None, seconds: float) -> None:
        if not self.calls:
            self.kill("it answered what it was not asked")
            return
        job = self.calls.popleft()
        self.answered += 1
        self.load = self.load - job.cost if self.calls else 0.0
        if reply is None:
            if job not in self._reclaimed:
                self._executor.requeue([job])
        elif reply.body is None:
            self._begin_stream(job, reply)
        else:
            self._executor.ended(job, reply, seconds)
        self._reclaimed.discard(job)
        if self.paused and not self.calls:
            self._cancel_timer()
            self.paused = False
            self._progress.limit = NO_LIMIT
        if self.retired:
            self._end_if_retired()
        elif self.max_requests and self.answered == self.max_requests:
            self._executor.pool.replace(self)

    def _end_if_retired(self) -> None:
        if self.retired and not (self.calls or self.streams):
            self._close(RETIRE_TIMEOUT)

    def unfinished(self) -> tuple[PendingCall | None, list[PendingCall]]:
        """Of a worker that has ended: the call that it was running, and those that it had not begun."""
        running = self.running_call
        rest = [job for job in self.calls if job is not running and job not in self._reclaimed]
        return (None if running in self._reclaimed else running), rest

    # ---- the process ----

    def outReceived(self, data: bytes) -> None:
        try:
            frames = self._reader.feed(data)
        except ValueError as error:
            self.kill(f"it sent a frame that is refused: {error}")
            return
        for frame in frames:
            if isinstance(frame, Replies):
                for reply, seconds in zip(frame.replies, frame.seconds, strict=True):
                    self._replied(reply, seconds)
            elif isinstance(frame, Part | End):
                self._continue(frame)
            elif isinstance(frame, Ready):
                self._started(frame)
            elif isinstance(frame, Fault):
                self._reason = frame.reason
        self._executor.kick()

    def _started(self, frame: Ready) -> None:
        self._progress.remove()
        if self.router is not None and frame == ready(self.router):
            self.was_ready = True
            self._executor.became_ready(self)
        else:
            self.kill("its url_patterns differ from the server's: reload that if the application has changed")

    def errReceived(self, data: bytes) -> None:
        self._output.write(data)

    def kill(self, reason: str) -> None:
        self._reason = self._reason or reason
        self.ready = False
        with suppress(ProcessExitedAlready):  # then its end is on its way
            self.transport.signalProcess("KILL")

    def retire(self) -> None:
        """Give it no more calls; it ends when it has answered those that it has."""
        self.retired, self.ready = True, False
        if not self.was_ready:
            self.kill("another one has taken its place")
        else:
            self._end_if_retired()

    def _close(self, seconds: float) -> None:
        """Have it end by itself, which a thread that some function has left may keep it from."""
        self.transport.closeStdin()
        if self._exit is None:
            self._set_timer(seconds, self._kill_late)

    def _kill_late(self) -> None:
        self._output.log.warn("worker {pid} does not end by itself: it is killed", pid=self.pid)
        self.kill("it did not end by itself")

    def _set_timer(self, seconds: float, function: Any, *args: Any) -> None:
        self._cancel_timer()
        self._timer = self._reactor.callLater(seconds, function, *args)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    @property
    def faulty(self) -> bool:
        """Whether it ended for a reason of its own, and not by a signal from nowhere."""
        return bool(self._reason) or getattr(self._exit and self._exit.value, "signal", None) is None

    @property
    def state(self) -> str:
        """What it does, in a word."""
        if not self.ready:
            return "ends" if self.retired or self.was_ready else "starts"
        return "runs" if self.calls or self.streaming_call else "waits"

    def memory(self) -> int:
        """Bytes of its resident set; 0 where the system does not tell (it has no /proc)."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError, AttributeError):
            return 0

    def stop(self) -> None:
        """Have it end: by itself if it is free."""
        if self.calls or not self.was_ready:
            self.kill("the server is stopping")
        else:
            self.ready = False
            self._close(STOP_TIMEOUT)

    # It has ended when it has exited and all its frames have been read; not only when what it started and
    # left behind has closed its standard error too, which processEnded waits for. What it forked has the
    # pipe of its frames too: that is not waited for long.

    def outConnectionLost(self) -> None:
        self._stdout_open = False
        self._ended()

    def errConnectionLost(self) -> None:
        self._stderr_open = False
        self._ended()

    def processExited(self, reason: Failure) -> None:
        self._exit = reason
        self.ready = False
        if self._stdout_open or not self.was_ready:
            self._set_timer(LAST_FRAMES_TIMEOUT, self._stop_reading)
        self._ended()

    def _stop_reading(self) -> None:
        self._stderr_open = False
        self.transport.closeStdout()
        self._ended()

    def processEnded(self, reason: Failure) -> None:
        self._output.flush()

    def _ended(self) -> None:
        if (
            self._ended_reported
            or self._stdout_open
            or self._exit is None
            or (self._stderr_open and not self.was_ready)
        ):
            return
        self._ended_reported = True
        self._cancel_timer()
        for each in list(self._closing):
            self._expect(each)
        number = getattr(self._exit.value, "signal", None)
        status = getattr(self._exit.value, "exitCode", None)
        how = f"was killed by {signal.Signals(number).name}" if number else f"ended with status {status}"
        self._progress.remove()
        reason = self._reason or ("" if self.was_ready else self._why())
        self._executor.worker_ended(self, f"{how}: {reason}" if reason else how)
        self._progress.close()

    def _why(self) -> str:
        """Why it has not become ready, if it has printed that."""
        self._output.flush()
        if self._output.last and not getattr(self._exit and self._exit.value, "signal", None):
            return self._output.last + advice(os.environ.get("PYTHONPATH", "").split(os.pathsep))
        return ""
