"""One queue: its tasks, their order and their states, without I/O.

Strategy: a task is ready, leased, delayed or buried. Ready tasks are in a heap, the others in dicts by
number. The state of a task follows from its fields and the time, which callers pass in. Times are in
seconds of the reactor's clock, which must not jump. A store keeps the length of a lease instead of its end,
because no worker can renew a lease while the server is down.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, nsmallest
from typing import Any, Literal

import msgspec
from twisted.logger import Logger

from twisted_appserver.core.conversions.msgspec_converter import MsgspecConverter
from twisted_appserver.queue.request_keys import Remembered

log = Logger()
GRACE = 5.0  # seconds that each lease lasts at least after an outage: clients retry once a second
YEAR = 366 * 86400.0  # seconds
MOST = 2**63 - 1  # the largest integer that all stores can keep


class QueuedTask(msgspec.Struct, gc=False):
    """
    One item of a queue.

    @ivar number: counts up over all queues of a store, in order of arrival.
    @ivar body: the fields of the task, a JSON object.
    @ivar priority: in a priority queue, the lowest is handed out first.
    @ivar order: sorts tasks of the same priority.
    @ivar due: when the delay ends; 0.0 for no delay.
    @ivar lease: when the lease ends; 0.0 if the task is not leased.
    @ivar deliveries: how often the task has been handed out.
    @ivar holder: the key of the request that leased it; empty if the request had no key.
    @ivar buried: whether it is put aside until it is kicked.
    @ivar span: the length of the lease, in seconds; 0.0 if the task is not leased.
    @ivar began: when the last lease began; 0.0 if there was none.
    @ivar by: who has leased it last, in the words of the client.
    @ivar attempts: how many attempts are recorded for it, see L{queue.attempt}.
    """

    number: int
    body: bytes
    priority: float = 0.0
    order: str = ""
    due: float = 0.0
    lease: float = 0.0
    deliveries: int = 0
    holder: str = ""
    buried: bool = False
    span: float = 0.0
    began: float = 0.0
    by: str = ""
    attempts: int = 0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The options of a queue. They are stored.

    @ivar kind: the order in which tasks are handed out.
    @ivar maxsize: how many tasks may be ready or delayed; 0 for no limit.
    @ivar lease: the length of a lease in seconds, unless the request sets it.
    @ivar max_deliveries: a task that comes back after this many deliveries is buried; 0 for never.
    @ivar remember: how long the key of a request is remembered, in seconds.
    @ivar keep: how long results are kept after the end of a task, in seconds; 0 for not at all.
    @ivar keep_count: how many results are kept, at most; the last ones.
    @ivar shutdown: C{""}: not shut down. C{"draining"}: puts are refused, and gets work until the queue is
        empty. C{"immediate"}: puts are refused, and ready and delayed tasks have been deleted.
    @ivar paused: whether no task is handed out.
    """

    kind: Literal["fifo", "lifo", "priority"] = "fifo"
    maxsize: int = 0
    lease: float = 60.0
    max_deliveries: int = 10
    remember: float = 300.0
    shutdown: Literal["", "draining", "immediate"] = ""
    paused: bool = False
    keep: float = 0.0
    keep_count: int = 10_000

    def __post_init__(self) -> None:
        for name in ("lease", "remember"):
            value = getattr(self, name)
            if not 0 < value <= YEAR:
                raise ValueError(f"{name} must be more than 0 and at most {YEAR:.0f} seconds, not {value}")
        if not 0 <= self.keep <= YEAR:
            raise ValueError(f"keep must be 0 to {YEAR:.0f} seconds, not {self.keep}")
        for name, least in (("maxsize", -MOST), ("max_deliveries", 0), ("keep_count", 1)):
            value = getattr(self, name)
            if not least <= value <= MOST:
                raise ValueError(f"{name} must be {least} to {MOST}, not {value}")


DEFAULT = Config()
CONFIG = MsgspecConverter(Config, finite=False)


def replace(config: Config, changes: dict[str, Any]) -> Config:
    """
    Return the options with some of them changed.

    @param changes: JSON values or text, by name.
    @raise ConversionError: when an option does not exist, or its value is wrong.
    """
    options = {**msgspec.structs.asdict(config), **changes}
    return CONFIG.convert(options, False)  # type: ignore[no-any-return]


def read_config(name: str, text: str | bytes) -> Config:
    """
    Read the stored options of a queue. Options of other versions are ignored, with a warning.

    @param name: the name of the queue, for messages.
    @raise ValueError: when the options cannot be used.
    """
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
        unknown = sorted(fields.keys() - set(Config.__struct_fields__))
        config = msgspec.convert({key: fields[key] for key in fields if key not in unknown}, Config)
    except ValueError as error:
        raise ValueError(f"the stored options of the queue {name!r} cannot be used: {error}") from None
    if unknown:
        log.warn("the queue {name!r} has stored options of another version, which are ignored: {unknown}",
                 name=name, unknown=", ".join(unknown))  # fmt: skip
    return config


class TaskQueue:
    """
    A queue and its tasks.

    @ivar reserved: how many puts are accepted but not stored yet.
    @ivar finishing: how many tasks are done but not deleted from the store yet.
    @ivar keys: the remembered requests, by lane.
    @ivar holders: the leased tasks, by the key of the request that leased them.
    """

    def __init__(self, name: str, config: Config = DEFAULT) -> None:
        self.name, self.config = name, config
        self.ready: list[tuple[float, str, int, QueuedTask]] = []
        self.delayed: dict[int, QueuedTask] = {}
        self.leased: dict[int, QueuedTask] = {}
        self.buried: dict[int, QueuedTask] = {}
        self.reserved = self.finishing = 0
        self.keys: dict[str, Remembered] = {}
        self.holders: dict[str, QueuedTask] = {}
        self.puts = self.gets = self.dones = self.returned = 0
        self._alarms: list[tuple[float, int]] = []

    @property
    def unfinished(self) -> int:
        """How many tasks are still to be done. A buried task does not count, because no worker gets it."""
        return len(self.ready) + len(self.delayed) + len(self.leased) + self.finishing

    @property
    def has_room(self) -> bool:
        """Whether a put may be accepted. A task that comes back from a lease needs no room."""
        size = self.config.maxsize
        return size <= 0 or len(self.ready) + len(self.delayed) + self.reserved < size

    def has_room_for(self, count: int) -> bool:
        """Whether C{count} puts may be accepted."""
        size = self.config.maxsize
        return size <= 0 or len(self.ready) + len(self.delayed) + self.reserved + count <= size

    @property
    def bare(self) -> bool:
        """Whether it has no task and only default options, so that it does not count as a queue."""
        return not (self.unfinished or self.buried or self.reserved) and self.config == DEFAULT

    def _key(self, task: QueuedTask) -> tuple[float, str, int, QueuedTask]:
        """Return the key by which the heap sorts."""
        kind = self.config.kind
        if kind == "fifo":
            return (0.0, "", task.number, task)
        if kind == "priority":
            return (task.priority, task.order, task.number, task)
        return (0.0 if task.deliveries else 1.0, "", -task.number, task)

    def place(self, task: QueuedTask, now: float) -> None:
        """Add a task in the state that follows from its fields and the time."""
        if task.lease > now:
            self.leased[task.number] = task
            if task.holder:
                self.holders[task.holder] = task
            self._alarm(task.lease, task.number)
        elif task.buried:
            self.buried[task.number] = task
        elif task.due > now:
            self.delayed[task.number] = task
            self._alarm(task.due, task.number)
        else:
            heappush(self.ready, self._key(task))

    def fill(self, tasks: list[QueuedTask], now: float) -> None:
        """Add many tasks to a new queue. Their leases start again, because they could not be renewed."""
        for task in tasks:
            if task.span:
                task.lease = now + max(task.span, GRACE)
            if task.buried or task.due > now or task.lease > now:
                self.place(task, now)
            else:
                self.ready.append(self._key(task))
        heapify(self.ready)

    def take(self, now: float, seconds: float, holder: str = "", by: str = "") -> QueuedTask | None:
        """
        Lease the first ready task.

        @param seconds: the length of the lease.
        @param holder: the key of the request.
        @param by: who leases it, in the words of the client.
        @return: C{None} if no task is ready.
        """
        if not self.ready:
            return None
        task = heappop(self.ready)[3]
        task.lease, task.span = now + seconds, seconds
        task.deliveries, task.holder, task.began, task.by = task.deliveries + 1, holder, now, by
        self.leased[task.number] = task
        if holder:
            self.holders[holder] = task
        self._alarm(task.lease, task.number)
        self.gets += 1
        return task

    def find(self, number: int, delivery: int = 0) -> QueuedTask | None:
        """Return a leased task if C{delivery} is 0 or the number of its current delivery."""
        task = self.leased.get(number)
        return task if task is not None and delivery in (0, task.deliveries) else None

    def look(self, number: int) -> tuple[str, QueuedTask] | None:
        """
        Return a task in any state, with the state; C{None} if it is not in the queue.

        This searches all ready tasks, so the time it takes grows with their number.
        """
        for state, places in (("leased", self.leased), ("delayed", self.delayed), ("buried", self.buried)):
            if number in places:
                return state, places[number]
        return next((("ready", entry[3]) for entry in self.ready if entry[3].number == number), None)

    def remove(self, number: int) -> QueuedTask | None:
        """Remove a task in any state from the queue. It is found as by L{look}."""
        found = self.look(number)
        if found is None:
            return None
        state, task = found
        if state == "leased":
            self.unlease(task)
        elif state == "ready":
            self.ready.remove(self._key(task))
            heapify(self.ready)
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
        if 0 < self.config.max_deliveries <= task.deliveries:
            task.buried = True

    def extend(self, task: QueuedTask, now: float, seconds: float) -> None:
        """Make the lease of a task end C{seconds} from now."""
        task.lease, task.span = now + seconds, seconds
        self._alarm(task.lease, task.number)

    def kick(self, count: int, now: float) -> list[QueuedTask]:
        """Make up to C{count} buried tasks ready, the oldest first."""
        tasks = [self.buried.pop(number) for number in sorted(self.buried)[:count]]
        for task in tasks:
            self.make_ready(task, now)
        return tasks

    def make_ready(self, task: QueuedTask, now: float) -> None:
        """Add a task that was buried or delayed as one that is ready."""
        if task.buried:
            task.buried, task.deliveries = False, 0
        task.due = 0.0
        self.place(task, now)

    def drain(self) -> list[QueuedTask]:
        """Remove all ready and delayed tasks, and return them."""
        tasks = [entry[3] for entry in self.ready] + list(self.delayed.values())
        self.ready.clear()
        self.delayed.clear()
        return tasks

    def peek(self, count: int, state: str = "ready") -> list[QueuedTask]:
        """Return the first tasks in a state, without leasing them."""
        if state == "ready":
            return [entry[3] for entry in nsmallest(count, self.ready)]
        places = {"delayed": self.delayed, "leased": self.leased, "buried": self.buried}
        return [places[state][number] for number in sorted(places[state])[:count]]

    def configure(self, config: Config) -> None:
        """Change the options. A new kind changes the order of the tasks."""
        self.config = config
        self.ready = [self._key(entry[3]) for entry in self.ready]
        heapify(self.ready)

    def _alarm(self, when: float, number: int) -> None:
        # Tasks that are done leave their alarms behind. Remove these when they are the majority.
        if len(self._alarms) > 100 + 2 * (len(self.leased) + len(self.delayed)):
            live = [(task.lease, task.number) for task in self.leased.values()]
            self._alarms = live + [(task.due, task.number) for task in self.delayed.values()]
            heapify(self._alarms)
        heappush(self._alarms, (when, number))

    @property
    def alarm(self) -> float | None:
        """When L{expire} should be called next; C{None} for never."""
        return self._alarms[0][0] if self._alarms else None

    def postpone(self, until: float) -> None:
        """Prolong the leases that would end before this time."""
        for task in self.leased.values():
            if task.lease < until:
                task.lease = until
                self._alarm(until, task.number)

    def expire(self, now: float) -> tuple[list[QueuedTask], list[QueuedTask]]:
        """
        End the leases and delays whose time is over.

        @return: the tasks that were leased, and the tasks that were delayed.
        """
        returned, due = list[QueuedTask](), list[QueuedTask]()
        while self._alarms and self._alarms[0][0] <= now:
            _, number = heappop(self._alarms)
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
