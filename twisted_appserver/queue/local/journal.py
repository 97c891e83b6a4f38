"""What every store of a local broker promises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from twisted_appserver.queue.attempt import Attempt
from twisted_appserver.queue.config import Config
from twisted_appserver.queue.paging import Place
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.request_keys import Remembered
from twisted_appserver.queue.task_result import TaskResult
from twisted_appserver.queue.terms import Terms


class Change(msgspec.Struct, frozen=True):
    """
    A change that is stored as a whole or not at all.

    @ivar puts: new tasks, with the names of their queues.
    @ivar keys: requests to remember, with their queues and lanes.
    @ivar updates: the result of L{to_update} for each task that has changed.
    @ivar deletes: the numbers of tasks to delete.
    @ivar configs: the options of queues by name; C{None} to delete the queue with its tasks and keys.
    @ivar forgets: the queues and lanes of requests to forget.
    @ivar results: the results of ended tasks, with their queues and the number of results that each of these
        queues keeps.
    @ivar attempts: attempts that have ended, with the queues of their tasks.
    @ivar forgotten: the queues and numbers of deleted tasks whose attempts must be deleted.
    @ivar unkept: the queues and numbers of ended tasks whose results and attempts must be deleted.
    @ivar terms: new terms of tasks, by number.
    @ivar bodies: new fields of tasks, by number.
    @ivar freed: the queues and unique keys that were taken beyond the end of a task, and become free. They
        become free before C{taken} is written.
    @ivar taken: unique keys that are taken beyond the end of tasks: their queues, the keys, the numbers of
        the tasks, and until when.
    @ivar paces: when queues with a rate have handed out their last tasks, by name.
    """

    puts: Sequence[tuple[str, QueuedTask]] = ()
    keys: Sequence[tuple[str, str, Remembered]] = ()
    updates: Sequence[tuple[Any, ...]] = ()
    deletes: Sequence[int] = ()
    configs: Sequence[tuple[str, Config | None]] = ()
    forgets: Sequence[tuple[str, str]] = ()
    results: Sequence[tuple[str, int, TaskResult]] = ()
    attempts: Sequence[tuple[str, Attempt]] = ()
    forgotten: Sequence[tuple[str, int]] = ()
    unkept: Sequence[tuple[str, int]] = ()
    terms: Sequence[tuple[int, Terms]] = ()
    freed: Sequence[tuple[str, str]] = ()
    taken: Sequence[tuple[str, str, int, float]] = ()
    paces: Sequence[tuple[str, float]] = ()
    bodies: Sequence[tuple[int, bytes]] = ()


CHECK = Change()  # stores nothing, but fails if a put would fail


class Saved(msgspec.Struct):
    """
    The contents of a store when it is opened.

    Times are in seconds of the reactor. Leases have a length but no end.

    @ivar secret: signs the ids of tasks; differs between stores.
    @ivar last: the highest number that a task has ever had.
    """

    secret: bytes
    last: int = 0
    tasks: dict[str, list[QueuedTask]] = {}
    keys: list[tuple[str, str, Remembered]] = []
    configs: dict[str, Config] = {}
    paces: dict[str, float] = {}


class IStore(Interface):
    """
    Keeps the queues of a broker. It is read once, at the start, and then receives each change.

    All methods must be called in the reactor's thread. Every Deferred fires there.
    """

    has_taken: bool = Attribute("Whether any unique key may be taken beyond the end of its task.")

    def open(reactor: Any) -> Saved:
        """
        Open the store for this process only, and read it.

        @raise ConfigurationError: when it cannot be used, or another process uses it.
        """

    def write(change: Change) -> Deferred[None] | None:
        """
        Store a change.

        @return: fires when the change is as durable as this store can make it. Changes are stored in the
            order of the calls. Fails with L{queue.interface.StoreError}. C{None} if the change is stored
            already.
        """

    def find_result(name: str, number: int) -> Deferred[TaskResult | None]:
        """
        Return everything that is kept of an ended task, after all changes that were written before.

        @param name: its queue.
        """

    def find_taken(name: str, keys: Sequence[str]) -> Deferred[dict[str, int]]:
        """
        Return the unique keys of a queue that are taken beyond the end of tasks, each with the number of its
        task, after all changes that were written before.
        """

    def find_ended(name: str, count: int, size: int, before: Place) -> Deferred[list[TaskResult]]:
        """Return results as L{queue.interface.IBroker.ended} does, after all earlier changes."""

    def count_results(name: str) -> int | None:
        """Return how many results of a queue are kept; C{None} if the number is unknown at the moment."""

    def find_attempts(name: str, numbers: Sequence[int]) -> Deferred[dict[int, list[Attempt]]]:
        """
        Return the attempts of tasks, the oldest first, after all changes that were written before.

        @param name: their queue.
        """

    def free_unused_space() -> None:
        """Delete results that have expired, and give unused space back. Called about once a minute."""

    def close() -> Deferred[None]:
        """
        Close the store.

        @return: fires when all changes are stored, and another process may open the store.
        """


def join_changes(changes: Iterable[Change]) -> Change:
    """Return one change with the parts of all these changes, in their order."""
    fields = zip(*map(msgspec.structs.astuple, changes), strict=True)
    return Change(*(list(chain.from_iterable(parts)) for parts in fields))


def to_update(task: QueuedTask) -> tuple[Any, ...]:
    """Return the fields of a task that change, as L{Change.updates} has them."""
    return (
        task.due, task.span, task.deliveries, task.holder, task.buried, task.began, task.by, task.number
    )  # fmt: skip


def to_kick(tasks: Sequence[QueuedTask]) -> Change:
    """Return the change for tasks that were made ready. Their times to live have begun anew."""
    terms = [(task.number, task.terms) for task in tasks if task.terms is not None]
    return Change(updates=[to_update(task) for task in tasks], terms=terms)


def to_deletion(name: str, tasks: Sequence[QueuedTask]) -> Change:
    """Return the change that deletes tasks of a queue, with their attempts."""
    forgotten = [(name, task.number) for task in tasks if task.attempts]
    return Change(deletes=[task.number for task in tasks], forgotten=forgotten)


def to_taken(name: str, tasks: Sequence[QueuedTask], now: float) -> list[tuple[str, str, int, float]]:
    """Return L{Change.taken} for new tasks whose terms have not begun yet."""
    return [
        (name, task.terms.unique, task.number, now + task.terms.unique_for)
        for task in tasks
        if task.terms is not None and task.terms.unique_for
    ]


def to_refusal(name: str, tasks: Sequence[QueuedTask]) -> Change:
    """Return the change that deletes tasks that were stored but cannot be added any more."""
    freed = [(name, task.terms.unique) for task in tasks if task.terms is not None and task.terms.unique]
    return Change(deletes=[task.number for task in tasks], freed=freed)
