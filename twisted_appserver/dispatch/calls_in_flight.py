"""The calls that have begun and have not been answered: their number, time limits and cancellation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.events import EVENT_HEADERS
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.dispatch.keep_alive import keep_alive
from twisted_appserver.dispatch.time_limits import TimeLimits
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import Answer, IExecutor, PendingCall

SETS_LIMIT = "which --timeout or the timeout of its Route sets"
ABANDONED = Reply(b"", 499)  # passed to observers when the reply was not awaited; nginx logs this status too


@dataclass(eq=False)
class _Generation:
    """
    The calls in flight when L{CallsInFlight.split} was called.

    @ivar end: the C{ended} of all these calls.
    @ivar count: how many of them have not ended.
    @ivar ended: fires when all have ended.
    """

    end: Callable[..., None]
    count: int
    ended: Deferred[None]


class CallsInFlight:
    """
    @param reactor: an C{IReactorTime}.
    @param timeout: seconds for a call whose route has no time limit of its own; 0 for no limit.
    @param replied: called with the call and the reply when a call is over. Returns the reply for the client.
    @param stream_began: called in the same way when a stream begins.
    @param stream_ended: called with the pending call and the reply when a stream has ended.
    @ivar count: how many calls are in flight.
    @ivar limits: the time limits of calls by the C{timeout} of their handlers.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        timeout: float,
        replied: Callable[[Call, Reply], Reply],
        stream_began: Callable[[Call, Reply], Reply],
        stream_ended: Callable[[PendingCall, Reply], None],
    ) -> None:
        self._reactor = reactor
        self._replied, self._stream_began, self._stream_ended = replied, stream_began, stream_ended
        self.count = 0
        self.limits = TimeLimits(reactor, timeout, self._expired)
        self._drained: list[Deferred[None]] = []
        self._end = self._ended  # the same object for all calls of a generation
        self._earlier: list[_Generation] = []

    def begin(
        self, call: Call, answer: Answer, executor: IExecutor | None, timeout: float | None
    ) -> PendingCall:
        """
        Make a pending call. Its time limit applies as soon as the dispatcher has added the call to that
        limit.

        @param executor: C{None} if it is not known yet.
        @param timeout: the handler's time limit; C{None} if the handler has none, or is not known yet.
        """
        self.count += 1
        return PendingCall(call, self._end, answer, executor, self.limits[timeout], call.deadline)

    def hand_over(self, pending: PendingCall, executor: IExecutor) -> None:
        """Give a pending call to its executor, and apply the time limit of its route."""
        limit = self.limits[pending.call.handler.timeout]
        if pending.limit is not None and pending.limit is not limit:
            pending.limit.calls.pop(pending, None)
        pending.executor, pending.limit, pending.deadline = executor, limit, pending.call.deadline

    def hand_off(self, pending: PendingCall) -> None:
        """End a call that is replaced by another call. Its reply is not reported."""
        pending.called = True
        self._leave(pending)

    def cancel(self, pending: PendingCall, kill: bool) -> None:
        """As L{Dispatcher.cancel}."""
        if pending.stream is not None:
            pending.stream.stopProducing()
            pending.executor.cancel(pending, kill)
        elif not pending.called:
            pending.answer = lambda *_: None
            self._abandon(pending, ABANDONED, kill)

    def _expired(self, pending: PendingCall) -> None:
        if pending.stream is not None:
            limit = f"the time limit of {pending.limit.seconds:g} s, {SETS_LIMIT}"
            error = HTTPError(504, f"no part was produced or read within {limit}")
            self._log_expired(pending, "neither produced a part nor had a part read within the time limit")
            pending.stream.cut(error.detail, problem_reply(error, pending.call.request_id))
            pending.executor.cancel(pending, True)
        else:
            limit = f"its time limit of {pending.limit.seconds:g} s, {SETS_LIMIT}"
            error = HTTPError(504, f"the call took longer than {limit}")
            self._log_expired(pending, "took longer than its time limit")
            self._abandon(pending, problem_reply(error, pending.call.request_id), True)

    def _log_expired(self, pending: PendingCall, what: str) -> None:
        self.log.warn(
            "{route} {what} of {seconds:g} s, {request_id}",
            route=getattr(pending.call.handler, "name", ""),
            what=what,
            seconds=pending.limit.seconds,
            request_id=pending.call.request_id,
            call=pending.call,
        )

    def _abandon(self, pending: PendingCall, reply: Reply, kill: bool) -> None:
        pending.called = True
        if pending.executor is not None:
            pending.executor.cancel(pending, kill)
        self._ended(pending, reply)

    def _ended(self, pending: PendingCall, reply: Reply) -> None:
        """The reply is complete, or its stream begins."""
        if pending.stream is None:
            self._leave(pending)
            reply = self._replied(pending.call, reply)
        else:
            reply = self._stream_began(pending.call, reply)
            self._follow(pending, reply)
        pending.answer(pending.call, reply)

    def _follow(self, pending: PendingCall, reply: Reply) -> None:
        """Apply the time limit of a stream: to making each part, and to reading each part."""
        stream, limit = pending.stream, pending.limit
        stream.ended = partial(self._streamed, pending, reply)
        if limit is not None:
            limit.add(pending)
            stream.moved = partial(limit.prolong, pending)
        if reply.headers[: len(EVENT_HEADERS)] == EVENT_HEADERS:
            keep_alive(self._reactor, stream)

    def _streamed(self, pending: PendingCall, reply: Reply) -> None:
        self._leave(pending)
        self._stream_ended(pending, reply)

    def _leave(self, pending: PendingCall) -> None:
        if pending.limit is not None:
            pending.limit.calls.pop(pending, None)
        self.count -= 1
        if self._earlier:
            self._leave_generation(pending.ended)
        if self._drained and not self.count:
            self._reactor.callLater(0, self._fire_drained)

    def _fire_drained(self) -> None:
        while self._drained and not self.count:
            self._drained.pop().callback(None)

    def drained(self) -> Deferred[None]:
        """As L{Dispatcher.drained}."""
        drained: Deferred[None] = Deferred(self._drained.remove)
        self._drained.append(drained)
        self._fire_drained()
        return drained

    def split(self) -> Deferred[None]:
        """Return a Deferred that fires when the calls that have begun since the last split have ended."""
        count = self.count - sum(each.count for each in self._earlier)
        if not count:
            return succeed(None)
        generation = _Generation(self._end, count, Deferred())
        self._earlier.append(generation)
        self._end = self._ended  # a new object
        return generation.ended

    def _leave_generation(self, end: Callable[..., None]) -> None:
        for generation in self._earlier:
            if generation.end is end:
                generation.count -= 1
                if not generation.count:
                    self._earlier.remove(generation)
                    self._reactor.callLater(0, generation.ended.callback, None)
                return

    def stop(self) -> None:
        """Stop the timers. Calls in flight have no time limit any more."""
        self.limits.stop()
