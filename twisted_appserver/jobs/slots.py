"""Limits how many jobs run at the same time, so that other calls find a free thread or worker.

Strategy: the store records that a job was taken before the job begins. If only as many jobs were taken as
have places, quick jobs would run at the speed of commits. So while jobs are quick, some more are taken ahead,
and begin when places become free. A job that was taken counts as running when the process dies. So jobs that
do not begin soon are put back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from twisted_appserver.jobs.run import Run

ON_REACTOR = 100  # jobs of an executor without a limit of its own
AHEAD = 4  # quick jobs that are taken ahead, for each place
QUICK = 0.01  # seconds
LONGEST_WAIT = 0.1  # seconds after which jobs that were taken ahead are put back


class Slots:
    """
    The places for jobs in an executor: one less than its threads or workers, but at least one.

    A job is taken with L{reserve} and L{settle}, or with L{take}. After that, either L{begin} is called, or
    L{give_back} with C{None}.

    @param executor: an C{IExecutor}.
    @param perform: called with a job when it has a place.
    @param put_back: called with a job that waits too long for a place. It calls L{give_back}.
    """

    def __init__(
        self, reactor: Any, executor: Any, perform: Callable[[Run], None], put_back: Callable[[Run], None]
    ) -> None:
        self._reactor, self._executor = reactor, executor
        self._perform, self._put_back = perform, put_back
        self._taken = self._reserved = self._performing = 0
        self._are_quick = False
        self._ahead: dict[Run, float] = {}  # the jobs that wait for a place, and since when
        self._timer: Any = None
        self._waiting: dict[Deferred[None], bool] = {}  # with C{ahead}
        self._undecided: list[Deferred[None]] = []

    @property
    def _places(self) -> int:
        size: int = self._executor.size
        return max(1, size - 1) if size else ON_REACTOR

    def free(self, ahead: bool) -> int:
        """
        Return how many jobs may be taken.

        @param ahead: whether they may be taken ahead.
        """
        places = self._places
        if ahead and self._are_quick and self._executor.size:
            places += AHEAD * places
        return max(0, places - self._taken - self._reserved)

    async def wait(self, ahead: bool) -> None:
        """Wait until a job may be taken. Waiting callers go on one at a time, in order."""
        deferred: Deferred[None] = Deferred(self._waiting.__delitem__)
        self._waiting[deferred] = ahead
        await deferred

    def reserve(self, ahead: bool) -> int:
        """Reserve all free places. Return their number."""
        count = self.free(ahead)
        self._reserved += count
        return count

    def settle(self, reserved: int, used: int) -> None:
        """Take C{used} of the C{reserved} places, and free the others."""
        self._reserved -= reserved
        self._taken += used
        undecided, self._undecided = self._undecided, []
        for deferred in undecided:
            deferred.callback(None)
        self._wake()

    async def take(self, ahead: bool) -> bool:
        """Take a free place, or a reserved place that becomes free. Return whether it did."""
        while not self.free(ahead) and self._reserved:
            deferred: Deferred[None] = Deferred(self._undecided.remove)
            self._undecided.append(deferred)
            await deferred
        if not self.free(ahead):
            return False
        self._taken += 1
        return True

    def begin(self, run: Run) -> None:
        """Perform a job that was taken, as soon as it has a place."""
        run.slots = self
        if not self._ahead and self._performing < self._places:
            self._performing += 1
            self._perform(run)
            return
        self._ahead[run] = self._reactor.seconds()
        self._begin_next()

    def _begin_next(self) -> None:
        """Perform jobs that have places now."""
        while self._ahead and self._performing < self._places:
            run = next(iter(self._ahead))
            del self._ahead[run]
            self._performing += 1
            self._perform(run)
        if self._ahead and self._timer is None:
            self._timer = self._reactor.callLater(LONGEST_WAIT, self._look)

    def _look(self) -> None:
        """Put back jobs that were taken ahead and wait for jobs that are not quick."""
        self._timer = None
        if self._reactor.seconds() - next(iter(self._ahead.values()), float("inf")) >= LONGEST_WAIT:
            self.rest()
        self._begin_next()

    def rest(self) -> None:
        """Put all jobs back that were taken ahead."""
        self._are_quick = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for run in list(self._ahead):
            self._put_back(run)

    def note(self, seconds: float) -> None:
        """Record how long a job has taken."""
        self._are_quick = seconds < QUICK

    def give_back(self, run: Run | None) -> None:
        """
        Take back what a job has: a place, or its right to one. C{None} stands for a job without L{begin}.
        """
        self._taken -= 1
        if run is not None and self._ahead.pop(run, None) is None:
            self._performing -= 1
            self._begin_next()
        self._wake()

    def _wake(self) -> None:
        """Let the next waiting caller go on, if a place is free."""
        for deferred, ahead in self._waiting.items():
            if self.free(ahead):
                del self._waiting[deferred]
                deferred.callback(None)
            break
