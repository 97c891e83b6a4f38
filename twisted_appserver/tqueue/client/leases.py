"""The tasks that a client has leased and not finished. Does no I/O; safe from any thread.

Needs the standard library only. A task is leased until it is finished. C{task_done()} finishes the task that
its thread got last. If the server cannot be reached then, the task is finished in the background. After the
next C{get()} of the thread, C{task_done()} means the task that this C{get()} returned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from reprlib import repr as short
from typing import Any

from .errors import LeaseLost, ServerError, ServerUnavailable
from .failures import Failure, RetryAfter
from .reported_progress import ReportedProgress
from .trace import NO_TRACE, Trace

BATCH = 1000  # tasks that one request renews
PAST = {"done": "done", "release": "released", "fail": "given back", "bury": "buried", "extend": "extended"}


class Owner:
    """
    Who gets tasks: a thread, or an AsyncQueue.

    @ivar unfinished: the task that the last C{task_done()} of this owner could not finish, until the owner
        gets another task.
    """

    __slots__ = ("unfinished",)

    def __init__(self) -> None:
        self.unfinished: LeasedTask | None = None


BLOCK = Owner()  # owns the tasks of C{with} blocks, which task_done() never means


class LeasedTask:
    """
    A task that a client got.

    @ivar until: when its lease runs out, by the client's clock.
    @ivar certain: until when it is certainly leased. That may be earlier than C{until}, because the client
        does not know how long the first request for the task had waited at the server.
    @ivar trace: the trace that it belongs to, see L{trace}.
    @ivar result: the result with which it is finished, as JSON; empty for none.
    @ivar progress: the last report of its progress.
    @ivar failure: the failure with which it is given back; C{None} if it has not failed.
    @ivar retry: the effect of C{failure}: seconds until the next attempt, or false if the task is buried;
        C{None} if the server has not answered.
    @ivar denied: whether the server has replied that the task is not leased.
    @ivar finished: whether the task is finished, or C{denied}.
    @ivar sent: whether an earlier request to finish it may have succeeded without a response.
    @ivar running: the number of requests to finish it that are under way.
    """

    __slots__ = (
        "certain",
        "delivery",
        "denied",
        "failure",
        "finished",
        "item",
        "owner",
        "progress",
        "result",
        "retry",
        "running",
        "sent",
        "task_id",
        "trace",
        "until",
    )

    def __init__(self, task_id: str, delivery: int, owner: Owner, until: float) -> None:
        self.task_id, self.delivery, self.owner = task_id, delivery, owner
        self.until = self.certain = until
        self.item: Any = None
        self.trace: Trace = NO_TRACE
        self.result = b""
        self.progress = ReportedProgress()
        self.failure: Failure | None = None
        self.retry: RetryAfter = None
        self.denied = self.finished = self.sent = False
        self.running = 0

    @property
    def renewal(self) -> tuple[Any, ...]:
        """What a renewal sends: its id, its delivery and, unless the server has it, its progress."""
        named = self.task_id, self.delivery
        return (*named, self.progress.value) if self.progress.unsent else named

    def renew(self, until: float) -> None:
        """Record that its lease runs out at this time, or later."""
        self.until = self.certain = until

    def deny(self, verb: str) -> LeaseLost:
        """Record that the server has no such lease, and return the error to raise."""
        self.denied = self.finished = True
        return LeaseLost(f"the lease of task {self.task_id} had run out before it was {PAST[verb]}")


class LeasedTasks:
    """
    All leased tasks of one client.

    @param lease: seconds.
    @param clock: returns seconds.
    @ivar lease: the length of a lease; a queue's option may change it.
    @ivar unfinished: the tasks that must be finished in the background.
    """

    def __init__(self, lease: float, clock: Callable[[], float]) -> None:
        self.lease, self._clock = lease, clock
        self._lock = threading.Lock()
        self._leased: dict[LeasedTask, None] = {}  # oldest first
        self.unfinished: dict[LeasedTask, None] = {}

    def __len__(self) -> int:
        return len(self._leased) + len(self.unfinished)

    def add(self, task: LeasedTask) -> None:
        """Renew this task from now on."""
        with self._lock:
            self._leased[task] = None
            task.owner.unfinished = None

    def take(self, item: Any, owner: Owner, verb: str = "task_done") -> LeasedTask:
        """
        Return the task that C{task_done(item)} means, for this owner to finish it.

        @param verb: the method, for the message.
        @raise ValueError: when there is no such task.
        """
        with self._lock:
            if item is None and owner.unfinished is not None:
                return owner.unfinished
            task = self._find(item, owner)
            if task is None:
                raise _not_held(item, verb)
            self._leased.pop(task, None)
            return task

    def take_many(self, items: Iterable[Any] | None, owner: Owner) -> list[LeasedTask]:
        """
        Return the tasks with these items, for this owner to finish them; all tasks of the owner if C{None}.

        @raise ValueError: when there is no such task, or one of the items has no task. In this case, no task
            is taken.
        """
        if items is None:
            with self._lock:
                taken = [task for task in self._leased if task.owner is owner]
                for task in taken:
                    del self._leased[task]
            if not taken:
                raise ValueError("task_done_many() found no task of this thread")
            return taken
        taken = []
        try:
            for item in items:
                taken.append(self.take(item, owner, "task_done_many"))
        except ValueError:
            for task in taken:
                self.add(task)
            raise
        return taken

    def find(self, item: Any, owner: Owner) -> LeasedTask:
        """
        Return the task that C{task_done(item)} means, and keep it.

        @raise ValueError: when there is no such task.
        """
        with self._lock:
            task = self._find(item, owner)
        if task is None:
            raise _not_held(item, "extend")
        return task

    def _find(self, item: Any, owner: Owner) -> LeasedTask | None:
        if item is None:
            own = next((task for task in reversed(self._leased) if task.owner is owner), None)
            return own or next((task for task in self._leased if task.owner is not BLOCK), None)
        meant = [task for task in (*self.unfinished, *self._leased) if task.owner is not BLOCK]
        equal = [task for task in reversed(meant) if task.item is item or task.item == item]
        return next((task for task in equal if task.item is item), equal[0] if equal else None)

    def drop(self, task: LeasedTask) -> bool:
        """Stop renewing a task. Return whether it was renewed."""
        with self._lock:
            return self._leased.pop(task, BLOCK) is None

    def drop_all(self) -> list[LeasedTask]:
        """Stop renewing all tasks. Return them."""
        with self._lock:
            tasks, self._leased = self._leased, {}
        return list(tasks)

    def lost(self, task: LeasedTask) -> bool:
        """Return whether another worker may have got the task."""
        return task.denied or self._clock() >= task.until

    @contextmanager
    def finishing(self, task: LeasedTask, owner: Owner, later: bool = True) -> Iterator[None]:
        """
        Surround the attempt to finish a task. If it fails for a temporary reason, the owner may repeat it.

        @param later: whether to finish the task in the background, too, after such a failure.
        """
        self.unfinished.pop(task, None)
        try:
            yield
        except BaseException as error:
            refused = isinstance(error, ServerError) and not isinstance(error, ServerUnavailable)
            final = refused or isinstance(error, LeaseLost)
            if later and not final:
                self.unfinished[task] = None
            owner.unfinished = None if final or owner is BLOCK else task
            raise
        owner.unfinished = None

    @contextmanager
    def requesting(self, task: LeasedTask) -> Iterator[None]:
        """
        Make a request to finish a task in this block. If two such requests run at once, each counts the other
        as sent.
        """
        task.sent |= task.running > 0
        task.running += 1
        try:
            yield
        finally:
            task.running -= 1

    def settle(self, task: LeasedTask, task_id: str, sent: bool, verb: str) -> None:
        """
        Record the response to a request to finish a task.

        If an earlier attempt may have been received, and the lease cannot have run out, that attempt has
        finished the task.

        @param task_id: empty if the server has no such leased task.
        @param sent: whether an earlier attempt may have succeeded without a response.
        @raise LeaseLost: when the task was no longer leased.
        """
        if task.finished and not task.denied:
            return
        if not task_id and (task.denied or not (sent or task.sent) or self._clock() >= task.certain):
            raise task.deny(verb)
        task.finished = True

    def due(self) -> Iterator[list[LeasedTask]]:
        """Yield batches of tasks to renew: a third of their lease is over, or they have progress to send."""
        late = self._clock() + self.lease * 2 / 3
        with self._lock:
            due = [task for task in self._leased if task.until <= late or task.progress.unsent]
        due = [task for task in due if not task.denied]
        for start in range(0, len(due), BATCH):
            yield due[start : start + BATCH]

    def renewed(
        self, tasks: Iterable[LeasedTask], since: float, lost: Iterable[tuple[str, int]]
    ) -> list[LeasedTask]:
        """
        Record the response to a renewal.

        @param since: when the request was made.
        @param lost: the ids and deliveries that are no longer leased.
        @return: the tasks that turn out to be lost.
        """
        gone, found = set(lost), []
        for task in tasks:
            if (task.task_id, task.delivery) not in gone:
                task.renew(since + self.lease)
            elif task in self._leased:  # a task that is being finished is lost only if finishing fails
                task.denied = True
                found.append(task)
        return found


def _not_held(item: Any, verb: str) -> ValueError:
    """Return the error for an item (or C{None}) that matches no leased task."""
    if item is not None:
        return ValueError(f"this queue object does not hold the item {short(item)} now")
    if verb == "task_done":
        return ValueError("task_done() called too many times")  # as the standard library words it
    return ValueError(f"{verb}() needs a task that this queue object has got and not finished")
