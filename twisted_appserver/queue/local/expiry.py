"""Ends leases and delays in time, and serves waiting requests after each change of a queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted_appserver.queue.attempt import end_attempt
from twisted_appserver.queue.local.journal import Change, IStore, to_update
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.queue_table import QueueTable
from twisted_appserver.queue.local.storing import log_if_not_stored
from twisted_appserver.queue.model import GRACE

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
        if local.queue.bare:
            self._table.note_bare(local)
        self.set_timer(local)

    def set_timer(self, local: LocalQueue) -> None:
        """Set the timer of a queue to the end of the next lease or delay."""
        alarm = local.queue.alarm
        if alarm is None or not self._table.has(local):  # it may have been deleted meanwhile
            return
        if local.timer is not None and local.timer.active():
            if local.timer_due <= alarm:
                return
            local.timer.cancel()
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
        if alarm is None:
            return
        if now - alarm > LATE:
            local.queue.postpone(now + GRACE)
        returned, due = local.queue.expire(now)
        if returned:  # otherwise the lease would start again when the store is opened
            name, shift = local.queue.name, self._wall() - now
            attempts = [(name, end_attempt(task, now, shift, "expired")) for task in returned]
            updates = [to_update(task) for task in returned]
            log_if_not_stored(self._store.write(Change(updates=updates, attempts=attempts)))
        if local.awaited:
            for task in returned:
                if task.buried:
                    local.task_ended(task.number)
        if returned or due:
            self.after_change(local)
        else:
            self.set_timer(local)
