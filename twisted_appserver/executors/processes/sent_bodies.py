"""The bodies that a worker process reads while they arrive, as the server sends them."""

from __future__ import annotations

from collections.abc import Callable

from twisted_appserver.executors.incoming_body import IncomingBody
from twisted_appserver.executors.parked_generator import cost
from twisted_appserver.executors.processes.frames import BodyEnd, BodyPart


class _SentBody:
    """
    One body.

    @ivar credits: the credits that the worker has granted and that are not used up.
    """

    credits = 0

    def __init__(
        self,
        number: int,
        body: IncomingBody,
        send: Callable[[BodyPart | BodyEnd], None],
        ended: Callable[[int], object],
    ) -> None:
        self._number, self._body, self._send, self._ended = number, body, send, ended

    def go_on(self) -> None:
        """Send what has arrived, as far as the credits pay for it. An error needs no credits."""
        while self.credits > 0 or self._body.error is not None:
            error = self._body.error
            data = b"" if error is not None else self._body.poll()
            if data is None:
                return
            if data:
                self.credits -= cost(data)
                self._send(BodyPart(self._number, data))
                continue
            self._body.added = bool
            self._ended(self._number)
            status = 0 if error is None else error.status
            self._send(BodyEnd(self._number, status, "" if error is None else error.detail))
            return


class SentBodies:
    """
    The bodies of one worker process.

    @param send: called with each frame for the worker.
    """

    def __init__(self, send: Callable[[BodyPart | BodyEnd], None]) -> None:
        self._send = send
        self._open: dict[int, _SentBody] = {}

    def read(self, number: int, body: IncomingBody, credits: int) -> None:
        """Send the body of a call, or more of it."""
        sent = self._open.get(number)
        if sent is None:
            sent = self._open[number] = _SentBody(number, body, self._send, self._open.pop)
            body.added = sent.go_on
        sent.credits += credits
        sent.go_on()
