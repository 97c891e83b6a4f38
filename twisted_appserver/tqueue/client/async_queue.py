"""AsyncQueue: the verbs of L{tqueue.client.queue.Queue} as Deferreds, over treq."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from functools import wraps
from types import TracebackType
from typing import Any, Generic, Literal, ParamSpec, TypeVar, Unpack

import treq
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed, DNSLookupError
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.web.client import (  # type: ignore[attr-defined]
    RequestGenerationFailed,
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseFailed,
)

from .addresses import default_url, read_address
from .async_tasks import Absent, AsyncTasks
from .attempts import FailedAttempt, Outcome, Pause, ServerResponse, Step, Steps
from .batch_verbs import BatchVerbs
from .checks import checked_lease, checked_name
from .errors import Empty, Full, LeaseLost, NoResult, ResultError, ServerError, ServerUnavailable, ShutDown
from .failures import RetryAfter
from .forks import watch
from .items import Item, sort_key, to_result, to_task
from .leases import LeasedTask, Owner
from .puts import put_item
from .requests import QueueRequest
from .session import QueueSession
from .task_block import TaskBlock
from .terms import PutOptions, TaskId, put_options
from .verbs import QueueVerbs, is_full

T = TypeVar("T")
P = ParamSpec("P")

__all__ = [
    "AsyncQueue",
    "AsyncTask",
    "Empty",
    "Full",
    "LeaseLost",
    "NoResult",
    "ResultError",
    "ServerError",
    "ServerUnavailable",
    "ShutDown",
]

NOT_SENT = (ConnectError, DNSLookupError, RequestNotSent)  # the request has not left this process
WRAPPED = (ResponseFailed, RequestTransmissionFailed, RequestGenerationFailed)
CUT = (OSError, ConnectionClosed, TimeoutError, *WRAPPED)  # the request may have left this process


def _deferred(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Deferred[T]]:
    """Let a coroutine method return a Deferred."""

    @wraps(method)
    def begin(*args: P.args, **keywords: P.kwargs) -> Deferred[T]:
        return Deferred.fromCoroutine(method(*args, **keywords))

    return begin


class AsyncTask(TaskBlock["AsyncQueue[Item]"], Generic[Item]):
    """A task for the length of an C{async with} block; see L{AsyncQueue.task}."""

    async def __aenter__(self) -> Item:
        task = await self._queue._lease(self._timeout, self._delay)
        item: Item = self._begin(task)
        self._queue._keep(task)
        return item

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._leased is not None:
            await self._queue._finish(
                self._queue._session.leave_block(self._leased, error, self._delay, self.result)
            )


class AsyncQueue(QueueVerbs, BatchVerbs, Generic[Item]):
    """
    A queue of a TQueueSrv, for the reactor's thread.

    Its Deferreds may be cancelled: a cancelled get gets no task. The other verbs are in L{QueueVerbs}.

    @param url: the URL of the server; the environment variable C{TQUEUE_URL}, or else C{http://127.0.0.1:8082},
        if C{None}.
    @param name: the name of the queue; a new, unique name if C{None}.
    @param reactor: an C{IReactorTime}; the global one if C{None}.
    @param treq_client: a C{treq.client.HTTPClient} or C{treq.testing.StubTreq}; treq itself if C{None}.
    @param lease: seconds after which another worker gets a task of this object if this process has died; the
        option of the queue if C{None}.
    @param token: the token of the server; the environment variable C{TQUEUE_TOKEN} if C{None}.
    @param patience: seconds for which a request is repeated while the server cannot be reached.
    @raise ValueError: when one of these cannot be used.
    @raise RuntimeError: from every method, in a process that was forked after the queue had been used: the
        reactor and the connections belong to the parent.
    """

    log = Logger()
    _ack: Literal["manual", "auto"] = "manual"

    is_shutdown = Absent('(await queue.config())["shutdown"]')
    maxsize = Absent('(await queue.config())["maxsize"], or await queue.config(maxsize=N) to set it')
    unfinished_tasks = Absent('(await queue.stats())["unfinished"]')

    def __init__(
        self,
        url: str | None = None,
        name: str | None = None,
        reactor: Any = None,
        treq_client: Any = None,
        lease: float | None = None,
        patience: float = 60.0,
        token: str | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.name, lease = checked_name(name), checked_lease(lease)
        address = read_address(
            default_url() if url is None else url,
            os.environ.get("TQUEUE_TOKEN", "") if token is None else token,
        )
        self._reactor, self._treq = reactor, treq_client or treq
        self._session = QueueSession(address, self.name, lease, patience, reactor.seconds, str, self._warn)
        self._own = Owner()
        self._renewing = LoopingCall(self._renew)
        self._used = self._forked = False
        watch(self)

    def _warn(self, text: str) -> None:
        self.log.warn("{text}", text=text)

    def forked(self) -> None:
        """In a forked process, leave a queue that was used to the parent."""
        self._session.forked()
        self._forked = self._used

    @_deferred
    async def put(
        self,
        item: Item,
        timeout: float | None = None,
        priority: float | None = None,
        **terms: Unpack[PutOptions],
    ) -> TaskId:
        """
        Add an item.

        @param timeout: seconds to wait for room; C{None} for ever.
        @param priority: sorts the task in a queue of the kind C{priority}; by the item itself if C{None}.
        @param terms: what applies to this task instead of the options of the queue, and its unique key, see
            L{PutOptions}.
        @return: fires with the id of the task when it is stored; fails with C{Full} or C{ShutDown}.
        """
        body = to_task(item)
        number, order = sort_key(item) if priority is None else (priority, "")
        options = put_options(terms, "put", ("timeout", "priority"))
        steps = put_item(self._session, body, timeout, number, order, options)
        added: TaskId = await self._run(steps)
        return added

    @_deferred
    async def get(self, timeout: float | None = None) -> Item:
        """
        Remove an item.

        @param timeout: seconds to wait for a task; C{None} for ever.
        @return: fires with the item. It fails with C{Empty} or C{ShutDown}, or with L{items.ItemError} if the
            task of another program is not an item; then the task is released.
        """
        task = await self._lease(timeout)
        self._keep(task)
        item: Item = task.item
        return item

    def put_nowait(self, item: Item) -> Deferred[TaskId]:
        """Do C{put(item, timeout=0)}."""
        return self.put(item, timeout=0.0)

    def get_nowait(self) -> Deferred[Item]:
        """Do C{get(timeout=0)}."""
        return self.get(timeout=0.0)

    @_deferred
    async def task_done(self, item: Item | None = None, *, result: Any = None) -> None:
        """
        Finish the task that was got last and is not finished. Concurrent coroutines should name their item,
        or use L{task}. This ignores tasks that C{task()} got.

        @param item: finish the task with this item instead; the last one if several are equal.
        @param result: the result of the task, for C{result()}; of any type that an item may have.
        @return: fails with ValueError when there is no such task; with L{LeaseLost} when its lease had run
            out; with another error when the server cannot be reached. The task is then finished in the
            background as soon as possible. C{task_done()} may be repeated, and means the same task until the
            next get.
        """
        value, task = to_result(result), self._session.tasks.take(item, self._own)
        task.result = value or task.result
        await self._finish(self._session.task_done(task, self._own))

    def task(self, timeout: float | None = None, delay: RetryAfter = None) -> AsyncTask:
        """
        Get a task for the length of a block: C{async with queue.task() as item:}.

        The task is done at the block's end, or released if the block raises; C{RetryLater} and C{GiveUp} of
        this package decide when it is tried again. With C{async with (task := queue.task()) as item:} the
        block can check C{task.lost} and set C{task.result}.

        @param delay: seconds until a released task may be got again; by default, as the options of the queue
            require: about 1 second after the first failure, 2 after the second, 4, and so on up to 300.
        @raise LeaseLost: at the block's end, when the lease had run out: another worker may have the task.
        """
        return AsyncTask(self, timeout, delay)

    def tasks(self) -> AsyncTasks:
        """
        Return the items until the queue is shut down, for C{async for item in queue.tasks():}.

        Each task is done when the loop continues. If C{break} or an exception leaves the loop, its task is
        released in the background. A lost lease is logged, and the loop continues.
        """
        return AsyncTasks(self)

    def join(self, timeout: float | None = None) -> Deferred[bool]:
        """
        Wait until every task is done, whoever put and got it. Do not wait for buried tasks.

        @param timeout: seconds; C{None} for ever.
        @return: fires with C{True} if every task is done, or C{False} if the time ran out.
        """
        return self._run(self._session.join(timeout))

    def qsize(self) -> Deferred[int]:
        """Return the number of tasks that are ready."""
        return self._ask(self._session.requests.qsize())

    @_deferred
    async def empty(self) -> bool:
        """Return whether no task is ready."""
        return not await self.qsize()

    @_deferred
    async def full(self) -> bool:
        """Return whether C{maxsize} tasks wait."""
        return is_full(await self.stats())

    def close(self) -> Deferred[None]:
        """
        Release the unfinished tasks. The queue may be used again. Its connections belong to C{treq_client}.
        """
        return self._finish(self._session.close())

    def shutdown(self, immediate: bool = False) -> Deferred[None]:
        """Shut the queue down: put fails with C{ShutDown} in every client, and get too once it is empty."""
        return self._ask(self._session.requests.shutdown(immediate))

    def _sort_key(self, item: Any) -> tuple[float | None, str | None]:
        return sort_key(item)

    def _owner(self) -> Owner:
        return self._own

    def _lease(self, timeout: float | None, delay: RetryAfter = None) -> Deferred[LeasedTask]:
        return self._run(self._session.get(timeout, self._own, delay))

    def _release_later(self, block: AsyncTask) -> None:
        """Release the task of a loop that was left, unless the process ends, or was forked in the loop."""
        if getattr(self._reactor, "running", True) and not self._forked:
            leaving = Deferred.fromCoroutine(block.__aexit__(GeneratorExit, GeneratorExit(), None))
            leaving.addErrback(lambda failure: self._warn(failure.getErrorMessage()))

    def _keep(self, task: LeasedTask) -> None:
        """Renew the lease of a task from now on."""
        self._session.tasks.add(task)
        self._start_or_stop_renewing()

    def _start_or_stop_renewing(self) -> None:
        """Renew leases from time to time while there are any."""
        if not len(self._session.tasks):
            if self._renewing.running:
                self._renewing.stop()
            return
        pause = self._session.tasks.lease / 12
        if self._renewing.running and pause < (
            self._renewing.interval or 0.0
        ):  # the queue's leases are shorter now
            self._renewing.stop()
        if not self._renewing.running:
            # The previous loop may still wait for its last renewal, and cannot be started again until then.
            self._renewing = LoopingCall(self._renew)
            self._renewing.clock = self._reactor
            self._renewing.start(pause, now=False)

    async def _renew(self) -> None:
        await self._finish(self._session.renew())

    @_deferred
    async def _finish(self, steps: Steps[T]) -> T:
        """Perform steps that may add or remove a task whose lease is renewed."""
        try:
            return await self._run(steps)
        finally:
            self._start_or_stop_renewing()

    def _ask(self, request: QueueRequest[T]) -> Deferred[T]:
        return self._run(self._session.ask(request))

    @_deferred
    async def _run(self, steps: Steps[T]) -> T:
        """Take the steps of a verb."""
        if self._forked:
            raise RuntimeError("this AsyncQueue belongs to the parent process: make another one after a fork")
        self._used = True
        try:
            step = next(steps)
            while True:
                try:
                    outcome = await self._send(step)
                except BaseException as error:  # a cancellation, for example
                    step = steps.throw(error)
                else:
                    step = steps.send(outcome)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    async def _send(self, step: Step) -> Outcome:
        if isinstance(step, Pause):
            await deferLater(self._reactor, step.seconds)
            return None
        try:
            return await self._request(step).addTimeout(step.timeout, self._reactor)
        except NOT_SENT as error:
            return FailedAttempt(error, sent=False)
        except CUT as error:
            return FailedAttempt(error)

    @_deferred
    async def _request(self, request: QueueRequest[Any]) -> ServerResponse:
        try:
            response = await self._treq.request(
                request.method,
                request.url,
                params=request.query,
                data=request.body,
                headers=request.headers,
            )
            waits = response.headers.getRawHeaders("retry-after", [""])
            return ServerResponse(response.code, await response.content(), waits[0])
        except ConnectingCancelledError:
            raise CancelledError from None
        except WRAPPED as error:
            if any(reason.check(CancelledError) for reason in error.reasons):
                raise CancelledError from None
            raise
