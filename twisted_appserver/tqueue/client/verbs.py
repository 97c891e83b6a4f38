"""Verbs of both clients that C{queue.Queue} does not have. Needs the standard library only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Protocol, Unpack

from .attempts import Steps
from .failures import RetryAfter, describe
from .leases import Owner
from .puts import put_task
from .request_keys import checked_key
from .requests import Document, QueueRequest, TaskName
from .results import wait_for_result
from .session import QueueSession
from .terms import PutOptions, put_options

State = Literal["ready", "delayed", "leased", "held", "buried"]


def is_full(stats: Document) -> bool:
    """Return whether C{maxsize} tasks wait in a queue with these figures."""
    return bool(0 < stats["maxsize"] <= stats["ready"] + stats["delayed"])


class StepRunner(Protocol):
    """The methods that L{QueueVerbs} needs in a client."""

    _session: QueueSession

    def _run(self, steps: Steps[Any]) -> Any:
        """Take the steps. Return the result, or a Deferred of it."""

    def _finish(self, steps: Steps[Any]) -> Any:
        """Take the steps as C{_run} does, and then start or stop renewing leases."""

    def _ask(self, request: QueueRequest[Any]) -> Any:
        """Make a request. Return its result, or a Deferred of it."""

    def _owner(self) -> Owner:
        """Return the owner of the tasks that are got now."""


class QueueVerbs:
    """
    Each method returns its result from a L{queue.Queue}, and a Deferred of it from an
    L{async_queue.AsyncQueue}.

    A parameter C{item} selects the same task as in C{task_done(item)}. C{task_id}, as C{peek()} and
    C{get_task()} return it, selects a task of any client instead. In this case, C{delivery} selects one
    delivery of the task; 0 for any. C{LeaseLost} is raised when the task is not leased.
    """

    _session: QueueSession

    @property
    def patience(self) -> float:
        """Seconds for which a request is repeated while the server cannot be reached; may be changed."""
        return self._session.patience

    @patience.setter
    def patience(self, seconds: float) -> None:
        self._session.patience = seconds

    def release(
        self: StepRunner,
        item: Any = None,
        delay: float = 0.0,
        *,
        task_id: str | None = None,
        delivery: int = 0,
    ) -> Any:
        """
        Give a task back, for any worker. If the server cannot be reached, the lease runs out.

        @param delay: seconds until a worker may get the task.
        @raise ValueError: when there is no such task.
        """
        return self._finish(self._session.give_up("release", item, self._owner(), task_id, delivery, delay))

    def fail(
        self: StepRunner,
        item: Any = None,
        error: BaseException | str = "",
        *,
        traceback: str = "",
        retry: RetryAfter = None,
        task_id: str | None = None,
        delivery: int = 0,
    ) -> Any:
        """
        Give back a task that has failed. The error is recorded; C{show()} returns it.

        @param traceback: by default the traceback of the exception C{error}.
        @param retry: seconds until a worker may get the task again. C{False} buries it. By default, as the
            options of the queue require: about 1 second after the first failure, 2 after the second, ...
        @return: the seconds until the task is ready, or C{False} if it is buried now.
        @raise ValueError: when there is no such task.
        """
        failure = describe(error, traceback, retry)
        steps = self._session.give_up("fail", item, self._owner(), task_id, delivery, failure=failure)
        return self._finish(steps)

    def show(self: StepRunner, task_id: str) -> Any:
        """
        Return all that is known of a task in any state, as a dict.

        @return: C{task_id} and C{state}; C{task} and so on until the task has ended, and C{result} and
            C{ended} afterwards, if the queue keeps results. C{attempts} is a
            list of dicts with C{attempt}, C{began}, C{seconds}, C{by}, C{reason}, C{error} and C{traceback}.
            The C{state} is C{unknown} if there is no such task.
        """
        return self._ask(self._session.requests.show(task_id))

    def bury(self: StepRunner, item: Any = None, *, task_id: str | None = None, delivery: int = 0) -> Any:
        """
        Put a task aside. No worker gets it before C{kick()}.

        @raise ValueError: when there is no such task.
        """
        return self._finish(self._session.give_up("bury", item, self._owner(), task_id, delivery))

    def extend(
        self: StepRunner,
        item: Any = None,
        lease: float | None = None,
        *,
        task_id: str | None = None,
        delivery: int = 0,
    ) -> Any:
        """
        Let the lease of a task end C{lease} seconds from now; if C{None}, the lease of the client applies.

        The client renews the leases of items by itself. Use this for a longer lease before work that blocks
        the process, or with the C{task_id} of a task that C{get_task()} returned.

        @raise ValueError: when there is no such task.
        """
        return self._run(self._session.extend(item, self._owner(), lease, task_id, delivery))

    def is_lost(self: StepRunner, item: Any = None) -> bool:
        """
        Return whether the lease of a task has run out, so that another worker may have got it. It is known
        without a request: both clients return a bool.

        @raise ValueError: when there is no such task.
        """
        tasks = self._session.tasks
        return tasks.lost(tasks.find(item, self._owner()))

    def put_task(
        self: StepRunner,
        fields: Document,
        timeout: float | None = 0.0,
        *,
        priority: float | None = None,
        key: str | None = None,
        **terms: Unpack[PutOptions],
    ) -> Any:
        """
        Add a task by its fields, as other programs see them.

        @param fields: a dict that JSON can represent.
        @param timeout: seconds to wait for room; C{None} for ever.
        @param priority: the lowest comes first, in a queue of the kind C{priority}.
        @param key: an idempotency key. A put with the same key and fields adds nothing.
        @param terms: what applies to this task instead of the options of the queue, and its unique key, see
            L{PutOptions}.
        @return: a dict with C{task_id}, C{repeated}, which is true if the key was used before, and
            C{existing}, which is true if the unique key was taken.
        @raise Full: when there is no room in time.
        @raise ShutDown: when the queue has been shut down.
        @raise ValueError: when the fields are not JSON, or the key cannot be used.
        """
        options = put_options(terms, "put_task", ("timeout", "priority", "key"))
        return self._run(put_task(self._session, fields, timeout, priority, key, options))

    def get_task(self: StepRunner, timeout: float | None = 0.0, lease: float | None = None) -> Any:
        """
        Lease a task without renewing its lease, for C{done(task_id)} in another process, for example.

        @param timeout: seconds to wait for a task; C{None} for ever.
        @param lease: seconds; the option of the queue if C{None}.
        @return: a dict with C{task_id}, C{delivery} and the fields, C{task}.
        @raise Empty: when there is no task in time.
        @raise ShutDown: when the queue has been shut down and is empty.
        """
        return self._run(self._session.get_task(timeout, lease))

    def done(self: StepRunner, task_id: str, delivery: int = 0, result: Any = None) -> Any:
        """
        Finish a task by its id. Return its fields, or an empty dict if an earlier response was lost.

        @param result: the result of the task, of any type that an item may have. It is kept if the queue has
            the option C{keep}.
        """
        return self._run(self._session.done(task_id, delivery, result))

    def result(self: StepRunner, task_id: str, timeout: float | None = None) -> Any:
        """
        Wait until a task has ended, and return its result; C{None} if it was finished without one.

        @param timeout: seconds; C{None} for ever.
        @raise NoResult: when it has not ended in time, is buried or dropped, or is not known.
        """
        return self._run(wait_for_result(self._session, task_id, timeout))

    def renew(self: StepRunner, tasks: Iterable[TaskName], lease: float | None = None) -> Any:
        """
        Let the leases of many tasks end C{lease} seconds from now; if C{None}, the option of the queue
        applies.

        @param tasks: pairs of an id and a delivery.
        @return: a list of the pairs that are no longer leased.
        """
        return self._ask(self._session.requests.renew(tasks, lease))

    def peek(self: StepRunner, n: int = 10, state: State = "ready") -> Any:
        """
        Look at the first tasks in a state, without leasing them.

        @return: a list of dicts with C{task_id}, C{task} (the fields), C{deliveries}, C{priority}, C{due} and
            C{lease}; the last two are in seconds since the epoch, 0 for none.
        """
        return self._ask(self._session.requests.peek(n, state))

    def stats(self: StepRunner) -> Any:
        """Return a dict of the queue's figures, such as C{ready} and C{puts}, and of its options."""
        return self._ask(self._session.requests.stats())

    def config(self: StepRunner, **options: Any) -> Any:
        """
        Set options of the queue, such as C{max_deliveries}. Return a dict of all options.

        @raise ServerError: when there is no such option, or its value is wrong.
        """
        return self._ask(self._session.requests.config(options))

    def kick(self: StepRunner, n: int = 10) -> Any:
        """Make up to C{n} buried tasks ready again, the oldest first. Return their number."""
        return self._ask(self._session.requests.kick(n, self._session.key()))

    def kick_task(self: StepRunner, task_id: str) -> Any:
        """
        Make a buried or delayed task ready; a ready or leased one stays as it is. Return C{False} if there is
        no such task.
        """
        return self._ask(self._session.requests.kick_task(task_id))

    def drop(self: StepRunner, task_id: str) -> Any:
        """
        Remove a task, whether it waits, is leased or buried. A worker that has it loses its lease. If the
        queue keeps results, C{result()} raises L{NoResult} with the state C{dropped}.

        @return: whether the task was dropped, now or before. C{False} if there is no such task, or it has
            ended; C{show()} returns how it ended. If the queue does not keep results, also C{False} if the
            request was repeated because its response was lost.
        """
        return self._ask(self._session.requests.drop(task_id))

    def pause(self: StepRunner) -> Any:
        """
        Hand out no task, until C{resume} is called. Puts are accepted, gets wait, and tasks that workers
        have got already can be finished.
        """
        return self._ask(self._session.requests.pause())

    def resume(self: StepRunner) -> Any:
        """Hand out tasks again."""
        return self._ask(self._session.requests.resume())

    def purge(self: StepRunner) -> Any:
        """Remove all tasks that wait; leased and buried ones stay. Return their number."""
        return self._ask(self._session.requests.purge(self._session.key()))

    def forget(self: StepRunner, unique: str) -> Any:
        """
        Free a unique key that is taken beyond the end of its task (C{unique_for}). A task that waits or runs
        keeps it. Return C{False} if it was not taken in this way.
        """
        return self._ask(self._session.requests.forget(checked_key(unique)))

    def delete(self: StepRunner) -> Any:
        """Remove the queue with all its tasks and options. Clients that wait get C{ShutDown}."""
        return self._ask(self._session.requests.delete())

    def queues(self: StepRunner) -> Any:
        """
        Return a dict of all queues of the server, by name. Each is a dict with C{qsize}, and the number of
        tasks in each state, such as C{ready} and C{buried}.
        """
        return self._ask(self._session.requests.queues())
