"""Calls performed on the reactor: coroutine functions, and functions that return Deferreds.

Strategy: a coroutine is run up to the first Deferred that it must wait for, and gone on with when that
fires. Most need not wait, or wait once: C{Deferred.fromCoroutine} would cost more than they do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextvars import Context, copy_context
from inspect import isawaitable
from types import CoroutineType
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_appserver.calls import CURRENT, Call, Reply
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import IExecutor, Job
from twisted_appserver.executors.stream import each, encoded, send_on_reactor
from twisted_appserver.parts import Parts
from twisted_appserver.results import encode, fault, in_parts

_Coroutine = Coroutine[Any, Any, Any]


async def _wait_for(result: Awaitable[Any]) -> Any:
    return await result


def _context(call: Call) -> Context:
    """For what a call does."""
    context = copy_context()
    context.run(CURRENT.set, call)
    return context


@implementer(IExecutor)
class InlineExecutor:
    """Performs every call at once, in the reactor's thread. Nothing is ever pending."""

    size = pending = 0

    def __init__(self) -> None:
        self.completed = self.failed = 0
        self._stopped = False
        self._awaited: dict[Job, Deferred[Any]] = {}

    def start(self) -> Deferred[None]:
        self._stopped = False
        return succeed(None)

    def submit(self, job: Job) -> None:
        """As L{results.perform}, for a function whose result may have to be awaited."""
        if self._stopped:
            job.errback(HTTPError(503, "the server is stopping"))
            return
        call = job.call
        try:
            result = call.handler.run(call)
            if type(result) is not dict and self._is_later(result, job):
                return
            reply = encode(result, call)
        except BaseException as error:
            reply = fault(error, call)
        self._ended(reply, job)

    def _is_later(self, result: Any, job: Job) -> bool:
        """Whether a result is one that must be waited for, as we do then."""
        call = job.call
        if type(result) is CoroutineType:
            self._step(job, result, _context(call), result.send)
        elif isawaitable(result):
            waiting = _wait_for(result)
            self._step(job, waiting, _context(call), waiting.send)
        elif isinstance(result, AsyncIterator):
            encoder, reply = in_parts(call)
            self._send(job, encoded(result, encoder), reply)
        else:
            return False
        return True

    def _send(self, job: Job, parts: AsyncGenerator[bytes, None], reply: Reply) -> None:
        sending = send_on_reactor(job, parts, reply)
        self._step(job, sending, _context(job.call), sending.send)

    def _step(
        self, job: Job, coroutine: _Coroutine, context: Context, go_on: Callable[..., Any], came: Any = None
    ) -> None:
        """Run a coroutine until it waits for a Deferred, or ends."""
        try:
            awaited = context.run(go_on, came)
            while not isinstance(awaited, Deferred):  # whatever else is yielded comes back, as in Twisted
                awaited = context.run(coroutine.send, awaited)
        except StopIteration as end:
            try:
                reply = encode(end.value, job.call)
            except BaseException as error:
                reply = fault(error, job.call)
        except BaseException as error:
            reply = fault(error, job.call)
        else:
            self._awaited[job] = awaited
            arguments = (job, coroutine, context)
            awaited.addCallbacks(self._came, self._came, arguments, errbackArgs=arguments)
            return
        self._ended(reply, job)

    def _came(self, result: Any, job: Job, coroutine: _Coroutine, context: Context) -> None:
        del self._awaited[job]
        if isinstance(result, Failure):
            self._step(job, coroutine, context, result.throwExceptionIntoGenerator, coroutine)
        else:
            self._step(job, coroutine, context, coroutine.send, result)

    @property
    def running(self) -> int:
        return len(self._awaited)

    def jobs(self) -> tuple[Sequence[Job], Sequence[Job]]:
        return list(self._awaited), ()

    def unready(self) -> str:
        return ""

    def cancel(self, job: Job) -> None:
        if job in self._awaited:
            self._awaited[job].cancel()

    def _ended(self, reply: Reply, job: Job) -> None:
        if type(reply.body) is Parts:
            self._send(job, each(reply.body), reply)
            return
        if reply.status < 500:
            self.completed += 1
        else:
            self.failed += 1
        job.callback(reply)

    def stop(self) -> Deferred[None]:
        self._stopped = True
        for job in list(self._awaited):
            job.errback(HTTPError(503, "the server is stopping"))
            self.cancel(job)
        return succeed(None)
