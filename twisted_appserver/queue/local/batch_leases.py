"""Leases many tasks to one client, with one write."""

from __future__ import annotations

from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred

from twisted_appserver.queue.interface import EMPTY, STOPPING
from twisted_appserver.queue.local.expiry import Upkeep
from twisted_appserver.queue.local.journal import to_update
from twisted_appserver.queue.local.leases import Leases
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.queue_table import QueueTable
from twisted_appserver.queue.local.repeated_requests import RepeatedRequests
from twisted_appserver.queue.local.storing import follow
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.request_keys import key_in_batch

VERB = "get_many"


class Taken(NamedTuple):
    """
    @ivar deliveries: tasks, each with the number of its delivery.
    @ivar written: fires when their leases are stored; C{None} if they are stored already.
    """

    deliveries: list[tuple[QueuedTask, int]]
    written: Deferred[None] | None


NONE = Taken([], None)


class BatchLeases:
    """
    @param reactor: an C{IReactorTime}.
    """

    def __init__(
        self,
        reactor: Any,
        table: QueueTable,
        upkeep: Upkeep,
        repeated: RepeatedRequests,
        leases: Leases,
    ) -> None:
        self._reactor, self._table, self._upkeep = reactor, table, upkeep
        self._repeated, self._leases = repeated, leases

    async def get(
        self, name: str, count: int, seconds: float | None, key: str, timeout: float, by: str
    ) -> list[QueuedTask] | str:
        """Lease tasks, as L{IBroker.get_many} describes."""
        if self._table.find(name) is None and timeout <= 0:
            return STOPPING if self._upkeep.stopping else EMPTY
        local = self._table.find_or_make(name)
        self._upkeep.expire(local)
        held = await self._held(local, key, count)
        if held:
            updates = [row for task in held for row in self._leases.extend_in_memory(local, task, seconds)]
            await self._leases.until_lease_stored(held[0], self._leases.write(updates))
            return held
        # It leases the first task at once, or waits for it.
        first = Deferred.fromCoroutine(self._leases.get(name, seconds, key, timeout, by))
        waits = bool(local.getters.waiting)
        more = NONE if waits else self._take(local, count, seconds, key, by)
        try:
            found = await first
            if isinstance(found, str):
                return found
            if waits:
                more = self._take(local, count, seconds, key, by)
            await self._leases.until_lease_stored(found, more.written)
        except CancelledError:  # the client was gone before it received the tasks
            for task, delivery in more.deliveries:
                self._leases.give_back(local, task, delivery)
            raise
        return [found, *(task for task, _ in more.deliveries)]

    async def _held(self, local: LocalQueue, key: str, count: int) -> list[QueuedTask]:
        """Return the tasks that a request with this key has leased, if its response was lost."""
        if not key:
            return []
        name, holders = local.queue.name, local.queue.holders
        for verb in ("get", VERB):
            written = self._repeated.write_of(verb, name, key)
            if written is not None:
                await follow(written)
        keys = (key_in_batch(key, place) for place in range(count))
        return [holders[each] for each in keys if each in holders] if holders else []

    def _take(self, local: LocalQueue, count: int, seconds: float | None, key: str, by: str) -> Taken:
        """Lease the tasks after the first one that are ready."""
        queue, now, deliveries = local.queue, self._reactor.seconds(), list[tuple[QueuedTask, int]]()
        seconds = seconds or queue.config.lease
        if local.getters.waiting or queue.config.paused or self._upkeep.stopping:
            return NONE
        for place in range(1, count):
            task = queue.take(now, seconds, key_in_batch(key, place), by)
            if task is None:
                break
            deliveries.append((task, task.deliveries))
        if not deliveries:
            return NONE
        written = self._leases.write([to_update(task) for task, _ in deliveries])
        if written is not None and key:
            self._repeated.track(VERB, queue.name, key, written)
        self._upkeep.after_change(local)
        return Taken(deliveries, written)
