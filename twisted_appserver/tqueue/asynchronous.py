"""AsyncQueue: the verbs of L{client.Queue} as Deferreds, over treq."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from functools import wraps
from itertools import count
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit
from uuid import uuid4

import treq
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.web.client import ResponseFailed

from twisted_appserver.tqueue.client import (
    ANSWER,
    POLL,
    READING,
    Empty,
    Full,
    ServerError,
    ShutDown,
    _named,
    _read,
)
from twisted_appserver.tqueue.connections import authorization
from twisted_appserver.tqueue.items import ItemError, from_task, sort_key, to_task

T = TypeVar("T")
Method = Callable[..., Coroutine[Any, Any, T]]

__all__ = ["AsyncQueue", "Empty", "Full", "ServerError", "ShutDown"]


def _deferred(method: Method[T]) -> Callable[..., Deferred[T]]:
    @wraps(method)
    def begin(*args: Any, **keywords: Any) -> Deferred[T]:
        return Deferred.fromCoroutine(method(*args, **keywords))

    return begin


class AsyncQueue:
    """
    A queue of a TQueueSrv, for the reactor's thread. Its Deferreds may be cancelled: a get that is
    cancelled gets no task.

    @param url: of the server.
    @param name: of the queue; a new one of its own if C{None}.
    @param reactor: an C{IReactorTime}; the global one if C{None}.
    @param treq_client: a C{treq.client.HTTPClient} or C{treq.testing.StubTreq}; treq itself if C{None}.
    @param lease: seconds after which a task that was got goes to somebody else if this process has died.
    @param token: for a server that asks for one; what stands in the environment as C{TQUEUE_TOKEN} if
        C{None}.
    @param patience: seconds for which a server that cannot be reached is tried again.
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
        self.name = _named(name, "queue")
        secret = os.environ.get("TQUEUE_TOKEN", "") if token is None else token
        parts = urlsplit(url)
        proof = authorization(parts, secret)
        self._headers = {"content-type": "application/json", **({"authorization": proof} if proof else {})}
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._url = f"{url.rstrip('/')}/{quote(self.name, safe='')}/"
        self._reactor, self._treq = reactor, treq_client or treq
        self._lease, self._patience = lease, patience
        self._token, self._numbers = uuid4().hex, count(1)
        self._held: list[tuple[str, int]] = []  # ids and deliveries, oldest first
        self._beat = LoopingCall(self._renew)

    @_deferred
    async def put(self, item: Any, timeout: float | None = None, priority: float | None = None) -> None:
        """
        @param timeout: seconds to wait for room; C{None} for ever.
        @param priority: the item's own if C{None}, which a queue of that kind sorts by.
        @return: fires when the task is stored; fails with C{Full} or C{ShutDown}.
        """
        body = to_task(item)
        number, order = sort_key(item) if priority is None else (priority, "")
        query = {"key": self._key(), "priority": number, "order": order[:1000]}
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
        query = {"key": self._key(), "lease": self._lease}
        answer = await self._long("get", query, None, timeout)
        if not answer["task_id"]:
            raise Empty
        try:
            item = from_task(answer["task"])
        except ItemError:
            await self._ask(f"release/{answer['task_id']}", {"delivery": answer["delivery"]})
            raise
        self._hold(len(self._held), (answer["task_id"], answer["delivery"]))
        return item

    @_deferred
    async def task_done(self) -> None:
        """
        The oldest task that was got and is not done is done.

        @return: fails with ValueError when there is none.
        """
        if not self._held:
            raise ValueError("task_done() called too many times")
        await self._finish("done")

    @_deferred
    async def release(self) -> None:
        """Give back the oldest task that was got and is not done."""
        if not self._held:
            raise ValueError("release() called too many times")
        await self._finish("release")

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

    def _key(self) -> str:
        return f"{self._token}.{next(self._numbers)}"

    def _hold(self, place: int, held: tuple[str, int]) -> None:
        self._held.insert(place, held)
        if not self._beat.running:
            self._beat = LoopingCall(self._renew)  # that of before may still renew: it cannot start again
            self._beat.clock = self._reactor
            self._beat.start(self._lease / 3, now=False)

    async def _finish(self, verb: str) -> None:
        """Of the oldest that is held; where this fails, it stays so."""
        held = self._held.pop(0)
        if not self._held and self._beat.running:
            self._beat.stop()
        try:
            await self._ask(f"{verb}/{held[0]}", {"delivery": held[1]})
        except Exception:
            self._hold(0, held)
            raise

    async def _renew(self) -> None:
        for task_id, delivery in list(self._held):
            try:
                await self._ask(f"extend/{task_id}", {"delivery": delivery, "lease": self._lease})
            except Exception as error:
                self.log.warn("the lease of {id} could not be extended: {e}", id=task_id, e=error)

    async def _long(
        self, verb: str, query: dict[str, Any], body: bytes | None, timeout: float | None
    ) -> dict[str, Any]:
        """Poll until a request succeeds, or its time is over."""
        if timeout != timeout:
            raise ValueError("'timeout' must be a number")
        end = float("inf") if timeout is None else self._reactor.seconds() + timeout
        while True:
            left = max(0.0, min(POLL, end - self._reactor.seconds()))
            answer = await self._ask(verb, {**query, "timeout": left, "detail": 1}, body)
            if answer.get("reason") == "shutdown":
                raise ShutDown
            if answer["task_id"] or self._reactor.seconds() >= end:
                return answer

    async def _ask(
        self, verb: str, query: dict[str, Any] | None = None, body: bytes | None = None
    ) -> dict[str, Any]:
        """Make a request until it is answered. Every request may be repeated: keys make sure of it."""
        end, pause = self._reactor.seconds() + self._patience, 0.05
        method = "GET" if verb in READING else "POST"
        params = {name: str(value) for name, value in (query or {}).items()}
        seconds = float(params.get("timeout", 0)) + ANSWER
        while True:
            try:
                answering = self._answer(method, verb, params, body)
                status, answer = await answering.addTimeout(seconds, self._reactor)
                if status < 500 or self._reactor.seconds() + pause > end:
                    return _read(status, answer)
            except (ConnectError, ConnectionClosed, ResponseFailed, TimeoutError):
                if self._reactor.seconds() + pause > end:
                    raise
            await deferLater(self._reactor, pause)
            pause = min(2 * pause, 1.0)

    @_deferred
    async def _answer(
        self, method: str, verb: str, params: dict[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        try:
            response = await self._treq.request(
                method, self._url + verb, params=params, data=body, headers=self._headers
            )
            return response.code, await response.content()
        except ConnectingCancelledError:
            raise CancelledError from None
        except ResponseFailed as error:
            if any(reason.check(CancelledError) for reason in error.reasons):
                raise CancelledError from None
            raise
