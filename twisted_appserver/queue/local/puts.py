"""Adds tasks to queues.

A new task becomes visible only when it is stored, because the store may refuse it. Until then it has a
reserved place in its queue.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_appserver.queue.interface import FULL, SHUTDOWN, STOPPING
from twisted_appserver.queue.local.expiry import Upkeep
from twisted_appserver.queue.local.journal import Change, IStore
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.queue_table import QueueTable
from twisted_appserver.queue.local.repeated_requests import RepeatedRequests
from twisted_appserver.queue.local.storing import follow, log_if_not_stored
from twisted_appserver.queue.model import QueuedTask
from twisted_appserver.queue.request_keys import Remembered, lane
from twisted_appserver.queue.store_health import StoreHealth


class Puts:
    """
    @param reactor: an C{IReactorTime}.
    @ivar last_number: the highest number that a task has had.
    """

    def __init__(
        self,
        reactor: Any,
        store: IStore,
        table: QueueTable,
        upkeep: Upkeep,
        repeated: RepeatedRequests,
        health: StoreHealth,
    ) -> None:
        self._reactor, self._store, self._table, self._upkeep = reactor, store, table, upkeep
        self._repeated, self._health = repeated, health
        self.last_number = 0

    def reserve_numbers(self, count: int) -> int:
        """Take consecutive numbers for new tasks. Return the first one."""
        self.last_number += count
        return self.last_number - count + 1

    async def put(
        self, name: str, task: QueuedTask, key: str, timeout: float, delay: float
    ) -> QueuedTask | str:
        """Add a task, as L{IBroker.put} describes."""
        if delay:
            task.due = self._reactor.seconds() + delay
        local = self._table.find_or_make(name)
        queue = local.queue
        while key:
            remembered = self._repeated.find(queue, lane(key), key, task.body)
            if remembered is not None:
                return QueuedTask(remembered.number, b"")
            written = self._repeated.write_of("put", name, key)
            if written is None:
                break
            await follow(written)
        if not queue.config.shutdown and (not queue.has_room or local.putters.waiting):
            if timeout <= 0 or self._upkeep.stopping:
                return STOPPING if self._upkeep.stopping else FULL
            reason = await local.putters.wait(timeout, key)
            if reason:
                return reason
        if queue.config.shutdown:
            return SHUTDOWN
        return await self._store_task(local, task, key)

    async def _store_task(self, local: LocalQueue, task: QueuedTask, key: str) -> QueuedTask | str:
        queue = local.queue
        self._table.claim(local)
        queue.reserved += 1
        self.last_number += 1
        task.number = self.last_number
        keys = []
        if key:
            remembered = self._repeated.new(queue, key, task.number, task.body)
            keys = [(queue.name, lane(key), remembered)]
        written = self._store.write(Change(puts=[(queue.name, task)], keys=keys))
        if written is None:
            return self._stored(None, local, task, keys)
        added: Deferred[QueuedTask | str] = written.addCallbacks(
            self._stored, self._not_stored, (local, task, keys), errbackArgs=(local,)
        )
        if key:
            self._repeated.track("put", queue.name, key, added)
        return await follow(added)

    def _stored(
        self, _: None, local: LocalQueue, task: QueuedTask, keys: list[tuple[str, str, Remembered]]
    ) -> QueuedTask | str:
        queue = local.queue
        queue.reserved -= 1
        self._health.note()
        if queue.config.shutdown == "immediate" or not self._table.has(local):
            log_if_not_stored(self._store.write(Change(deletes=[task.number])))
            self._upkeep.after_change(local)
            return SHUTDOWN
        queue.puts += 1
        for _name, key_lane, remembered in keys:
            queue.keys[key_lane] = remembered
        queue.place(task, self._reactor.seconds())
        self._upkeep.after_change(local)
        return task

    def _not_stored(self, failure: Failure, local: LocalQueue) -> Failure:
        local.queue.reserved -= 1
        self._health.note(failure.value)
        self._upkeep.after_change(local)
        return failure
