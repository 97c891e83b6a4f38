"""One queue in memory, with the requests that wait for it."""

from __future__ import annotations

from typing import Any

from twisted_appserver.queue.interface import EMPTY, FULL, SHUTDOWN
from twisted_appserver.queue.model import TaskQueue
from twisted_appserver.queue.waiters import Waiters


class LocalQueue:
    """
    @param reactor: an C{IReactorTime}.
    @ivar timer: the timer for the end of the next lease or delay; C{None} before the first one.
    @ivar awaited: the requests that wait for the end of a task, by its number.
    @ivar timer_due: when the timer fires, in seconds of the reactor.
    """

    def __init__(self, queue: TaskQueue, reactor: Any) -> None:
        self.queue = queue
        self.getters, self.putters = Waiters(reactor, EMPTY), Waiters(reactor, FULL)
        self.joiners = Waiters(reactor, "late")
        self.awaited: dict[int, Waiters] = {}
        self.timer: Any = None
        self.timer_due = 0.0

    @property
    def has_waiters(self) -> bool:
        """Whether any request waits."""
        return bool(self.getters.waiting or self.putters.waiting or self.joiners.waiting or self.awaited)

    @property
    def drained(self) -> bool:
        """Whether the queue is shut down and no further task can become ready."""
        queue = self.queue
        return bool(queue.config.shutdown) and not (queue.ready or queue.delayed or queue.reserved)

    def waiting(self) -> dict[str, int]:
        """Return how many requests wait, by kind."""
        return {name: len(getattr(self, name)) for name in ("getters", "putters", "joiners")}

    def figures(self) -> dict[str, int]:
        """Return the figures of L{IBroker.stats}."""
        queue = self.queue
        by_state = {state: len(getattr(queue, state)) for state in ("ready", "delayed", "leased", "buried")}
        counts = {each: getattr(queue, each) for each in ("unfinished", "puts", "gets", "dones", "returned")}
        return {**by_state, **counts, **self.waiting()}

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
        while self.getters.waiting and queue.ready and not (queue.config.paused or stopping):
            self.getters.serve_next()
        if self.getters.waiting and self.drained:
            self.getters.dismiss(SHUTDOWN)
        if self.putters.waiting and queue.config.shutdown:
            self.putters.dismiss(SHUTDOWN)
        while self.putters.waiting and queue.has_room and not stopping:
            if self.putters.places and not queue.has_room_for(self.putters.next_places):
                break  # those behind it wait too, or a batch would never find room
            self.putters.serve_next()
        if self.joiners.waiting and not queue.unfinished:
            self.joiners.dismiss("")

    def cancel_timer(self) -> None:
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
