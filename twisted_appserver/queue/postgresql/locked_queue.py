"""One queue in a transaction that holds its lock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from twisted_appserver.queue.interface import ReusedError
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.request_keys import digest
from twisted_appserver.queue.sql_files import read_statements
from twisted_appserver.queue.terms import decode_terms

SQL = read_statements(__package__, "transaction.sql")


class QueueBounds:
    """
    Knowledge about a queue that saves reading deleted rows again.

    @ivar lowest_number: every task with a lower number is buried.
    @ivar lowest_waiting: no ready, delayed or held task has a lower number.
    @ivar last_return: the last return of a task that these two take into account.
    @ivar front: where the ready tasks are, as C{ready_tasks.sql} returns it; empty if that is unknown.
    @ivar no_expiry_before: no lease and no delay ends before this time of the database, in seconds since the
        epoch.
    """

    __slots__ = (
        "front",
        "last_return",
        "lowest_number",
        "lowest_waiting",
        "no_expiry_before",
        "queue_id",
    )

    def __init__(self, queue_id: int) -> None:
        self.queue_id, self.no_expiry_before, self.front = queue_id, 0.0, ""
        self.lowest_number, self.lowest_waiting, self.last_return = 0, 0, 0

    def lower(self) -> None:
        """Note that a buried task may have become ready."""
        self.lowest_number = self.lowest_waiting = 0


class Effects:
    """
    The changes of a transaction that other requests wait for.

    @ivar changed: names of queues, each with the waiters that may succeed now: C{getters}, C{putters},
        C{joiners}, C{results} or C{all}. C{gone} means that the queue was deleted, and C{outbox} that it may
        have tasks in the outbox.
    @ivar counts: how many leases (C{returned}) and times to live (C{expired}) have ended, and how many tasks
        were moved from the outbox (C{puts}), by queue and name.
    @ivar pauses: seconds until the rate of a queue allows the next get, by queue.
    @ivar jumped: whether the clock seems to have been set, see L{heartbeat}.
    """

    def __init__(self) -> None:
        self.changed: set[tuple[str, str]] = set()
        self.counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.pauses: dict[str, float] = {}
        self.jumped = False


class LockedQueue:
    """
    A queue and the statements for it.

    @param run_statement: runs a statement and returns its rows.
    @param needs_all: whether all its tasks must be moved from the outbox before requests are performed, even
        if that takes long.
    """

    def __init__(
        self,
        name: str,
        bounds: QueueBounds,
        effects: Effects,
        run_statement: Callable[..., list[Any]],
        needs_all: bool,
    ) -> None:
        self.name, self.bounds, self.effects, self.needs_all = name, bounds, effects, needs_all
        self.run_statement = run_statement

    def execute(self, statement: str, **values: Any) -> list[Any]:
        """
        Run a statement of C{transaction.sql}.

        @param statement: its name.
        @param values: its parameters, without C{queue}.
        @return: the rows.
        """
        return self.run_statement(SQL[statement], queue=self.bounds.queue_id, **values)

    def changed(self, waiters: str) -> None:
        """Record that something has changed for these waiters, see L{Effects}."""
        self.effects.changed.add((self.name, waiters))


def to_task(row: Sequence[Any]) -> QueuedTask:
    """Make a task of the first seven columns of a row."""
    number, body, priority, order, deliveries, holder, at = row[:7]
    return QueuedTask(number, body, priority, order, lease=at, deliveries=deliveries, holder=holder)


def to_leased_task(row: Sequence[Any]) -> QueuedTask:
    """Make a task that is handed out. The eighth column has its terms, C{None} for none."""
    task = to_task(row)
    if row[7] is not None:
        task.terms = decode_terms(row[7])
    return task


def repeated_put(request: Request, number: int, first_digest: bytes) -> QueuedTask | ReusedError:
    """
    Return the result of a put whose key was used before.

    @param number: the number of the task that the first put has added.
    @param first_digest: the digest of the body of the first put; empty if it is unknown.
    """
    if first_digest and first_digest != digest(request.task.body):
        error = key_reused(request)
        error.number = number
        return error
    return QueuedTask(number, b"")


def key_reused(request: Request) -> ReusedError:
    """Return the error for a request whose key was used for a different one."""
    return ReusedError(f"the key {request.key!r} was used for a request with another body")
