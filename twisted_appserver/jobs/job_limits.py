"""
The limits of routes for jobs in memory. Stored jobs obey the limits of their queues.

Strategy: a job first gets a place in its group, and keeps it between attempts. Each attempt then waits until
the rate of the route allows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from twisted_appserver.core.call import Call
from twisted_appserver.core.route_limits import RouteLimits
from twisted_appserver.jobs.route_queues import queue_of
from twisted_appserver.queue.groups import Groups
from twisted_appserver.queue.pace import Pace, pace_for

Begin = Callable[[], object]


class LimitedRoute:
    """
    The jobs of one route.

    @ivar held: functions that begin the jobs that wait for a place, by number.
    @ivar line: functions that begin the attempts that wait until the rate allows them, by the names of their
        jobs.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._at_once = 0
        self._pace: Pace | None = None
        self._groups = Groups()
        self._timer: Any = None
        self.held: dict[int, Begin] = {}
        self.line: dict[str, Begin] = {}

    def configure(self, limits: RouteLimits) -> None:
        """Use the limits of the current table."""
        self._at_once, self._pace = limits.at_once, pace_for(limits.rate, self._pace)

    def enter(self, group: str, number: int, begin: Begin) -> None:
        """Begin a job when it has a place."""
        if not group or self._groups.enter(group, number, self._at_once):
            begin()
        else:
            self.held[number] = begin

    def leave(self, group: str, number: int) -> None:
        """Give the place of a job to the next one."""
        self.held.pop(number, None)
        self._groups.leave(group, number)
        self._groups.take_vacant()
        for each in self._groups.admit(group, self._at_once):
            self.held.pop(each)()

    def run(self) -> None:
        """Begin the attempts that the rate allows, and set a timer for the next one."""
        while self.line:
            now = self._reactor.seconds()
            if self._pace is not None:
                if not self._pace.allows(now):
                    self.stop()
                    self._timer = self._reactor.callLater(self._pace.next - now, self.run)
                    return
                self._pace.last = now
            self.line.pop(next(iter(self.line)))()

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


class _LimitedJob(NamedTuple):
    route: LimitedRoute
    group: str
    number: int


class JobLimits:
    """
    @param reactor: an C{IReactorTime}.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._routes: dict[str, LimitedRoute] = {}  # by queue
        self._jobs: dict[str, _LimitedJob] = {}
        self._last = 0

    def enter(self, job: str, call: Call, begin: Begin) -> None:
        """
        Begin a job, perhaps at once, when it has a place in its group. It keeps the place until L{leave}.

        @param job: its name.
        @param call: its handler has limits.
        """
        limits, name = call.handler.limits, queue_of(call.handler)
        if name not in self._routes:
            self._routes[name] = LimitedRoute(self._reactor)
        route = self._routes[name]
        route.configure(limits)
        self._last += 1
        self._jobs[job] = found = _LimitedJob(route, limits.group_of(call), self._last)
        route.enter(found.group, found.number, begin)

    def attempt(self, job: str, begin: Begin) -> None:
        """Begin an attempt of a job when the rate of its route allows it. Other jobs begin at once."""
        if job not in self._jobs:
            begin()
            return
        route = self._jobs[job].route
        route.line[job] = begin
        route.run()

    def leave(self, job: str) -> None:
        """Record that a job has ended."""
        found = self._jobs.pop(job, None)
        if found is not None:
            found.route.line.pop(job, None)
            found.route.leave(found.group, found.number)

    def stop(self) -> None:
        """Begin no further attempt."""
        for route in self._routes.values():
            route.line.clear()
            route.held.clear()
            route.stop()
