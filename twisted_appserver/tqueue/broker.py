"""The queues of one server, those who wait at them, and the store that remembers them. Knows no HTTP.

Strategy: the queues in memory are the truth for every question and every order; the store is told of
each change, and an answer leaves when the store has it. A put shows only after that, since its store may
refuse it; a task that is handed out is leased at once, so that nobody else gets it meanwhile. After every
change L{Broker._settle} looks who of those in line can be served: nobody else wakes a waiter.
"""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_appserver.tqueue.interface import EMPTY, FULL, SHUTDOWN, STOPPING, IBroker, LimitError
from twisted_appserver.tqueue.lines import Line
from twisted_appserver.tqueue.queues import Config, Queue, Remembered, Task, lane, replace
from twisted_appserver.tqueue.stores.interface import Change, IStore, StoreError

T = TypeVar("T")

TIDY = 60.0  # seconds between two looks for what may be forgotten


class _Place:
    """A queue with the lines before it."""

    def __init__(self, queue: Queue, reactor: Any) -> None:
        self.queue = queue
        self.getters, self.putters, self.joiners = Line(reactor), Line(reactor), Line(reactor)
        self.timer: Any = None
        self.alarm = 0.0  # when the timer goes off, in seconds since the epoch

    @property
    def awaited(self) -> bool:
        """Whether anybody stands in a line."""
        return bool(self.getters.waiting or self.putters.waiting or self.joiners.waiting)

    @property
    def idle(self) -> bool:
        return self.queue.idle and not self.awaited


def _shared(deferred: Deferred[T]) -> Deferred[T]:
    """Fires as C{deferred} does, but can be cancelled alone. A failure is taken over from it."""
    follower: Deferred[T] = Deferred()

    def passed(result: Any) -> Any:
        if not follower.called:
            follower.callback(result)
            return None
        return None if isinstance(result, Failure) else result

    deferred.addBoth(passed)
    return follower


@implementer(IBroker)
class Broker:
    """
    The broker of one server. Promises what L{queues.Queue} and the store promise, to many clients at once.

    @param reactor: an C{IReactorTime}, whose seconds are those since the epoch.
    @param max_queues: how many queues there may be at the same time.
    """

    log = Logger()

    def __init__(self, reactor: Any, store: IStore, max_queues: int = 10_000) -> None:
        self._reactor, self.store, self.max_queues = reactor, store, max_queues
        self._places: dict[str, _Place] = {}
        # Writes of requests that have a key, by the verb, the queue and the key.
        self._storing: dict[tuple[str, str, str], Deferred[Any]] = {}
        self._tidying: Any = None
        self._last = 0
        self.prefix = ""
        self.started = self._stopping = False

    def start(self) -> None:
        """
        Read the store.

        @raise ConfigurationError: when it cannot be used.
        """
        if self.started:
            return
        saved = self.store.open(self._reactor)
        self.prefix, self._last, self.started, self._stopping = saved.prefix, saved.last, True, False
        now = self._reactor.seconds()
        for name in saved.configs.keys() | saved.tasks.keys() | {name for name, _, _ in saved.keys}:
            queue = Queue(name, saved.configs.get(name, Config()))
            back = queue.fill(saved.tasks.get(name, []), now)
            self._store_buried(back)
            self._places[name] = _Place(queue, self._reactor)
            self._watch(self._places[name])
        for name, whose, remembered in saved.keys:
            self._places[name].queue.keys[whose] = remembered
        self._tidying = self._reactor.callLater(TIDY, self._tidy)

    def stop_waiting(self) -> None:
        """Let nobody wait any more: waiters are told that the server is stopping."""
        self._stopping = True
        for place in list(self._places.values()):
            for line in (place.getters, place.putters, place.joiners):
                line.dismiss(STOPPING)

    def stop(self) -> Deferred[None]:
        """
        @return: fires when the store is closed, and no timer is left.
        """
        self.stop_waiting()
        for timer in [self._tidying, *(place.timer for place in self._places.values())]:
            if timer is not None and timer.active():
                timer.cancel()
        self._places.clear()
        self.started = False
        return self.store.close()

    def names(self) -> list[str]:
        """Of all queues, sorted."""
        return sorted(self._places)

    def look(self, name: str) -> Queue:
        """A queue to be read, not changed; an empty one if there is none of that name."""
        place = self._places.get(name)
        if place is None:
            return Queue(name)
        self._expire(place)
        return place.queue

    def waiting(self, name: str) -> dict[str, int]:
        """How many wait in each line of a queue."""
        place = self._places.get(name)
        if place is None:
            return {"getters": 0, "putters": 0, "joiners": 0}
        return {name: len(getattr(place, name)) for name in ("getters", "putters", "joiners")}

    def figures(self, name: str) -> dict[str, int]:
        """L{IBroker.stats}, at once."""
        queue = self.look(name)
        places = {place: len(getattr(queue, place)) for place in ("ready", "delayed", "leased", "buried")}
        counts = {each: getattr(queue, each) for each in ("unfinished", "puts", "gets", "dones", "returned")}
        return {**places, **counts, **self.waiting(name)}

    def snapshot(self) -> dict[str, dict[str, int]]:
        return {name: self.figures(name) for name in self.names()}

    async def config(self, name: str) -> Config:
        return self.look(name).config

    async def peek(self, name: str, count: int, state: str) -> list[Task]:
        return self.look(name).peek(count, state)

    async def stats(self, name: str) -> dict[str, int]:
        return self.figures(name)

    async def qsizes(self, name: str | None = None) -> dict[str, int]:
        names = self.names() if name is None else [name]
        return {each: len(self.look(each).ready) for each in names}

    async def change(self, name: str, changes: dict[str, Any]) -> Config:
        config = replace(self.look(name).config, changes)
        await self.configure(name, config)
        return config

    # What clients ask for. Each returns what it was asked for, or the word that says why not.

    async def put(
        self, name: str, task: Task, key: str = "", timeout: float = 0.0, delay: float = 0.0
    ) -> Task | str:
        if delay:
            task.due = self._reactor.seconds() + delay
        place = self._place(name)
        queue = place.queue
        while key:
            remembered = queue.keys.get(lane(key))
            now = self._reactor.seconds()
            if remembered is not None and remembered.key == key and remembered.until > now:
                return Task(remembered.number, b"")
            storing = self._storing.get(("put", name, key))
            if storing is None:
                break
            await _shared(storing)
        if not queue.config.shutdown and (not queue.has_room or place.putters.waiting):
            if timeout <= 0 or self._stopping:
                return STOPPING if self._stopping else FULL
            why = await place.putters.wait(timeout, FULL, key)
            if why:
                return why
        if queue.config.shutdown:
            return SHUTDOWN
        return await self._store(place, task, key)

    async def _store(self, place: _Place, task: Task, key: str) -> Task | str:
        queue = place.queue
        queue.reserved += 1
        self._last += 1
        task.number = self._last
        keys = []
        if key:
            until = self._reactor.seconds() + queue.config.remember
            keys = [(queue.name, lane(key), Remembered(key, task.number, until))]
        written = self.store.write(Change(puts=[(queue.name, task)], keys=keys))
        if written is None:
            return self._added(None, place, task, keys)
        added: Deferred[Task | str] = written.addCallbacks(
            self._added, self._not_added, (place, task, keys), errbackArgs=(place,)
        )
        if key:
            self._storing["put", queue.name, key] = added
            added.addBoth(self._stored, ("put", queue.name, key))
        return await _shared(added)

    def _stored(self, result: T, whose: tuple[str, str, str]) -> T:
        self._storing.pop(whose, None)
        return result

    def _added(self, _: None, place: _Place, task: Task, keys: list[Any]) -> Task | str:
        queue = place.queue
        queue.reserved -= 1
        if queue.config.shutdown == "immediate" or self._places.get(queue.name) is not place:
            self._ignore(self.store.write(Change(deletes=[task.number])))
            self._settle(place)
            return SHUTDOWN
        queue.puts += 1
        for _, whose, remembered in keys:
            queue.keys[whose] = remembered
        queue.place(task, self._reactor.seconds())
        self._settle(place)
        return task

    def _not_added(self, failure: Failure, place: _Place) -> Failure:
        place.queue.reserved -= 1
        self._settle(place)
        return failure

    async def get(
        self, name: str, seconds: float | None = None, key: str = "", timeout: float = 0.0
    ) -> Task | str:
        place = self._place(name)
        queue = place.queue
        self._expire(place)
        place.getters.supersede(key, EMPTY)
        held = queue.holders.get(key) if key else None
        if held is not None:
            storing = self._storing.get(("get", name, key))
            if storing is not None:
                await _shared(storing)
            if queue.holders.get(key) is not held:  # the first request was only now found to be given up
                return await self.get(name, seconds, key, timeout)
            self._extend(place, held, seconds)
            await self._leasing(held, self.store.write(Change(updates=[_row(held)])))
            return held
        if not queue.ready or place.getters.waiting:
            if self._drained(queue):
                return SHUTDOWN
            if timeout <= 0 or self._stopping:
                return STOPPING if self._stopping else EMPTY
            why = await place.getters.wait(timeout, EMPTY, key)
            if why:
                return why
        task = queue.take(self._reactor.seconds(), seconds or queue.config.lease, key)
        if task is None:
            return EMPTY
        self._settle(place)
        return await self._hand_over(place, task, key)

    async def _hand_over(self, place: _Place, task: Task, key: str) -> Task:
        queue, delivery = place.queue, task.deliveries
        written = self.store.write(Change(updates=[_row(task)]))
        if written is None:
            return task
        if key:
            self._storing["get", queue.name, key] = written
            written.addBoth(self._stored, ("get", queue.name, key))
        try:
            await self._leasing(task, written)
        except CancelledError:  # the client is gone before it had the task: the next one may have it
            if queue.find(task.number, delivery) is task:
                self._ignore(Deferred.fromCoroutine(self._return(place, task)))
            raise
        return task

    async def _leasing(self, task: Task, written: Deferred[None] | None) -> None:
        """
        Wait until a lease is stored. Work goes on when the disk is full. The price is paid if the server ends
        before it is not: the task is then handed out again.
        """
        try:
            if written is not None:
                await _shared(written)
        except StoreError as error:
            self.log.warn("the lease of task {n} is not stored: {e}", n=task.number, e=error)

    def _extend(self, place: _Place, task: Task, seconds: float | None) -> None:
        place.queue.extend(task, self._reactor.seconds(), seconds or place.queue.config.lease)
        self._watch(place)

    async def done(self, name: str, number: int, delivery: int = 0) -> Task | None:
        """A task is done with. Where this could not be stored, it stays leased."""
        place, task = self._leased(name, number, delivery)
        if task is None:
            return None
        queue, lease, holder = place.queue, task.lease, task.holder
        queue.unlease(task)
        queue.finishing += 1
        written = self.store.write(Change(deletes=[number]))
        if written is None:
            self._finished(None, place)
            return task
        written.addCallbacks(
            self._finished, self._not_finished, (place,), errbackArgs=(place, task, lease, holder)
        )
        await _shared(written)
        return task

    def _finished(self, _: None, place: _Place) -> None:
        place.queue.finishing -= 1
        place.queue.dones += 1
        if place.joiners.waiting:
            self._settle(place)

    def _not_finished(
        self, failure: Failure, place: _Place, task: Task, lease: float, holder: str
    ) -> Failure:
        place.queue.finishing -= 1
        task.lease, task.holder = lease, holder
        place.queue.place(task, self._reactor.seconds())
        self._settle(place)
        return failure

    async def extend(
        self, name: str, number: int, seconds: float | None = None, delivery: int = 0
    ) -> Task | None:
        """Let a lease run out only C{seconds} from now."""
        place, task = self._leased(name, number, delivery)
        if task is not None:
            self._extend(place, task, seconds)
            await self._durably(Change(updates=[_row(task)]))
        return task

    async def release(self, name: str, number: int, delay: float = 0.0, delivery: int = 0) -> Task | None:
        """Give a task back; the next one may have it, after C{delay} seconds."""
        place, task = self._leased(name, number, delivery)
        if task is not None:
            task.due = self._reactor.seconds() + delay if delay > 0 else 0.0
            await self._return(place, task)
        return task

    async def bury(self, name: str, number: int, delivery: int = 0) -> Task | None:
        """Put a leased task aside, until it is kicked."""
        place, task = self._leased(name, number, delivery)
        if task is not None:
            task.buried = True
            await self._return(place, task)
        return task

    async def kick(self, name: str, count: int) -> int:
        """Bring buried tasks back to life."""
        place = self._place(name)
        tasks = place.queue.kick(count, self._reactor.seconds())
        written = self.store.write(Change(updates=[_row(task) for task in tasks])) if tasks else None
        self._settle(place)
        if written is not None:
            await _shared(written)
        return len(tasks)

    async def join(self, name: str, timeout: float = 0.0) -> int:
        """Wait until every task is done. Return how many are not."""
        place = self._places.get(name)
        if place is None:
            return 0
        if place.queue.unfinished and timeout > 0 and not self._stopping:
            await place.joiners.wait(timeout, "late")
        return place.queue.unfinished if self._places.get(name) is place else 0

    async def configure(self, name: str, config: Config) -> None:
        """Set the options of a queue."""
        place = self._place(name)
        gone = place.queue.drain() if config.shutdown == "immediate" else []
        place.queue.configure(config)
        change = Change(configs=[(name, config)], deletes=[task.number for task in gone])
        written = self.store.write(change)
        self._settle(place)
        if written is not None:
            await _shared(written)

    async def purge(self, name: str) -> int:
        """Throw away what waits; what is leased or buried stays. Return how many tasks are gone."""
        place = self._places.get(name)
        gone = place.queue.drain() if place is not None else []
        if place is not None and gone:
            written = self.store.write(Change(deletes=[task.number for task in gone]))
            self._settle(place)
            if written is not None:
                await _shared(written)
        return len(gone)

    async def delete(self, name: str) -> None:
        """Forget a queue with all its tasks."""
        place = self._places.pop(name, None)
        if place is None:
            return
        for line in (place.getters, place.putters, place.joiners):
            line.dismiss(SHUTDOWN)
        if place.timer is not None and place.timer.active():
            place.timer.cancel()
        await self._durably(Change(configs=[(name, None)]))

    # What happens inside.

    def _place(self, name: str) -> _Place:
        place = self._places.get(name)
        if place is None:
            if len(self._places) >= self.max_queues:
                raise LimitError(f"there are {self.max_queues} queues already; delete some")
            place = self._places[name] = _Place(Queue(name), self._reactor)
        return place

    def _leased(self, name: str, number: int, delivery: int) -> tuple[_Place, Task | None]:
        place = self._places.get(name)
        if place is None:
            return _Place(Queue(name), self._reactor), None
        self._expire(place)
        return place, place.queue.find(number, delivery)

    async def _return(self, place: _Place, task: Task) -> None:
        place.queue.take_back(task, self._reactor.seconds())
        written = self.store.write(Change(updates=[_row(task)]))  # before the next one may have it
        self._settle(place)
        if written is not None:
            await _shared(written)

    def _ignore(self, written: Deferred[None] | None) -> None:
        """Nobody waits for this change. If it is lost, the worst is that a task comes out once more."""
        if written is not None:
            written.addErrback(lambda failure: self.log.warn("not stored: {e}", e=failure.value))

    def _store_buried(self, tasks: list[Task]) -> None:
        """A lease that has run out is no change, but that a task is buried for it is one."""
        rows = [_row(task) for task in tasks if task.buried]
        if rows:
            self._ignore(self.store.write(Change(updates=rows)))

    async def _durably(self, change: Change) -> None:
        written = self.store.write(change)
        if written is not None:
            await _shared(written)

    def _drained(self, queue: Queue) -> bool:
        """Whether a get need not wait: nothing more will come."""
        return bool(queue.config.shutdown) and not (queue.ready or queue.delayed or queue.reserved)

    def _settle(self, place: _Place) -> None:
        """Serve all who can be served. Whoever is served acts at once, in the midst of this."""
        queue = place.queue
        if place.awaited:
            while place.getters and queue.ready and not self._stopping:
                place.getters.next()
            if place.getters and self._drained(queue):
                place.getters.dismiss(SHUTDOWN)
            if place.putters and queue.config.shutdown:
                place.putters.dismiss(SHUTDOWN)
            while place.putters and queue.has_room and not self._stopping:
                place.putters.next()
            if place.joiners and not queue.unfinished:
                place.joiners.dismiss("")
        self._watch(place)

    def _watch(self, place: _Place) -> None:
        """Have the timer go off when the next lease runs out, or the next delay."""
        alarm = place.queue.alarm
        if alarm is None or self._places.get(place.queue.name) is not place:  # deleted, or stopped, meanwhile
            return
        if place.timer is not None and place.timer.active():
            if place.alarm <= alarm:
                return
            place.timer.cancel()
        place.alarm = alarm
        place.timer = self._reactor.callLater(max(0.0, alarm - self._reactor.seconds()), self._expire, place)

    def _expire(self, place: _Place) -> None:
        alarm = place.queue.alarm
        if alarm is not None:
            moved = place.queue.expire(self._reactor.seconds()) if alarm <= self._reactor.seconds() else []
            if moved:
                self._store_buried(moved)
                self._settle(place)
            else:
                self._watch(place)

    def _tidy(self) -> None:
        self._tidying = self._reactor.callLater(TIDY, self._tidy)
        now = self._reactor.seconds()
        forgets = []
        for name, place in list(self._places.items()):
            forgets += [(name, whose) for whose in place.queue.forget(now)]
            if place.idle:
                if place.timer is not None and place.timer.active():
                    place.timer.cancel()
                del self._places[name]
        if forgets:
            self._ignore(self.store.write(Change(forgets=forgets)))
        self.store.tidy()


def _row(task: Task) -> tuple[Any, ...]:
    """The fields of a task that change, as L{Change.updates} has them."""
    return (task.due, task.lease, task.deliveries, task.holder, task.buried, task.number)
