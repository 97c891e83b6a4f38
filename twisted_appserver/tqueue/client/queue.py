"""C{queue.Queue} whose tasks live in a TQueueSrv: for threads and processes on any number of hosts.

Needs the standard library only, with L{requests}, L{receipts}, L{items}, L{connections} and L{forks} beside
it. The classes, methods and exceptions are those of Python 3.13's C{queue}, on older Pythons too, and mean
the same. The difference: a task that was got is leased to this object, which renews the lease until
C{task_done()}. If this process dies first, another worker gets the task.
"""

from __future__ import annotations

import logging
import os
import queue as standard
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, Full
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote, urlencode

from .connections import NotSent, Pool
from .forks import watch
from .items import ItemError, from_task, sort_key, to_task
from .receipts import BLOCK, Held, LeaseLost, Owner, Receipts, shares
from .requests import (
    ANSWER,
    POLL,
    READING,
    WEEK,
    Keys,
    Retry,
    ServerError,
    checked_name,
    checked_seconds,
    delay_after,
    may_change,
    read,
    trouble,
)

__all__ = [
    "Empty",
    "Full",
    "LeaseLost",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ServerError",
    "ShutDown",
    "Task",
]

log = logging.getLogger(__name__)
DETAILED = frozenset(("put", "get", "join", "done", "release", "extend"))  # requests with a reason
NOTED = 8  # attempts after which a failing request is logged: after two seconds

if hasattr(standard, "ShutDown"):  # Python 3.13
    ShutDown = standard.ShutDown
else:

    class ShutDown(Exception):  # type: ignore[no-redef]
        """Raised when put or get is called on a queue that was shut down."""


class Task:
    """
    A task for the length of a C{with} block; see L{Queue.task}. It may be used for one block at a time.

    @ivar item: what was got; C{None} before the block.
    """

    def __init__(self, queue: Queue, block: bool, timeout: float | None, delay: float | None) -> None:
        self._queue, self._asked, self._delay = queue, (block, timeout, delay), delay
        self._held: Held | None = None
        self.item: Any = None

    @property
    def lost(self) -> bool:
        """
        Whether the lease has run out, so that another worker may have got the task. A function that works for
        long may look at this before it does what must not be done twice.
        """
        return self._held is not None and self._queue._receipts.lost(self._held)

    def __enter__(self) -> Any:
        self._held = held = self._queue._get(*self._asked)
        held.owner, self.item = BLOCK, held.item
        self._queue._hold(held)
        return held.item

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held = self._held
        if held is None or not self._queue._receipts.drop(held):
            return  # close() has released it, or this process was forked in the block
        if error is None:
            self._queue._done(held, BLOCK)
            return
        try:
            self._queue._finish(held, "release", delay_after(error, self._delay, held.delivery))
        except (OSError, ServerError, LeaseLost) as trouble:  # the block's own error matters more
            log.warning("task %s was not released, its lease will run out: %s", held.task_id, trouble)


class Queue:
    """
    A queue, first in, first out.

    @param maxsize: how many tasks may wait in it; 0 for what the queue on the server has.
    @param url: of the server.
    @param name: of the queue there; a new one of its own if C{None}.
    @param lease: seconds after which another worker gets a task that was got here if this process has died.
    @param ack: C{"auto"} if tasks are done when they are got: for those who never call C{task_done()}.
    @param token: for a server that requires one; the environment variable C{TQUEUE_TOKEN} if C{None}.
    @param patience: seconds for which a request is repeated while the server cannot be reached.
    @ivar patience: the same; may be changed.
    @raise ValueError: when one of these cannot be used.
    @raise OSError: from every method, when the server cannot be reached for so long.
    @raise ServerError: from every method, when it refuses.
    """

    _kind = ""  # as the queue has it; a new one is fifo

    def __init__(
        self,
        maxsize: int = 0,
        url: str = "http://127.0.0.1:8082",
        name: str | None = None,
        *,
        lease: float = 60.0,
        ack: Literal["manual", "auto"] = "manual",
        patience: float = 60.0,
        token: str | None = None,
    ) -> None:
        if ack not in ("manual", "auto"):
            raise ValueError(f"ack must be 'manual' or 'auto', not {ack!r}")
        if not patience >= 0:
            raise ValueError(f"patience must be 0 or more seconds, not {patience!r}")
        self.url, self.name = url, checked_name(name, type(self).__name__.lower())
        self._lease, self._ack, self.patience = checked_seconds("lease", lease, WEEK), ack, patience
        self._secret = os.environ.get("TQUEUE_TOKEN", "") if token is None else token
        self._pool = Pool(url, self._secret)
        self._config: dict[str, Any] = {"kind": self._kind} if self._kind else {}
        self._config.update({"maxsize": maxsize} if maxsize else {})
        self._begin()
        watch(self)

    def _begin(self) -> None:
        """What each process has for itself."""
        self._receipts = Receipts(self._lease, time.monotonic)
        self._keys, self._local, self._lock = Keys(), threading.local(), threading.Lock()
        self._beating: threading.Event | None = None
        self._failing = False  # whether renewals fail, which is logged once

    def forked(self) -> None:
        """In a process that was forked, begin without a task: those that were got are the parent's."""
        self._begin()

    # As in the standard library.

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """
        @raise Full: when there is no room within C{timeout} seconds, or now if not C{block}.
        @raise ShutDown: when the queue has been shut down.
        @raise TypeError: when the item cannot travel, see L{items}.
        """
        body, query = to_task(item), {"key": self._key(), **self._place(item)}
        for wait in _waits(block, timeout):
            answer = self._ask("put", query, body, wait)
            if answer["task_id"]:
                return
            if answer["reason"] == "shutdown":
                raise ShutDown
        raise Full

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """
        @raise Empty: when there is no task within C{timeout} seconds, or now if not C{block}.
        @raise ShutDown: when the queue has been shut down and is empty.
        @raise ItemError: when another program put what is no item, see L{items}; the task is released.
        """
        held = self._get(block, timeout)
        if self._ack == "auto":
            held.owner = BLOCK
            with suppress(OSError):  # it is tried again
                self._quietly(self._done, held, BLOCK)
        else:
            self._hold(held)
        return held.item

    def put_nowait(self, item: Any) -> None:
        """C{put(item, block=False)}"""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """C{get(block=False)}"""
        return self.get(block=False)

    def task_done(self, item: Any = None) -> None:
        """
        Finish the task that this thread got last, of those that it has not finished. A thread that has none
        finishes the oldest one of the other threads. The tasks of C{task()} and C{tasks()} are not meant.

        @param item: finish this one instead, whichever thread got it; the last one got if several are equal.
        @raise ValueError: when there is none.
        @raise LeaseLost: when its lease had run out; another worker may have got it.
        @raise OSError: when the server cannot be reached. The task is then finished in the background as soon
            as it can be. C{task_done()} may be repeated, and means the same task until the thread gets one.
        """
        owner = self._owner()
        self._done(self._receipts.take(item, owner), owner)

    def is_lost(self, item: Any = None) -> bool:
        """
        Whether the lease of the task that C{task_done(item)} would finish has run out, so that another worker
        may have got it.

        @raise ValueError: when there is no such task.
        """
        return self._receipts.lost(self._receipts.find(item, self._owner()))

    def join(self) -> None:
        """Wait until every task that was ever put is done, by whomever."""
        while self._ask("join", {}, None, POLL)["unfinished"]:
            pass

    def qsize(self) -> int:
        """How many tasks wait."""
        return int(self._ask("qsize")["qsize"])

    def empty(self) -> bool:
        """Whether none waits."""
        return not self.qsize()

    def full(self) -> bool:
        """Whether as many tasks wait as may."""
        stats = self._ask("stats")
        return bool(0 < stats["maxsize"] <= stats["ready"] + stats["delayed"])

    def shutdown(self, immediate: bool = False) -> None:
        """
        Let put raise C{ShutDown}, everywhere, and get too when the queue is empty.

        @param immediate: whether the tasks that wait are thrown away, so that this is now.
        """
        self._ask("shutdown", {"immediate": 1} if immediate else {})

    @property
    def is_shutdown(self) -> bool:
        """Whether the queue has been shut down."""
        return bool(self._ask("config")["shutdown"])

    @property
    def maxsize(self) -> int:
        """How many tasks may wait; no limit if it is not above 0."""
        return int(self._ask("config")["maxsize"])

    @maxsize.setter
    def maxsize(self, value: int) -> None:
        self._ask("config", {"maxsize": value})

    @property
    def unfinished_tasks(self) -> int:
        """How many tasks were put and are not done."""
        return int(self._ask("stats")["unfinished"])

    # Beyond the standard library.

    def task(self, block: bool = True, timeout: float | None = None, delay: float | None = None) -> Task:
        """
        Get a task for the length of a block: C{with queue.task() as item:}. It is done at the block's end, or
        released if that raises. With C{with (task := queue.task()) as item:} the block can look at
        C{task.lost}.

        @param delay: seconds until a task that was released may be got again; if C{None}, 1 second after the
            first failure, 2 after the second, 4, and so on up to 300.
        @raise LeaseLost: at the block's end, when the lease had run out: another worker may have the task.
        @raise OSError: at the block's end, when the server cannot be reached. The task is then finished in
            the background as soon as it can be.
        """
        return Task(self, block, timeout, delay)

    def tasks(self) -> Iterator[Any]:
        """
        Get task after task until the queue is shut down. Each is done when the next one is asked for; the
        one at which the loop is left, by C{break} or an exception, is released. A lost lease is logged, and
        the loop goes on. In a process that is forked in the loop, the loop ends.
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
        """Release what was got and is not done, and close the connections. It may be used again."""
        try:
            for held in list(self._receipts.undone):
                self._quietly(self._done, held, BLOCK)
            for held in self._receipts.drop_all():
                self._quietly(self._finish, held, "release")
        finally:
            self._pool.close()

    def __reduce__(self) -> Any:
        """The same queue for another process, which begins without a task of its own."""
        return _same, (type(self), self.url, self.name, self._lease, self._ack, self.patience, self._secret)

    # How.

    def _place(self, item: Any) -> dict[str, Any]:
        """What a put says about an item's place."""
        return {}

    def _get(self, block: bool, timeout: float | None, delay: float | None = None) -> Held:
        query = {"key": self._key(), "lease": self._lease}
        for wait in _waits(block, timeout):
            answer = self._ask("get", query, None, wait)
            if answer["task_id"]:
                until = time.monotonic() + self._lease
                held = Held(answer["task_id"], answer["delivery"], self._owner(), until)
                try:
                    held.item = from_task(answer["task"])
                except ItemError as error:
                    self._finish(held, "release", delay_after(error, delay, held.delivery))
                    raise
                return held
            if answer["reason"] == "shutdown":
                raise ShutDown
        raise Empty

    def _owner(self) -> Owner:
        """This thread, as the owner of tasks."""
        try:
            return self._local.owner  # type: ignore[no-any-return]
        except AttributeError:
            owner = self._local.owner = Owner()
            return owner

    def _hold(self, held: Held) -> None:
        self._receipts.add(held)
        self._start_beating()

    def _start_beating(self) -> None:
        with self._lock:
            if self._beating is None:
                self._beating = threading.Event()
                weakref.finalize(self, self._beating.set).atexit = False
                arguments = (weakref.ref(self), self._beating, self._lease / 12)
                threading.Thread(target=_beat, args=arguments, name="tqueue-lease", daemon=True).start()

    def _done(self, held: Held, owner: Owner) -> None:
        """Finish a task; if the server cannot be reached, in the background too."""
        try:
            with self._receipts.finishing(held, owner):
                self._finish(held, "done")
        finally:
            if self._receipts.undone:
                self._start_beating()

    def _quietly(self, finish: Callable[..., None], *arguments: Any) -> None:
        """Finish a task, where nobody can do anything about a lost lease."""
        try:
            finish(*arguments)
        except LeaseLost as error:
            log.warning("%s", error)

    def _finish(self, held: Held, verb: str, delay: float = 0.0, once: bool = False) -> None:
        """
        @param once: whether not to try again now.
        @raise LeaseLost: when the task was not leased any more.
        """
        if held.over and not held.gone:
            return
        query = {"delivery": held.delivery, **({"delay": delay} if verb == "release" else {})}
        retry, limit = self._once() if once else (Retry(lambda: self.patience, time.monotonic), ANSWER)
        with self._receipts.asking(held):
            try:
                answer = self._ask(f"{verb}/{held.task_id}", query, None, 0.0, retry, limit)
            except OSError:
                held.sent |= retry.sent
                raise
        self._receipts.settle(held, answer["task_id"], retry.sent, verb)

    def _once(self) -> tuple[Retry, float]:
        """For a request that is made now or later: no patience, and a limit that leaves time for another."""
        return Retry(float, time.monotonic), max(self._lease / 4, 1.0)

    def _renew(self) -> None:
        """Renew the leases that need it, and finish what could not be finished: in a thread for that."""
        try:
            for share, body in shares(self._receipts.due()):
                since = time.monotonic()
                answer = self._ask("renew", {"lease": self._lease}, body, 0.0, *self._once())
                self._receipts.renewed(share, since, answer["lost"])
            for held in list(self._receipts.undone):
                with self._receipts.finishing(held, BLOCK):
                    self._finish(held, "done", once=True)
            self._failing = False
        except (OSError, ServerError, LeaseLost) as error:
            if not self._failing:
                log.warning("leases are not renewed, or a task of %s is not done: %s", self.name, error)
            self._failing = True

    def _key(self) -> str:
        """Names a request, so that it can be repeated."""
        return self._keys.next(f"{threading.get_ident():x}")

    def _ask(
        self,
        verb: str,
        query: dict[str, Any] | None = None,
        body: bytes | None = None,
        wait: float = 0.0,
        retry: Retry | None = None,
        limit: float = ANSWER,
    ) -> dict[str, Any]:
        """
        Make a request until it is answered. Every request may be repeated: keys make sure of it.

        @param wait: seconds for which the server may wait.
        @param limit: seconds for which an answer may take longer than that.
        @return: the answer, with C{again}: whether an earlier answer may have been lost.
        """
        if self._config:
            with self._lock:
                if self._config:
                    self._request("config", self._config, None, 0.0, None, ANSWER)
                    self._config = {}
        return self._request(verb, query, body, wait, retry, limit)

    def _request(
        self,
        verb: str,
        query: dict[str, Any] | None,
        body: bytes | None,
        wait: float,
        retry: Retry | None,
        limit: float,
    ) -> dict[str, Any]:
        if verb.partition("/")[0] in DETAILED:
            query = {**(query or {}), "timeout": wait, "detail": 1}
        if body is None and verb not in READING:
            body = b""
        path = f"/{quote(self.name, safe='')}/{verb}" + (f"?{urlencode(query)}" if query else "")
        retry = retry or Retry(lambda: self.patience, time.monotonic)
        while True:
            sent, after = True, 0.0
            try:
                answer = self._pool.request(path, body, wait + limit)
                if not may_change(answer.status):
                    retry.sent |= answer.again
                    return {**read(answer.status, answer.body), "again": retry.sent}
                error, after = trouble(answer.status, answer.body), answer.wait
            except NotSent as caught:
                error, sent = caught.error, False
            except OSError as caught:
                error = caught
            pause = retry.failed(sent, after)
            if pause is None:
                raise error
            if retry.attempts == NOTED:
                log.warning("%s of %s is tried again while there is patience: %s", verb, self.name, error)
            time.sleep(pause)


class LifoQueue(Queue):
    """A queue, last in, first out."""

    _kind = "lifo"


class PriorityQueue(Queue):
    """A queue whose lowest item comes first; see L{tqueue.client.items.sort_key}."""

    _kind = "priority"

    def _place(self, item: Any) -> dict[str, Any]:
        priority, order = sort_key(item)
        return {"priority": priority, "order": order[:1000]}


def _same(
    kind: type[Queue], url: str, name: str, lease: float, ack: Any, patience: float, token: str
) -> Queue:
    return kind(0, url, name, lease=lease, ack=ack, patience=patience, token=token)


def _waits(block: bool, timeout: float | None) -> Iterator[float]:
    """How long to wait at the server, time after time."""
    if not block:
        yield 0.0
        return
    if timeout is not None and not timeout >= 0:
        raise ValueError("'timeout' must be a non-negative number")
    end = float("inf") if timeout is None else time.monotonic() + timeout
    yield min(POLL, max(0.0, end - time.monotonic()))
    while (left := end - time.monotonic()) > 0:
        yield min(POLL, left)


def _beat(reference: weakref.ref[Queue], stop: threading.Event, pause: float) -> None:
    """In a thread: keep alive the leases of a queue, as long as there is that object."""
    while not stop.wait(pause):
        here = reference()
        if here is None or here._beating is not stop:
            return
        here._renew()
        del here
