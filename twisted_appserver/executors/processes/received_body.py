"""The body of a call while it arrives, as a worker process reads it."""

from __future__ import annotations

from collections import deque

from twisted_appserver.core.body_stream import Take, body_error
from twisted_appserver.errors import ClientDisconnected
from twisted_appserver.executors.parked_generator import RETURN, WINDOW, cost
from twisted_appserver.executors.processes.frames import BodyEnd, BodyPart, ReadBody
from twisted_appserver.executors.processes.worker_channel import WorkerChannel


class ReceivedBody:
    """
    Reads a body from the server, which sends no more than was asked for.

    @param number: the number of its call.
    """

    def __init__(self, channel: WorkerChannel, number: int) -> None:
        self._channel, self._number = channel, number
        self._taken = WINDOW  # credits that have not been given to the server yet
        self._frames: deque[BodyPart | BodyEnd] = deque()
        channel.bodies[number] = self

    def receive(self, frame: BodyPart | BodyEnd) -> None:
        """Add a frame. Called by the channel."""
        self._frames.append(frame)

    def take(self) -> bytes:
        """
        As L{executors.incoming_body.IncomingBody.take}.

        @raise HTTPError: when the rest of the body does not arrive.
        """
        if not self._frames:
            self._grant()
            if not self._channel.wait_for(lambda: self._frames):
                raise ClientDisconnected("the server has ended")
        frame = self._frames[0]
        if isinstance(frame, BodyEnd):
            if frame.status:
                raise body_error(frame.status, frame.detail)
            return b""
        self._frames.popleft()
        self._taken += cost(frame.data)
        if self._taken >= RETURN:
            self._grant()
        return frame.data

    def _grant(self) -> None:
        if self._taken:
            self._channel.send(ReadBody(self._number, self._taken))
            self._taken = 0


def open_body(channel: WorkerChannel, number: int) -> Take:
    """Return what takes the parts of the body of a call. The server sends none before."""
    return ReceivedBody(channel, number).take
