"""The asyncio task in which a coroutine runs, if the reactor runs on asyncio.

Strategy: asyncio's own C{Task} would begin the coroutine only in the next iteration of the event loop, would
cost several microseconds for each call, and cannot await Deferreds. So this is a task of our own, as
U{https://docs.python.org/3/library/asyncio-extending.html} describes it. The executor performs its steps: the
first at once, and the others as soon as the future or the Deferred that the coroutine awaits has its result.
"""

from __future__ import annotations

import asyncio
import traceback
from asyncio.tasks import _enter_task, _leave_task, _register_task
from collections.abc import Callable, Coroutine
from contextvars import Context
from types import FrameType
from typing import Any, NamedTuple

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

Step = Callable[[Any], Any]  # sends a value to a coroutine, or throws an exception into it
Resume = Callable[[Step, Any], None]  # receives the next step and its argument


_Coroutine = Coroutine[Any, Any, Any]


class Waiting(NamedTuple):
    """A coroutine that has begun, its task if it has one, and the object that it awaits."""

    coroutine: _Coroutine
    task: CallTask | None
    awaited: Any


class Returned(NamedTuple):
    """The value that a coroutine has returned."""

    value: Any


class CallCancelled(asyncio.CancelledError, defer.CancelledError):
    """
    Raised when a call is cancelled while it awaits a Deferred. It is both Twisted's and asyncio's error.
    """


class CallTask(asyncio.Future[None]):
    """
    The current task while a step of a coroutine runs. asyncio's timeouts and task groups cancel it.

    @ivar coroutine: the coroutine. This attribute is set when the coroutine has to wait; an C{__init__} would
        cost more.
    """

    # Defaults in the class keep the creation cheap. Most coroutines change none of them.
    _requests = 0  # how often L{cancel} was called, minus calls of L{uncancel}
    _must_cancel = False  # whether the next step throws CancelledError
    _given_up = False  # whether the executor has cancelled the awaited Deferred
    _message: Any = None
    _name = ""
    _fut_waiter: Any = None  # what it awaits; anyio reads this attribute of tasks
    _resume: Resume | None = None

    coroutine: Any = None

    # ---- for the executor ----

    def run(self, step: Step, value: Any) -> Any:
        """Perform a step as the current task. Return what the coroutine awaits now."""
        loop, outer = self.get_loop(), None
        try:
            _enter_task(loop, self)  # type: ignore[arg-type]
        except RuntimeError:  # A step of another task has fired the Deferred.
            outer = asyncio.current_task(loop)
            _leave_task(loop, outer)  # type: ignore[arg-type]
            _enter_task(loop, self)  # type: ignore[arg-type]
        try:
            return step(value)
        except BaseException:  # StopIteration, or an error: the coroutine has ended.
            self._resume = None
            self.set_result(None)
            raise
        finally:
            _leave_task(loop, self)  # type: ignore[arg-type]
            if outer is not None:
                _enter_task(loop, outer)

    def can_await(self, awaited: Any) -> bool:
        """Return whether L{wait} accepts what a coroutine awaits."""
        if awaited is None or isinstance(awaited, Deferred):
            return True
        return (
            getattr(awaited, "_asyncio_future_blocking", None) is True
            and awaited.get_loop() is self.get_loop()
        )

    def refuse(self, awaited: Any) -> Any:
        """Continue a coroutine that awaits something else."""
        if asyncio.isfuture(awaited):
            return self.coroutine.throw(RuntimeError(f"{awaited!r} belongs to another event loop"))
        return self.coroutine.send(awaited)

    def wait(self, awaited: Any, resume: Resume) -> None:
        """
        Wait for what the coroutine awaits: a Deferred, a future, or C{None} for the next iteration of the
        event loop.

        @param resume: called with the next step.
        """
        if self._resume is None:
            _register_task(self)  # type: ignore[arg-type]
        self._fut_waiter, self._resume = awaited, resume
        if isinstance(awaited, Deferred):
            awaited.addBoth(self._deferred_fired)
            if self._must_cancel:
                self._cancel_awaited()
        elif awaited is None:
            self.get_loop().call_soon(self._next, self.coroutine.send, None, context=Context())
        else:
            awaited._asyncio_future_blocking = False
            awaited.add_done_callback(self._future_done, context=Context())
            if self._must_cancel and awaited.cancel(msg=self._message):
                self._must_cancel = False

    def give_up(self) -> None:
        """Cancel the coroutine: its result is no longer wanted."""
        if isinstance(self._fut_waiter, Deferred):
            self._given_up = True
            self._fut_waiter.cancel()
        else:
            self.cancel()

    def _deferred_fired(self, result: Any) -> None:
        step: Step = self.coroutine.send
        if isinstance(result, Failure):
            if self._given_up and result.check(defer.CancelledError):
                step, result = self.coroutine.throw, CallCancelled()
            else:
                step, result = result.throwExceptionIntoGenerator, self.coroutine
        self._next(step, result)

    def _future_done(self, future: asyncio.Future[Any]) -> None:
        try:
            future.result()
        except BaseException as error:
            self._next(self.coroutine.throw, error)
        else:
            self._next(self.coroutine.send, None)  # The coroutine takes the result from the future.

    def _next(self, step: Step, value: Any) -> None:
        self._fut_waiter, self._given_up = None, False
        if self._must_cancel:
            self._must_cancel = False
            if not isinstance(value, asyncio.CancelledError):
                step = self.coroutine.throw
                value = asyncio.CancelledError(*([] if self._message is None else [self._message]))
        assert self._resume is not None
        self._resume(step, value)

    # ---- as asyncio.Task ----

    def cancel(self, msg: Any = None) -> bool:
        if self.done():
            return False
        self._requests += 1
        awaited = self._fut_waiter
        if awaited is not None and not isinstance(awaited, Deferred) and awaited.cancel(msg=msg):
            return True
        self._must_cancel, self._message = True, msg
        if isinstance(awaited, Deferred):
            self._cancel_awaited()
        return True

    def _cancel_awaited(self) -> None:
        # Not at once: the code that cancels a task does not expect the task's next step to run inside
        # C{cancel}.
        awaited = self._fut_waiter
        self.get_loop().call_soon(
            lambda: awaited.cancel() if self._fut_waiter is awaited else None, context=Context()
        )

    def cancelling(self) -> int:
        return self._requests

    def uncancel(self) -> int:
        self._requests = max(0, self._requests - 1)
        return self._requests

    def get_coro(self) -> _Coroutine | None:
        return self.coroutine  # type: ignore[no-any-return]

    def get_name(self) -> str:
        return self._name or getattr(self.coroutine, "__qualname__", "")

    def set_name(self, value: object) -> None:
        self._name = str(value)

    def get_stack(self, *, limit: int | None = None) -> list[FrameType]:
        frame = getattr(self.coroutine, "cr_frame", None)
        return [] if frame is None else [frame]

    def print_stack(self, *, limit: int | None = None, file: Any = None) -> None:
        for frame in self.get_stack():
            traceback.print_stack(frame, limit, file)


def make_task(coroutine: _Coroutine, loop: asyncio.AbstractEventLoop) -> CallTask:
    """Return a task for a coroutine that has not begun."""
    task = CallTask(loop=loop)
    task.coroutine = coroutine
    return task


def begin(coroutine: _Coroutine, loop: asyncio.AbstractEventLoop) -> Any:
    """
    Perform the first step of a coroutine as the current task. Most coroutines end in this step, so it avoids
    every unnecessary call.

    @return: a L{Waiting}; or, if the coroutine has ended, the dict or the L{Returned} value.
    """
    task, is_inside_another = CallTask(loop=loop), False
    try:
        _enter_task(loop, task)  # type: ignore[arg-type]
    except RuntimeError:
        is_inside_another = True
    if is_inside_another:  # not in the block above, whose error would be the context of each error below
        task.coroutine = coroutine
        try:
            return Waiting(coroutine, task, task.run(coroutine.send, None))
        except StopIteration as end:
            return end.value if type(end.value) is dict else Returned(end.value)
    try:
        awaited = coroutine.send(None)
        task.coroutine = coroutine
        return Waiting(coroutine, task, awaited)
    except StopIteration as end:
        task.set_result(None)
        return end.value if type(end.value) is dict else Returned(end.value)
    except BaseException:
        task.set_result(None)
        raise
    finally:
        _leave_task(loop, task)  # type: ignore[arg-type]
