"""Adds tasks that have unique keys, unless the keys are taken.

Strategy: the queue in memory has the keys of the tasks that wait or run, and the store has the keys that are
taken for longer. While a put with a key is looked up and stored, other puts with the same key wait for its
end. A batch waits for all others first and then takes all its keys at once, so that no two batches wait for
each other.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from twisted_appserver.queue.existing_task import ExistingTask
from twisted_appserver.queue.interface import FULL, SHUTDOWN
from twisted_appserver.queue.local.expiry import Upkeep
from twisted_appserver.queue.local.journal import IStore
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.repeated_requests import RepeatedRequests
from twisted_appserver.queue.local.storing import follow
from twisted_appserver.queue.queued_task import QueuedTask

VERB = "unique"
Added = list[QueuedTask]
Merge = Callable[[Added], Added]  # turns the tasks that were added into the result for all
Add = Callable[[Added, Merge], Coroutine[Any, Any, Added | str]]


class UniquePuts:
    def __init__(self, store: IStore, upkeep: Upkeep, repeated: RepeatedRequests) -> None:
        self._store, self._upkeep, self._repeated = store, upkeep, repeated

    async def look_up(self, local: LocalQueue, tasks: Sequence[QueuedTask]) -> Added | int:
        """
        Return how many of the new tasks can be added; if none can, the existing tasks with their unique keys.
        """
        keys = unique_keys(tasks)
        await self._others(local, keys)
        found = await self._find(local, keys)
        return len(_fresh(tasks, found)) or _existing(tasks, found)

    async def put(
        self,
        local: LocalQueue,
        tasks: Sequence[QueuedTask],
        count: int,
        add: Add,
    ) -> Added | str:
        """
        Add tasks whose unique keys are free.

        @param count: for how many tasks there is room.
        @param add: stores new tasks, and returns them.
        """
        queue, keys = local.queue, unique_keys(tasks)
        queue.reserved += count
        try:
            await self._others(local, keys)
        except BaseException:
            queue.reserved -= count
            self._upkeep.after_change(local)
            raise
        added: Deferred[Added | str] = Deferred.fromCoroutine(self._add(local, tasks, count, add))
        for key in keys:
            self._repeated.track(VERB, queue.name, key, added)
        return await follow(added)

    async def _add(self, local: LocalQueue, tasks: Sequence[QueuedTask], count: int, add: Add) -> Added | str:
        """Look the keys up once more, because some may have been taken, or freed, meanwhile."""
        queue = local.queue
        try:
            found = await self._find(local, unique_keys(tasks))
        finally:
            queue.reserved -= count
        fresh = _fresh(tasks, found)
        if not fresh or queue.config.shutdown or not (len(fresh) <= count or queue.has_room_for(len(fresh))):
            self._upkeep.after_change(local)
            return _existing(tasks, found) if not fresh else SHUTDOWN if queue.config.shutdown else FULL
        added = await add(fresh, lambda added: _merged(tasks, found, added))
        return added if isinstance(added, str) else _merged(tasks, found, added)

    async def _others(self, local: LocalQueue, keys: Iterable[str]) -> None:
        """Wait until no other put with one of these keys is being stored."""
        while others := [
            other for key in keys if (other := self._repeated.write_of(VERB, local.queue.name, key))
        ]:
            await follow(others[0])

    async def _find(self, local: LocalQueue, keys: Sequence[str]) -> dict[str, int]:
        """Return the numbers of the tasks that have these keys, by key."""
        queue = local.queue
        found = {key: number for key in keys if (number := queue.uniques.find(key)) is not None}
        rest = [key for key in keys if key not in found]
        if rest and self._store.has_taken:
            taken = await follow(self._store.find_taken(queue.name, rest))
            found.update(taken)
        return found


def unique_keys(tasks: Iterable[QueuedTask]) -> list[str]:
    """Return the different unique keys of tasks."""
    return list(
        dict.fromkeys(task.terms.unique for task in tasks if task.terms is not None and task.terms.unique)
    )


def _key(task: QueuedTask) -> str:
    return task.terms.unique if task.terms is not None else ""


def _fresh(tasks: Iterable[QueuedTask], found: dict[str, int]) -> list[QueuedTask]:
    """Return the tasks to add: only the first of several with the same key."""
    keys, fresh = set(found), list[QueuedTask]()
    for task in tasks:
        key = _key(task)
        if not key or key not in keys:
            fresh.append(task)
            keys.add(key)
    return fresh


def _existing(tasks: Iterable[QueuedTask], found: dict[str, int]) -> Added:
    return [ExistingTask(found[_key(task)], b"") for task in tasks]


def _merged(tasks: Iterable[QueuedTask], found: dict[str, int], added: Added) -> Added:
    """Return the result for each task: the task itself if it was added, or else the task that has its key."""
    numbers = found | {_key(task): task.number for task in added}
    new = {id(task) for task in added}
    return [task if id(task) in new else ExistingTask(numbers[_key(task)], b"") for task in tasks]
