"""Adds tasks to queues.

A new task becomes visible only when it is stored, because the store may refuse it. Until then it has a
reserved place in its queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_appserver.queue.interface import FULL, SHUTDOWN, STOPPING
from twisted_appserver.queue.local.expiry import Upkeep
from twisted_appserver.queue.local.journal import Change, IStore, to_refusal, to_taken
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.queue_table import QueueTable
from twisted_appserver.queue.local.repeated_requests import RepeatedRequests
from twisted_appserver.queue.local.storing import follow, log_if_not_stored
from twisted_appserver.queue.local.unique_puts import Merge, UniquePuts
from twisted_appserver.queue.queued_task import QueuedTask
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
        unique: UniquePuts,
    ) -> None:
        self._reactor, self._store, self._table, self._upkeep = reactor, store, table, upkeep
        self._repeated, self._health, self._unique = repeated, health, unique
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
        is_unique = task.terms is not None and task.terms.unique != ""
        if is_unique and isinstance(found := await self._unique.look_up(local, [task]), list):
            return found[0]
        if not queue.config.shutdown and (not queue.has_room_for(1) or local.putters.waiting):
            if timeout <= 0 or self._upkeep.stopping:
                return STOPPING if self._upkeep.stopping else FULL
            reason = await local.putters.wait(timeout, key)
            if reason:
                return reason
        if queue.config.shutdown:
            return SHUTDOWN
        if is_unique:
            return await self._store_unique(local, task, key)
        return await self._store_task(local, task, key)

    async def _store_unique(self, local: LocalQueue, task: QueuedTask, key: str) -> QueuedTask | str:
        async def add(fresh: list[QueuedTask], merge: Merge) -> list[QueuedTask] | str:
            stored = await self._store_task(local, task, key)
            return stored if isinstance(stored, str) else [stored]

        found = await self._unique.put(local, [task], 1, add)
        return found if isinstance(found, str) else found[0]

    async def _store_task(self, local: LocalQueue, task: QueuedTask, key: str) -> QueuedTask | str:
        queue = local.queue
        self._table.claim(local)
        queue.reserved += 1
        self.last_number += 1
        task.number, task.put_at = self.last_number, self._reactor.seconds()
        taken: Sequence[tuple[str, str, int, float]] = ()
        if task.terms is not None:
            taken = to_taken(queue.name, [task], task.put_at)
            task.terms = task.terms.begun(task.put_at)
        keys = []
        if key:
            remembered = self._repeated.new(queue, key, task.number, task.body)
            keys = [(queue.name, lane(key), remembered)]
        written = self._store.write(Change(puts=[(queue.name, task)], keys=keys, taken=taken))
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
            log_if_not_stored(self._store.write(to_refusal(queue.name, [task])))
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
