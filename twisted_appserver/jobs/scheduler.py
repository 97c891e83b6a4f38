"""Calls functions at the times of their routes.

Strategy: each scheduled route has a loop of its own: find the next time, wait until then, perform the call,
and wait for its end. So if a call takes longer than its period, the times that it overlaps are left out.
Times depend on the wall clock, which may be set while a loop waits: it looks at the clock now and then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from os import urandom
from time import time
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.schedule import only_path
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.errors import AppserverError
from twisted_appserver.jobs.documents import shown
from twisted_appserver.jobs.route_queues import queue_name

CHECK = 10.0  # seconds between two looks at the clock
AGAIN = 1.0  # seconds until a call that could not be performed is planned again


class Plan:
    """
    The schedule of one route.

    @ivar due: when the call that is planned is due, in seconds since the epoch; 0.0 if none is planned yet,
        infinity for never.
    @ivar made: when the last call was due that has begun, or was cancelled; 0.0 if there is none.
    @ivar running: the name of the job that is due and has not ended; C{None} if there is none.
    @ivar last: the last call that has ended; C{None} before the first one.
    """

    def __init__(self, entry: Any) -> None:
        self.schedule, self.function = entry.handler.schedule, entry.handler.name
        self.path = only_path(entry.regex)
        method = "GET" if "GET" in entry.methods else min(entry.methods)
        self._call = Call(method, self.path, handler=entry.handler)
        self.due = self.made = 0.0
        self.running: str | None = None
        self.last: dict[str, Any] | None = None

    def call(self) -> Call:
        """Return a new call of the function."""
        return replace(self._call, request_id=urandom(8).hex())

    def begin(self, job: str, due: float) -> None:
        """
        Note that a call has become due.

        @param due: when it was due. This is earlier than planned if it was missed, or began before a reload.
        """
        self.running, self.made = job, max(self.made, due)

    def next(self, now: float) -> float:
        """Return the first time that is later than now and than the last call."""
        following: float = self.schedule.next(max(now, self.made))
        return following

    def document(self, now: float) -> dict[str, Any]:
        due = self.due if self.running is None else self.next(now)
        shown = datetime.fromtimestamp(due, UTC) if 0 < due < math.inf else None
        about = {"function": self.function, "path": self.path, "schedule": self.schedule.text}
        return {**about, "next": shown, "running": self.running, "last": self.last}


class Scheduler:
    """
    The scheduled calls of a service.

    @param perform_at: L{jobs.interface.IJobs.perform_at}.
    @param find_last: returns the name, the state and the end of the last call of a schedule, from an earlier
        process; C{None} if there can be none.
    @param wall: returns the seconds since the epoch.
    """

    log = Logger()

    def __init__(
        self,
        dispatcher: Dispatcher,
        perform_at: Callable[..., Any],
        find_last: Callable[..., Any] | None = None,
        wall: Callable[[], float] = time,
    ) -> None:
        self._dispatcher, self._perform_at, self._wall = dispatcher, perform_at, wall
        self._find_last = find_last
        self._plans: dict[str, Plan] = {}
        self._loops: list[Deferred[None]] = []

    def follow_table(self) -> None:
        """Follow the schedules of the present table, and no others."""
        self.stop()
        earlier, self._plans = self._plans, {}
        for entry in self._dispatcher.router.entries:
            if entry.handler.schedule is None:
                continue
            name = queue_name(entry.handler.name, entry.regex)
            plan = self._plans[name] = Plan(entry)
            if name in earlier:
                plan.last, plan.made = earlier[name].last, earlier[name].made
            loop = Deferred.fromCoroutine(self._follow(name, plan))
            loop.addErrback(lambda failure: failure.trap(CancelledError))
            loop.addErrback(lambda failure: self.log.failure("a schedule is no longer followed", failure))
            self._loops.append(loop)

    def stop(self) -> None:
        """Begin no further call."""
        loops, self._loops = self._loops, []
        for loop in loops:
            loop.cancel()

    async def _follow(self, name: str, plan: Plan) -> None:
        while True:
            plan.due = plan.next(self._wall())
            if plan.due == math.inf:
                return
            try:
                if plan.last is None and self._find_last is not None:
                    plan.last = _last(await self._find_last(name, plan.schedule))
                job, state = await self._perform_at(
                    name, plan.call(), plan.due, self._sleep_until, plan.begin
                )
            except AppserverError as error:
                plan.running = None
                self.log.warn("{function} was not called as scheduled: {error}",
                              function=plan.function, error=error)  # fmt: skip
                await deferLater(self._dispatcher.reactor, AGAIN)
            else:
                plan.running, plan.last = None, _last((job, state, self._wall()))

    async def _sleep_until(self, due: float) -> None:
        """Wait for a time of the wall clock, in seconds since the epoch."""
        while (left := due - self._wall()) > 0:
            await deferLater(self._dispatcher.reactor, min(left, CHECK))

    def index(self) -> Reply:
        """Return the schedules, with the next time, the call that runs, and the last call of each."""
        now = self._wall()
        return shown({"schedules": [plan.document(now) for plan in self._plans.values()]})


def _last(found: tuple[str, str, float] | None) -> dict[str, Any] | None:
    """Return what is shown of the last call, given its job, its state and its end."""
    if found is None:
        return None
    job, state, ended = found
    return {"job": job, "state": state, "ended": datetime.fromtimestamp(ended, UTC)}
