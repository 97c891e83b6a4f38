"""What every store of a local broker promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Interface

from twisted_appserver.queue.attempt import Attempt
from twisted_appserver.queue.model import Config, QueuedTask
from twisted_appserver.queue.request_keys import Remembered
from twisted_appserver.queue.task_result import TaskResult


class Change(msgspec.Struct, frozen=True):
    """
    A change that is stored as a whole or not at all.

    @ivar puts: new tasks, with the names of their queues.
    @ivar keys: requests to remember, with their queues and lanes.
    @ivar updates: the result of L{to_update} for each task that has changed.
    @ivar deletes: the numbers of tasks to delete.
    @ivar configs: the options of queues by name; C{None} to delete the queue with its tasks and keys.
    @ivar forgets: the queues and lanes of requests to forget.
    @ivar results: what is kept of tasks that have ended, with their queues and the number that each of these
        queues keeps.
    @ivar attempts: attempts that have ended, with the queues of their tasks.
    @ivar forgotten: the queues and numbers of deleted tasks whose attempts must be deleted.
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


class IStore(Interface):
    """
    Keeps the queues of a broker. It is read once, at the start, and then receives each change.

    All methods must be called in the reactor's thread. Every Deferred fires there.
    """

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
        Return what is kept of a task that has ended, after all changes that were written before.

        @param name: its queue.
        """

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


def to_update(task: QueuedTask) -> tuple[Any, ...]:
    """Return the fields of a task that change, as L{Change.updates} has them."""
    return (
        task.due, task.span, task.deliveries, task.holder, task.buried, task.began, task.by, task.number
    )  # fmt: skip


def to_deletion(name: str, tasks: Sequence[QueuedTask]) -> Change:
    """Return the change that deletes tasks of a queue, with their attempts."""
    forgotten = [(name, task.number) for task in tasks if task.attempts]
    return Change(deletes=[task.number for task in tasks], forgotten=forgotten)
