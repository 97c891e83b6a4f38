"""Adds many tasks to a queue with one commit: all of them or none.

The new tasks of a batch have consecutive numbers. Unless some of its tasks existed already, the number of the
first one is enough to answer the request when it is repeated.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_appserver.queue.existing_task import remembered_number, remembered_task
from twisted_appserver.queue.interface import FULL, SHUTDOWN, STOPPING, BatchError
from twisted_appserver.queue.local.expiry import Upkeep
from twisted_appserver.queue.local.journal import Change, IStore, to_refusal, to_taken
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.puts import Puts
from twisted_appserver.queue.local.queue_table import QueueTable
from twisted_appserver.queue.local.repeated_requests import RepeatedRequests
from twisted_appserver.queue.local.storing import follow, log_if_not_stored
from twisted_appserver.queue.local.unique_puts import Merge, UniquePuts
from twisted_appserver.queue.queued_task import QueuedTask
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
        unique: UniquePuts,
    ) -> None:
        self._reactor, self._store, self._table, self._upkeep = reactor, store, table, upkeep
        self._repeated, self._health, self._puts = repeated, health, puts
        self._unique = unique

    async def put(
        self, name: str, tasks: list[QueuedTask], key: str, timeout: float, delay: float
    ) -> list[QueuedTask] | str:
        """Add tasks, as L{IBroker.put_many} describes."""
        local = self._table.find_or_make(name)
        queue, count = local.queue, len(tasks)
        body = batch_body([task.body for task in tasks]) if key else b""
        repeated = await self._find_repeated(local, key, body, count)
        if repeated is not None:
            return repeated
        is_unique = bool([task for task in tasks if task.terms is not None and task.terms.unique])
        if is_unique:
            found = await self._unique.look_up(local, tasks)
            if isinstance(found, list):
                return found
            count = found
        if not queue.config.shutdown:
            if 0 < queue.config.maxsize < len(tasks):
                raise BatchError(
                    f"a batch of {len(tasks)} tasks never fits: the maxsize of the queue is "
                    f"{queue.config.maxsize}"
                )
            if not queue.has_room_for(count) or local.putters.waiting:
                reason = await self._wait_for_room(local, count, key, timeout)
                if reason:
                    return reason
        if queue.config.shutdown:
            return SHUTDOWN
        due = self._reactor.seconds() + delay if delay else 0.0
        if is_unique:
            store = partial(self._store_tasks, local, key=key, body=body, due=due)
            return await self._unique.put(local, tasks, count, store)
        return await self._store_tasks(local, tasks, key=key, body=body, due=due)

    async def _find_repeated(
        self, local: LocalQueue, key: str, body: bytes, count: int
    ) -> list[QueuedTask] | None:
        """Return the tasks that an earlier attempt of the same request has put."""
        while key:
            remembered = self._repeated.find(local.queue, lane(key), key, body)
            if remembered is not None:
                first = remembered.number
                return [remembered_task(n) for n in remembered.numbers or range(first, first + count)]
            written = self._repeated.write_of("put", local.queue.name, key)
            if written is None:
                break
            await follow(written)
        return None

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
        self,
        local: LocalQueue,
        tasks: list[QueuedTask],
        merge: Merge | None = None,
        *,
        key: str,
        body: bytes,
        due: float,
    ) -> list[QueuedTask] | str:
        queue = local.queue
        self._table.claim(local)
        queue.reserved += len(tasks)
        first = self._puts.reserve_numbers(len(tasks))
        now = self._reactor.seconds()
        for number, task in enumerate(tasks, first):
            task.number, task.put_at = number, now
            if due:
                task.due = due
        with_terms = [task for task in tasks if task.terms is not None]
        taken = to_taken(queue.name, with_terms, now)
        for task in with_terms:
            task.terms = task.terms and task.terms.begun(now)
        keys = []
        if key:
            remembered = self._repeated.new(queue, key, first, body)
            if merge is not None:
                remembered = replace(remembered, numbers=tuple(map(remembered_number, merge(tasks))))
            keys = [(queue.name, lane(key), remembered)]
        puts = [(queue.name, task) for task in tasks]
        written = self._store.write(Change(puts=puts, keys=keys, taken=taken))
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
            log_if_not_stored(self._store.write(to_refusal(queue.name, tasks)))
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
