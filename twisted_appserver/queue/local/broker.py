"""The broker of one server, whose queues are in memory and in a journal.

Strategy: the queues in memory are the truth for every request and every order. The store receives each
change, and a response leaves when the change is stored. All requests run in the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from time import time
from typing import Any, Literal

import msgspec
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_appserver.core.durations import Durations
from twisted_appserver.queue.attempt import RetryAfter, TaskDetails
from twisted_appserver.queue.config import Config
from twisted_appserver.queue.interface import NO_PROGRESS, SHUTDOWN, STOPPING, Ended, IBroker
from twisted_appserver.queue.local.batch_leases import BatchLeases
from twisted_appserver.queue.local.batches import BatchPuts
from twisted_appserver.queue.local.endings import Endings
from twisted_appserver.queue.local.expiry import Upkeep
from twisted_appserver.queue.local.journal import CHECK, Change, IStore, to_deletion, to_kick
from twisted_appserver.queue.local.leases import Leases
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.puts import Puts
from twisted_appserver.queue.local.queue_table import SWEEP_INTERVAL, QueueTable
from twisted_appserver.queue.local.repeated_requests import RepeatedRequests
from twisted_appserver.queue.local.results import Results, in_wall_time
from twisted_appserver.queue.local.single_tasks import SingleTasks
from twisted_appserver.queue.local.storing import follow, log_if_not_stored, until_stored
from twisted_appserver.queue.local.unique_puts import UniquePuts
from twisted_appserver.queue.model import TaskQueue
from twisted_appserver.queue.paging import NEWEST, START, Place
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.request_keys import lane_of
from twisted_appserver.queue.store_health import StoreHealth
from twisted_appserver.queue.stored_options import replace
from twisted_appserver.queue.task_result import TaskResult

TIDY_INTERVAL = 60.0  # seconds between two searches for expired keys and unused space in the store


@implementer(IBroker)
class LocalBroker:
    """
    The queues of one server.

    @param reactor: an C{IReactorTime}, whose clock should not jump, see L{queue.clock.use_monotonic_clock}.
    @param max_queues: the maximum number of queues.
    @param wall: returns the seconds since the epoch.
    """

    def __init__(
        self, reactor: Any, store: IStore, max_queues: int = 10_000, wall: Callable[[], float] = time
    ) -> None:
        self._reactor, self.store, self._wall = reactor, store, wall
        self._health = StoreHealth(reactor, lambda: self.store.write(CHECK))
        self._repeated = RepeatedRequests(reactor)
        self.table = QueueTable(reactor, max_queues)
        self._upkeep = Upkeep(reactor, store, self.table, wall)
        unique = UniquePuts(store, self._upkeep, self._repeated)
        self._puts = Puts(reactor, store, self.table, self._upkeep, self._repeated, self._health, unique)
        self._leases = Leases(reactor, store, self.table, self._upkeep, self._repeated, wall)
        self._endings = Endings(reactor, store, self.table, self._upkeep, wall)
        self._batch_leases = BatchLeases(reactor, self.table, self._upkeep, self._repeated, self._leases)
        self._single_tasks = SingleTasks(reactor, store, self.table, self._upkeep)
        self._results = Results(reactor, store, self.table, self._upkeep)
        self._batch_puts = BatchPuts(
            reactor, store, self.table, self._upkeep, self._repeated, self._health, self._puts, unique
        )
        self._sweep_timer: Any = None
        self._tidied, self.secret = 0.0, b""
        self.started = self.shared = False

    def start(self) -> None:
        if self.started:
            return
        saved = self.store.open(self._reactor)
        self.secret, self._puts.last_number = saved.secret, saved.last
        self.started, self._upkeep.stopping = True, False
        self._tidied = self._reactor.seconds()
        self.table.restore(saved)
        for local in self.table.all():
            self._upkeep.set_timer(local)
        self._sweep_timer = self._reactor.callLater(SWEEP_INTERVAL, self._sweep)

    def unready(self) -> str:
        return self._health.trouble

    async def check(self) -> None:
        await self._health.check()

    def stop_waiting(self) -> None:
        self._upkeep.stopping = True
        for local in self.table.all():
            local.dismiss(STOPPING)

    def stop(self) -> Deferred[None]:
        self.stop_waiting()
        if not self.started:
            return succeed(None)
        if self._sweep_timer is not None and self._sweep_timer.active():
            self._sweep_timer.cancel()
        self.table.clear()
        self.started = False
        return self.store.close()

    # Reading.

    def names(self) -> list[str]:
        """Return the names of all queues, sorted."""
        return self.table.names()

    def look(self, name: str) -> TaskQueue:
        """Return a queue, to read it; an empty one if there is none."""
        return self._current(name).queue

    def figures(self, name: str) -> dict[str, Any]:
        """Return L{IBroker.stats}, at once."""
        return self._current(name).figures() | {"results": self.store.count_results(name)}

    def _current(self, name: str) -> LocalQueue:
        """End the leases and delays of a queue that are due, and return the queue."""
        local = self.table.find(name)
        if local is None:
            return LocalQueue(TaskQueue(name), self._reactor)
        self._upkeep.expire(local)
        return local

    @property
    def durations(self) -> dict[tuple[str, str], Durations]:
        return self.table.durations()

    def snapshot(self) -> dict[str, dict[str, Any]]:
        return {name: self.figures(name) for name in self.names()}

    async def config(self, name: str) -> Config:
        return self.look(name).config

    async def peek(self, name: str, count: int, state: str, after: Place = START) -> list[QueuedTask]:
        shift = self._wall() - self._reactor.seconds()
        return [in_wall_time(task, shift) for task in self.look(name).peek(count, state, after)]

    async def show(self, name: str, number: int) -> TaskDetails | None:
        return await self._results.show(name, number, self._wall() - self._reactor.seconds())

    async def errors(self, name: str, numbers: list[int]) -> dict[int, str]:
        return await self._results.errors(name, numbers)

    async def stats(self, name: str) -> dict[str, Any]:
        return self.figures(name)

    async def qsizes(self, name: str | None = None) -> dict[str, int]:
        names = self.names() if name is None else [name]
        return {each: len(self.look(each).ready) for each in names}

    # Tasks.

    async def put(
        self, name: str, task: QueuedTask, key: str = "", timeout: float = 0.0, delay: float = 0.0
    ) -> QueuedTask | str:
        return await self._puts.put(name, task, key, timeout, delay)

    async def put_many(
        self, name: str, tasks: list[QueuedTask], key: str = "", timeout: float = 0.0, delay: float = 0.0
    ) -> list[QueuedTask] | str:
        return await self._batch_puts.put(name, tasks, key, timeout, delay)

    async def get(
        self, name: str, seconds: float | None = None, key: str = "", timeout: float = 0.0, by: str = ""
    ) -> QueuedTask | str:
        return await self._leases.get(name, seconds, key, timeout, by)

    async def done(self, name: str, number: int, delivery: int = 0, result: bytes = b"") -> QueuedTask | None:
        return await self._endings.done(name, number, delivery, result)

    async def get_many(
        self,
        name: str,
        count: int,
        seconds: float | None = None,
        key: str = "",
        timeout: float = 0.0,
        by: str = "",
    ) -> list[QueuedTask] | str:
        return await self._batch_leases.get(name, count, seconds, key, timeout, by)

    async def done_many(self, name: str, tasks: Sequence[Ended], failed: Collection[int] = ()) -> list[bool]:
        return await self._endings.done_many(name, tasks, failed)

    async def result(self, name: str, number: int, timeout: float = 0.0) -> TaskResult | str | None:
        return await self._results.result(name, number, timeout)

    async def extend(
        self, name: str, number: int, seconds: float | None = None, delivery: int = 0
    ) -> QueuedTask | None:
        return await self._leases.extend(name, number, seconds, delivery)

    async def renew(
        self,
        name: str,
        tasks: list[tuple[int, int]],
        seconds: float | None = None,
        progress: Mapping[int, bytes] = NO_PROGRESS,
    ) -> list[bool]:
        return await self._leases.renew(name, tasks, seconds, progress)

    async def progress(self, name: str, numbers: list[int]) -> dict[int, bytes]:
        return self._current(name).progress_of(numbers)

    async def release(
        self, name: str, number: int, delay: float = 0.0, delivery: int = 0
    ) -> QueuedTask | None:
        return await self._leases.release(name, number, delay, delivery)

    async def fail(
        self, name: str, number: int, delivery: int, failure: tuple[str, str], retry: RetryAfter
    ) -> tuple[QueuedTask, float | Literal[False]] | None:
        return await self._leases.fail(name, number, delivery, failure, retry)

    async def bury(self, name: str, number: int, delivery: int = 0) -> QueuedTask | None:
        task = await self._leases.bury(name, number, delivery)
        return task if task or delivery else await self._single_tasks.bury_waiting(name, number)

    async def drop(self, name: str, number: int, result: bytes = b"") -> QueuedTask | None:
        return await self._single_tasks.drop(name, number, result, self._wall())

    async def free(self, name: str, unique: str) -> bool:
        taken = await follow(self.store.find_taken(name, [unique])) if self.store.has_taken else {}
        if not taken:
            return False
        await until_stored(self.store.write(Change(freed=[(name, unique)])))
        return True

    async def forget(self, name: str, number: int) -> None:
        await until_stored(self.store.write(Change(unkept=[(name, number)])))

    async def ended(self, name: str, count: int, size: int, before: Place = NEWEST) -> list[TaskResult]:
        return await follow(self.store.find_ended(name, count, size, before))

    async def kick_task(self, name: str, number: int) -> QueuedTask | None:
        return await self._single_tasks.kick(name, number)

    async def edit(self, name: str, number: int, body: bytes) -> QueuedTask | None:
        return await self._single_tasks.edit(name, number, body)

    async def kick(self, name: str, count: int, key: str = "") -> int:
        def kick_tasks(queue: TaskQueue) -> tuple[int, Change]:
            tasks = queue.kick(count, self._reactor.seconds())
            return len(tasks), to_kick(tasks)

        return await self._once("kick", name, key, b"%d" % count, kick_tasks)

    async def purge(self, name: str, key: str = "") -> int:
        def drain(queue: TaskQueue) -> tuple[int, Change]:
            gone = queue.drain()
            return len(gone), to_deletion(name, gone)

        return await self._once("purge", name, key, b"", drain)

    async def _once(
        self, verb: str, name: str, key: str, body: bytes, act: Callable[[TaskQueue], tuple[int, Change]]
    ) -> int:
        """
        Change a queue, unless the same request was performed before.

        @param act: changes the queue, and returns the number of tasks and the change that must be stored.
        @return: the number of tasks.
        """
        local = self.table.find(name)
        if local is None:
            return 0
        queue, lane = local.queue, lane_of(verb, key)
        if key and (known := self._repeated.find(queue, lane, key, body)):
            await until_stored(self._repeated.write_of(verb, name, key))
            return known.number
        number, change = act(queue)
        if key:
            remembered = queue.keys[lane] = self._repeated.new(queue, key, number, body)
            change = msgspec.structs.replace(change, keys=[(name, lane, remembered)])
        written = self.store.write(change) if number or key else None
        if written is not None and key:
            self._repeated.track(verb, name, key, written)
        self._upkeep.after_change(local)
        local.dismiss_awaited()
        await until_stored(written)
        return number

    # Queues.

    async def join(self, name: str, timeout: float = 0.0) -> tuple[int, int]:
        local = self.table.find(name)
        if local is None:
            return 0, 0
        if local.queue.unfinished and timeout > 0 and not self._upkeep.stopping:
            await local.joiners.wait(timeout)
        if not self.table.has(local):
            return 0, 0
        return local.queue.unfinished, len(local.queue.buried)

    async def change(self, name: str, changes: dict[str, Any]) -> Config:
        config = replace(self.look(name).config, changes)
        await self.configure(name, config)
        return config

    async def configure(self, name: str, config: Config) -> None:
        """Set the options of a queue."""
        local = self.table.find_or_make(name)
        self.table.claim(local)
        gone = local.queue.drain() if config.shutdown == "immediate" else []
        local.queue.configure(config)
        change = msgspec.structs.replace(to_deletion(name, gone), configs=[(name, config)])
        written = self.store.write(change)
        self._upkeep.fill_places(local, written)
        self._upkeep.after_change(local)
        local.dismiss_awaited()
        await until_stored(written)

    async def delete(self, name: str) -> None:
        local, stored = self.table.remove(name)
        if local is not None:
            local.dismiss(SHUTDOWN)
            local.cancel_timers()
        if stored or self.store.has_taken:
            await until_stored(self.store.write(Change(configs=[(name, None)])))

    # Housekeeping.

    def _sweep(self) -> None:
        """
        Forget bare queues. From time to time, also forget expired keys and free unused space in the store.
        """
        self._sweep_timer = self._reactor.callLater(SWEEP_INTERVAL, self._sweep)
        self.table.forget_bare()
        now = self._reactor.seconds()
        if now - self._tidied >= TIDY_INTERVAL:
            self._tidied = now
            self._tidy(now)

    def _tidy(self, now: float) -> None:
        if forgets := self.table.forget_keys(now):
            log_if_not_stored(self.store.write(Change(forgets=forgets)))
        self.store.free_unused_space()
