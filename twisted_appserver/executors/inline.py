"""Calls performed on the reactor: coroutine functions, and functions that return Deferreds.

Strategy: a coroutine runs up to the first Deferred that it must wait for, and continues when that fires. Most
coroutines wait once or not at all, and C{Deferred.fromCoroutine} would cost more than they do. All steps of a
call run in a context of its own, which is empty when the call begins.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from functools import partial
from inspect import isawaitable
from types import CoroutineType
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_appserver.core import events, forked_child
from twisted_appserver.core.call import CURRENT, Call, Reply
from twisted_appserver.core.perform import encode_result, error_reply, stream_format
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.core.streaming import Parts
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import IExecutor, PendingCall
from twisted_appserver.executors.stream import each, encoded, send_on_reactor

Outcome = Reply | Callable[[PendingCall], None]  # the reply, or what continues the call as a pending call
_Coroutine = Coroutine[Any, Any, Any]


async def _wait_for(result: Awaitable[Any]) -> Any:
    return await result


def _parked(pending: PendingCall) -> bool:
    return pending.stream is not None and bool(pending.stream.parked)


class _Waiting(NamedTuple):
    """A coroutine, and the object that it awaits."""

    coroutine: _Coroutine
    awaited: Any


class _Returned(NamedTuple):
    """The value that a coroutine has returned."""

    value: Any


def _begin(call: Call) -> Any:
    """
    Run a function, and a coroutine up to its first await, in one step. Each step in a context costs as much
    as a small function.
    """
    CURRENT.set(call)
    result = call.handler.run(call)
    if type(result) is not CoroutineType:
        return result
    try:
        return _Waiting(result, result.send(None))
    except StopIteration as end:
        return end.value if type(end.value) is dict else _Returned(end.value)


def _identity(value: Any) -> Any:
    return value


@implementer(IExecutor)
class InlineExecutor:
    """
    Performs every call at once, in the reactor's thread. No call ever waits for a thread or worker.

    @param reactor: an C{IReactorTime}; C{None} for the reactor of the dispatcher.
    """

    here = True
    size = pending = 0

    kill = None

    def __init__(self, reactor: Any = None) -> None:
        self.reactor = reactor
        self.completed = self.failed = 0
        self._stopped = False
        self._awaited: dict[PendingCall, Deferred[Any]] = {}

    def start(self) -> Deferred[None]:
        self._stopped = False
        return succeed(None)

    def submit(self, pending: PendingCall) -> None:
        self._go_on(pending, self.now(pending.call))

    def now(self, call: Call) -> Outcome:
        """
        As L{core.perform.perform}, for a function whose result may have to be awaited.

        @return: the reply, if it is there at once, which is the usual case; else what continues the call.
        """
        if self._stopped:
            return problem_reply(HTTPError(503, "the server is stopping"), call.request_id)
        context = Context()
        try:
            result = context.run(_begin, call)
            if type(result) is not dict:
                return self._other(result, call, context)
            reply = encode_result(result, call)
        except BaseException as error:
            return self._ended(context.run(error_reply, error, call), context)
        self.completed += 1
        return reply

    def _other(self, result: Any, call: Call, context: Context) -> Outcome:
        """Await a result, or send it in parts, or encode it."""
        if type(result) is _Waiting:
            return self._step(call, result.coroutine, context, _identity, result.awaited)
        if type(result) is _Returned:
            return self._ended(context.run(encode_result, result.value, call), context)
        if isawaitable(result):
            waiting = _wait_for(result)
            return self._step(call, waiting, context, waiting.send)
        if isinstance(result, AsyncIterator):
            encoder, reply = stream_format(call)
            if reply is events.NO_MORE_EVENTS:
                return self._ended(reply, context)
            if encoder is events.encode_event:
                result = events.async_event_items(result)
            return partial(self._send, encoded(result, encoder), reply, context)
        return self._ended(context.run(encode_result, result, call), context)

    def _step(
        self,
        call: Call,
        coroutine: _Coroutine,
        context: Context,
        go_on: Callable[..., Any],
        value: Any = None,
    ) -> Outcome:
        """Run a coroutine until it waits for a Deferred, or ends."""
        try:
            awaited = context.run(go_on, value)
            while not isinstance(
                awaited, Deferred
            ):  # As in Twisted, other values that are yielded come back.
                awaited = context.run(coroutine.send, awaited)
            if call is forked_child.forked_by:
                forked_child.exit_child()
            return partial(self._await, awaited, coroutine, context)
        except StopIteration as end:
            try:
                reply = context.run(encode_result, end.value, call)
            except BaseException as error:
                reply = context.run(error_reply, error, call)
        except BaseException as error:
            reply = context.run(error_reply, error, call)
        return self._ended(reply, context)

    def _ended(self, reply: Reply, context: Context) -> Outcome:
        """Count a reply, unless its parts are still to be made."""
        if type(reply.body) is Parts:
            return partial(self._send, each(reply.body), reply, context)
        if reply.status < 500:
            self.completed += 1
        else:
            self.failed += 1
        return reply

    def _go_on(self, pending: PendingCall, outcome: Outcome) -> None:
        if isinstance(outcome, Reply):
            pending.callback(outcome)
        else:
            outcome(pending)

    def _await(
        self, awaited: Deferred[Any], coroutine: _Coroutine, context: Context, pending: PendingCall
    ) -> None:
        self._awaited[pending] = awaited
        arguments = (pending, coroutine, context)
        awaited.addCallbacks(self._resumed, self._resumed, arguments, errbackArgs=arguments)

    def _resumed(self, result: Any, pending: PendingCall, coroutine: _Coroutine, context: Context) -> None:
        del self._awaited[pending]
        go_on: Any = coroutine.send
        if isinstance(result, Failure):
            go_on, result = result.throwExceptionIntoGenerator, coroutine
        self._go_on(pending, self._step(pending.call, coroutine, context, go_on, result))

    def _send(
        self, parts: AsyncGenerator[bytes, None], reply: Reply, context: Context, pending: PendingCall
    ) -> None:
        sending = send_on_reactor(pending, parts, reply, self._pause)
        self._go_on(pending, self._step(pending.call, sending, context, sending.send))

    def _pause(self) -> Deferred[None]:
        """Return what fires after the reactor has done other work."""
        return deferLater(self.reactor, 0)

    @property
    def running(self) -> int:
        return len(self._awaited) - self.parked

    @property
    def parked(self) -> int:
        return sum(map(_parked, self._awaited))

    def calls(self) -> tuple[Sequence[PendingCall], Sequence[PendingCall]]:
        return [pending for pending in self._awaited if not _parked(pending)], ()

    def unready(self) -> str:
        return ""

    def cancel(self, pending: PendingCall, kill: bool = False) -> None:
        if pending in self._awaited:
            self._awaited[pending].cancel()

    def stop(self) -> Deferred[None]:
        self._stopped = True
        for pending in list(self._awaited):
            pending.errback(HTTPError(503, "the server is stopping"))
            self.cancel(pending)
        return succeed(None)
