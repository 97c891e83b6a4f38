"""Ends leases and delays in time, and serves waiting requests after each change of a queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from twisted_appserver.queue.attempt import end_attempt
from twisted_appserver.queue.local.journal import Change, IStore, to_deletion, to_update
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.queue_table import QueueTable
from twisted_appserver.queue.local.storing import log_if_not_stored
from twisted_appserver.queue.model import GRACE, TaskQueue
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.task_result import TaskResult
from twisted_appserver.queue.terms import OVER

T = TypeVar("T")
TICK = 0.001  # seconds by which a timer may differ from the time that it is for
LATE = 0.5  # seconds; a timer is later than this only if the process stood still


class Upkeep:
    """
    @param reactor: an C{IReactorTime}.
    @param wall: returns the seconds since the epoch.
    @ivar stopping: whether the server is stopping, so that no waiting request succeeds.
    """

    def __init__(self, reactor: Any, store: IStore, table: QueueTable, wall: Callable[[], float]) -> None:
        self._reactor, self._store, self._table, self._wall = reactor, store, table, wall
        self.stopping = False

    def after_change(self, local: LocalQueue) -> None:
        """Serve the requests that can succeed now. Nothing else wakes them."""
        if local.has_waiters:
            local.serve_waiters(self.stopping)
            self.keep_pace(local)
        if local.queue.bare:
            self._table.note_bare(local)
        self.set_timer(local)

    def keep_pace(self, local: LocalQueue) -> None:
        """Serve the waiting gets again when the rate of their queue allows the next delivery."""
        queue, timer = local.queue, local.pace_timer
        if queue.pace is None or not (queue.ready and local.getters.waiting) or queue.config.paused:
            return
        if timer is not None and timer.active():
            if timer.getTime() <= queue.pace.next + TICK:
                return
            timer.cancel()  # the rate is higher now
        if self._table.has(local) and not self.stopping:
            seconds = max(0.0, queue.pace.next - self._reactor.seconds())
            local.pace_timer = self._reactor.callLater(seconds, self.after_change, local)

    def fill_places(self, local: LocalQueue, written: Deferred[None] | None) -> None:
        """
        Give the places of grouped tasks that have ended to the next tasks of their groups, as soon as the
        ends are stored.

        @param written: the result of L{IStore.write} for the ends.
        """
        if not local.queue.groups.vacant:
            return
        groups = local.queue.groups.take_vacant()

        def fill(result: T) -> T:
            if local.queue.fill_places(groups, self._reactor.seconds()):
                self.after_change(local)
            return result

        if written is None:
            fill(None)
        else:
            written.addBoth(fill)

    def set_timer(self, local: LocalQueue) -> None:
        """Set the timer of a queue to the end of the next lease or delay."""
        alarm, timer = local.queue.alarm, local.timer
        if alarm is None:
            return
        is_active = timer is not None and timer.active()
        if is_active and local.timer_due <= alarm:
            return
        if not self._table.has(local):  # it may have been deleted meanwhile
            return
        if is_active:
            timer.cancel()
        local.timer_due = alarm
        seconds = max(0.0, alarm - self._reactor.seconds())
        local.timer = self._reactor.callLater(seconds, self.expire, local)

    def expire(self, local: LocalQueue) -> None:
        """
        End the leases and delays of a queue whose time is over.

        If a lease should have ended long ago, the process stood still. Requests that arrived meanwhile, such
        as one that renews the lease, are read before it ends.
        """
        alarm, now = local.queue.alarm, self._reactor.seconds()
        if alarm is None or alarm > now:
            self.set_timer(local)
            return
        if now - alarm > LATE:
            local.queue.postpone(now + GRACE)
        returned, due = local.queue.expire(now)
        if returned:  # otherwise the lease would start again when the store is opened
            name, shift = local.queue.name, self._wall() - now
            attempts = [(name, end_attempt(task, now, shift, "expired")) for task in returned]
            updates = [to_update(task) for task in returned]
            written = self._store.write(Change(updates=updates, attempts=attempts))
            self.fill_places(local, written)
            log_if_not_stored(written)
        if local.awaited:
            for task in returned:
                if task.buried:
                    local.task_ended(task.number)
        if self.end_lifetimes(local) or returned or due:
            self.after_change(local)
        else:
            self.set_timer(local)

    def end_lifetimes(self, local: LocalQueue) -> bool:
        """Remove the waiting tasks whose time to live is over. Return whether there are any."""
        queue, now = local.queue, self._reactor.seconds()
        gone = queue.end_lifetimes(now)
        if gone:
            written = self._store.write(to_expiry(queue, gone, now, self._wall()))
            self.fill_places(local, written)
            log_if_not_stored(written)
            for task in gone:
                local.task_ended(task.number)
        return bool(gone)


def to_expiry(queue: TaskQueue, tasks: Sequence[QueuedTask], now: float, wall: float) -> Change:
    """Return the change that ends tasks whose time to live is over."""
    config = queue.config
    if not config.keep:
        return to_deletion(queue.name, tasks)
    until = now + config.keep
    ends = [TaskResult(task.number, "expired", b"", OVER, wall, until) for task in tasks]
    results = [(queue.name, config.keep_count, each) for each in ends]
    return Change(deletes=[task.number for task in tasks], results=results)
