"""The operations of a client of a queue, step by step. Does no I/O; needs the standard library only.

L{QueueSession} holds the state of one client: its idempotency keys and its leased tasks. Its methods are
generators of L{attempts.Step}s. L{queue.Queue} takes the steps one after the other and blocks;
L{async_queue.AsyncQueue} waits for each on the reactor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .addresses import Address
from .attempts import Patience, Steps, T, poll, repeat, waits
from .checks import WEEK
from .errors import LeaseLost, ResultError, ServerError
from .failures import Failure, RetryAfter, describe, this_process
from .items import ItemError, from_task, to_result
from .leases import BLOCK, LeasedTask, LeasedTasks, Owner
from .request_keys import Keys, checked_key
from .requests import Document, QueueRequest, QueueRequests
from .trace import trace_in

USUAL_LEASE = 60.0  # seconds, until a queue's option is known
REFUSED = (400, 413, 422)  # statuses of a result that the server does not accept


class QueueSession:
    """
    The state of one client of a queue.

    @param lease: seconds after which another worker gets a task if this client does not renew the lease;
        C{None} for the option of the queue.
    @param patience: seconds for which a request is repeated.
    @param clock: returns seconds.
    @param lane: returns the lane of a request, see L{Keys}; empty for none.
    @param warn: logs a warning.
    @ivar patience: the parameter of this name; may be changed.
    @ivar lease, clock, warn: the parameters of these names.
    @ivar by: the name of this process, for the records of attempts.
    @ivar requests: builds the requests.
    @ivar tasks: the leased tasks.
    @raise ValueError: when C{patience} is negative or not a number.
    """

    def __init__(
        self,
        address: Address,
        name: str,
        lease: float | None,
        patience: float,
        clock: Callable[[], float],
        lane: Callable[[], str],
        warn: Callable[[str], None],
    ) -> None:
        if not patience >= 0:
            raise ValueError(f"patience must be 0 or more seconds, not {patience!r}")
        self.patience = patience
        self.requests, self.tasks = QueueRequests(address, name), LeasedTasks(lease or USUAL_LEASE, clock)
        self._name, self.lease, self.clock, self._lane, self.warn = name, lease, clock, lane, warn
        self._url = address.url
        self._keys = Keys()
        self.by = this_process()
        self._failing = False  # whether the last renewal failed: only the first failure is logged

    def key(self) -> str:
        """Return a new idempotency key."""
        return self._keys.next(self._lane())

    def forked(self) -> None:
        """In a forked process: never use a key of the parent."""
        self._keys, self.by = Keys(), this_process()

    def ask(self, request: QueueRequest[T]) -> Steps[T]:
        """Make one request, with patience."""
        return repeat(request, Patience(lambda: self.patience, self.clock))

    def ask_since(self, request: QueueRequest[T]) -> Steps[tuple[T, float]]:
        """Make one request as L{ask}. Return its result, and when the last attempt began."""
        retry = Patience(lambda: self.patience, self.clock)
        result = yield from repeat(request, retry)
        return result, retry.began

    def put(
        self,
        task: bytes,
        timeout: float | None,
        priority: float | None = None,
        order: str | None = None,
        key: str | None = None,
        terms: Document | None = None,
    ) -> Steps[Document]:
        """Add a task, see L{QueueRequests.put}. C{timeout}: seconds to wait for room; C{None} for ever."""
        name = self.key() if key is None else checked_key(key)
        return (
            yield from poll(
                lambda wait: self.ask(self.requests.put(task, name, wait, priority, order, terms)),
                timeout,
                self.clock,
            )
        )

    def get_task(self, timeout: float | None, lease: float | None) -> Steps[Document]:
        """Lease the next task, without renewing the lease. C{timeout}: seconds; C{None} for ever."""
        document, _ = yield from self._get(timeout, lease)
        return {name: document[name] for name in ("task_id", "delivery", "task")} | trace_in(document)

    def _get(self, timeout: float | None, lease: float | None) -> Steps[tuple[Document, float]]:
        key = self.key()
        return (
            yield from poll(
                lambda wait: self.ask_since(self.requests.get(key, wait, lease, self.by)), timeout, self.clock
            )
        )

    def get(self, timeout: float | None, owner: Owner, delay: RetryAfter = None) -> Steps[LeasedTask]:
        """
        Lease the next task for an owner.

        @param delay: seconds until a task that is not an item may be got again; C{None} for the backoff of
            the queue.
        @raise ItemError: when the task cannot be converted to an item. The task is released.
        """
        document, since = yield from self._get(timeout, self.lease)
        self.note_lease(document)
        return (yield from self.to_item(document, owner, since, delay))

    def note_lease(self, document: Document) -> None:
        """Record the length of the queue's leases."""
        if self.lease is None:  # an older server does not send it
            self.tasks.lease = min(document.get("lease", USUAL_LEASE), WEEK)

    def to_item(self, document: Document, owner: Owner, since: float, delay: RetryAfter) -> Steps[LeasedTask]:
        """
        Convert a task that was got to an item, as L{get} describes.

        @param since: when the request that got it began. The lease has begun between that time and now.
        """
        task = LeasedTask(document["task_id"], document["delivery"], owner, self.clock() + self.tasks.lease)
        task.certain = since + self.tasks.lease
        task.trace = trace_in(document)
        try:
            task.item = from_task(document["task"])
        except ItemError as error:
            task.failure = describe(error, retry=_not_negative(delay))
            yield from self._finish(task, "fail")
            raise ItemError(f"task {task.task_id} is not an item: {error}") from error.__cause__
        return task

    def join(self, timeout: float | None) -> Steps[bool]:
        """Wait until every task is done. C{timeout}: seconds; C{None} for ever. Return whether they are."""
        for wait in waits(timeout, self.clock):
            if not (yield from self.ask(self.requests.join(wait))):
                return True
        return False

    def task_done(self, task: LeasedTask, owner: Owner) -> Steps[None]:
        """Finish a task. If the server cannot be reached, it is also finished in the background."""
        with self.tasks.finishing(task, owner):
            yield from self._finish(task, "done")

    def done(self, task_id: str, delivery: int, result: Any) -> Steps[Document]:
        """Finish a task by its id, and return its fields."""
        task = _by_id(task_id, delivery)
        task.result = to_result(result)
        document = yield from self._finish(task, "done")
        return dict(document.get("task", {}))

    def give_up(
        self,
        verb: str,
        item: Any,
        owner: Owner,
        task_id: str | None,
        delivery: int,
        delay: float = 0.0,
        failure: Failure | None = None,
    ) -> Steps[RetryAfter]:
        """
        Release, fail or bury the task with this id, or else the task that C{task_done(item)} means.

        @return: when a task that has failed is tried again; C{None} for other verbs.
        """
        if task_id is not None:
            task = _by_id(task_id, delivery)
            task.failure = failure
            document = yield from self._finish(task, verb, delay)
        else:
            task = self.tasks.take(item, owner, verb)
            task.failure = failure
            with self.tasks.finishing(task, owner, later=False):
                document = yield from self._finish(task, verb, delay)
        return document.get("retry") if verb == "fail" else None

    def extend(
        self, item: Any, owner: Owner, lease: float | None, task_id: str | None, delivery: int
    ) -> Steps[None]:
        """Make the lease of a task end C{lease} seconds from now. The default is the lease of the client."""
        task = self.tasks.find(item, owner) if task_id is None else _by_id(task_id, delivery)
        since = self.clock()
        if lease is None:
            lease = self.lease if task_id is not None else self.tasks.lease
        document = yield from self.ask(self.requests.extend(task.task_id, task.delivery, lease))
        if not document["task_id"]:
            raise task.deny("extend")
        task.renew(since + (lease or 0.0))

    def leave_block(
        self, task: LeasedTask, error: BaseException | None, delay: RetryAfter, result: Any = None
    ) -> Steps[None]:
        """
        Finish the task of a block that has ended, or give it back if the block raised an error.

        Ctrl-C, C{break} and the like are not the task's fault and cause no pause.

        @param delay: seconds until the task may be got again; C{None} for the backoff of the queue; C{False}
            buries it after an exception.
        @raise ResultError: when the result cannot be sent, or is refused. The task has failed.
        """
        if not self.tasks.drop(task):
            return  # close() has released it, or this process was forked in the block
        if error is not None:
            yield from self._give_back(task, error, delay)
            return
        try:
            task.result = to_result(result)
            yield from self.task_done(task, BLOCK)
        except (TypeError, ServerError) as refusal:
            if isinstance(refusal, ServerError) and not (task.result and refusal.status in REFUSED):
                raise
            wrong = ResultError(f"the result cannot be sent: {refusal}")
            yield from self._give_back(task, wrong, delay)
            raise wrong from None

    def _give_back(self, task: LeasedTask, error: BaseException, delay: RetryAfter) -> Steps[None]:
        """Release the task of a block that raised an error. An exception is recorded."""
        verb = "release"
        if isinstance(error, Exception):
            task.failure, verb = describe(error, retry=_not_negative(delay)), "fail"
        try:
            document = yield from self._finish(task, verb)
            task.retry = document.get("retry")
        except Exception as failure:  # the block's own error matters more
            self.warn(f"task {task.task_id} was not released, its lease will run out: {failure}")

    def close(self) -> Steps[None]:
        """Finish the tasks that task_done() could not finish, and release the others. Log lost leases."""
        for task in list(self.tasks.unfinished):
            yield from self._warning(self.task_done(task, BLOCK))
        for task in self.tasks.drop_all():
            yield from self._warning(self._finish(task, "release"))

    def auto_done(self, task: LeasedTask) -> Steps[None]:
        """Finish a task that was just got. If the server cannot be reached, it is done in the background."""
        task.owner = BLOCK
        with suppress(OSError):
            yield from self._warning(self.task_done(task, BLOCK))

    def _warning(self, steps: Steps[Any]) -> Steps[None]:
        """Log a lost lease where the user cannot do anything about it."""
        try:
            yield from steps
        except LeaseLost as error:
            self.warn(str(error))

    def _finish(self, task: LeasedTask, verb: str, delay: float = 0.0, once: bool = False) -> Steps[Document]:
        """
        Finish a task by C{done}, C{release}, C{fail} or C{bury}.

        @param once: whether to make one attempt only.
        @raise LeaseLost: when the task was no longer leased.
        """
        if task.finished and not task.denied:
            return {}
        if verb == "release":
            request = self.requests.release(task.task_id, task.delivery, delay)
        elif verb == "done":
            request = self.requests.done(task.task_id, task.delivery, task.result)
        elif task.failure is not None:
            request = self.requests.fail(task.task_id, task.delivery, *task.failure)
        else:
            request = self.requests.bury(task.task_id, task.delivery)
        retry = Patience(lambda: self.patience, self.clock)
        if once:
            request, retry = self._once(request)
        with self.tasks.requesting(task):
            try:
                document = yield from repeat(request, retry)
            except Exception:
                task.sent |= retry.sent
                raise
        self.tasks.settle(task, document["task_id"], retry.sent, verb)
        return document

    def _once(self, request: QueueRequest[T]) -> tuple[QueueRequest[T], Patience]:
        """Make a single attempt, with a time-out that leaves time for another before the lease runs out."""
        return request.within(max(self.tasks.lease / 4, 1.0)), Patience(float, self.clock)

    def renew(self) -> Steps[None]:
        """Renew the leases that need it, and finish the tasks that C{task_done} could not finish."""
        try:
            for batch in self.tasks.due():
                since = self.clock()
                reports = [(task.progress, task.progress.begin_sending()) for task in batch]
                names = [task.renewal for task in batch]
                lost = yield from repeat(*self._once(self.requests.renew(names, self.tasks.lease)))
                for progress, number in reports:
                    progress.was_sent(number)
                for task in self.tasks.renewed(batch, since, lost):
                    self.warn(f"the lease of task {task.task_id} has run out: another worker may get it")
            for task in list(self.tasks.unfinished):
                with self.tasks.finishing(task, BLOCK):
                    yield from self._finish(task, "done", once=True)
            self._failing = False
        except Exception as error:
            if not self._failing:
                self.warn(
                    f"leases of the queue {self._name} at {self._url} are not renewed, "
                    f"or tasks not finished: {error}"
                )
            self._failing = True


def _not_negative(delay: RetryAfter) -> RetryAfter:
    return delay if delay is None or delay is False else max(delay, 0.0)


def _by_id(task_id: str, delivery: int) -> LeasedTask:
    """Return a task whose lease this client does not renew."""
    return LeasedTask(task_id, delivery, BLOCK, math.inf)
