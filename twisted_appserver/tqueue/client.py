"""C{queue.Queue} whose tasks live in a TQueueSrv: for threads and processes on any number of hosts.

Needs the standard library only, with L{items} and L{connections} beside it. The classes, methods and
exceptions are those of Python 3.13's C{queue}, on older Pythons too, and mean the same. What is different
in the nature of things: a task that was got is leased to this object, which keeps the lease alive until
C{task_done()}. If this process dies first, somebody else gets the task.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import queue as standard
import random
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from queue import Empty, Full
from typing import Any, Literal
from urllib.parse import quote, urlencode
from uuid import uuid4

from .connections import Pool
from .items import ItemError, from_task, sort_key, to_task

__all__ = ["Empty", "Full", "LifoQueue", "PriorityQueue", "Queue", "ServerError", "ShutDown"]

log = logging.getLogger(__name__)
POLL = 25.0  # seconds of one long poll
READING = ("qsize", "stats", "peek", "join")  # requests without an effect; all others are sent by POST
ANSWER = 30.0  # seconds that an answer may take longer than that

if hasattr(standard, "ShutDown"):  # Python 3.13
    ShutDown = standard.ShutDown
else:

    class ShutDown(Exception):  # type: ignore[no-redef]
        """Raised when put or get is called on a queue that was shut down."""


class ServerError(Exception):
    """
    Raised when the server refuses a request.

    @ivar status: the HTTP status code.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status


class _Held:
    """A task that was got and is not done: the receipt for it."""

    __slots__ = ("delivery", "item", "lost", "renewed", "task_id", "thread")

    def __init__(self, task_id: str, delivery: int, item: Any) -> None:
        self.task_id, self.delivery, self.item = task_id, delivery, item
        self.thread, self.renewed, self.lost = threading.get_ident(), time.monotonic(), False


class Queue:
    """
    A queue, first in, first out.

    @param maxsize: how many tasks may wait in it; 0 for what the queue on the server has.
    @param url: of the server.
    @param name: of the queue there; a new one of its own if C{None}.
    @param lease: seconds after which a task that was got goes to somebody else if this process has died.
    @param ack: C{"auto"} if tasks are done when they are got: for those who never call C{task_done()}.
    @param token: for a server that asks for one; what stands in the environment as C{TQUEUE_TOKEN} if
        C{None}.
    @param patience: seconds for which a server that cannot be reached is tried again.
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
        self.url, self.name = url, _named(name, type(self).__name__.lower())
        self._lease, self._ack, self._patience = lease, ack, patience
        self._secret = os.environ.get("TQUEUE_TOKEN", "") if token is None else token
        self._pool = Pool(url, self._secret)
        self._lock = threading.Lock()
        self._held: list[_Held] = []  # oldest first
        self._numbers = count(1)
        self._token, self._pid = uuid4().hex, os.getpid()
        self._config = {"kind": self._kind} if self._kind else {}
        self._config.update({"maxsize": maxsize} if maxsize else {})  # type: ignore[dict-item]
        self._beating: threading.Event | None = None

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
            self._finish(held, "done")
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
        The oldest task that this thread got is done; if it has none, the oldest of any thread's. Those of
        C{task()} and C{tasks()} are not meant.

        @param item: the one that is done, if it is another one.
        @raise ValueError: when there is none.
        @raise OSError: when the server cannot be reached; the task stays with this thread.
        """
        self._look_for_fork()
        with self._lock:
            held = self._oldest(item)
            if held is None:
                raise ValueError("task_done() called too many times")
            self._held.remove(held)
        try:
            self._finish(held, "done")
        except BaseException:  # it is not known to be done, and can be tried again
            self._hold(held, first=True)
            raise

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

    @contextmanager
    def task(self, block: bool = True, timeout: float | None = None, delay: float = 0.0) -> Iterator[Any]:
        """
        Get a task for the length of a block: it is done at its end, or released if that raises.

        @param delay: seconds until a task that was released may be got again.
        """
        held = self._get(block, timeout, delay)
        held.thread = 0  # not one that task_done() means
        self._hold(held)
        done = False
        try:
            yield held.item
            done = True
        finally:
            self._look_for_fork()
            with self._lock:
                if kept := held in self._held:  # unless close() gave it back
                    self._held.remove(held)
            if kept:
                self._finish(held, "done" if done else "release", delay)

    def tasks(self) -> Iterator[Any]:
        """
        Get task after task until the queue is shut down. Each is done when the next one is asked for; the
        one at which the loop is left, by C{break} or an exception, is released.
        """
        while True:
            try:
                with self.task() as item:
                    yield item
            except ShutDown:
                return

    def close(self) -> None:
        """Release what was got and is not done, and close the connections. It may be used again."""
        self._look_for_fork()
        with self._lock:
            held, self._held = self._held, []
        for each in held:
            self._finish(each, "release")
        self._pool.close()

    def __reduce__(self) -> Any:
        """The same queue for another process, which begins without a task of its own."""
        return _same, (type(self), self.url, self.name, self._lease, self._ack, self._patience, self._secret)

    # How.

    def _place(self, item: Any) -> dict[str, Any]:
        """What a put says about an item's place."""
        return {}

    def _get(self, block: bool, timeout: float | None, delay: float = 0.0) -> _Held:
        query = {"key": self._key(), "lease": self._lease}
        for wait in _waits(block, timeout):
            answer = self._ask("get", query, None, wait)
            if answer["task_id"]:
                held = _Held(answer["task_id"], answer["delivery"], None)
                try:
                    held.item = from_task(answer["task"])
                except ItemError:
                    self._finish(held, "release", delay)
                    raise
                return held
            if answer["reason"] == "shutdown":
                raise ShutDown
        raise Empty

    def _hold(self, held: _Held, first: bool = False) -> None:
        with self._lock:
            self._held.insert(0 if first else len(self._held), held)
            if self._beating is None:
                self._beating = threading.Event()
                weakref.finalize(self, self._beating.set).atexit = False
                arguments = (weakref.ref(self), self._beating, self._lease / 3)
                threading.Thread(target=_beat, args=arguments, name="tqueue-lease", daemon=True).start()

    def _oldest(self, item: Any) -> _Held | None:
        meant = [held for held in self._held if held.thread]
        if item is not None:
            return next((held for held in meant if held.item is item or held.item == item), None)
        here = threading.get_ident()
        return next((held for held in meant if held.thread == here), meant[0] if meant else None)

    def _finish(self, held: _Held, verb: str, delay: float = 0.0) -> None:
        query = {"delivery": held.delivery, **({"delay": delay} if verb == "release" else {})}
        answer = self._ask(f"{verb}/{held.task_id}", query)
        if not answer["task_id"] and not answer["repeated"]:
            log.warning(
                "the lease of task %s of %s had run out before it was %s", held.task_id, self.name, verb
            )

    def _renew(self, held: _Held) -> None:
        """Extend a lease: in the thread that does so, while the task is worked on."""
        try:
            answer = self._ask(f"extend/{held.task_id}", {"delivery": held.delivery, "lease": self._lease})
        except (OSError, ServerError) as error:
            log.warning("the lease of task %s could not be extended: %s", held.task_id, error)
            return
        held.renewed, held.lost = time.monotonic(), not answer["task_id"]

    def _look_for_fork(self) -> None:
        """In a process that was forked, begin without a task: those that were got are the parent's."""
        if self._pid != os.getpid():
            self._token, self._pid = uuid4().hex, os.getpid()
            self._held, self._beating, self._lock = [], None, threading.Lock()

    def _key(self) -> str:
        """Names a request, so that it can be repeated: no two are named alike, in any process."""
        self._look_for_fork()
        return f"{self._token}.{threading.get_ident():x}:{next(self._numbers)}"

    def _ask(
        self, verb: str, query: dict[str, Any] | None = None, body: bytes | None = None, wait: float = 0.0
    ) -> dict[str, Any]:
        """
        Make a request until it is answered. Every request may be repeated: keys make sure of it.

        @return: the answer, with C{repeated}, which tells whether an earlier answer may have been lost.
        """
        if self._config:
            with self._lock:
                if self._config:
                    self._request("config", self._config)
                    self._config = {}
        return self._request(verb, query, body, wait)

    def _request(
        self, verb: str, query: dict[str, Any] | None, body: bytes | None = None, wait: float = 0.0
    ) -> dict[str, Any]:
        if verb.partition("/")[0] in ("put", "get", "join", "done", "release", "extend"):
            query = {**(query or {}), "timeout": wait, "detail": 1}
        if body is None and verb not in READING:
            body = b""
        path = f"/{quote(self.name, safe='')}/{verb}" + (f"?{urlencode(query)}" if query else "")
        failing, pause, error = 0.0, 0.02, OSError()
        while True:
            try:
                status, answer, again = self._pool.request(path, body, wait + ANSWER)
                if status < 500:
                    return {**_read(status, answer), "repeated": again or bool(failing)}
                error = _trouble(status, answer)
            except OSError as caught:
                error = caught
            failing = failing or time.monotonic()
            if time.monotonic() - failing + pause > self._patience:
                raise error
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, 1.0)


class LifoQueue(Queue):
    """A queue, last in, first out."""

    _kind = "lifo"


class PriorityQueue(Queue):
    """A queue whose lowest item comes first; see L{items.sort_key}."""

    _kind = "priority"

    def _place(self, item: Any) -> dict[str, Any]:
        priority, order = sort_key(item)
        return {"priority": priority, "order": order[:1000]}


def _same(
    kind: type[Queue], url: str, name: str, lease: float, ack: Any, patience: float, token: str
) -> Queue:
    return kind(0, url, name, lease=lease, ack=ack, patience=patience, token=token)


def _named(name: str | None, kind: str) -> str:
    """The name of a queue, a new one if there is none. C{/-/} is where the server's own pages are."""
    if name is not None and (name in ("", "-") or "/" in name):
        raise ValueError(f"a queue's name must not be empty, '-' or have a slash, like {name!r}")
    return name or f"{kind}-{uuid4().hex}"


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


def _read(status: int, answer: bytes) -> dict[str, Any]:
    try:
        document = json.loads(answer)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ServerError(status, f"the answer is no JSON object: {answer[:100]!r}")
    if status >= 400:
        raise ServerError(status, str(document.get("detail", "")))
    return document


def _trouble(status: int, answer: bytes) -> OSError:
    """The error for an answer that may be another one a little later."""
    number = errno.ENOSPC if status == 507 else errno.EAGAIN
    return OSError(number, f"the server answers {status}: {answer[:200].decode('utf-8', 'replace')}")


def _beat(reference: weakref.ref[Queue], stop: threading.Event, pause: float) -> None:
    """In a thread: keep alive the leases of a queue, as long as there is that object."""
    while not stop.wait(pause / 4):
        here = reference()
        if here is None or here._beating is not stop:
            return
        due = time.monotonic() - pause
        for held in [each for each in here._held if each.renewed < due and not each.lost]:
            if held in here._held:
                here._renew(held)
        del here
