"""One queue: its tasks, their order, and what becomes of each. Pure: the time is handed in.

A task is in one of four places. Those that are ready stand in a heap; leased, delayed and buried ones in
dicts by number. Where a task belongs follows from its own fields and the time alone. All times are those of
the reactor's clock, which must not jump; a store keeps how long a lease is, not when it ends, since nobody
can renew a lease while the server is away.
"""

from __future__ import annotations

from hashlib import blake2b
from heapq import heapify, heappop, heappush, nsmallest
from typing import Any, Literal

import msgspec
from twisted.logger import Logger

from twisted_appserver.core.conversions.msgspec_converter import MsgspecConverter

log = Logger()
MARK = "\1"  # begins the keys that clients make, and none that a user chooses
GRACE = 5.0  # seconds that every lease lasts at least after the server was away: clients retry once a second
YEAR = 366 * 86400.0  # seconds
MOST = 2**63 - 1  # the largest number that every store can keep


class Task(msgspec.Struct, gc=False):
    """
    @ivar number: counts up over all queues of a store, in the order in which the tasks were taken in.
    @ivar body: the task's fields, a JSON object.
    @ivar priority: the lowest comes first, in a queue of that kind.
    @ivar order: further text to sort tasks of the same priority by.
    @ivar due: when a delay ends; 0.0 for none.
    @ivar lease: when the lease runs out; 0.0 if it is not leased.
    @ivar deliveries: how often it has been handed out.
    @ivar holder: the key of the request that it was handed to, if that had one.
    @ivar buried: whether it is put aside until it is kicked.
    @ivar span: how many seconds the lease was granted for; 0.0 if it is not leased.
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


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The options of a queue, which persist.

    @ivar kind: the order in which tasks are handed out.
    @ivar maxsize: how many tasks may wait; 0 for any number.
    @ivar lease: seconds for which a task is handed out, where the request says nothing.
    @ivar max_deliveries: a task that comes back after so many is buried; 0 for never.
    @ivar remember: seconds for which the key of a put is remembered.
    @ivar shutdown: whether puts are refused: not (""), gets go on until it is empty ("draining"), or
        everything that waited is gone ("immediate").
    """

    kind: Literal["fifo", "lifo", "priority"] = "fifo"
    maxsize: int = 0
    lease: float = 60.0
    max_deliveries: int = 10
    remember: float = 300.0
    shutdown: Literal["", "draining", "immediate"] = ""

    def __post_init__(self) -> None:
        for name in ("lease", "remember"):
            value = getattr(self, name)
            if not 0 < value <= YEAR:
                raise ValueError(f"{name} must be more than 0 and at most {YEAR:.0f} seconds, not {value}")
        for name, least in (("maxsize", -MOST), ("max_deliveries", 0)):
            value = getattr(self, name)
            if not least <= value <= MOST:
                raise ValueError(f"{name} must be {least} to {MOST}, not {value}")


DEFAULT = Config()
CONFIG = MsgspecConverter(Config, finite=False)


def replace(config: Config, changes: dict[str, Any]) -> Config:
    """
    The options with some of them changed, given as JSON values or text.

    @raise ConversionError: when there is no such option, or its value is wrong.
    """
    options = {**msgspec.structs.asdict(config), **changes}
    return CONFIG.convert(options, False)  # type: ignore[no-any-return]


def read_config(name: str, text: str | bytes) -> Config:
    """
    The stored options of a queue. Options that this version does not have are ignored, with a warning.

    @raise ValueError: when they cannot be used.
    """
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
        unknown = sorted(fields.keys() - set(Config.__struct_fields__))
        config = msgspec.convert({key: fields[key] for key in fields if key not in unknown}, Config)
    except ValueError as error:
        raise ValueError(f"the stored options of the queue {name!r} cannot be used: {error}") from None
    if unknown:
        log.warn("ignored: the queue {name!r} has stored options of another version: {unknown}",
                 name=name, unknown=", ".join(unknown))  # fmt: skip
    return config


def digest(body: bytes) -> bytes:
    """Recognizes a body that a key was used for."""
    return blake2b(body, digest_size=12).digest()


class Remembered(msgspec.Struct, frozen=True, gc=False):
    """
    The last request of a lane.

    @ivar number: of the task that it put, or how many it kicked.
    @ivar until: when to forget it.
    @ivar digest: of the body; empty if that is not known.
    """

    key: str
    number: int
    until: float
    digest: bytes = b""


def lane(key: str) -> str:
    """
    Under which name a key is remembered. Keys like C{MARK + "name:17"} come from a client that makes one
    request after the other: the next key of such a lane replaces the one before, so that memory is needed for
    each client, not for each put. Any other key is a lane of its own.
    """
    if not key.startswith(MARK):
        return key
    head, colon, tail = key.rpartition(":")
    return head if colon and tail.isdigit() else key


def forget(keys: dict[str, Remembered], now: float) -> list[str]:
    """Drop the keys whose time is over. Return their lanes."""
    lanes = [lane for lane, remembered in keys.items() if remembered.until <= now]
    for name in lanes:
        del keys[name]
    return lanes


def lane_of(verb: str, key: str) -> str:
    """The L{lane} of a request that is not a put: such keys are remembered apart from those of puts."""
    return f"{MARK}{verb} {lane(key)}"


class Queue:
    """
    @ivar reserved: puts that are admitted, but not stored yet.
    @ivar finishing: leased tasks that are done, but not yet deleted from the store.
    @ivar keys: what is remembered of puts, by lane.
    @ivar holders: the leased tasks, by the key of the request that got them.
    """

    def __init__(self, name: str, config: Config = Config()) -> None:  # noqa: B008 - it is frozen
        self.name, self.config = name, config
        self.ready: list[tuple[float, str, int, Task]] = []
        self.delayed: dict[int, Task] = {}
        self.leased: dict[int, Task] = {}
        self.buried: dict[int, Task] = {}
        self.reserved = self.finishing = 0
        self.keys: dict[str, Remembered] = {}
        self.holders: dict[str, Task] = {}
        self.puts = self.gets = self.dones = self.returned = 0
        self._alarms: list[tuple[float, int]] = []

    @property
    def unfinished(self) -> int:
        """Tasks that are still to be done. A buried one is not: nobody gets it before it is kicked."""
        return len(self.ready) + len(self.delayed) + len(self.leased) + self.finishing

    @property
    def has_room(self) -> bool:
        """Whether a put may be admitted. What comes back from a lease is taken in a full queue too."""
        size = self.config.maxsize
        return size <= 0 or len(self.ready) + len(self.delayed) + self.reserved < size

    @property
    def bare(self) -> bool:
        """Whether it has no task and no option of its own: it does not count as a queue then."""
        return not (self.unfinished or self.buried or self.reserved) and self.config == DEFAULT

    def _key(self, task: Task) -> tuple[float, str, int, Task]:
        kind = self.config.kind
        if kind == "fifo":
            return (0.0, "", task.number, task)
        if kind == "priority":
            return (task.priority, task.order, task.number, task)
        return (0.0 if task.deliveries else 1.0, "", -task.number, task)

    def place(self, task: Task, now: float) -> None:
        """Put a task where its fields and the time say that it belongs."""
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

    def fill(self, tasks: list[Task], now: float) -> None:
        """L{place} for many tasks of a new queue. Leases begin anew: nobody could renew them meanwhile."""
        for task in tasks:
            if task.span:
                task.lease = now + max(task.span, GRACE)
            if task.buried or task.due > now or task.lease > now:
                self.place(task, now)
            else:
                self.ready.append(self._key(task))
        heapify(self.ready)

    def take(self, now: float, seconds: float, holder: str = "") -> Task | None:
        """Lease the first task to the request whose key is C{holder}. C{None} if none is ready."""
        if not self.ready:
            return None
        task = heappop(self.ready)[3]
        task.lease, task.span = now + seconds, seconds
        task.deliveries, task.holder = task.deliveries + 1, holder
        self.leased[task.number] = task
        if holder:
            self.holders[holder] = task
        self._alarm(task.lease, task.number)
        self.gets += 1
        return task

    def find(self, number: int, delivery: int = 0) -> Task | None:
        """The leased task of that number, if it is in the delivery of that number, or whichever if 0."""
        task = self.leased.get(number)
        return task if task is not None and delivery in (0, task.deliveries) else None

    def unlease(self, task: Task) -> None:
        """Take a leased task out of its place; it is in none then."""
        del self.leased[task.number]
        if task.holder:
            self.holders.pop(task.holder, None)
        task.lease, task.span, task.holder = 0.0, 0.0, ""

    def take_back(self, task: Task, now: float) -> None:
        """Take a task out of its lease, and put it where it belongs."""
        self.unlease(task)
        self._end(task)
        self.place(task, now)

    def _end(self, task: Task) -> None:
        """Bury a task that has come back too often."""
        if 0 < self.config.max_deliveries <= task.deliveries:
            task.buried = True

    def extend(self, task: Task, now: float, seconds: float) -> None:
        """Let the lease of a task run out C{seconds} from now."""
        task.lease, task.span = now + seconds, seconds
        self._alarm(task.lease, task.number)

    def kick(self, count: int, now: float) -> list[Task]:
        """Bring buried tasks back to life, the oldest first."""
        tasks = [self.buried.pop(number) for number in sorted(self.buried)[:count]]
        for task in tasks:
            task.buried, task.deliveries, task.due = False, 0, 0.0
            self.place(task, now)
        return tasks

    def drain(self) -> list[Task]:
        """Throw away what waits; leased and buried tasks stay."""
        tasks = [entry[3] for entry in self.ready] + list(self.delayed.values())
        self.ready.clear()
        self.delayed.clear()
        return tasks

    def peek(self, count: int, state: str = "ready") -> list[Task]:
        """The first tasks of a place, without taking them."""
        if state == "ready":
            return [entry[3] for entry in nsmallest(count, self.ready)]
        places = {"delayed": self.delayed, "leased": self.leased, "buried": self.buried}
        return [places[state][number] for number in sorted(places[state])[:count]]

    def configure(self, config: Config) -> None:
        """Change the options; the order changes with the kind."""
        self.config = config
        self.ready = [self._key(entry[3]) for entry in self.ready]
        heapify(self.ready)

    def _alarm(self, when: float, number: int) -> None:
        # Tasks that are done leave their alarms behind: clear these away when they are the most.
        if len(self._alarms) > 100 + 2 * (len(self.leased) + len(self.delayed)):
            live = [(task.lease, task.number) for task in self.leased.values()]
            self._alarms = live + [(task.due, task.number) for task in self.delayed.values()]
            heapify(self._alarms)
        heappush(self._alarms, (when, number))

    @property
    def alarm(self) -> float | None:
        """When L{expire} should be called next, in seconds since the epoch."""
        return self._alarms[0][0] if self._alarms else None

    def postpone(self, until: float) -> None:
        """Let no lease run out before that time."""
        for task in self.leased.values():
            if task.lease < until:
                task.lease = until
                self._alarm(until, task.number)

    def expire(self, now: float) -> tuple[list[Task], list[Task]]:
        """
        Take back the leases that have run out, and what is due.

        @return: the tasks that were leased, and those that were delayed.
        """
        returned, due = list[Task](), list[Task]()
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
