"""Performs requests about many tasks: those that follow one another in one statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from typing import Any

from twisted_appserver.queue.interface import SHUTDOWN, BatchError, ReusedError
from twisted_appserver.queue.model import QueuedTask
from twisted_appserver.queue.postgresql.frequent_requests import FrequentRequests, empty_if_unset
from twisted_appserver.queue.postgresql.locked_queue import LockedQueue, key_reused
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.request_keys import batch_body, digest, lane


def repeated_batch(
    request: Request, numbers: Iterable[int] | None, first_digest: bytes
) -> list[QueuedTask] | ReusedError:
    """Return the result of a batch whose key was used before, see L{locked_queue.repeated_put}."""
    if numbers is None or first_digest != _digest(request):
        return key_reused(request)
    return [QueuedTask(number, b"") for number in numbers]


def _digest(request: Request) -> bytes:
    return digest(batch_body([task.body for task in request.tasks])) if request.key else b""


class MixedRequests:
    """
    The done, put and get requests of one queue, if at least one of them is about many tasks.

    @param server: identifies this server to the others.
    """

    def __init__(self, queue: LockedQueue, server: str) -> None:
        self._queue, self._server = queue, server

    def perform(self, done: Sequence[Request], put: Sequence[Request], get: Sequence[Request]) -> None:
        """Perform the requests. Those of one verb are performed in the order in which they are given."""
        FrequentRequests(self._queue, done, (), ()).perform(self._server)
        for is_batch, some in groupby(put, lambda request: request.tasks is not None):
            requests = list(some)
            if is_batch:
                self._put(requests)
            else:
                FrequentRequests(self._queue, (), requests, ()).perform(self._server)
            if any(request.pending and request.may_wait for request in requests):
                break  # those behind them wait too
        FrequentRequests(self._queue, (), (), get).perform(self._server)

    def _put(self, requests: Sequence[Request]) -> None:
        tasks = list(chain.from_iterable(request.tasks for request in requests))
        rows = self._queue.execute(
            "put_batches", lowest_number=self._queue.bounds.lowest_number,
            sizes=[len(request.tasks) for request in requests],
            delays=[request.delay for request in requests],
            keys=[request.key for request in requests],
            lanes=[lane(request.key) for request in requests],
            digests=[_digest(request) for request in requests],
            waits=[request.may_wait for request in requests],
            bodies=[task.body for task in tasks],
            priorities=empty_if_unset([task.priority for task in tasks]),
            orders=empty_if_unset([task.order for task in tasks]),
        )  # fmt: skip
        for what, place, numbers, first_digest in rows:
            request = requests[place - 1]
            request.resolve(self._result(what, request, numbers, first_digest))

    def _result(self, what: str, request: Request, numbers: Sequence[int], first_digest: bytes) -> Any:
        """Return the result of a batch, given what the SQL function C{put_batches} has returned for it."""
        if what == "repeated":
            return repeated_batch(request, numbers, first_digest)
        if what == "shut_down":
            return SHUTDOWN
        if what == "too_large":
            return BatchError(
                f"a batch of {len(request.tasks)} tasks never fits: the maxsize of the queue is {numbers[0]}"
            )
        for task, number in zip(request.tasks, numbers, strict=True):
            task.number = number
        if not request.delay:
            self._queue.changed("getters")
        return request.tasks
