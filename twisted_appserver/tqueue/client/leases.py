"""The tasks that a client has leased and not finished. Does no I/O; safe from any thread.

Needs the standard library only. A task is leased until it is finished. C{task_done()} finishes the task that
its thread got last. If the server cannot be reached then, the task is finished in the background. After the
next C{get()} of the thread, C{task_done()} means the task that this C{get()} returned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .errors import LeaseLost, ServerError, ServerUnavailable
from .failures import Failure

BATCH = 1000  # tasks that one request renews
PAST = {"done": "done", "release": "released", "fail": "given back", "bury": "buried", "extend": "extended"}


class Owner:
    """
    Who gets tasks: a thread, or an AsyncQueue.

    @ivar unfinished: the task that its last C{task_done()} could not finish, until it gets another one.
    """

    __slots__ = ("unfinished",)

    def __init__(self) -> None:
        self.unfinished: LeasedTask | None = None


BLOCK = Owner()  # owns the tasks of C{with} blocks, which task_done() never means


class LeasedTask:
    """
    A task that a client got.

    @ivar until: when its lease runs out, by the client's clock.
    @ivar result: the result with which it is finished, as JSON; empty for none.
    @ivar failure: with which it is given back; C{None} if it is not.
    @ivar denied: whether the server has replied that the task is not leased.
    @ivar finished: whether the task is finished, or C{denied}.
    @ivar sent: whether an earlier request to finish it may have succeeded without a response.
    @ivar running: the number of requests to finish it that are under way.
    """

    __slots__ = (
        "delivery",
        "denied",
        "failure",
        "finished",
        "item",
        "owner",
        "result",
        "running",
        "sent",
        "task_id",
        "until",
    )

    def __init__(self, task_id: str, delivery: int, owner: Owner, until: float) -> None:
        self.task_id, self.delivery, self.owner, self.until = task_id, delivery, owner, until
        self.item: Any = None
        self.result = b""
        self.failure: Failure | None = None
        self.denied = self.finished = self.sent = False
        self.running = 0

    def deny(self, verb: str) -> LeaseLost:
        """Record that the server has no such lease. Return the error for it."""
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
        @raise ValueError: when there is none.
        """
        with self._lock:
            if item is None and owner.unfinished is not None:
                return owner.unfinished
            task = self._find(item, owner)
            if task is None:
                raise ValueError(f"{verb}() called too many times")
            self._leased.pop(task, None)
            return task

    def find(self, item: Any, owner: Owner) -> LeasedTask:
        """
        Return the task that C{task_done(item)} means, and keep it.

        @raise ValueError: when there is none.
        """
        with self._lock:
            task = self._find(item, owner)
        if task is None:
            raise ValueError("this thread has no such task")
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
        """Make a request to finish a task in this block. If two run at once, each sees the other as sent."""
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
        if not task_id and (task.denied or not (sent or task.sent) or self._clock() >= task.until):
            raise task.deny(verb)
        task.finished = True

    def due(self) -> Iterator[list[LeasedTask]]:
        """Yield batches of tasks to renew: those that have used up a third of their lease."""
        late = self._clock() + self.lease * 2 / 3
        with self._lock:
            due = [task for task in self._leased if task.until <= late and not task.denied]
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
                task.until = since + self.lease
            elif task in self._leased:  # a task that is being finished is lost only if that fails
                task.denied = True
                found.append(task)
        return found
