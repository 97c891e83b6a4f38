"""
Enters the lifespan of an application in this process before its first call, and leaves it after the last one.

Worker processes have lifespans of their own. This process needs one only if it runs functions itself: in
threads, on the reactor, or as mounted resources.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.python.failure import Failure

from twisted_appserver.core.router import Router
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.executors.held_calls import HeldCalls
from twisted_appserver.executors.reactor_lifespan import ReactorLifespan

ELSEWHERE = ("processes", "cluster")  # executors that may be made only when a table needs them


class Lifespans:
    """
    The lifespan of the table that a dispatcher uses, and of earlier tables whose calls have not ended.

    @param reactor: an C{IReactorThreads} and C{IReactorTime}.
    """

    def __init__(self, reactor: Any, dispatcher: Dispatcher) -> None:
        self._reactor, self._dispatcher = reactor, dispatcher
        self._current: ReactorLifespan | None = None
        self._ending: list[ReactorLifespan] = []  # lifespans of earlier tables
        self._held: dict[str, HeldCalls] = {}  # while the first one is being entered

    def start(self) -> Deferred[None]:
        """
        Enter the lifespan of the dispatcher's table. Calls wait until it is entered.

        @return: fires when calls can be performed; fails with L{ConfigurationError} if the lifespan fails.
        """
        self._current = self._make(self._dispatcher.router)
        if self._current is None:
            return succeed(None)
        self._held = {name: HeldCalls(self._executors[name]) for name in self._used(self._dispatcher.router)}
        self._executors.update(self._held)
        return self._current.enter().addCallbacks(self._release, self._refuse)

    @property
    def _executors(self) -> dict[str, Any]:
        executors: Any = self._dispatcher.executors
        return executors  # type: ignore[no-any-return]

    def _restore(self) -> list[HeldCalls]:
        """Let the executors perform calls again."""
        held, self._held = self._held, {}
        self._executors.update({name: each.executor for name, each in held.items()})
        return list(held.values())

    def _release(self, _: None) -> None:
        for each in self._restore():
            each.release()

    def _refuse(self, failure: Failure) -> Failure:
        for each in self._held.values():
            each.refuse("the application could not start")
        return failure

    def stop_entering(self) -> None:
        """Refuse the calls that wait until the lifespan is entered: the server is stopping."""
        if self._held and self._current is not None:
            self._current.leave()

    def _make(self, router: Router) -> ReactorLifespan | None:
        if router.lifespan is None or not self._used(router):
            return None
        return ReactorLifespan(self._reactor, router.lifespan)

    def _used(self, router: Router) -> list[str]:
        """Return the names of the executors that run functions of a table in this process."""
        names = {handler.executor or self._dispatcher.default for handler in router.handlers}
        executors = ((name, self._executors.get(name)) for name in names)
        return [name for name, each in executors if getattr(each, "here", name not in ELSEWHERE)]

    async def prepare(self, router: Router) -> ReactorLifespan | None:
        """
        Enter the lifespan of a new table, while the previous one is in use.

        @return: the lifespan for L{adopt}.
        @raise ConfigurationError: when it fails.
        """
        lifespan = self._make(router)
        if lifespan is not None:
            await lifespan.enter()
        return lifespan

    def adopt(self, lifespan: ReactorLifespan | None, ended: Deferred[None]) -> None:
        """
        Use this lifespan from now on.

        @param ended: fires when the calls of earlier tables have ended; then their lifespan is left.
        """
        earlier, self._current = self._current, lifespan
        if earlier is not None:
            self._ending.append(earlier)
            ended.addCallback(lambda _: self._leave(earlier))

    def _leave(self, lifespan: ReactorLifespan) -> Deferred[None]:
        return lifespan.leave().addCallback(lambda _: self._ending.remove(lifespan))

    def unready(self) -> str:
        """Return why calls should not be performed; empty if they can be."""
        if self._held:
            return "the lifespan is being entered"
        return "" if self._current is None else self._current.problem

    def stop(self) -> Deferred[None]:
        """
        Leave all lifespans.

        @return: fires when all have been left, or have taken too long.
        """
        self._restore()
        current, self._current = self._current, None
        leaving = [each.leave() for each in (*self._ending, current) if each is not None]
        return gatherResults(leaving).addCallback(lambda _: None)
