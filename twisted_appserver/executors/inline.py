"""Calls performed on the reactor: coroutine functions, and functions that return Deferreds or futures.

Strategy: a coroutine runs at once up to the first Deferred or future that it must wait for, and continues
when the Deferred or future has its result. Most coroutines wait once or not at all; C{Deferred.fromCoroutine}
or an C{asyncio.Task} would cost more than running the coroutine. If the reactor runs on asyncio, a
L{CallTask} is the current task meanwhile. All steps of a call run in a context of its own, which is empty
when the call begins.
"""

from __future__ import annotations

from asyncio import _get_running_loop
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from functools import partial
from inspect import isawaitable
from time import perf_counter, time
from types import CoroutineType
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_appserver.core import events, forked_child
from twisted_appserver.core.call import CURRENT, Call, Reply
from twisted_appserver.core.file_body import FileBody
from twisted_appserver.core.perform import encode_result, error_reply, stream_format
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.core.streaming import Parts
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.blocking_log import LIMIT, BlockingLog
from twisted_appserver.executors.call_task import CallTask, Returned, Step, Waiting, begin, make_task
from twisted_appserver.executors.file_reply import begin_file
from twisted_appserver.executors.interface import IExecutor, PendingCall
from twisted_appserver.executors.stream import each, encoded, send_on_reactor

CLEANUP = 1.0  # seconds that cancelled coroutines may take when the executor stops
# The reply, or a function that continues the call as a pending call.
Outcome = Reply | Callable[[PendingCall], None]
_Coroutine = Coroutine[Any, Any, Any]


async def _wait_for(result: Awaitable[Any]) -> Any:
    return await result


def _parked(pending: PendingCall) -> bool:
    return pending.stream is not None and bool(pending.stream.parked)


class _Running(NamedTuple):
    """
    A coroutine that has begun.

    @ivar task: its task if the reactor runs on asyncio, otherwise C{None}.
    """

    call: Call
    coroutine: _Coroutine
    context: Context
    task: CallTask | None


def _begin(call: Call) -> Any:
    """
    Run a function, and a coroutine up to its first await, in one step. Each step in a context costs as much
    as a small function.
    """
    CURRENT.set(call)
    result = call.handler.run(call)
    if type(result) is not CoroutineType:
        return result
    loop = _get_running_loop()
    if loop is not None:
        return begin(result, loop)
    try:
        return Waiting(result, None, result.send(None))
    except StopIteration as end:
        return end.value if type(end.value) is dict else Returned(end.value)


def _start(call: Call, coroutine: _Coroutine, context: Context) -> _Running:
    loop = _get_running_loop()
    return _Running(call, coroutine, context, None if loop is None else make_task(coroutine, loop))


def _identity(value: Any) -> Any:
    return value


@implementer(IExecutor)
class InlineExecutor:
    """
    Performs every call at once, in the reactor's thread. No call ever waits for a thread or worker.

    @param reactor: an C{IReactorTime}; C{None} for the reactor of the dispatcher.
    """

    here = True
    reads_bodies = False
    size = pending = 0

    kill = None

    def __init__(self, reactor: Any = None) -> None:
        self.reactor = reactor
        self.completed = self.failed = 0
        self._stopped = False
        self._awaited: dict[PendingCall, Callable[[], object]] = {}  # functions that cancel each waiting call
        self._ending: Deferred[None] | None = None  # fires when a stopping executor has ended all calls
        self._blocking_log = BlockingLog()

    def start(self) -> Deferred[None]:
        self._stopped = False
        return succeed(None)

    def submit(self, pending: PendingCall) -> None:
        self._go_on(pending, self.now(pending.call, time()))

    def now(self, call: Call, since: float = 0.0) -> Outcome:
        """
        As L{core.perform.perform}, for a function whose result may have to be awaited.

        @param since: when the call began; 0.0 if it begins on arrival.
        @return: the reply, if the call ends at once, as most do; otherwise a function that continues the
            call.
        """
        if self._stopped:
            return problem_reply(HTTPError(503, "the server is stopping"), call.request_id)
        context = Context()
        try:
            result = context.run(_begin, call)
            if time() - (since or call.arrived) > LIMIT:
                self._blocked(call, since or call.arrived)
            if type(result) is not dict:
                return self._other(result, call, context)
            reply = encode_result(result, call)
        except BaseException as error:
            return self._ended(context.run(error_reply, error, call), context)
        self.completed += 1
        return reply

    def _blocked(self, call: Call, since: float) -> None:
        """Log how long a call blocked the reactor, unless a test has replaced the clock."""
        if self.reactor is not None:
            self._blocking_log.report(call, self.reactor.seconds() - since)

    def _other(self, result: Any, call: Call, context: Context) -> Outcome:
        """Await a result, or send it in parts, or encode it."""
        if type(result) is Waiting:
            running = _Running(call, result.coroutine, context, result.task)
            return self._step(running, _identity, result.awaited)
        if type(result) is Returned:
            return self._ended(context.run(encode_result, result.value, call), context)
        if isawaitable(result):
            waiting = _wait_for(result)
            return self._step(_start(call, waiting, context), waiting.send)
        if isinstance(result, AsyncIterator):
            encoder, reply = stream_format(call)
            if reply is events.NO_MORE_EVENTS:
                return self._ended(reply, context)
            if encoder is events.encode_event:
                result = events.async_event_items(result)
            return partial(self._send, encoded(result, encoder), reply, context)
        return self._ended(context.run(encode_result, result, call), context)

    def _step(self, running: _Running, go_on: Step, value: Any = None) -> Outcome:
        """Run a coroutine until it waits for a Deferred or a future, or ends."""
        call, coroutine, context, task = running
        run: Any = context.run
        if task is not None:
            run = partial(context.run, task.run)  # type: ignore[call-arg]
        since = perf_counter()
        try:
            awaited = run(go_on, value)
            while not (isinstance(awaited, Deferred) if task is None else task.can_await(awaited)):
                # As in Twisted, a coroutine that yields any other value gets this value back.
                awaited = run(coroutine.send if task is None else task.refuse, awaited)
            if call is forked_child.forked_by:
                forked_child.exit_child()
            return partial(self._await, awaited, running)
        except StopIteration as end:
            try:
                reply = context.run(encode_result, end.value, call)
            except BaseException as error:
                reply = context.run(error_reply, error, call)
        except BaseException as error:
            reply = context.run(error_reply, error, call)
        finally:
            if perf_counter() - since > LIMIT:
                self._blocking_log.report(call, perf_counter() - since)
        return self._ended(reply, context)

    def _ended(self, reply: Reply, context: Context) -> Outcome:
        """Count a reply, unless its parts are still to be made."""
        if type(reply.body) is Parts:
            return partial(self._send, each(reply.body), reply, context)
        if type(reply.body) is FileBody:
            return partial(begin_file, reply=reply, executor=self)
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

    def _await(self, awaited: Any, running: _Running, pending: PendingCall) -> None:
        task = running.task
        if task is None:
            self._awaited[pending] = awaited.cancel
            awaited.addBoth(self._fired, pending, running)
        else:
            self._awaited[pending] = task.give_up
            task.wait(awaited, partial(self._resumed, pending, running))

    def _fired(self, result: Any, pending: PendingCall, running: _Running) -> None:
        go_on: Step = running.coroutine.send
        if isinstance(result, Failure):
            go_on, result = result.throwExceptionIntoGenerator, running.coroutine
        self._resumed(pending, running, go_on, result)

    def _resumed(self, pending: PendingCall, running: _Running, go_on: Step, value: Any) -> None:
        del self._awaited[pending]
        self._go_on(pending, self._step(running, go_on, value))
        if self._ending is not None and not self._awaited and not self._ending.called:
            self._ending.callback(None)

    def _send(
        self, parts: AsyncGenerator[bytes, None], reply: Reply, context: Context, pending: PendingCall
    ) -> None:
        sending = send_on_reactor(pending, parts, reply, self._pause)
        self._go_on(pending, self._step(_start(pending.call, sending, context), sending.send))

    def _pause(self) -> Deferred[None]:
        """Return a Deferred that fires after the reactor has done other work."""
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
            self._awaited[pending]()

    def stop(self) -> Deferred[None]:
        self._stopped = True
        for pending in list(self._awaited):
            pending.errback(HTTPError(503, "the server is stopping"))
            self.cancel(pending)
        loop = _get_running_loop()
        if loop is None or not self._awaited:
            return succeed(None)
        # asyncio throws CancelledError in its next iteration. Cleaning up may take longer.
        self._ending = ending = Deferred[None]()
        timer = loop.call_later(CLEANUP, ending.callback, None)
        return ending.addCallback(lambda _: timer.cancel())
