"""Adds many tasks to a queue with one commit: all of them or none.

The tasks of a batch have consecutive numbers, so the number of the first task is enough to recognize the
batch when the request is repeated.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_appserver.queue.interface import FULL, SHUTDOWN, STOPPING, BatchError
from twisted_appserver.queue.local.expiry import Upkeep
from twisted_appserver.queue.local.journal import Change, IStore
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.puts import Puts
from twisted_appserver.queue.local.queue_table import QueueTable
from twisted_appserver.queue.local.repeated_requests import RepeatedRequests
from twisted_appserver.queue.local.storing import follow, log_if_not_stored
from twisted_appserver.queue.model import QueuedTask
from twisted_appserver.queue.request_keys import Remembered, batch_body, lane
from twisted_appserver.queue.store_health import StoreHealth


class BatchPuts:
    """
    @param reactor: an C{IReactorTime}.
    @param puts: gives the tasks their numbers.
    """

    def __init__(
        self,
        reactor: Any,
        store: IStore,
        table: QueueTable,
        upkeep: Upkeep,
        repeated: RepeatedRequests,
        health: StoreHealth,
        puts: Puts,
    ) -> None:
        self._reactor, self._store, self._table, self._upkeep = reactor, store, table, upkeep
        self._repeated, self._health, self._puts = repeated, health, puts

    async def put(
        self, name: str, tasks: list[QueuedTask], key: str, timeout: float, delay: float
    ) -> list[QueuedTask] | str:
        """Add tasks, as L{IBroker.put_many} describes."""
        local = self._table.find_or_make(name)
        queue = local.queue
        body = batch_body([task.body for task in tasks]) if key else b""
        while key:
            remembered = self._repeated.find(queue, lane(key), key, body)
            if remembered is not None:
                return [QueuedTask(remembered.number + place, b"") for place in range(len(tasks))]
            written = self._repeated.write_of("put", name, key)
            if written is None:
                break
            await follow(written)
        if not queue.config.shutdown:
            if 0 < queue.config.maxsize < len(tasks):
                raise BatchError(
                    f"a batch of {len(tasks)} tasks never fits: the maxsize of the queue is "
                    f"{queue.config.maxsize}"
                )
            if not queue.has_room_for(len(tasks)) or local.putters.waiting:
                reason = await self._wait_for_room(local, len(tasks), key, timeout)
                if reason:
                    return reason
        if queue.config.shutdown:
            return SHUTDOWN
        if delay:
            due = self._reactor.seconds() + delay
            for task in tasks:
                task.due = due
        return await self._store_tasks(local, tasks, key, body)

    async def _wait_for_room(self, local: LocalQueue, count: int, key: str, timeout: float) -> str:
        if timeout <= 0 or self._upkeep.stopping:
            return STOPPING if self._upkeep.stopping else FULL
        reason = FULL
        try:
            reason = await local.putters.wait(timeout, key, count)
        finally:
            if reason:  # the requests behind it may need less room
                self._upkeep.after_change(local)
        return reason

    async def _store_tasks(
        self, local: LocalQueue, tasks: list[QueuedTask], key: str, body: bytes
    ) -> list[QueuedTask] | str:
        queue = local.queue
        self._table.claim(local)
        queue.reserved += len(tasks)
        first = self._puts.reserve_numbers(len(tasks))
        for number, task in enumerate(tasks, first):
            task.number = number
        keys = []
        if key:
            keys = [(queue.name, lane(key), self._repeated.new(queue, key, first, body))]
        written = self._store.write(Change(puts=[(queue.name, task) for task in tasks], keys=keys))
        if written is None:
            return self._stored(None, local, tasks, keys)
        added: Deferred[list[QueuedTask] | str] = written.addCallbacks(
            self._stored, self._not_stored, (local, tasks, keys), errbackArgs=(local, len(tasks))
        )
        if key:
            self._repeated.track("put", queue.name, key, added)
        return await follow(added)

    def _stored(
        self,
        _: None,
        local: LocalQueue,
        tasks: list[QueuedTask],
        keys: list[tuple[str, str, Remembered]],
    ) -> list[QueuedTask] | str:
        queue = local.queue
        queue.reserved -= len(tasks)
        self._health.note()
        if queue.config.shutdown == "immediate" or not self._table.has(local):
            log_if_not_stored(self._store.write(Change(deletes=[task.number for task in tasks])))
            self._upkeep.after_change(local)
            return SHUTDOWN
        queue.puts += len(tasks)
        for _name, key_lane, remembered in keys:
            queue.keys[key_lane] = remembered
        now = self._reactor.seconds()
        for task in tasks:
            queue.place(task, now)
        self._upkeep.after_change(local)
        return tasks

    def _not_stored(self, failure: Failure, local: LocalQueue, count: int) -> Failure:
        local.queue.reserved -= count
        self._health.note(failure.value)
        self._upkeep.after_change(local)
        return failure
