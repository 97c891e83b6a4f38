"""C{queue.Queue} whose tasks live in a TQueueSrv: for threads and processes on any number of hosts.

Needs the standard library only. The classes, methods and exceptions are those of Python 3.13's C{queue}, on
older Pythons too, with the same meaning. The difference: a task is leased to the object that got it, which
renews the lease until C{task_done()}. If its process dies first, another worker gets the task.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Generic, Literal, Unpack

from .addresses import default_url, read_address
from .attempts import FailedAttempt, Outcome, Pause, Step, Steps, T
from .batch_verbs import BatchVerbs
from .checks import checked_lease, checked_name
from .connections import NotSent, Pool
from .errors import Empty, Full, LeaseLost, NoResult, ResultError, ServerError, ServerUnavailable, ShutDown
from .failures import RetryAfter
from .forks import watch
from .items import Item, sort_key, to_result, to_task
from .leases import LeasedTask, Owner
from .puts import put_item
from .requests import Document, QueueRequest
from .session import QueueSession
from .task_block import TaskBlock
from .terms import PutOptions, TaskId, put_options
from .verbs import QueueVerbs, is_full

__all__ = [
    "Empty",
    "Full",
    "LeaseLost",
    "LifoQueue",
    "NoResult",
    "PriorityQueue",
    "Queue",
    "ResultError",
    "ServerError",
    "ServerUnavailable",
    "ShutDown",
    "Task",
]

log = logging.getLogger(__name__)


class Task(TaskBlock["Queue[Item]"], Generic[Item]):
    """A task for the length of a C{with} block; see L{Queue.task}."""

    def __enter__(self) -> Item:
        task = self._queue._lease(self._timeout, self._delay)
        item: Item = self._begin(task)
        self._queue._keep(task)
        return item

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._leased is not None:
            self._queue._finish(
                self._queue._session.leave_block(self._leased, error, self._delay, self.result)
            )


class Queue(QueueVerbs, BatchVerbs, Generic[Item]):
    """
    A queue, first in, first out. C{Queue[int]} is a queue of numbers for type checkers.

    @param maxsize: how many tasks may wait in it; 0 keeps the option of the queue on the server.
    @param url: the URL of the server; the environment variable C{TQUEUE_URL}, or else C{http://127.0.0.1:8082},
        if C{None}.
    @param name: the name of the queue on the server; a new, unique name if C{None}.
    @param lease: seconds after which another worker gets a task of this object if this process has died; the
        option of the queue if C{None}.
    @param ack: C{"auto"} finishes each task when it is got: for programs that never call C{task_done()}.
    @param token: the token of the server; the environment variable C{TQUEUE_TOKEN} if C{None}.
    @param patience: seconds for which a request is repeated while the server cannot be reached.
    @raise ValueError: when one of these cannot be used.
    @raise OSError: from every method, when the server cannot be reached for that long.
    @raise ServerError: from every method, when the server refuses the request.
    """

    _kind = ""  # the option that is set on the server; a new queue is fifo

    def __init__(
        self,
        maxsize: int = 0,
        url: str | None = None,
        name: str | None = None,
        *,
        lease: float | None = None,
        ack: Literal["manual", "auto"] = "manual",
        patience: float = 60.0,
        token: str | None = None,
    ) -> None:
        if ack not in ("manual", "auto"):
            raise ValueError(f"ack must be 'manual' or 'auto', not {ack!r}")
        self.url = default_url() if url is None else url
        self.name = checked_name(name, type(self).__name__.lower())
        self._lease_seconds, self._ack = checked_lease(lease), ack
        self._token = os.environ.get("TQUEUE_TOKEN", "") if token is None else token
        self._address = read_address(self.url, self._token)
        self._pool = Pool(self._address)
        self._options: Document = {"kind": self._kind} if self._kind else {}  # to set on the server
        self._options.update({"maxsize": maxsize} if maxsize else {})
        self._begin(patience)
        watch(self)

    def _begin(self, patience: float) -> None:
        """Make the state that each process needs for itself."""
        self._session = QueueSession(
            self._address, self.name, self._lease_seconds, patience, time.monotonic, _lane, log.warning
        )
        self._requests, self._local, self._lock = self._session.requests, threading.local(), threading.Lock()
        self._renewing: threading.Event | None = None
        self._pause = 0.0  # seconds between renewals

    def forked(self) -> None:
        """In a forked process, begin without tasks: the parent keeps its own."""
        self._begin(self.patience)

    # As in the standard library.

    def put(
        self, item: Item, block: bool = True, timeout: float | None = None, **terms: Unpack[PutOptions]
    ) -> TaskId:
        """
        Add an item. Return the id of its task, for C{result()}.

        @param terms: what applies to this task instead of the options of the queue, and its unique key, see
            L{PutOptions}.
        @raise Full: when there is no room after C{timeout} seconds, or at once if C{block} is false.
        @raise ShutDown: when the queue has been shut down.
        @raise TypeError: when the item cannot be sent, see L{items}, or a keyword is unknown.
        """
        priority, order = self._sort_key(item)
        options, wait = put_options(terms, "put", ("block", "timeout")), timeout if block else 0.0
        steps = put_item(self._session, to_task(item), wait, priority, order, options)
        return self._run(steps)

    def get(self, block: bool = True, timeout: float | None = None) -> Item:
        """
        Remove and return an item.

        @raise Empty: when there is no task after C{timeout} seconds, or at once if C{block} is false.
        @raise ShutDown: when the queue has been shut down and is empty.
        @raise ItemError: when another program put something that is not an item, see L{items}. The task is
            released.
        """
        task = self._lease(timeout if block else 0.0)
        if self._ack == "auto":
            self._finish(self._session.auto_done(task))
        else:
            self._keep(task)
        return task.item  # type: ignore[no-any-return]

    def put_nowait(self, item: Item) -> TaskId:
        """Do C{put(item, block=False)}."""
        return self.put(item, block=False)

    def get_nowait(self) -> Item:
        """Do C{get(block=False)}."""
        return self.get(block=False)

    def task_done(self, item: Item | None = None, *, result: Any = None) -> None:
        """
        Finish the task that this thread got last and has not finished.

        A thread without tasks finishes the oldest task of the other threads. This ignores tasks that
        C{task()} and C{tasks()} got.

        @param item: finish the task with this item instead, whichever thread got it; the last one if several
            are equal.
        @param result: the result of the task, for C{result()}; of any type that an item may have.
        @raise ValueError: when there is no such task.
        @raise LeaseLost: when the lease had run out; another worker may have got the task.
        @raise OSError: when the server cannot be reached. The task is then finished in the background as soon
            as possible. C{task_done()} may be repeated, and means the same task until the thread gets one.
        """
        owner, value = self._owner(), to_result(result)
        task = self._session.tasks.take(item, owner)
        task.result = value or task.result
        self._finish(self._session.task_done(task, owner))

    def join(self, timeout: float | None = None) -> bool:
        """
        Wait until every task is done, whoever put and got it. Do not wait for buried tasks.

        @param timeout: seconds; C{None} for ever.
        @return: whether every task is done.
        """
        return self._run(self._session.join(timeout))

    def qsize(self) -> int:
        """Return the number of tasks that are ready."""
        return self._ask(self._requests.qsize())

    def empty(self) -> bool:
        """Return whether no task is ready."""
        return not self.qsize()

    def full(self) -> bool:
        """Return whether C{maxsize} tasks wait."""
        return is_full(self.stats())

    def shutdown(self, immediate: bool = False) -> None:
        """
        Shut the queue down: put raises C{ShutDown} in every client; so does get, once the queue is empty.

        @param immediate: whether to remove the waiting tasks, so that get raises C{ShutDown} at once.
        """
        self._ask(self._requests.shutdown(immediate))

    @property
    def is_shutdown(self) -> bool:
        """Whether the queue has been shut down."""
        return bool(self.config()["shutdown"])

    @property
    def maxsize(self) -> int:
        """How many tasks may wait; any number unless above 0."""
        return int(self.config()["maxsize"])

    @maxsize.setter
    def maxsize(self, value: int) -> None:
        self.config(maxsize=value)

    @property
    def unfinished_tasks(self) -> int:
        """How many tasks are not done; buried ones are not counted."""
        return int(self.stats()["unfinished"])

    # Beyond the standard library.

    def task(self, block: bool = True, timeout: float | None = None, delay: RetryAfter = None) -> Task[Item]:
        """
        Get a task for the duration of a block: C{with queue.task() as item:}.

        The task is done at the block's end, or released if the block raises; C{RetryLater} and C{GiveUp} of
        this package decide when it is tried again. With C{with (task := queue.task()) as item:} the
        block can check C{task.lost} and set C{task.result}.

        @param delay: seconds until a released task may be got again; by default, as the options of the queue
            require: about 1 second after the first failure, 2 after the second, 4, and so on up to 300.
            C{False} buries a task whose block raises an exception.
        @raise LeaseLost: at the block's end, when the lease had run out: another worker may have the task.
        @raise OSError: at the block's end, when the server cannot be reached. The task is then finished in
            the background as soon as possible.
        """
        return Task(self, timeout if block else 0.0, delay)

    def tasks(self) -> Iterator[Item]:
        """
        Yield item after item until the queue is shut down.

        Each task is done when the loop continues. If C{break} or an exception leaves the loop, its task is
        released. A lost lease is logged, and the loop continues. In a process that is forked in the loop, the
        loop ends.
        """
        process = os.getpid()
        while process == os.getpid():
            try:
                with self.task() as item:
                    yield item
            except LeaseLost as error:
                log.warning("%s", error)
            except ShutDown:
                return

    def close(self) -> None:
        """Release the unfinished tasks, and close the connections. The queue may be used again."""
        try:
            self._run(self._session.close())
        finally:
            self._pool.close()

    def __reduce__(self) -> Any:
        """Pickle the queue for another process, where it begins without tasks."""
        arguments = self.url, self.name, self._lease_seconds, self._ack, self.patience, self._token
        return _same, (type(self), *arguments)

    def _sort_key(self, item: Any) -> tuple[float | None, str | None]:
        """Return the priority of an item and the text that sorts it; C{None} for none."""
        return None, None

    def _owner(self) -> Owner:
        """Return this thread, as the owner of tasks."""
        try:
            return self._local.owner  # type: ignore[no-any-return]
        except AttributeError:
            owner = self._local.owner = Owner()
            return owner

    def _lease(self, timeout: float | None, delay: RetryAfter = None) -> LeasedTask:
        return self._run(self._session.get(timeout, self._owner(), delay))

    def _keep(self, task: LeasedTask) -> None:
        """Renew the lease of a task from now on."""
        self._session.tasks.add(task)
        self._start_renewing()

    def _finish(self, steps: Steps[T]) -> T:
        """Perform steps. Afterwards a thread renews leases, and finishes what the steps could not finish."""
        try:
            return self._run(steps)
        finally:
            if len(self._session.tasks):
                self._start_renewing()

    def _start_renewing(self) -> None:
        """Start the thread that renews leases and finishes tasks, unless it runs."""
        pause = self._session.tasks.lease / 12
        with self._lock:
            if self._renewing is not None and pause < self._pause:  # the queue's leases are shorter now
                self._renewing.set()
                self._renewing = None
            if self._renewing is None:
                self._renewing, self._pause = threading.Event(), pause
                weakref.finalize(self, self._renewing.set).atexit = False
                arguments = (weakref.ref(self), self._renewing, pause)
                threading.Thread(target=_renew, args=arguments, name="tqueue-lease", daemon=True).start()

    def _ask(self, request: QueueRequest[T]) -> T:
        return self._run(self._session.ask(request))

    def _run(self, steps: Steps[T]) -> T:
        """Take the steps of a verb. The first request of all sets the options of the queue."""
        if self._options:
            with self._lock:
                if self._options:
                    self._take(self._session.ask(self._requests.config(self._options)))
                    self._options = {}
        return self._take(steps)

    def _take(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    outcome = self._send(step)
                except BaseException as error:  # an interrupt, for example
                    step = steps.throw(error)
                else:
                    step = steps.send(outcome)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _send(self, step: Step) -> Outcome:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return self._pool.request(step)
        except NotSent as error:
            return FailedAttempt(error.error, sent=False)
        except OSError as error:
            return FailedAttempt(error)


class LifoQueue(Queue[Item]):
    """A last-in, first-out queue."""

    _kind = "lifo"


class PriorityQueue(Queue[Item]):
    """A queue whose lowest item comes first; see L{tqueue.client.items.sort_key}."""

    _kind = "priority"

    def _sort_key(self, item: Any) -> tuple[float | None, str | None]:
        return sort_key(item)


def _same(
    kind: type[Queue[Any]], url: str, name: str, lease: float | None, ack: Any, patience: float, token: str
) -> Queue[Any]:
    return kind(0, url, name, lease=lease, ack=ack, patience=patience, token=token)


def _lane() -> str:
    """Return the lane of this thread's idempotency keys: its requests follow one another."""
    return f"{threading.get_ident():x}"


def _renew(reference: weakref.ref[Queue[Any]], stop: threading.Event, pause: float) -> None:
    """Renew the leases of a queue while the object exists. Runs in a thread."""
    while not stop.wait(pause):
        queue = reference()
        if queue is None or queue._renewing is not stop:
            return
        queue._run(queue._session.renew())
        del queue
