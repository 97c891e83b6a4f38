"""One queue: its tasks, their order and their states, without I/O.

Strategy: a task is ready, leased, delayed, held or buried. Ready tasks are in a heap, the others in dicts by
number. The state of a task follows from its fields and the time, which callers pass in. Times are in
seconds of the reactor's clock, which must not jump. A store keeps the length of a lease instead of its end,
because no worker can renew a lease while the server is down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush, nsmallest

from twisted_appserver.queue.config import DEFAULT, Config
from twisted_appserver.queue.groups import Groups
from twisted_appserver.queue.lifetimes import Lifetimes
from twisted_appserver.queue.pace import pace_for
from twisted_appserver.queue.paging import START, Place
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.ready_tasks import ReadyTasks
from twisted_appserver.queue.request_keys import Remembered
from twisted_appserver.queue.terms import NO_TERMS
from twisted_appserver.queue.unique_keys import UniqueKeys

STATES = ("leased", "delayed", "held", "buried")  # the states whose tasks are found by number
GRACE = 5.0  # seconds that each lease lasts at least after an outage: clients retry once a second


class Alarms:
    """When the leases and delays of tasks end."""

    def __init__(self, leased: dict[int, QueuedTask], delayed: dict[int, QueuedTask]) -> None:
        self._leased, self._delayed = leased, delayed
        self._heap: list[tuple[float, int]] = []

    def add(self, when: float, number: int) -> None:
        """Add the end of a lease or delay of a task, by its number."""
        # Tasks that are done leave their alarms behind. Remove these alarms when they are the majority.
        if len(self._heap) > 100 + 2 * (len(self._leased) + len(self._delayed)):
            live = [(task.lease, task.number) for task in self._leased.values()]
            self._heap = live + [(task.due, task.number) for task in self._delayed.values()]
            heapify(self._heap)
        heappush(self._heap, (when, number))

    @property
    def next(self) -> float | None:
        """When the next lease or delay may end; C{None} for never."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[int]:
        """
        Remove the alarms that are due, and yield the numbers of their tasks. The actual end may be later.
        """
        while self._heap and self._heap[0][0] <= now:
            yield heappop(self._heap)[1]


class TaskQueue:
    """
    A queue and its tasks.

    @ivar reserved: how many puts are accepted but not stored yet.
    @ivar finishing: how many tasks are done but not deleted from the store yet.
    @ivar keys: the remembered requests, by lane.
    @ivar holders: the leased tasks, by the key of the request that leased them.
    @ivar pace: limits how often tasks are handed out; C{None} for no limit.
    @ivar held: the tasks that wait for a place in their group.
    """

    def __init__(self, name: str, config: Config = DEFAULT) -> None:
        self.name, self.config = name, config
        self.ready = ReadyTasks(config.kind)
        self.delayed: dict[int, QueuedTask] = {}
        self.leased: dict[int, QueuedTask] = {}
        self.buried: dict[int, QueuedTask] = {}
        self.held: dict[int, QueuedTask] = {}
        self.groups = Groups()
        self.reserved = self.finishing = 0
        self.keys: dict[str, Remembered] = {}
        self.holders: dict[str, QueuedTask] = {}
        self.lifetimes, self.uniques = Lifetimes(), UniqueKeys()
        self.puts = self.gets = self.dones = self.returned = self.expired = 0
        self._alarms = Alarms(self.leased, self.delayed)
        self.pace = pace_for(config.rate)

    @property
    def unfinished(self) -> int:
        """How many tasks are still to be done. A buried task does not count, because no worker gets it."""
        return self.waiting + len(self.leased) + self.finishing

    @property
    def waiting(self) -> int:
        """How many tasks wait for a worker, for their time or for a place in their group."""
        return len(self.ready) + len(self.delayed) + len(self.held)

    def has_room_for(self, count: int) -> bool:
        """Whether C{count} puts may be accepted. A task that comes back from a lease needs no room."""
        size = self.config.maxsize
        return size <= 0 or self.waiting + self.reserved + count <= size

    @property
    def bare(self) -> bool:
        """Whether it has no task and only default options, so that it does not count as a queue."""
        if self.leased or self.ready:  # nearly always
            return False
        return not (self.unfinished or self.buried or self.reserved) and self.config == DEFAULT

    def place(self, task: QueuedTask, now: float) -> None:
        """Add a task in the state that follows from its fields and the time."""
        if task.lease > now:
            self.leased[task.number] = task
            if task.holder:
                self.holders[task.holder] = task
            self._alarms.add(task.lease, task.number)
        elif task.buried:
            self.buried[task.number] = task
            self.free_names(task)
        else:
            if task.terms is not None:
                self.lifetimes.add(task.number, task.terms.ends)
                self.uniques.add(task.terms.unique, task.number)
                group = task.terms.group
                if group and not self.groups.enter(group, task.number, self.config.at_once):
                    self.held[task.number] = task
                    return
            if task.due > now:
                self.delayed[task.number] = task
                self._alarms.add(task.due, task.number)
            else:
                self.ready.add(task)

    def can_hand_out(self, now: float) -> bool:
        """Return whether a task is ready, and a worker may get it now."""
        return bool(self.ready) and not self.config.paused and (self.pace is None or self.pace.allows(now))

    def fill(self, tasks: list[QueuedTask], now: float) -> None:
        """Add many tasks to a new queue. Their leases start again, because they could not be renewed."""
        for task in tasks:
            if task.span:
                task.lease = now + max(task.span, GRACE)
                if task.terms is not None:
                    self.uniques.add(task.terms.unique, task.number)
                    if task.terms.group:
                        self.groups.occupy(task.terms.group, task.number)
        ready = []
        for task in tasks:
            if task.buried or task.due > now or task.lease > now or task.terms is not None:
                self.place(task, now)
            else:
                ready.append(task)
        self.ready.add_all(ready)

    def take(self, now: float, seconds: float, holder: str = "", by: str = "") -> QueuedTask | None:
        """
        Lease the first ready task.

        @param seconds: the length of the lease.
        @param holder: the key of the request.
        @param by: the name of the client, as it was sent.
        @return: C{None} if no task is ready, or the rate does not allow it yet.
        """
        if not self.ready:
            return None
        if self.pace is not None:
            if not self.pace.allows(now):
                return None
            self.pace.last = now
        task = self.ready.pop()
        if task.terms is not None:
            self.lifetimes.discard(task.number)
        task.lease, task.span = now + seconds, seconds
        task.deliveries, task.holder, task.began, task.by = task.deliveries + 1, holder, now, by
        self.leased[task.number] = task
        if holder:
            self.holders[holder] = task
        self._alarms.add(task.lease, task.number)
        self.gets += 1
        return task

    def free_names(self, task: QueuedTask) -> None:
        """
        Free the unique key of a task and its place in its group: the task does not wait or run any more.
        """
        if task.terms is not None:
            self.uniques.discard(task.terms.unique, task.number)
            if task.terms.group:
                self.groups.leave(task.terms.group, task.number)

    def fill_places(self, groups: Iterable[str], now: float) -> bool:
        """Give the free places of groups to the tasks that are held. Return whether any task got a place."""
        admitted = [number for name in groups for number in self.groups.admit(name, self.config.at_once)]
        for number in admitted:
            self.place(self.held.pop(number), now)
        return bool(admitted)

    def find(self, number: int, delivery: int = 0) -> QueuedTask | None:
        """Return a leased task if C{delivery} is 0 or the number of its current delivery."""
        task = self.leased.get(number)
        return task if task is not None and delivery in (0, task.deliveries) else None

    def look(self, number: int) -> tuple[str, QueuedTask] | None:
        """
        Return a task in any state, with the state; C{None} if it is not in the queue.

        This searches all ready tasks, so the time it takes grows with their number.
        """
        for state in STATES:
            if number in (places := getattr(self, state)):
                return state, places[number]
        return next((("ready", task) for task in self.ready if task.number == number), None)

    def remove(self, number: int) -> QueuedTask | None:
        """Remove a task in any state from the queue. It is found as by L{look}."""
        found = self.look(number)
        if found is None:
            return None
        state, task = found
        self.lifetimes.discard(number)
        if state == "leased":
            self.unlease(task)
        elif state == "ready":
            self.ready.remove({number})
        else:
            getattr(self, state).pop(number)
        return task

    def unlease(self, task: QueuedTask) -> None:
        """Remove a leased task from the queue."""
        del self.leased[task.number]
        if task.holder:
            self.holders.pop(task.holder, None)
        task.lease, task.span, task.holder = 0.0, 0.0, ""

    def take_back(self, task: QueuedTask, now: float) -> None:
        """End the lease of a task. It becomes ready, delayed or buried."""
        self.unlease(task)
        self._end(task)
        self.place(task, now)

    def _end(self, task: QueuedTask) -> None:
        """Mark a task as buried if it has been delivered too often."""
        limit, terms = self.config.max_deliveries, task.terms
        if terms is not None and terms.max_deliveries is not None:
            limit = terms.max_deliveries
        if 0 < limit <= task.deliveries - (terms.forgiven if terms is not None else 0):
            task.buried = True

    def extend(self, task: QueuedTask, now: float, seconds: float) -> None:
        """Make the lease of a task end C{seconds} from now."""
        task.lease, task.span = now + seconds, seconds
        self._alarms.add(task.lease, task.number)

    def kick(self, count: int, now: float) -> list[QueuedTask]:
        """Make up to C{count} buried tasks ready, the oldest first."""
        tasks = [self.buried.pop(number) for number in sorted(self.buried)[:count]]
        for task in tasks:
            self.make_ready(task, now)
        return tasks

    def make_ready(self, task: QueuedTask, now: float) -> None:
        """Add a task that was buried or delayed as a ready one."""
        if task.buried:
            task.buried = False
            task.terms = (task.terms or NO_TERMS).kicked(task.deliveries, now)
        task.due = 0.0
        self.place(task, now)

    def drain(self) -> list[QueuedTask]:
        """Remove all tasks that wait, and return them."""
        tasks = [*self.ready, *self.delayed.values(), *self.held.values()]
        for places in (self.ready, self.delayed, self.held):
            places.clear()
        for task in tasks:
            self.free_names(task)
        self.lifetimes.clear()
        return tasks

    def peek(self, count: int, state: str = "ready", after: Place = START) -> list[QueuedTask]:
        """Return the first tasks in a state that come after a place, without leasing them."""
        if state == "ready":
            return self.ready.page(count, after)
        places: dict[int, QueuedTask] = getattr(self, state)
        return [places[each] for each in nsmallest(count, (each for each in places if each > after.third))]

    def configure(self, config: Config) -> None:
        """Change the options. A new kind changes the order of the tasks, see also L{fill_places}."""
        if config.at_once != self.config.at_once:
            self.groups.reconsider()
        if config.kind != self.config.kind:
            self.ready.replace(self.ready, config.kind)
        self.config, self.pace = config, pace_for(config.rate, self.pace)

    @property
    def alarm(self) -> float | None:
        """When L{expire} and L{end_lifetimes} should be called next; C{None} for never."""
        alarm, ends = self._alarms.next, self.lifetimes.next
        return alarm if ends is None else ends if alarm is None else min(alarm, ends)

    def postpone(self, until: float) -> None:
        """Prolong the leases that would end before this time."""
        for task in self.leased.values():
            if task.lease < until:
                task.lease = until
                self._alarms.add(until, task.number)

    def expire(self, now: float) -> tuple[list[QueuedTask], list[QueuedTask]]:
        """
        End the leases and delays whose time is over.

        @return: the tasks that were leased, and the tasks that were delayed.
        """
        returned, due = list[QueuedTask](), list[QueuedTask]()
        for number in self._alarms.due(now):
            task = self.leased.get(number)
            if task is not None and task.lease <= now:
                self.take_back(task, now)
                returned.append(task)
            elif number in self.delayed and self.delayed[number].due <= now:
                task = self.delayed.pop(number)
                self.place(task, now)
                due.append(task)
        self.returned += len(returned)
        return returned, due

    def end_lifetimes(self, now: float) -> list[QueuedTask]:
        """
        Remove the waiting tasks whose time to live is over, and return them.

        Tasks at the head of the queue cost little. For others, all ready tasks are searched.
        """
        if not (over := self.lifetimes.over(now)):
            return []
        places = (self.delayed, self.held)
        gone = [place.pop(number) for place in places for number in over if number in place]
        if len(gone) < len(over):
            gone += self.ready.remove(over)
        for task in gone:
            self.lifetimes.discard(task.number)
            self.free_names(task)
        self.expired += len(gone)
        return gone
