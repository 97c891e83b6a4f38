"""Calls performed on the reactor: coroutine functions, and functions that return Deferreds."""

from __future__ import annotations

import inspect
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred, succeed
from zope.interface import implementer

from twisted_appserver.calls import Call, Reply, encode, fault
from twisted_appserver.executors.interface import IExecutor

T = TypeVar("T")


async def perform_async(call: Call) -> Reply:
    """L{calls.perform} for a function whose result may have to be awaited."""
    try:
        assert call.handler is not None
        result = call.handler.run(call)
        if inspect.isawaitable(result):
            result = await result
        return encode(result, call)
    except CancelledError:
        raise
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
        self.running += 1
        return Deferred.fromCoroutine(perform_async(call)).addBoth(self._ended)

    def _ended(self, result: T) -> T:
        self.running -= 1
        if isinstance(result, Reply) and result.status < 500:
            self.completed += 1
        else:
            self.failed += 1
        return result

    def stop(self) -> Deferred[None]:
        return succeed(None)
