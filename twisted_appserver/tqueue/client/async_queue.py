"""AsyncQueue: the verbs of L{tqueue.client.queue.Queue} as Deferreds, over treq."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from functools import wraps
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

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

from twisted_appserver.tqueue.client.forks import watch
from twisted_appserver.tqueue.client.items import ItemError, from_task, sort_key, to_task
from twisted_appserver.tqueue.client.queue import Empty, Full, ShutDown
from twisted_appserver.tqueue.client.receipts import BLOCK, Held, LeaseLost, Owner, Receipts, shares
from twisted_appserver.tqueue.client.requests import (
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
    read_address,
    retry_after,
)

T = TypeVar("T")
Method = Callable[..., Coroutine[Any, Any, T]]

__all__ = ["AsyncQueue", "AsyncTask", "Empty", "Full", "LeaseLost", "ServerError", "ShutDown"]

NOT_SENT = (ConnectError, DNSLookupError, RequestNotSent)  # the request has not left
WRAPPED = (ResponseFailed, RequestTransmissionFailed, RequestGenerationFailed)
CUT = (OSError, ConnectionClosed, TimeoutError, *WRAPPED)  # it may have left


def _deferred(method: Method[T]) -> Callable[..., Deferred[T]]:
    @wraps(method)
    def begin(*args: Any, **keywords: Any) -> Deferred[T]:
        return Deferred.fromCoroutine(method(*args, **keywords))

    return begin


def _refusal(status: int, answer: bytes) -> Exception:
    """The error for an answer that did not change while there was patience."""
    try:
        read(status, answer)
    except ServerError as error:
        return error
    return ServerError(status, "")


class AsyncTask:
    """
    A task for the length of an C{async with} block; see L{AsyncQueue.task}.

    @ivar item: what was got; C{None} before the block.
    """

    def __init__(self, queue: AsyncQueue, timeout: float | None, delay: float | None) -> None:
        self._queue, self._timeout, self._delay = queue, timeout, delay
        self._held: Held | None = None
        self.item: Any = None

    @property
    def lost(self) -> bool:
        """Whether the lease has run out, so that another worker may have got the task."""
        return self._held is not None and self._queue._receipts.lost(self._held)

    async def __aenter__(self) -> Any:
        self._held = held = await self._queue._get(self._timeout, self._delay)
        held.owner, self.item = BLOCK, held.item
        self._queue._hold(held)
        return held.item

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held = self._held
        if held is None or not self._queue._receipts.drop(held):
            return
        if error is None:
            await self._queue._done(held, BLOCK)
            return
        try:
            await self._queue._finish(held, "release", delay_after(error, self._delay, held.delivery))
        except Exception as trouble:  # the block's own error matters more
            self._queue.log.warn("task {id} was not released: {e}", id=held.task_id, e=trouble)
        finally:
            self._queue._beat_if_needed()


class AsyncQueue:
    """
    A queue of a TQueueSrv, for the reactor's thread. Its Deferreds may be cancelled: a get that is
    cancelled gets no task.

    @param url: of the server.
    @param name: of the queue; a new one of its own if C{None}.
    @param reactor: an C{IReactorTime}; the global one if C{None}.
    @param treq_client: a C{treq.client.HTTPClient} or C{treq.testing.StubTreq}; treq itself if C{None}.
    @param lease: seconds after which another worker gets a task that was got here if this process has died.
    @param token: for a server that requires one; the environment variable C{TQUEUE_TOKEN} if C{None}.
    @param patience: seconds for which a request is repeated while the server cannot be reached.
    @ivar patience: the same; may be changed.
    @raise ValueError: when one of these cannot be used.
    @raise RuntimeError: from every method, in a process that was forked after the queue had been used: the
        reactor and the connections are the parent's.
    """

    log = Logger()

    def __init__(
        self,
        url: str = "http://127.0.0.1:8082",
        name: str | None = None,
        reactor: Any = None,
        treq_client: Any = None,
        lease: float = 60.0,
        patience: float = 60.0,
        token: str | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        if not patience >= 0:
            raise ValueError(f"patience must be 0 or more seconds, not {patience!r}")
        self.name, self.patience = checked_name(name), patience
        address = read_address(url, os.environ.get("TQUEUE_TOKEN", "") if token is None else token)
        self._headers = {"content-type": "application/json"}
        if address.authorization:
            self._headers["authorization"] = address.authorization
        self._url = f"{address.url}/{quote(self.name, safe='')}/"
        self._reactor, self._treq = reactor, treq_client or treq
        self._lease = checked_seconds("lease", lease, WEEK)
        self._keys, self._owner = Keys(), Owner()
        self._receipts = Receipts(lease, reactor.seconds)
        self._beat = LoopingCall(self._renew)
        self._used = self._forked = self._failing = False
        watch(self)

    def forked(self) -> None:
        """In a process that was forked: a queue that was used belongs to the parent."""
        self._keys, self._forked = Keys(), self._used

    @_deferred
    async def put(self, item: Any, timeout: float | None = None, priority: float | None = None) -> None:
        """
        @param timeout: seconds to wait for room; C{None} for ever.
        @param priority: the item's own if C{None}, which a queue of that kind sorts by.
        @return: fires when the task is stored; fails with C{Full} or C{ShutDown}.
        """
        body = to_task(item)
        number, order = sort_key(item) if priority is None else (priority, "")
        query = {"key": self._keys.next(), "priority": number, "order": order[:1000]}
        answer = await self._long("put", query, body, timeout)
        if not answer["task_id"]:
            raise Full

    @_deferred
    async def get(self, timeout: float | None = None) -> Any:
        """
        @param timeout: seconds to wait for a task; C{None} for ever.
        @return: fires with an item; fails with C{Empty} or C{ShutDown}, or with L{items.ItemError} when
            another program put what is no item, which is released.
        """
        held = await self._get(timeout)
        self._hold(held)
        return held.item

    @_deferred
    async def task_done(self, item: Any = None) -> None:
        """
        Finish the task that was got last, of those that are not finished. Coroutines that take turns should
        name theirs, or use L{task}. The tasks of C{task()} are not meant.

        @param item: finish this one instead; the last one got if several are equal.
        @return: fails with ValueError when there is none; with L{LeaseLost} when its lease had run out; with
            another error when the server cannot be reached. The task is then finished in the background as
            soon as it can be. C{task_done()} may be repeated, and means the same task until the next get.
        """
        await self._done(self._receipts.take(item, self._owner), self._owner)

    @_deferred
    async def release(self, item: Any = None) -> None:
        """
        Give back the task that C{task_done(item)} would finish.

        @return: fails as that of C{task_done()}; but when the server cannot be reached, the lease runs out.
        """
        held = self._receipts.take(item, self._owner, "release")
        try:
            with self._receipts.finishing(held, self._owner, later=False):
                await self._finish(held, "release")
        finally:
            self._beat_if_needed()

    def task(self, timeout: float | None = None, delay: float | None = None) -> AsyncTask:
        """
        Get a task for the length of a block: C{async with queue.task() as item:}. It is done at the block's
        end, or released if that raises. With C{async with (task := queue.task()) as item:} the block can look
        at C{task.lost}.

        @param delay: seconds until a task that was released may be got again; if C{None}, 1 second after the
            first failure, 2 after the second, 4, and so on up to 300.
        @raise LeaseLost: at the block's end, when the lease had run out: another worker may have the task.
        """
        return AsyncTask(self, timeout, delay)

    def is_lost(self, item: Any = None) -> bool:
        """
        Whether the lease of the task that C{task_done(item)} would finish has run out, so that another worker
        may have got it.

        @raise ValueError: when there is no such task.
        """
        return self._receipts.lost(self._receipts.find(item, self._owner))

    @_deferred
    async def join(self) -> None:
        """
        @return: fires when every task that was ever put is done, by whomever.
        """
        while (await self._ask("join", {"timeout": POLL}))["unfinished"]:
            pass

    @_deferred
    async def qsize(self) -> int:
        """How many tasks wait."""
        return int((await self._ask("qsize"))["qsize"])

    @_deferred
    async def shutdown(self, immediate: bool = False) -> None:
        """Let put fail with C{ShutDown}, everywhere, and get too when the queue is empty."""
        await self._ask("shutdown", {"immediate": int(immediate)})

    async def _get(self, timeout: float | None, delay: float | None = None) -> Held:
        query = {"key": self._keys.next(), "lease": self._lease}
        answer = await self._long("get", query, None, timeout)
        if not answer["task_id"]:
            raise Empty
        until = self._reactor.seconds() + self._lease
        held = Held(answer["task_id"], answer["delivery"], self._owner, until)
        try:
            held.item = from_task(answer["task"])
        except ItemError as error:
            await self._finish(held, "release", delay_after(error, delay, held.delivery))
            raise
        return held

    def _hold(self, held: Held) -> None:
        self._receipts.add(held)
        self._beat_if_needed()

    def _beat_if_needed(self) -> None:
        """Renew leases from time to time as long as there are any."""
        if not len(self._receipts):
            if self._beat.running:
                self._beat.stop()
        elif not self._beat.running:
            self._beat = LoopingCall(self._renew)  # the one before may still renew: it cannot start again
            self._beat.clock = self._reactor
            self._beat.start(self._lease / 12, now=False)

    async def _done(self, held: Held, owner: Owner) -> None:
        """Finish a task; if the server cannot be reached, in the background too."""
        try:
            with self._receipts.finishing(held, owner):
                await self._finish(held, "done")
        finally:
            self._beat_if_needed()

    async def _finish(self, held: Held, verb: str, delay: float = 0.0, once: bool = False) -> None:
        if held.over and not held.gone:
            return
        query = {"delivery": held.delivery, "detail": 1, **({"delay": delay} if verb == "release" else {})}
        retry, limit = self._once() if once else (Retry(lambda: self.patience, self._reactor.seconds), ANSWER)
        with self._receipts.asking(held):
            try:
                answer = await self._ask(f"{verb}/{held.task_id}", query, None, retry, limit)
            except Exception:
                held.sent |= retry.sent
                raise
        self._receipts.settle(held, answer["task_id"], retry.sent, verb)

    async def _renew(self) -> None:
        """Renew the leases that need it, and finish what could not be finished."""
        try:
            for share, body in shares(self._receipts.due()):
                since = self._reactor.seconds()
                answer = await self._ask("renew", {"lease": self._lease}, body, *self._once())
                self._receipts.renewed(share, since, answer["lost"])
            for held in list(self._receipts.undone):
                with self._receipts.finishing(held, BLOCK):
                    await self._finish(held, "done", once=True)
            self._failing = False
        except Exception as error:
            if not self._failing:
                self.log.warn(
                    "leases are not renewed, or a task of {q} is not done: {e}", q=self.name, e=error
                )
            self._failing = True
        self._beat_if_needed()

    def _once(self) -> tuple[Retry, float]:
        """For a request that is made now or later: no patience, and a limit that leaves time for another."""
        return Retry(float, self._reactor.seconds), max(self._lease / 4, 1.0)

    async def _long(
        self, verb: str, query: dict[str, Any], body: bytes | None, timeout: float | None
    ) -> dict[str, Any]:
        """Poll until a request succeeds, or its time is over."""
        if timeout is not None and not timeout >= 0:
            raise ValueError("'timeout' must be a non-negative number")
        end = float("inf") if timeout is None else self._reactor.seconds() + timeout
        while True:
            left = max(0.0, min(POLL, end - self._reactor.seconds()))
            answer = await self._ask(verb, {**query, "timeout": left, "detail": 1}, body)
            if answer.get("reason") == "shutdown":
                raise ShutDown
            if answer["task_id"] or self._reactor.seconds() >= end:
                return answer

    async def _ask(
        self,
        verb: str,
        query: dict[str, Any] | None = None,
        body: bytes | None = None,
        retry: Retry | None = None,
        limit: float = ANSWER,
    ) -> dict[str, Any]:
        """
        Make a request until it is answered. Every request may be repeated: keys make sure of it.

        @param limit: seconds for which an answer may take longer than the server may wait.
        """
        if self._forked:
            raise RuntimeError("this AsyncQueue is of the process that was forked: make another one here")
        self._used = True
        retry = retry or Retry(lambda: self.patience, self._reactor.seconds)
        params = {name: str(value) for name, value in (query or {}).items()}
        seconds = float(params.get("timeout", 0)) + limit
        while True:
            failure: Exception
            sent, after = True, 0.0
            try:
                status, answer, after = await self._answer(verb, params, body).addTimeout(
                    seconds, self._reactor
                )
                if not may_change(status):
                    return read(status, answer)
                failure = _refusal(status, answer)
            except NOT_SENT as caught:
                failure, sent = caught, False
            except CUT as caught:
                failure = caught
            pause = retry.failed(sent, after)
            if pause is None:
                raise failure
            await deferLater(self._reactor, pause)

    @_deferred
    async def _answer(
        self, verb: str, params: dict[str, str], body: bytes | None
    ) -> tuple[int, bytes, float]:
        """
        One attempt. Only a request without an effect is a GET: twisted.web repeats GETs by itself if an idle
        connection turns out to be closed.
        """
        method = "GET" if verb in READING else "POST"
        try:
            response = await self._treq.request(
                method, self._url + verb, params=params, data=body or b"", headers=self._headers
            )
            waits = response.headers.getRawHeaders("retry-after", [""])
            return response.code, await response.content(), retry_after(waits[0])
        except ConnectingCancelledError:
            raise CancelledError from None
        except WRAPPED as error:
            if any(reason.check(CancelledError) for reason in error.reasons):
                raise CancelledError from None
            raise
