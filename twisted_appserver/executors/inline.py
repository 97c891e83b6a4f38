"""Calls performed on the reactor: coroutine functions, and functions that return Deferreds."""

from __future__ import annotations

from collections.abc import Awaitable
from inspect import isawaitable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_appserver.calls import Call, Reply
from twisted_appserver.executors.interface import IExecutor, Job
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
        self._awaited: dict[Job, Deferred[Reply]] = {}

    def start(self) -> Deferred[None]:
        return succeed(None)

    def submit(self, job: Job) -> None:
        """As L{results.perform}, for a function whose result may have to be awaited."""
        call = job.call
        self.running += 1
        try:
            result = call.handler.run(call)
            if type(result) is not dict and isawaitable(result):
                self._awaited[job] = awaited = Deferred.fromCoroutine(_awaited(result, call))
                awaited.addCallback(self._came, job)
                return
            reply = encode(result, call)
        except BaseException as error:
            reply = fault(error, call)
        self._ended(reply, job)

    def cancel(self, job: Job) -> None:
        if job in self._awaited:
            self._awaited[job].cancel()

    def _came(self, reply: Reply, job: Job) -> None:
        del self._awaited[job]
        self._ended(reply, job)

    def _ended(self, reply: Reply, job: Job) -> None:
        self.running -= 1
        if reply.status < 500:
            self.completed += 1
        else:
            self.failed += 1
        job.callback(reply)

    def stop(self) -> Deferred[None]:
        return succeed(None)
