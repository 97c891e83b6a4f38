"""A body that C{twisted.web} has received as a whole, for a function that reads it in parts."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from twisted_appserver.core.call import Call
from twisted_appserver.core.request_data import body_too_long
from twisted_appserver.dispatch.arriving_calls import begin_arriving, body_limit
from twisted_appserver.errors import ClientDisconnected
from twisted_appserver.executors.incoming_body import IncomingBody
from twisted_appserver.executors.interface import Answer
from twisted_appserver.executors.parked_generator import UNIT


class StoredBody:
    """
    Reads the file in which C{twisted.web} keeps a long body, as fast as the function does.

    @param reactor: an C{IReactorFromThreads}.
    @param content: the file.
    """

    def __init__(self, reactor: Any, content: Any) -> None:
        self._content, self._reading, self._paused = content, False, False
        self.body = IncomingBody(reactor, self._pause, self._resume)

    def _pause(self) -> None:
        self._paused = True

    def _resume(self) -> None:
        self._paused = False
        self.read()

    def read(self) -> None:
        """Read until the function has enough. A part that is added may call this again."""
        if self._reading:
            return
        self._reading = True
        while not (self._paused or self.body.ended):
            if data := self._content.read(UNIT):
                self.body.add(data)
            else:
                self.body.end()
        self._reading = False


def check_length(dispatcher: Any, call: Call, size: int, usual: int) -> None:
    """
    Check a body that is longer than usual.

    @param call: without its body.
    @raise HTTPError: 413 when it is too long for its route.
    """
    limit = body_limit(dispatcher, usual, lambda: call)
    if limit is not None and size > limit:
        raise body_too_long(limit, limit != usual)


def begin_stored(dispatcher: Any, call: Call, request: Any, answer: Answer) -> None:
    """
    Begin a call whose body C{twisted.web} has received.

    @param call: without its body.
    """

    def begin(admitted: Call | None) -> None:
        if admitted is None:
            return
        stored = StoredBody(dispatcher.reactor, request.content)

        def send(call: Call, reply: Any) -> None:
            if type(reply.body) is bytes:
                stored.body.drop()
            answer(call, reply)

        def lost(_: object) -> None:
            stored.body.end(ClientDisconnected())
            stored.body.drop()
            if pending is not None:
                dispatcher.cancel(pending)

        pending = begin_arriving(dispatcher, admitted, stored.body, send)
        request.notifyFinish().addErrback(lost)
        stored.read()

    admitted = dispatcher.admit(call, partial(_refuse, dispatcher, answer))
    if isinstance(admitted, Deferred):
        admitted.addCallback(begin)
    else:
        begin(admitted)


def _refuse(dispatcher: Any, answer: Answer, error: Exception, call: Call) -> None:
    dispatcher.refuse(error, call, answer)
