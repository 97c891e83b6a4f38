"""Calls performed on the reactor: coroutine functions, and functions that return Deferreds."""

from __future__ import annotations

from collections.abc import Awaitable
from inspect import isawaitable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from zope.interface import implementer

from twisted_appserver.calls import Call, Reply
from twisted_appserver.executors.interface import IExecutor
from twisted_appserver.results import encode, fault


async def _awaited(result: Awaitable[Any], call: Call) -> Reply:
    try:
        return encode(await result, call)
    except BaseException as error:
        return fault(error, call)


@implementer(IExecutor)
class InlineExecutor:
    """Performs every call at once, in the reactor's thread. Nothing is ever pending."""

    size = pending = 0

    def __init__(self) -> None:
        self.running = self.completed = self.failed = 0

    def start(self) -> Deferred[None]:
        return succeed(None)

    def submit(self, call: Call) -> Deferred[Reply]:
        """As L{results.perform}, for a function whose result may have to be awaited."""
        self.running += 1
        try:
            result = call.handler.run(call)
            if type(result) is not dict and isawaitable(result):
                return self._wait(Deferred.fromCoroutine(_awaited(result, call)))
            reply = encode(result, call)
        except BaseException as error:
            reply = fault(error, call)
        self._ended(reply)
        return succeed(reply)

    def _wait(self, inner: Deferred[Reply]) -> Deferred[Reply]:
        def cancel(deferred: Deferred[Reply]) -> None:
            deferred.errback(CancelledError())  # first, so that what the function makes of it is not a reply
            inner.cancel()

        outer: Deferred[Reply] = Deferred(cancel)

        def ended(reply: Reply) -> None:
            self._ended(reply)
            if not outer.called:
                outer.callback(reply)

        inner.addCallback(ended)
        return outer

    def _ended(self, reply: Reply) -> None:
        self.running -= 1
        if reply.status < 500:
            self.completed += 1
        else:
            self.failed += 1

    def stop(self) -> Deferred[None]:
        return succeed(None)
