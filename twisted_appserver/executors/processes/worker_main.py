"""The program of a worker process: C{python -m twisted_appserver.executors.processes.worker_main}.

It imports the application by name, performs one call after another and never starts a reactor. Between calls
it runs slices of the generators whose clients are reading. Frames travel on the standard streams with which
the process was started. These are moved to other descriptors first. So everything that a function prints, by
print() or to descriptor 1, goes to standard error, which the server logs.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from time import perf_counter
from typing import Any, BinaryIO

from msgspec.structs import replace

from twisted_appserver.core.application import Application
from twisted_appserver.core.call import CURRENT, Call, Reply
from twisted_appserver.core.enqueueing import register
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.lifespan import ProcessLifespan
from twisted_appserver.core.perform import error_reply, perform
from twisted_appserver.core.python_logging import pass_on_records
from twisted_appserver.core.router import Router
from twisted_appserver.core.streamed_body import StreamingHandler
from twisted_appserver.core.streaming import Parts
from twisted_appserver.errors import AppserverError
from twisted_appserver.executors.child_processes import ignore, protect
from twisted_appserver.executors.parked_generator import Source
from twisted_appserver.executors.processes.frames import (
    Calls,
    Drop,
    End,
    Fault,
    Part,
    Replied,
    Resume,
    Start,
    ready_frame,
)
from twisted_appserver.executors.processes.progress import Progress
from twisted_appserver.executors.processes.python_process import STOPS, restore, unblock_stops
from twisted_appserver.executors.processes.received_body import open_body
from twisted_appserver.executors.processes.server_watchdog import watch
from twisted_appserver.executors.processes.signal_state import SignalState
from twisted_appserver.executors.processes.worker_channel import WorkerChannel
from twisted_appserver.executors.processes.worker_jobs import WorkerJobs


def take_streams() -> tuple[int, BinaryIO]:
    """
    Move the standard streams aside. From now on they lead to C{/dev/null} and to the log.

    @return: a descriptor for frames from the server, and a file for frames to the server.
    """
    inbound, outbound = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    for name, number in (("stdout", 1), ("stderr", 2)):
        file = os.fdopen(os.dup(number), "wb")
        setattr(sys, name, _MarkedOutput(file, "utf-8", "backslashreplace", line_buffering=True))
    return inbound, os.fdopen(outbound, "wb", buffering=0)


class _MarkedOutput(TextIOWrapper):
    """Standard output that marks each line with the id of its call. The server removes the marks."""

    at_line_start = True
    written = False  # whether there may be something to flush

    def write_record(self, level: str, name: str, text: str) -> None:
        """Write a log record as one line, which the server parses."""
        call = CURRENT.get()
        mark = f"\x1e{'' if call is None else call.request_id}\x1d{level}\x1d{name}\x1f"
        line = mark + text.replace("\n", "\x1c") + "\n"
        super().write(line if self.at_line_start else f"\n{line}")
        self.at_line_start = self.written = True

    def write(self, text: str) -> int:
        call = CURRENT.get()
        mark = ""
        if text and self.at_line_start and call is not None:
            mark = f"\x1e{call.request_id}\x1f"
        if text:
            self.at_line_start = text.endswith("\n")
        super().write(mark + text)
        self.written = True
        return len(text)


def _log_to(output: _MarkedOutput) -> None:
    """Write the log records of the application to an output, both of C{logging} and of Twisted."""
    pass_on_records(output.write_record)
    if "twisted.logger" not in sys.modules:  # The application does not use it.
        return
    from twisted.logger import eventAsText, globalLogBeginner

    def observe(event: Any) -> None:
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        output.write_record(event["log_level"].name, event.get("log_namespace", ""), text)

    observers: Any = [observe]
    globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=False)


class WorkerMain:
    """Performs the calls that arrive on one connection to the server."""

    def __init__(self, inbound: int, outbound: BinaryIO) -> None:
        self._channel = WorkerChannel(inbound, outbound)
        self._send = self._channel.send
        self._jobs: WorkerJobs | None = None
        self._handlers: Sequence[Handler] = ()
        self._lifespan: ProcessLifespan | None = None
        self._number = 0  # the number of the call that was begun last
        self._calls: deque[Call] = deque()  # calls that were read and have not begun
        self._sources: dict[int, Source] = {}  # generators that have not ended, by the numbers of their calls
        self._runnable: deque[int] = deque()  # numbers of generators that can continue

    def run(self) -> None:
        """Handle the server's frames until it closes the connection."""
        while True:
            self._read()
            while self._calls or self._runnable:
                self._work()
            _flush_all()

    def leave_lifespan(self) -> None:
        """Leave the application's lifespan. The server logs what it raises."""
        if self._lifespan is None:
            return
        try:
            self._lifespan.leave()
        except BaseException:
            print(f"the lifespan failed when it was left\n{traceback.format_exc()}", file=sys.stderr)
        _flush_all()

    def _work(self) -> None:
        """Perform the next call, and run a slice of the next generator."""
        if self._calls:
            self._perform(self._calls.popleft())
        if self._runnable:
            self._run_slice(self._runnable.popleft())
            while self._has_unread():
                self._read()

    def _has_unread(self) -> bool:
        return self._channel.has_unread(self._progress.sent)

    def _has_work(self) -> bool:
        return bool(self._calls or self._runnable)

    def _read(self) -> None:
        for frame in self._channel.read():
            if isinstance(frame, Calls):
                self._calls.extend(frame.calls)
            elif isinstance(frame, Resume | Drop):
                self._resume_or_drop(frame)
            elif isinstance(frame, Start):
                self._start(frame)

    def _resume_or_drop(self, frame: Resume | Drop) -> None:
        source = self._sources.get(frame.number)
        if source is None:  # It has ended meanwhile.
            return
        if source.drop() if isinstance(frame, Drop) else source.grant(frame.credits):
            self._runnable.append(frame.number)

    def _start(self, start: Start) -> None:
        output = sys.stderr  # The application may replace it.
        restore(start.search, start.environ)
        try:
            router = Router(*Application(start.module, start.file, start.name, start.lifespan).load_all())
            if router.lifespan is not None:
                self._lifespan = ProcessLifespan(router.lifespan)
                self._lifespan.enter()
        except AppserverError as error:
            self._send(Fault(str(error)))
            raise SystemExit(1) from None
        if isinstance(output, _MarkedOutput):
            _log_to(output)
        self._handlers = router.handlers
        self._progress = Progress(start.progress)
        self._signals = SignalState()  # includes handlers that the application sets when it is imported
        self._jobs = WorkerJobs(self._channel, router)
        register(self._jobs)
        for handler in router.handlers:
            if isinstance(handler, StreamingHandler):
                handler.open_body = lambda _: open_body(self._channel, self._number)
        gc.freeze()  # These objects stay, so garbage collections need not visit them.
        self._send(ready_frame(router))

    def _perform(self, call: Call) -> None:
        self._number += 1
        reply, begun = None, perf_counter()
        if self._progress.begin(self._number):
            call = replace(call, handler=self._handlers[call.handler])
            reply = perform(call)
            if type(reply.body) is Parts:
                self._begin(reply, perf_counter() - begun)
                return
            self._restore()
            _flush()
        self._answer(call, reply, perf_counter() - begun)

    def _answer(self, call: Call, reply: Reply | None, seconds: float) -> None:
        try:
            self._send(Replied(reply, seconds))
        except ValueError as error:  # The frame is too long.
            self._send(Replied(error_reply(error, call), seconds))

    def _restore(self) -> None:
        """Undo the function's changes to signals."""
        if self._signals.changed:
            self._signals.restore()

    def _begin(self, reply: Reply, seconds: float) -> None:
        """Begin a reply in parts; the first part has been made already."""
        number = self._number

        def send(data: bytes) -> None:
            self._send(Part(number, data))

        self._sources[number] = Source(reply.body, send, self._has_work, self._has_unread)
        self._progress.generator = number
        self._send(Replied(replace(reply, body=None), seconds))
        self._run_slice(number)

    def _run_slice(self, number: int) -> None:
        """Run a slice of a generator."""
        self._progress.generator = number
        source = self._sources[number]
        failure = source.run()
        self._progress.generator = 0
        self._restore()
        _flush()
        if failure is not None:
            del self._sources[number]
            self._end(End(number, failure, source.seconds, source.error))
        elif not source.park():
            self._runnable.append(number)

    def _end(self, end: End) -> None:
        try:
            self._send(end)
        except ValueError:  # The frame is too long. The error contains the traceback a second time.
            self._send(replace(end, error=None))


def _flush() -> None:
    """Flush the output of a call, if there is any, so that the server sees it before the reply."""
    if getattr(sys.stdout, "written", True) or getattr(sys.stderr, "written", True):
        _flush_all()


def _flush_all() -> None:
    """Flush all output. Something may have written to the buffers of streams that look unused."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # The function may have closed or replaced the stream.
            stream.flush()
            stream.written = False  # type: ignore[union-attr]


def main() -> None:
    """Run a worker until its server closes the connection."""
    # The server ends a worker by closing its standard input. A signal to the whole process group (Ctrl-C,
    # systemd) must not cut a call short. Child processes do not inherit a handler, but they would inherit
    # SIG_IGN.
    for number in STOPS:
        signal.signal(number, ignore)
    unblock_stops()
    inbound, outbound = take_streams()
    protect(main, lambda: (inbound, outbound.fileno()))
    watch(inbound)
    worker = WorkerMain(inbound, outbound)
    try:
        worker.run()
    finally:
        worker.leave_lifespan()


if __name__ == "__main__":
    main()
