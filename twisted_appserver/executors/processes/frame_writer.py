"""Writes frames to the standard input of a worker process."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from twisted_appserver.executors.processes.frames import Frame, encode
from twisted_appserver.executors.processes.progress import Progress


class FrameWriter:
    """
    Writes to one worker process, and counts the bytes in the shared memory, where the worker sees them.

    Frames that are sent while no process is connected are dropped.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bytes_sent = 0
        self._transport: Any = None
        self._pipes: dict[int, Any] = {}

    def connect(self, transport: Any) -> None:
        """Write to a process that has been started."""
        self._transport = transport
        self._pipes = getattr(transport, "pipes", {})  # Windows has none.

    def disconnect(self) -> None:
        """Write nothing more: the process has exited."""
        self._transport = None

    def send(self, frame: Frame) -> None:
        """
        Write a frame. The frame goes straight to the pipe if nothing waits there: C{transport.write} would
        write it only in the next iteration of the reactor.
        """
        if self._transport is None:
            return
        data = encode(frame)
        self._bytes_sent += len(data)
        pipe = self._pipes.get(0)  # Twisted removes the pipe when it closes it.
        if pipe is not None and not (pipe.dataBuffer or pipe._tempDataBuffer or pipe.disconnecting):
            with suppress(OSError):  # If the error lasts, transport.write meets it too.
                data = data[os.write(pipe.fd, data) :]
        if data:
            self._transport.write(data)
        self._progress.sent = self._bytes_sent
