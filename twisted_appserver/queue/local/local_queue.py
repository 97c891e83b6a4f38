"""One queue in memory, with the requests that wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted_appserver.core.durations import Durations
from twisted_appserver.queue.attempt_durations import Outcome, attempt_durations
from twisted_appserver.queue.interface import EMPTY, FULL, SHUTDOWN
from twisted_appserver.queue.model import STATES, TaskQueue
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.waiters import Waiters

STALE = 100  # values of tasks that are no longer leased, besides two for each leased task
COUNTS = ("unfinished", "puts", "gets", "dones", "returned", "expired")


class LocalQueue:
    """
    @param reactor: an C{IReactorTime}.
    @ivar timer: the timer for the end of the next lease or delay; C{None} before the first one.
    @ivar pace_timer: the timer for the next delivery that the rate of the queue allows; C{None} before the
        first one.
    @ivar awaited: the requests that wait for the end of a task, by its number.
    @ivar durations: the durations of attempts, by their outcome.
    @ivar progress: the progress of leased tasks, by number, each with its delivery. It is in memory only.
    @ivar timer_due: when the timer fires, in seconds of the reactor.
    """

    def __init__(self, queue: TaskQueue, reactor: Any) -> None:
        self.queue, self._reactor = queue, reactor
        self.getters, self.putters = Waiters(reactor, EMPTY), Waiters(reactor, FULL)
        self.joiners = Waiters(reactor, "late")
        self.awaited: dict[int, Waiters] = {}
        self.timer: Any = None
        self.pace_timer: Any = None
        self.timer_due = 0.0
        self.durations: dict[Outcome, Durations] = {}
        self.progress: dict[int, tuple[int, bytes]] = {}

    @property
    def has_waiters(self) -> bool:
        """Whether any request waits."""
        return bool(self.getters.waiting or self.putters.waiting or self.joiners.waiting or self.awaited)

    @property
    def drained(self) -> bool:
        """Whether the queue is shut down and no further task can become ready."""
        queue = self.queue
        return bool(queue.config.shutdown) and not (queue.waiting or queue.reserved)

    def waiting(self) -> dict[str, int]:
        """Return how many requests wait, by kind."""
        return {name: len(getattr(self, name)) for name in ("getters", "putters", "joiners")}

    def figures(self) -> dict[str, Any]:
        """Return the figures of L{IBroker.stats}."""
        queue = self.queue
        by_state = {state: len(getattr(queue, state)) for state in ("ready", *STATES)}
        counts = {each: getattr(queue, each) for each in COUNTS}
        return {**by_state, **counts, **self.waiting(), "oldest": self._age_of_oldest()}

    def _age_of_oldest(self) -> float | None:
        """
        Return the age of the oldest ready task in seconds; C{None} if no task is ready or the age is unknown.
        """
        put_at = self.queue.ready.oldest
        return max(0.0, self._reactor.seconds() - put_at) if put_at else None

    def note_end(self, task: QueuedTask, outcome: Outcome) -> None:
        """Count an attempt that ends now."""
        durations = self.durations.get(outcome)
        if durations is None:
            durations = self.durations[outcome] = attempt_durations()
        durations.add(max(0.0, self._reactor.seconds() - task.began))

    def note_progress(self, task: QueuedTask, value: bytes) -> None:
        """Keep the progress of a task while it is leased in this delivery."""
        self.progress[task.number] = task.deliveries, value
        if len(self.progress) > STALE + 2 * len(self.queue.leased):
            live = self.progress_of(list(self.progress))
            self.progress = {number: self.progress[number] for number in live}

    def progress_of(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Return the progress of leased tasks, as L{IBroker.progress} describes."""
        found: dict[int, bytes] = {}
        for number in numbers:
            task, (delivery, value) = self.queue.leased.get(number), self.progress.get(number, (0, b""))
            if task is not None and task.deliveries == delivery:
                found[number] = value
        return found

    def dismiss(self, result: str) -> None:
        """Finish all requests that wait, with this result."""
        for waiters in (self.getters, self.putters, self.joiners):
            waiters.dismiss(result)
        self.dismiss_awaited(result)

    def dismiss_awaited(self, result: str = "") -> None:
        """Finish all requests that wait for the end of a task, so that they check its state again."""
        for number in list(self.awaited):
            self.task_ended(number, result)

    def task_ended(self, number: int, result: str = "") -> None:
        """Finish the requests that wait for the end of this task."""
        waiters = self.awaited.pop(number, None)
        if waiters is not None:
            waiters.dismiss(result)

    def serve_waiters(self, stopping: bool) -> None:
        """
        Serve all requests that can succeed now. Each acts at once, inside this call.

        @param stopping: whether the server is stopping, so that no get or put succeeds.
        """
        queue = self.queue
        while self.getters.waiting and not stopping and queue.can_hand_out(self._reactor.seconds()):
            self.getters.serve_next()
        if self.getters.waiting and self.drained:
            self.getters.dismiss(SHUTDOWN)
        if self.putters.waiting and queue.config.shutdown:
            self.putters.dismiss(SHUTDOWN)
        while self.putters.waiting and queue.has_room_for(1) and not stopping:
            if self.putters.places and not queue.has_room_for(self.putters.next_places):
                break  # later requests wait too, or a batch would never find room
            self.putters.serve_next()
        if self.joiners.waiting and not queue.unfinished:
            self.joiners.dismiss("")

    def cancel_timers(self) -> None:
        for timer in (self.timer, self.pace_timer):
            if timer is not None and timer.active():
                timer.cancel()
