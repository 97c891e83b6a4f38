"""What runs in a worker process: C{python -m twisted_appserver.executors.worker}.

It imports the application by name, performs one call after another and never starts a reactor. Frames
travel on the standard streams that it was started with; these are moved aside first, so that whatever a
function prints, by print() or to descriptor 1, goes to standard error, which the server logs.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from time import perf_counter
from typing import BinaryIO

from msgspec.structs import force_setattr

from twisted_appserver.application import Application
from twisted_appserver.binding import Handler
from twisted_appserver.errors import AppserverError
from twisted_appserver.executors.frames import Calls, Fault, Frame, FrameReader, Ready, Replies, Start, encode
from twisted_appserver.executors.progress import Progress
from twisted_appserver.executors.watchdog import watch
from twisted_appserver.results import perform
from twisted_appserver.routing import Router

READ = 65536


def take_streams() -> tuple[int, BinaryIO]:
    """The descriptors of the frames, taken from the standard streams, which now lead to null and the log."""
    inbound, outbound = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    return inbound, os.fdopen(outbound, "wb", buffering=0)


class Worker:
    """One connection to the server, from its Start frame to its end."""

    def __init__(self, inbound: int, outbound: BinaryIO) -> None:
        self._inbound, self._outbound = inbound, outbound
        self._reader = FrameReader()
        self._handlers: Sequence[Handler] = ()
        self._number = 0  # of the last call

    def run(self) -> None:
        """Until the server closes the connection, perform what it sends."""
        while data := os.read(self._inbound, READ):
            for frame in self._reader.feed(data):
                if isinstance(frame, Calls):
                    self._perform(frame)
                elif isinstance(frame, Start):
                    self._start(frame)

    def _send(self, frame: Frame) -> None:
        data = memoryview(encode(frame))
        while data:
            data = data[self._outbound.write(data) :]

    def _start(self, start: Start) -> None:
        sys.path[:] = start.search
        for name, value in start.environ.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        try:
            router = Router(Application(start.module, start.file, start.name).load())
        except AppserverError as error:
            self._send(Fault(str(error)))
            raise SystemExit(1) from None
        self._handlers = router.handlers
        self._progress = Progress(start.progress)
        self._send(Ready([handler.name for handler in router.handlers]))

    def _perform(self, frame: Calls) -> None:
        for call in frame.calls:
            self._number += 1
            reply, begun = None, perf_counter()
            if self._progress.begin(self._number):
                force_setattr(call, "handler", self._handlers[call.handler])
                reply = perform(call)
                for stream in (sys.stdout, sys.stderr):
                    with suppress(Exception):  # the function may have closed or replaced it
                        stream.flush()
            self._send(Replies([reply], [perf_counter() - begun]))


def main() -> None:
    # The server decides when a worker ends, by closing its standard input: a signal to the whole group
    # (Ctrl-C, systemd) must not cut a call short. A handler, unlike SIG_IGN, is not left to child processes.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    inbound, outbound = take_streams()
    watch(inbound)
    Worker(inbound, outbound).run()


if __name__ == "__main__":
    main()
