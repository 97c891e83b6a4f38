"""
The connection of a worker process to its server.

Strategy: usually the main thread reads, and handles frames between its calls. A function in any thread may
put a job and wait for the answer of the server, or read the body of its call. If no other thread reads
meanwhile, its own thread does. Frames for the main thread wait until it reads next.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from itertools import count
from threading import Condition, Lock
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

from twisted_appserver.errors import JobError
from twisted_appserver.executors.processes.frames import (
    MAX_FRAME,
    BodyEnd,
    BodyPart,
    Frame,
    FrameReader,
    JobPut,
    PutJob,
    encode,
)

READ_SIZE = 65536  # bytes read at once; the capacity of a pipe on Linux


class WorkerChannel:
    """
    Exchanges frames with the server. Safe from any thread, except L{read}.

    @ivar bytes_read: how many bytes have been read.
    @ivar bodies: what receives the body of a call, by the number of the call.
    """

    def __init__(self, inbound: int, outbound: BinaryIO) -> None:
        self._inbound, self._outbound = inbound, outbound
        self._reader = FrameReader()
        self._sending = Lock()
        self._changed = Condition()  # protects the following attributes; notified after each read
        self._frames: deque[Frame] = deque()  # for the main thread
        self._answers: dict[int, JobPut] = {}
        self.bodies: WeakValueDictionary[int, Any] = WeakValueDictionary()
        self._numbers = count(1)
        self._reading = self._closed = False
        self.bytes_read = 0

    def send(self, frame: Frame) -> None:
        """
        Send a frame.

        @raise ValueError: when it is too long.
        """
        data = encode(frame, MAX_FRAME)
        with self._sending:
            written = self._outbound.write(data)
            while written < len(data):
                written += self._outbound.write(memoryview(data)[written:])

    def read(self) -> list[Frame]:
        """
        Return the frames that have arrived. If there are none, wait until something has been read; it may be
        for another thread. Only the main thread may call this.

        @raise SystemExit: when the server has closed the connection.
        """
        with self._changed:
            if not self._frames:
                self._read_once()
            frames = list(self._frames)
            self._frames.clear()
        if self._closed and not frames:
            raise SystemExit
        return frames

    def has_unread(self, sent: int) -> bool:
        """
        Return whether L{read} would return at once.

        @param sent: how many bytes the server has sent.
        """
        return sent > self.bytes_read or bool(self._frames)

    def ask(self, make: Callable[[int], PutJob]) -> JobPut:
        """
        Send a request, and wait for its answer.

        @param make: makes the request from its number.
        @raise JobError: when the server has closed the connection, or the request is too long.
        """
        number = next(self._numbers)
        try:
            self.send(make(number))
        except (ValueError, OSError) as error:
            raise JobError(f"the job cannot be sent to the server: {error}") from None
        with self._changed:
            if not self._wait_for(lambda: number in self._answers):
                raise JobError("the server has ended")
            return self._answers.pop(number)

    def wait_for(self, arrived: Callable[[], object]) -> bool:
        """Wait until C{arrived()} is true. Returns C{False} if the server has gone."""
        with self._changed:
            return self._wait_for(arrived)

    def _wait_for(self, arrived: Callable[[], object]) -> bool:
        while not arrived():
            if self._closed:
                return False
            self._read_once()
        return True

    def _read_once(self) -> None:
        """
        Read, or wait until another thread has read. The caller holds the lock; other threads get it while
        this one waits.
        """
        if self._reading:
            self._changed.wait()
            return
        self._reading = True
        self._changed.release()
        try:
            data = os.read(self._inbound, READ_SIZE)
        finally:
            self._changed.acquire()
            self._reading = False
            self._changed.notify_all()
        self._closed = not data
        self.bytes_read += len(data)
        for frame in self._reader.feed(data):
            if isinstance(frame, JobPut):
                self._answers[frame.number] = frame
            elif isinstance(frame, BodyPart | BodyEnd):
                body = self.bodies.get(frame.number)
                if body is not None:
                    body.receive(frame)
            else:
                self._frames.append(frame)
