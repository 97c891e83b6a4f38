"""The calls that a worker process has been given and has not answered yet.

Strategy: a worker performs its calls one after the other, so a slow call delays the calls behind it. The
delayed calls can be reclaimed for other workers, but only when they are certain not to begin. Therefore
reclaiming takes two steps. First the worker is paused: L{Progress.limit} forbids it to begin another call. If
it has not moved by the next check, the calls above the limit are safe to reclaim. The worker skips the
reclaimed calls when it reaches them.
"""

from __future__ import annotations

from collections import deque

from twisted_appserver.core.call import Call
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.executors.processes.progress import NO_LIMIT, Progress


class AssignedCalls:
    """
    The calls of one worker process, numbered from 1 in the order in which they were assigned.

    @param progress: the memory in which the worker records its progress.
    @ivar calls: the calls that have no reply yet, oldest first.
    @ivar unsent: the calls that have not been written to the worker yet.
    @ivar load: the expected duration of all these calls, in seconds.
    @ivar answered: how many calls the worker has answered.
    @ivar paused: whether the worker begins no further calls until it has answered every call that was sent to
        it.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.calls: deque[PendingCall] = deque()
        self.unsent: list[Call] = []
        self.load = 0.0
        self.answered = 0
        self.paused = False
        self._answered_before = -1  # the value of answered at the previous check
        self._reclaimed: set[PendingCall] = set()

    def add(self, pending: PendingCall, cost: float) -> None:
        """
        Append a call, which L{WorkerProcess.flush} sends.

        @param cost: the expected duration of the call, in seconds.
        """
        pending.cost = cost
        self.load += cost
        self.calls.append(pending)
        self.unsent.append(pending.call)

    def take_answered(self) -> tuple[PendingCall, bool]:
        """
        Remove the oldest call, because its reply has arrived.

        @return: the call, and whether it was reclaimed before.
        """
        pending = self.calls.popleft()
        self.answered += 1
        self.load = self.load - pending.cost if self.calls else 0.0
        if not self._reclaimed:
            return pending, False
        reclaimed = pending in self._reclaimed
        self._reclaimed.discard(pending)
        return pending, reclaimed

    @property
    def running(self) -> PendingCall | None:
        """The call that the worker has begun but not answered."""
        return self.calls[0] if self.calls and self._progress.begun > self.answered else None

    def numbered(self, number: int) -> PendingCall | None:
        """Return the unanswered call with this number."""
        index = number - self.answered - 1
        return self.calls[index] if 0 <= index < len(self.calls) else None

    @property
    def queued(self) -> int:
        """The number of calls that the worker has not begun."""
        return len(self.calls) - (self.running is not None)

    def is_next(self, pending: PendingCall) -> bool:
        """Return whether the call runs, or would run now if the worker did not stand still."""
        return bool(self.calls) and self.calls[0] is pending

    def pause(self) -> None:
        """Forbid the worker to begin another call. A call that it begins at this moment still runs."""
        self.paused, self._progress.limit = True, self.answered + (self.running is not None)

    def resume(self) -> None:
        """Let the worker begin calls again."""
        self.paused = False
        self._progress.limit = NO_LIMIT

    def reclaim(self, wanted: bool) -> list[PendingCall]:
        """
        Check for progress, and reclaim calls from a worker that makes no progress. Called at intervals while
        calls are queued.

        @param wanted: whether other workers are idle.
        @return: calls that are certain not to begin here, for other workers. Empty while the worker answers
            calls. The first check that finds no answer returns no calls either; it only pauses the worker.
        """
        stalled = self._answered_before == self.answered
        self._answered_before = self.answered
        if self.paused:
            if stalled and self._progress.begun <= self._progress.limit:
                begun = self.running is not None
                queued = [each for each in list(self.calls)[begun:] if each not in self._reclaimed]
                self._reclaimed.update(queued)
                return queued
        elif stalled and wanted and self.queued:
            self.pause()
        return []

    def unfinished(self) -> tuple[PendingCall | None, list[PendingCall]]:
        """Return the call that a dead worker was running, and the calls that it had not begun."""
        running = self.running
        queued = [each for each in self.calls if each is not running and each not in self._reclaimed]
        return (None if running in self._reclaimed else running), queued
