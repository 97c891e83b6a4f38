"""What every broker promises, and the reasons and errors of requests that do not succeed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from twisted_appserver.core.durations import Durations
from twisted_appserver.errors import AppserverError
from twisted_appserver.queue.attempt import RetryAfter, TaskDetails
from twisted_appserver.queue.config import Config
from twisted_appserver.queue.paging import NEWEST, START, Place
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.task_result import TaskResult

NO_PROGRESS: Mapping[int, bytes] = {}
EMPTY, FULL, SHUTDOWN, STOPPING = "empty", "full", "shutdown", "stopping"  # why a request cannot succeed

Ended = tuple[int, int, bytes]  # the number, the delivery and the result of a task that ends


class StoreError(AppserverError):
    """Raised when a change could not be stored, not even a part of it. The message is fit for clients."""


class LimitError(AppserverError):
    """Raised when there are too many queues."""


class AwayError(AppserverError):
    """Raised when the database could not be reached in the time limit of a request."""


class ReusedError(AppserverError):
    """
    Raised when a key was used before, for a different request.

    @ivar number: the number of the task that the first put with the key has added.
    """

    number = 0


class BatchError(AppserverError):
    """Raised when a batch has more tasks than even an empty queue has room for."""


class IBroker(Interface):
    """
    The queues of a service, and the requests that wait for them.

    All methods must be called in the reactor's thread. A request that waits can be cancelled, and then has
    no effect. Each method returns its result, or the reason why the request does not succeed: L{EMPTY},
    L{FULL}, L{SHUTDOWN} or L{STOPPING}. All may raise L{StoreError}, L{LimitError} and L{AwayError}, whose
    messages are fit for clients: they contain neither SQL nor data.
    """

    started: bool = Attribute("Whether it accepts requests.")
    secret: bytes = Attribute("Signs the ids of tasks; kept in the store.")
    shared: bool = Attribute("Whether other servers may hold leases of the same store.")

    durations: dict[tuple[str, str], Durations] = Attribute(
        "The durations of attempts that ended at this server, by queue and outcome: C{done} or C{failed}."
    )

    def start() -> None:
        """
        Open the store. Does nothing if it is open.

        @raise ConfigurationError: when the store cannot be used.
        """

    def stop_waiting() -> None:
        """Finish all waiting requests with the result L{STOPPING}. From now on, no request waits."""

    def stop() -> Deferred[None]:
        """
        Close the store.

        @return: fires when it is closed, and no timer is left.
        """

    def unready() -> str:
        """Return why no task can be put; empty if puts work, as far as is known."""

    async def check() -> None:
        """Update what L{unready} returns, unless that was done a moment ago. Takes seconds at most."""

    async def put(name: str, task: QueuedTask, key: str, timeout: float, delay: float) -> QueuedTask | str:
        """
        Add a task, unless its unique key (L{Terms.unique}) is taken.

        @param timeout: seconds to wait for room in a full queue.
        @param key: another put with this key adds nothing while the queue remembers the key. Empty for none.
        @param delay: seconds until the task becomes ready.
        @return: the task. Its body is empty if the key was used before; it is an L{ExistingTask} if its
            unique key is taken.
        @raise ReusedError: when the key was used for a different body.
        """

    async def put_many(
        name: str, tasks: list[QueuedTask], key: str, timeout: float, delay: float
    ) -> list[QueuedTask] | str:
        """
        Add tasks: all of them or none, without those whose unique keys are taken. Arguments, result and
        errors are as for L{put}.

        @raise BatchError: when they would not fit into the empty queue.
        """

    async def get(name: str, seconds: float | None, key: str, timeout: float, by: str) -> QueuedTask | str:
        """
        Lease a task.

        @param seconds: the length of the lease; C{None} for the option of the queue.
        @param key: another get with this key returns the same task while it is leased, because the first
            response was lost. Empty for none.
        @param timeout: seconds to wait for a task.
        @param by: the name of the client, for the records of attempts.
        """

    async def done(name: str, number: int, delivery: int, result: bytes) -> QueuedTask | None:
        """
        Finish a leased task.

        @param delivery: the delivery that must hold the task; 0 for any.
        @param result: any JSON value; empty for none. It is kept if the queue has the option C{keep}.
        @return: the task; C{None} if it is not leased, or is leased in another delivery.
        """

    async def get_many(
        name: str, count: int, seconds: float | None, key: str, timeout: float, by: str
    ) -> list[QueuedTask] | str:
        """
        Lease up to C{count} tasks: all that are ready. If none is ready, wait for the first one, and lease
        all that are ready then.

        Arguments are as for L{get}. Another request with this key returns the same tasks, except tasks that
        are no longer leased.
        """

    async def done_many(name: str, tasks: Sequence[Ended], failed: Collection[int] = ()) -> list[bool]:
        """
        Finish leased tasks with one commit.

        @param tasks: the number, the delivery and the result of each, as for L{done}.
        @param failed: the numbers of the tasks whose results are errors. Their attempts count as failed in
            L{durations}.
        @return: for each task, whether it was leased in that delivery.
        """

    async def result(name: str, number: int, timeout: float) -> TaskResult | str | None:
        """
        Wait until a task has ended or is buried. Return its state and result.

        @param timeout: seconds to wait.
        @return: C{None} if there is no such task, or if its result is not kept any more.
        """

    async def extend(name: str, number: int, seconds: float | None, delivery: int) -> QueuedTask | None:
        """Make a lease end C{seconds} from now. Arguments and result are as for L{get} and L{done}."""

    async def renew(
        name: str,
        tasks: list[tuple[int, int]],
        seconds: float | None,
        progress: Mapping[int, bytes] = NO_PROGRESS,
    ) -> list[bool]:
        """
        Make many leases end C{seconds} from now.

        @param tasks: numbers and deliveries.
        @param progress: the progress of tasks, by number: any JSON values.
        @return: for each task, whether it is leased in that delivery.
        """

    async def release(name: str, number: int, delay: float, delivery: int) -> QueuedTask | None:
        """Give a leased task back. It becomes ready after C{delay} seconds."""

    async def fail(
        name: str, number: int, delivery: int, failure: tuple[str, str], retry: RetryAfter
    ) -> tuple[QueuedTask, float | Literal[False]] | None:
        """
        Give back a leased task that has failed.

        @param failure: the error and the traceback, for the records of attempts.
        @param retry: the task becomes ready after so many seconds; after L{Config.backoff} if C{None}. If
            false, the task is buried.
        @return: the task, and the seconds until it is ready; false if it is buried. C{None} as for L{done}.
        """

    async def bury(name: str, number: int, delivery: int) -> QueuedTask | None:
        """
        Put a leased task aside until it is kicked. If C{delivery} is 0, this also works for a waiting task.
        """

    async def drop(name: str, number: int, result: bytes) -> QueuedTask | None:
        """
        Remove a task in any state. If it is leased, its lease is lost.

        @param result: kept like the result of L{done}, with the state C{dropped}; empty to keep nothing.
        @return: C{None} if there is no such task.
        """

    async def free(name: str, unique: str) -> bool:
        """
        Free a unique key that is taken beyond the end of its task. A task that waits or runs keeps it.

        @return: whether the key was taken in this way.
        """

    async def forget(name: str, number: int) -> None:
        """Delete everything that is kept of an ended task."""

    async def ended(name: str, count: int, size: int, before: Place = NEWEST) -> list[TaskResult]:
        """
        Return everything that is kept of the last ended tasks, the latest first.

        @param size: only so many bytes of each result are returned.
        @param before: only ends before this one are returned.
        """

    async def kick_task(name: str, number: int) -> QueuedTask | None:
        """
        Make a task that is buried or delayed ready. A ready or leased task stays as it is.

        @return: C{None} if there is no such task.
        """

    async def edit(name: str, number: int, body: bytes) -> QueuedTask | None:
        """
        Replace the fields of a task that is not leased, and make it ready as L{kick_task} does.

        @param body: the new fields, a JSON object.
        @return: C{None} if there is no such task, or it is leased.
        """

    async def kick(name: str, count: int, key: str) -> int:
        """Make up to C{count} buried tasks ready. Returns how many. C{key} is as for L{put}."""

    async def join(name: str, timeout: float) -> tuple[int, int]:
        """
        Wait until every task is done or buried.

        @return: how many tasks are neither done nor buried, and how many are buried.
        """

    async def purge(name: str, key: str) -> int:
        """
        Delete all tasks that are ready, delayed or held. Returns how many. C{key} is as for L{put}.
        """

    async def delete(name: str) -> None:
        """Delete a queue with all its tasks, keys and options."""

    async def config(name: str) -> Config:
        """Return the options of a queue."""

    async def change(name: str, changes: dict[str, Any]) -> Config:
        """
        Change options of a queue.

        @param changes: JSON values or text, by name.
        @raise ValueError: when an option does not exist, or its value is wrong.
        """

    async def show(name: str, number: int) -> TaskDetails | None:
        """Return all that is known of a task, in any state; C{None} if there is no such task."""

    async def progress(name: str, numbers: list[int]) -> dict[int, bytes]:
        """
        Return the progress of leased tasks, by number, as L{renew} has stored it in this delivery. Tasks
        without progress are left out.
        """

    async def errors(name: str, numbers: list[int]) -> dict[int, str]:
        """Return the last errors of tasks, by number. Tasks without an error are left out."""

    async def peek(name: str, count: int, state: str, after: Place = START) -> list[QueuedTask]:
        """
        Return the first tasks that are C{ready}, C{delayed}, C{leased}, C{held} or C{buried}, after a place.

        Their times are in seconds since the epoch.
        """

    async def stats(name: str) -> dict[str, Any]:
        """
        Return how many tasks are in each state, how many were put and done, and how many requests wait.

        C{oldest} is the age of the oldest ready task in seconds; C{None} if there is none. C{results} is the
        number of kept results; C{None} if it is unknown.
        """

    async def qsizes(name: str | None) -> dict[str, int]:
        """Return how many tasks are ready, by queue. C{None} for all queues."""

    def snapshot() -> dict[str, dict[str, Any]]:
        """Return the L{stats} of all queues, which may be some seconds old."""
