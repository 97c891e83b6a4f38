"""The queues of one server, those who wait at them, and the store that remembers them. Knows no HTTP.

Strategy: the queues in memory are the truth for every question and every order; the store is told of
each change, and an answer leaves when the store has it. A put shows only after that, since its store may
refuse it; a task that is handed out is leased at once, so that nobody else gets it meanwhile. After every
change L{Broker._settle} looks who of those in line can be served: nobody else wakes a waiter.

A name becomes a queue by a put or an option. Whatever is bare, such as a name at which only gets wait, is not
counted, and soon forgotten. If a lease is long overdue, the process stood still: requests are read first.
"""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_appserver.queue.interface import (
    EMPTY,
    FULL,
    SHUTDOWN,
    STOPPING,
    IBroker,
    LimitError,
    ReusedError,
    StoreError,
)
from twisted_appserver.queue.local.journal import CHECK, Change, IStore
from twisted_appserver.queue.model import (
    GRACE,
    Config,
    Queue,
    Remembered,
    Task,
    digest,
    forget,
    lane,
    lane_of,
    replace,
)
from twisted_appserver.queue.store_health import Health
from twisted_appserver.queue.waiters import Waiters

T = TypeVar("T")

TIDY = 60.0  # seconds between two looks for keys and space that may be given up
SWEEP = 5.0  # seconds after which a bare queue is forgotten, and between two looks for such
LATE = 0.5  # seconds by which the end of a lease is late only if the process stood still


class _Place:
    """A queue with the lines before it."""

    def __init__(self, queue: Queue, reactor: Any) -> None:
        self.queue = queue
        self.getters, self.putters = Waiters(reactor, EMPTY), Waiters(reactor, FULL)
        self.joiners = Waiters(reactor, "late")
        self.timer: Any = None
        self.alarm = 0.0  # when the timer goes off

    @property
    def awaited(self) -> bool:
        """Whether anybody stands in a line."""
        return bool(self.getters or self.putters or self.joiners)


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
    The broker of one server. Promises what L{model.Queue} and the store promise, to many clients at once.

    @param reactor: an C{IReactorTime}, whose clock should not jump, see L{queue.clock.steady}.
    @param max_queues: how many queues there may be at the same time.
    @param wall: returns the seconds since the epoch.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        store: IStore,
        max_queues: int = 10_000,
        wall: Callable[[], float] = time,
    ) -> None:
        self._reactor, self.store, self.max_queues, self._wall = reactor, store, max_queues, wall
        self._places: dict[str, _Place] = {}
        self._bare: dict[str, float] = {}  # names of places whose queues do not count, and since when
        self._kept: dict[str, dict[str, Remembered]] = {}  # keys of queues that are forgotten, by their names
        self._health = Health(reactor, lambda: self.store.write(CHECK))
        # Writes of requests that have a key, by the verb, the queue and the key.
        self._storing: dict[tuple[str, str, str], Deferred[Any]] = {}
        self._sweeping: Any = None
        self._tidied = 0.0
        self._last = 0
        self.secret = b""
        self.started = self._stopping = False

    def start(self) -> None:
        """
        Read the store.

        @raise ConfigurationError: when it cannot be used.
        """
        if self.started:
            return
        saved = self.store.open(self._reactor)
        self.secret, self._last, self.started, self._stopping = saved.secret, saved.last, True, False
        now = self._tidied = self._reactor.seconds()
        for name in saved.configs.keys() | saved.tasks.keys():
            queue = Queue(name, saved.configs.get(name, Config()))
            queue.fill(saved.tasks.get(name, []), now)
            self._places[name] = _Place(queue, self._reactor)
            self._watch(self._places[name])
        for name, whose, remembered in saved.keys:
            self._keys_of(name)[whose] = remembered
        self._sweeping = self._reactor.callLater(SWEEP, self._sweep)

    def _keys_of(self, name: str) -> dict[str, Remembered]:
        place = self._places.get(name)
        return self._kept.setdefault(name, {}) if place is None else place.queue.keys

    def unready(self) -> str:
        return self._health.trouble

    async def check(self) -> None:
        await self._health.check()

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
        for timer in [self._sweeping, *(place.timer for place in self._places.values())]:
            if timer is not None and timer.active():
                timer.cancel()
        for known in (self._places, self._bare, self._kept):
            known.clear()
        self.started = False
        return self.store.close()

    def names(self) -> list[str]:
        """Of all queues, sorted."""
        return sorted(self._places.keys() - self._bare.keys())

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
        shift = self._wall() - self._reactor.seconds()
        return [
            msgspec.structs.replace(
                task, due=task.due and task.due + shift, lease=task.lease and task.lease + shift
            )
            for task in self.look(name).peek(count, state)
        ]

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
            remembered = self._remembered(queue, lane(key), key, task.body)
            if remembered is not None:
                return Task(remembered.number, b"")
            storing = self._storing.get(("put", name, key))
            if storing is None:
                break
            await _shared(storing)
        if not queue.config.shutdown and (not queue.has_room or place.putters):
            if timeout <= 0 or self._stopping:
                return STOPPING if self._stopping else FULL
            why = await place.putters.wait(timeout, key)
            if why:
                return why
        if queue.config.shutdown:
            return SHUTDOWN
        return await self._store(place, task, key)

    def _remembered(self, queue: Queue, whose: str, key: str, body: bytes) -> Remembered | None:
        """
        What the same request did before.

        @raise ReusedError: when it was another request.
        """
        found = queue.keys.get(whose)
        if found is None or found.key != key or found.until <= self._reactor.seconds():
            return None
        if found.digest not in (b"", digest(body)):
            raise ReusedError(f"the key {key!r} was used for a request with another body")
        return found

    async def _store(self, place: _Place, task: Task, key: str) -> Task | str:
        queue = place.queue
        self._claim(place)
        queue.reserved += 1
        self._last += 1
        task.number = self._last
        keys = []
        if key:
            until = self._reactor.seconds() + queue.config.remember
            remembered = Remembered(key, task.number, until, digest(task.body))
            keys = [(queue.name, lane(key), remembered)]
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
        self._health.note()
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
        self._health.note(failure.value)
        self._settle(place)
        return failure

    async def get(
        self, name: str, seconds: float | None = None, key: str = "", timeout: float = 0.0
    ) -> Task | str:
        if name not in self._places and timeout <= 0:
            return STOPPING if self._stopping else EMPTY
        place = self._place(name)
        queue = place.queue
        self._expire(place)
        place.getters.supersede(key)
        held = queue.holders.get(key) if key else None
        if held is not None:
            storing = self._storing.get(("get", name, key))
            if storing is not None:
                await _shared(storing)
            if queue.holders.get(key) is not held:  # the first request was only now found to be given up
                return await self.get(name, seconds, key, timeout)
            await self._leasing(held, self._extend(place, held, seconds))
            return held
        if not queue.ready or place.getters:
            if self._drained(queue):
                return SHUTDOWN
            if timeout <= 0 or self._stopping:
                return STOPPING if self._stopping else EMPTY
            why = await place.getters.wait(timeout, key)
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

    def _extend(self, place: _Place, task: Task, seconds: float | None) -> Deferred[None] | None:
        """Only the length of a lease is stored, so that most renewals need not be."""
        before = task.span
        place.queue.extend(task, self._reactor.seconds(), seconds or place.queue.config.lease)
        self._watch(place)
        return None if task.span == before else self.store.write(Change(updates=[_row(task)]))

    async def done(self, name: str, number: int, delivery: int = 0) -> Task | None:
        """A task is done with. Where this could not be stored, it stays leased."""
        place, task = self._leased(name, number, delivery)
        if task is None:
            return None
        queue, lease, span, holder = place.queue, task.lease, task.span, task.holder
        queue.unlease(task)
        queue.finishing += 1
        written = self.store.write(Change(deletes=[number]))
        if written is None:
            self._finished(None, place)
            return task
        written.addCallbacks(
            self._finished, self._not_finished, (place,), errbackArgs=(place, task, lease, span, holder)
        )
        await _shared(written)
        return task

    def _finished(self, _: None, place: _Place) -> None:
        place.queue.finishing -= 1
        place.queue.dones += 1
        if place.joiners:
            self._settle(place)
        elif place.queue.bare:
            self._leave(place)

    def _not_finished(
        self, failure: Failure, place: _Place, task: Task, lease: float, span: float, holder: str
    ) -> Failure:
        place.queue.finishing -= 1
        task.lease, task.span, task.holder = lease, span, holder
        place.queue.place(task, self._reactor.seconds())
        self._settle(place)
        return failure

    async def extend(
        self, name: str, number: int, seconds: float | None = None, delivery: int = 0
    ) -> Task | None:
        """Let a lease run out only C{seconds} from now."""
        place, task = self._leased(name, number, delivery)
        if task is not None:
            await self._durably(self._extend(place, task, seconds))
        return task

    async def renew(
        self, name: str, tasks: list[tuple[int, int]], seconds: float | None = None
    ) -> list[bool]:
        """Let many leases run out only C{seconds} from now, with one write for all that must be stored."""
        found, changed = [], []
        for number, delivery in tasks:
            place, task = self._leased(name, number, delivery)
            found.append(task is not None)
            if task is not None:
                before = task.span
                place.queue.extend(task, self._reactor.seconds(), seconds or place.queue.config.lease)
                self._watch(place)
                if task.span != before:
                    changed.append(_row(task))
        if changed:
            await self._durably(self.store.write(Change(updates=changed)))
        return found

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

    async def kick(self, name: str, count: int, key: str = "") -> int:
        """Bring buried tasks back to life."""

        def act(queue: Queue) -> tuple[int, Change]:
            tasks = queue.kick(count, self._reactor.seconds())
            return len(tasks), Change(updates=[_row(task) for task in tasks])

        return await self._once("kick", name, key, b"%d" % count, act)

    async def _once(
        self, verb: str, name: str, key: str, body: bytes, act: Callable[[Queue], tuple[int, Change]]
    ) -> int:
        """Do something to a queue, unless the same request did it before. Return the number of tasks."""
        place = self._places.get(name)
        if place is None:
            return 0
        queue, whose = place.queue, (verb, name, key)
        if key and (known := self._remembered(queue, lane_of(verb, key), key, body)):
            await self._durably(self._storing.get(whose))
            return known.number
        number, change = act(queue)
        if key:
            until = self._reactor.seconds() + queue.config.remember
            remembered = queue.keys[lane_of(verb, key)] = Remembered(key, number, until, digest(body))
            change = msgspec.structs.replace(change, keys=[(name, lane_of(verb, key), remembered)])
        written = self.store.write(change) if number or key else None
        if written is not None and key:
            self._storing[whose] = written
            written.addBoth(self._stored, whose)
        self._settle(place)
        await self._durably(written)
        return number

    async def join(self, name: str, timeout: float = 0.0) -> tuple[int, int]:
        """Wait until no task is left to be done. Return how many are, and how many are buried."""
        place = self._places.get(name)
        if place is None:
            return 0, 0
        if place.queue.unfinished and timeout > 0 and not self._stopping:
            await place.joiners.wait(timeout)
        if self._places.get(name) is not place:
            return 0, 0
        return place.queue.unfinished, len(place.queue.buried)

    async def configure(self, name: str, config: Config) -> None:
        """Set the options of a queue."""
        place = self._place(name)
        self._claim(place)
        gone = place.queue.drain() if config.shutdown == "immediate" else []
        place.queue.configure(config)
        change = Change(configs=[(name, config)], deletes=[task.number for task in gone])
        written = self.store.write(change)
        self._settle(place)
        await self._durably(written)

    async def purge(self, name: str, key: str = "") -> int:
        """Throw away what waits; what is leased or buried stays. Return how many tasks are gone."""

        def act(queue: Queue) -> tuple[int, Change]:
            gone = queue.drain()
            return len(gone), Change(deletes=[task.number for task in gone])

        return await self._once("purge", name, key, b"", act)

    async def delete(self, name: str) -> None:
        """Forget a queue with all its tasks."""
        place = self._places.pop(name, None)
        self._bare.pop(name, None)
        if place is None:
            if self._kept.pop(name, None):
                await self._durably(self.store.write(Change(configs=[(name, None)])))
            return
        for line in (place.getters, place.putters, place.joiners):
            line.dismiss(SHUTDOWN)
        if place.timer is not None and place.timer.active():
            place.timer.cancel()
        await self._durably(self.store.write(Change(configs=[(name, None)])))

    # What happens inside.

    def _place(self, name: str) -> _Place:
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = _Place(Queue(name), self._reactor)
            place.queue.keys = self._kept.pop(name, {})
            self._leave(place)
        return place

    def _leave(self, place: _Place) -> None:
        """Count a queue that is bare no more."""
        if self._places.get(place.queue.name) is place:
            self._bare.setdefault(place.queue.name, self._reactor.seconds())

    def _claim(self, place: _Place) -> None:
        """
        Count a queue, for it is about to get a task or an option.

        @raise LimitError: when there are too many.
        """
        if place.queue.name in self._bare:
            if len(self._places) - len(self._bare) >= self.max_queues:
                raise LimitError(f"there are {self.max_queues} queues already; delete some")
            del self._bare[place.queue.name]

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
        await self._durably(written)

    def _ignore(self, written: Deferred[None] | None) -> None:
        """Nobody waits for this change. If it is lost, the worst is that a task comes out once more."""
        if written is not None:
            written.addErrback(lambda failure: self.log.warn("not stored: {e}", e=failure.value))

    async def _durably(self, written: Deferred[None] | None) -> None:
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
                place.getters.serve_next()
            if place.getters and self._drained(queue):
                place.getters.dismiss(SHUTDOWN)
            if place.putters and queue.config.shutdown:
                place.putters.dismiss(SHUTDOWN)
            while place.putters and queue.has_room and not self._stopping:
                place.putters.serve_next()
            if place.joiners and not queue.unfinished:
                place.joiners.dismiss("")
        if queue.bare:
            self._leave(place)
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
        alarm, now = place.queue.alarm, self._reactor.seconds()
        if alarm is None:
            return
        if now - alarm > LATE:
            place.queue.postpone(now + GRACE)
        returned, due = place.queue.expire(now)
        if returned:  # or else the lease would begin anew when the store is opened again
            self._ignore(self.store.write(Change(updates=[_row(task) for task in returned])))
        if returned or due:
            self._settle(place)
        else:
            self._watch(place)

    def _sweep(self) -> None:
        """Forget bare queues; from time to time also keys, and space in the store."""
        self._sweeping = self._reactor.callLater(SWEEP, self._sweep)
        now = self._reactor.seconds()
        for name, since in list(self._bare.items()):
            place = self._places[name]
            if since <= now - SWEEP and not place.awaited:
                if place.timer is not None and place.timer.active():
                    place.timer.cancel()
                if place.queue.keys:
                    self._kept[name] = place.queue.keys
                del self._places[name], self._bare[name]
        if now - self._tidied >= TIDY:
            self._tidied = now
            self._tidy(now)

    def _tidy(self, now: float) -> None:
        forgets = []
        known = {name: place.queue.keys for name, place in self._places.items()}
        for name, keys in [*known.items(), *self._kept.items()]:
            forgets += [(name, whose) for whose in forget(keys, now)]
        self._kept = {name: keys for name, keys in self._kept.items() if keys}
        if forgets:
            self._ignore(self.store.write(Change(forgets=forgets)))
        self.store.tidy()


def _row(task: Task) -> tuple[Any, ...]:
    """The fields of a task that change, as L{Change.updates} has them."""
    return (task.due, task.span, task.deliveries, task.holder, task.buried, task.number)
