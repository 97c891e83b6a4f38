"""One worker process, as the server sees it.

L{WorkerProcess} exchanges frames with the process, ends it, and notices whenever it has ended. The calls that
the process has, its streams and its output are in modules of their own.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from twisted_appserver.core.application import Application
from twisted_appserver.core.call import Reply
from twisted_appserver.core.router import Router
from twisted_appserver.core.shadowed_modules import shadowing_advice
from twisted_appserver.executors.incoming_body import OVER
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.executors.processes.assigned_calls import AssignedCalls
from twisted_appserver.executors.processes.frame_writer import FrameWriter
from twisted_appserver.executors.processes.frames import (
    MAX_FRAME,
    BodyEnd,
    Calls,
    End,
    Fault,
    FrameReader,
    Part,
    PutJob,
    ReadBody,
    Ready,
    Replied,
    Start,
    ready_frame,
)
from twisted_appserver.executors.processes.job_requests import put_job
from twisted_appserver.executors.processes.progress import Progress
from twisted_appserver.executors.processes.python_process import original_environment
from twisted_appserver.executors.processes.resident_memory import resident_memory
from twisted_appserver.executors.processes.sent_bodies import SentBodies
from twisted_appserver.executors.processes.worker_exit import WorkerExit
from twisted_appserver.executors.processes.worker_output import WorkerOutput
from twisted_appserver.executors.processes.worker_streams import WorkerStreams

LEAVE_TIMEOUT = 10.0  # seconds that a worker has to leave the application's lifespan when the server stops
RETIRE_TIMEOUT = 10.0  # seconds that a worker which was replaced has to exit
STALL_TIMEOUT = 10.0  # seconds until a worker that begins none of its calls is killed
STOP_TIMEOUT = 0.5  # seconds that a worker has to exit when the server stops
LAST_FRAMES_TIMEOUT = 0.5  # seconds after its exit in which the last frames of a worker are read

LATE, CANCELLED = "its call took longer than its time limit", "its call was cancelled"  # why it was killed


class WorkerProcess(ProcessProtocol):
    """
    A worker process.

    @param executor: the L{ProcessExecutor} to which events of the process and outcomes of calls are reported.
    @param router: the table that the worker must have too; C{None} until L{attach} is called.
    @ivar assigned: the calls that the worker has received but not answered.
    @ivar streams: the replies that the worker sends in parts.
    @ivar ready: whether the worker takes calls.
    @ivar was_ready: whether it has ever been ready.
    @ivar successor: the worker that replaces this one as soon as it is ready.
    @ivar retired: whether the worker takes no more calls, and exits when it has finished its calls.
    @ivar max_requests: the number of calls after which the worker is replaced; 0 for no limit.
    @ivar started: when the process was started, in seconds since the epoch.
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
        self.ready = self.was_ready = False
        self._progress, self._reader = Progress(), FrameReader(MAX_FRAME)
        self._writer = FrameWriter(self._progress)
        self.assigned = AssignedCalls(self._progress)
        self.streams = WorkerStreams(reactor, self._progress, self._writer.send, self.kill)
        self._bodies = SentBodies(self._writer.send)
        self.reason = ""  # why it was killed, or gave up
        self._closing = False  # whether it exits as soon as it can
        self._exit = WorkerExit()
        self._end_reported = False
        self._timer: Any = None  # kills it, or stops reading from it

    def attach(self, executor: Any, router: Router) -> None:
        """Give a worker that was started early to an executor, now that the table is known."""
        self._executor, self.router = executor, router

    def release(self) -> None:
        """Release the shared memory of a worker that was not started, or whose end need not be awaited."""
        self._progress.remove()
        self._progress.close()

    def connectionMade(self) -> None:
        self.pid = self.transport.pid
        self._writer.connect(self.transport)
        self._output = WorkerOutput(self._reactor, self.pid)
        where = self._application
        names = (where.module, where.file, where.name, where.lifespan)
        self._writer.send(Start(sys.path, original_environment(), *names, self._progress.path))

    # ---- frames ----

    def flush(self) -> None:
        """Send the calls that were added to L{assigned}."""
        if self.assigned.unsent:
            calls, self.assigned.unsent = self.assigned.unsent, []
            self._writer.send(Calls(calls))

    def outReceived(self, data: bytes) -> None:
        try:
            frames = self._reader.feed(data)
        except ValueError as error:
            self.kill(f"it sent an invalid frame: {error}")
            return
        for frame in frames:
            if isinstance(frame, Replied):
                self._call_answered(frame.reply, frame.seconds)
            elif isinstance(frame, Part):
                self.streams.add_part(frame)
            elif isinstance(frame, End):
                self._stream_ended(frame)
            elif isinstance(frame, Ready):
                self._application_imported(frame)
            elif isinstance(frame, PutJob):
                put_job(frame, self.router, self._writer.send)
            elif isinstance(frame, ReadBody):
                self._send_body(frame)
            elif isinstance(frame, Fault):
                self.reason = frame.reason
        self._executor.assign_soon()

    def _send_body(self, frame: ReadBody) -> None:
        pending = self.assigned.numbered(frame.number) or self.streams.call(frame.number)
        if pending is None or pending.call.arriving is None:
            self._writer.send(BodyEnd(frame.number, 503, OVER))
        else:
            self._bodies.read(frame.number, pending.call.arriving, frame.credits)

    def _application_imported(self, frame: Ready) -> None:
        self._progress.remove()
        if self.router is not None and frame == ready_frame(self.router):
            self.was_ready = True
            if not self._closing:
                self._executor.became_ready(self)
        else:
            self.kill(
                "its url_patterns differ from the server's; define them before if __name__ == '__main__', "
                "and reload if the application has changed"
            )

    def _call_answered(self, reply: Reply | None, seconds: float) -> None:
        assigned = self.assigned
        if not assigned.calls:
            self.kill("it sent a reply without a call")
            return
        pending, reclaimed = assigned.take_answered()
        if reply is None:
            if not reclaimed:
                self._executor.requeue([pending])
        elif reply.body is None:
            self.streams.begin(assigned.answered, pending, reply)
        else:
            self._executor.finish(pending, reply, seconds)
        if assigned.paused and not assigned.calls:
            self._cancel_timer()
            assigned.resume()
        if self.retired:
            self._exit_if_idle()
        elif self.max_requests and assigned.answered == self.max_requests:
            self._executor.pool.replace(self)

    def _stream_ended(self, frame: End) -> None:
        pending = self.streams.end(frame)
        if pending is None:
            self.kill("it ended a stream that it had not begun")
            return
        self._executor.finish(pending, Reply(b"", 500 if frame.failure else 200), frame.seconds)
        if self.retired:
            self._exit_if_idle()

    # ---- calls that wait or take too long ----

    def reclaim(self, wanted: bool) -> list[PendingCall]:
        """
        As L{AssignedCalls.reclaim}. A worker that has begun no call and runs no generator has no function to
        blame: it is killed unless it continues within L{STALL_TIMEOUT} seconds.
        """
        reclaimed = self.assigned.reclaim(wanted)
        if reclaimed and self.assigned.running is None and not self.streams.wanted:
            self._set_timer(STALL_TIMEOUT, self.kill, "it stood still")
        return reclaimed

    def abort(self, pending: PendingCall) -> None:
        """Stop a call that took too long or was cancelled, if this worker runs it: kill the worker."""
        if self.streams.is_stuck(pending) or (self.assigned.is_next(pending) and not self._hold_back()):
            late = pending.limit is not None and pending.deadline <= self._reactor.seconds()
            self.kill(LATE if late else CANCELLED)
        self.streams.expect_end(pending)

    def _hold_back(self) -> bool:
        """Keep the next call from beginning if it waits behind a generator. Return whether it did."""
        if self.assigned.running or not self.streams.wanted:
            return False
        self.assigned.pause()
        return self.assigned.running is None

    # ---- the end of the process ----

    def kill(self, reason: str) -> None:
        """Kill the process; the log shows the reason."""
        self.reason = self.reason or reason
        self.ready = False
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def kill_at_once(self) -> None:
        """Kill the process of a server that ends without waiting for it."""
        self.kill("the server ends at once")
        self._progress.remove()

    def retire(self) -> None:
        """Take no more calls, and exit when the worker has finished its calls."""
        self.retired, self.ready = True, False
        if not (self.was_ready or self._has_lifespan):
            self.kill("another worker has taken its place")
        else:
            self._exit_if_idle()

    def _exit_if_idle(self) -> None:
        if not (self.assigned.calls or self.streams.open):
            self._close_stdin(RETIRE_TIMEOUT)

    def stop(self) -> None:
        """End the process because the server stops. An idle worker may exit by itself."""
        if self.assigned.calls or not (self.was_ready or self._has_lifespan):
            self.kill("the server is stopping")
        else:
            self.ready = False
            self._close_stdin(LEAVE_TIMEOUT if self._has_lifespan else STOP_TIMEOUT)

    @property
    def _has_lifespan(self) -> bool:
        """
        Whether it must get time to leave a lifespan. It may have entered the lifespan before it was ready.
        """
        return self.router is not None and self.router.lifespan is not None

    def _close_stdin(self, seconds: float) -> None:
        """Let the process exit by itself. A thread that a function has left behind may prevent the exit."""
        self._closing = True
        self.transport.closeStdin()
        if not self._exit.has_exited:
            self._set_timer(seconds, self._kill_late)

    def _kill_late(self) -> None:
        self._output.log.warn("worker {pid} does not exit by itself and is killed", pid=self.pid)
        self.kill("it did not exit by itself")

    def _set_timer(self, seconds: float, function: Any, *args: Any) -> None:
        self._cancel_timer()
        self._timer = self._reactor.callLater(seconds, function, *args)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def errReceived(self, data: bytes) -> None:
        self._output.write(data)

    def outConnectionLost(self) -> None:
        self._exit.stdout_open = False
        self._report_end()

    def errConnectionLost(self) -> None:
        self._exit.stderr_open = False
        self._report_end()

    def processExited(self, reason: Failure) -> None:
        self._exit.exited(reason)
        self._writer.disconnect()
        self.ready = False
        if self._exit.stdout_open or not self.was_ready:
            self._set_timer(LAST_FRAMES_TIMEOUT, self._stop_reading)
        self._report_end()

    def _stop_reading(self) -> None:
        self._exit.stderr_open = False
        self.transport.closeStdout()
        self._report_end()

    def processEnded(self, reason: Failure) -> None:
        self._output.flush()

    def _report_end(self) -> None:
        """Report the end of the worker, once."""
        if self._end_reported or not self._exit.is_complete(with_output=not self.was_ready):
            return
        self._end_reported = True
        self._cancel_timer()
        self.streams.worker_exited()
        self._progress.remove()
        reason = self.reason or ("" if self.was_ready else self._printed_reason())
        self._executor.worker_ended(self, f"{self._exit}: {reason}" if reason else str(self._exit))
        self._progress.close()

    def _printed_reason(self) -> str:
        """Return the last output of a worker that failed to start."""
        self._output.flush()
        if self._output.last and not self._exit.signal:
            return self._output.last + shadowing_advice(os.environ.get("PYTHONPATH", "").split(os.pathsep))
        return ""

    # ---- for others to see ----

    @property
    def killed_from_outside(self) -> bool:
        """Whether a signal from another process than the server has killed it."""
        return not self.reason and self._exit.signal is not None

    @property
    def busy(self) -> bool:
        """Whether it has calls or runs a generator."""
        return bool(self.assigned.calls or self.streams.running)

    def running_calls(self) -> list[PendingCall]:
        """Return the call that runs, or whose generator runs."""
        return [each for each in (self.assigned.running, self.streams.running) if each is not None]

    @property
    def state(self) -> str:
        """One word for the status page: C{starts}, C{waits}, C{runs} or C{ends}."""
        if not self.ready:
            return "ends" if self.retired or self.was_ready else "starts"
        return "runs" if self.busy else "waits"

    def memory(self) -> int:
        """Return the bytes of its resident memory; 0 on systems without C{/proc}."""
        return resident_memory(self.pid)
