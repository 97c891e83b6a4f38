"""The lifespan of a server: a synchronous one in a thread of its own, an asynchronous one on the reactor."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from threading import Event, Thread
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from twisted_appserver.core.error_advice import format_traceback
from twisted_appserver.core.lifespan import Lifespan, entering_error, open_lifespan, stay
from twisted_appserver.errors import ConfigurationError

LEAVE_TIMEOUT = 10.0  # seconds that a lifespan has to end; then the process stops without it


@types.coroutine
def _with_deferreds(coroutine: Coroutine[Any, Any, None], loop: Any) -> Generator[Any, Any, None]:
    """Run a coroutine in an asyncio task. A Deferred that it awaits becomes a future."""
    step: Callable[[Any], Any] = coroutine.send
    value: Any = None
    while True:
        try:
            awaited = step(value)
        except StopIteration:
            return
        step = coroutine.send
        try:
            if isinstance(awaited, Deferred):
                value = yield from _future_of(awaited, loop)
            else:
                value = yield awaited
        except BaseException as error:
            step, value = coroutine.throw, error
            if isinstance(awaited, Deferred):
                awaited.cancel()


def _future_of(deferred: Deferred[Any], loop: Any) -> Any:
    """Return a future that has a result as soon as a Deferred has one. The Deferred keeps its result."""
    future = loop.create_future()

    def fired(result: Any) -> Any:
        if not future.done():
            future.set_result(None)
        return result

    deferred.addBoth(fired)
    return future


async def _in_task(coroutine: Coroutine[Any, Any, None], loop: Any) -> None:
    await _with_deferreds(coroutine, loop)


def _fire(deferred: Deferred[None]) -> None:
    if not deferred.called:
        deferred.callback(None)


class ReactorLifespan:
    """
    A lifespan that is entered and left while the reactor serves.

    A synchronous lifespan has a daemon thread of its own. If it hangs, calls continue and the process can
    still end.

    @param reactor: an C{IReactorThreads} and C{IReactorTime}.
    @ivar problem: why the lifespan ended too early; empty if it did not.
    """

    log = Logger(namespace="twisted_appserver")

    def __init__(self, reactor: Any, function: Lifespan) -> None:
        self._reactor, self._function = reactor, function
        self._entered: Deferred[None] = Deferred()
        self._left: list[Deferred[None]] = []  # fire when it is left
        self._timer: Any = None
        self._leaving = self._over = False
        self._let_end: Callable[[], object] = bool
        self._cancel: Callable[[], object] = bool
        self.problem = ""

    def enter(self) -> Deferred[None]:
        """
        Enter the lifespan.

        @return: fires when the lifespan is entered; fails with L{ConfigurationError} if the lifespan fails.
        """
        self._reactor.callLater(0, self._begin)  # so that a server fails when it runs, not before
        return self._entered

    def _begin(self) -> None:
        if self._leaving:
            self._report_end()
            return
        try:
            manager, is_async = open_lifespan(self._function)
        except BaseException as error:
            self._ended(error)
            return
        if is_async:
            self._begin_on_reactor(manager)
        else:
            end = Event()
            self._let_end = end.set
            Thread(target=self._run, args=(manager, end), name="appserver-lifespan", daemon=True).start()

    def leave(self) -> Deferred[None]:
        """
        Leave the lifespan. An exception is logged.

        @return: fires when the lifespan has been left, or after L{LEAVE_TIMEOUT} seconds.
        """
        if self._over:
            return succeed(None)
        self._left.append(Deferred())
        if not self._leaving:
            self._leaving = True
            self._timer = self._reactor.callLater(LEAVE_TIMEOUT, self._give_up)
            if not self._entered.called:
                self._cancel()
            self._let_end()
            if not self._entered.called:
                self._entered.errback(ConfigurationError("stopped while the lifespan was being entered"))
        return self._left[-1] if self._left else succeed(None)

    def _give_up(self) -> None:
        self.log.error(
            "the lifespan did not end within {seconds:g} seconds; the server goes on without it",
            seconds=LEAVE_TIMEOUT,
        )
        self._cancel()
        self._report_end()

    def _report_end(self) -> None:
        self._over = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        left, self._left = self._left, []
        for each in left:
            each.callback(None)

    # ---- a synchronous one ----

    def _run(self, manager: Any, end: Event) -> None:
        """In the thread: enter the lifespan, wait, and leave it."""
        try:
            with manager:
                self._reactor.callFromThread(self._has_entered)
                end.wait()
        except BaseException as error:
            self._reactor.callFromThread(self._ended, error)
        else:
            self._reactor.callFromThread(self._ended)

    # ---- an asynchronous one ----

    def _begin_on_reactor(self, manager: Any) -> None:
        loop = getattr(self._reactor, "_asyncioEventloop", None)
        if loop is None:
            end: Deferred[None] = Deferred()
            self._let_end = partial(_fire, end)
            running = Deferred.fromCoroutine(stay(manager, self._has_entered, end))
        else:
            future = loop.create_future()
            self._let_end = lambda: future.done() or future.set_result(None)
            staying = stay(manager, self._has_entered, future)
            running = Deferred.fromFuture(loop.create_task(_in_task(staying, loop)))
        self._cancel = running.cancel
        running.addCallbacks(lambda _: self._ended(), lambda failure: self._ended(failure.value))

    # ---- both ----

    def _has_entered(self) -> None:
        if not self._entered.called:
            self._entered.callback(None)

    def _ended(self, error: BaseException | None = None) -> None:
        text = "" if error is None else format_traceback(error)
        if not self._entered.called:
            self._entered.errback(entering_error(error))
        elif not self._leaving:
            self.problem = "the lifespan has ended"
            self.log.critical("the lifespan ended while the server runs\n{text}", text=text)
        elif error is not None:
            self.log.error("the lifespan failed when it was left\n{text}", text=text)
        self._report_end()
