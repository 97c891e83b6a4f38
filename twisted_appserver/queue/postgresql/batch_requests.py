"""Performs requests about many tasks. Consecutive requests share a statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from typing import Any

from msgspec.structs import replace

from twisted_appserver.queue.existing_task import ExistingTask, remembered_task
from twisted_appserver.queue.interface import SHUTDOWN, BatchError, ReusedError
from twisted_appserver.queue.postgresql.frequent_requests import (
    FrequentRequests,
    empty_if_unset,
)
from twisted_appserver.queue.postgresql.locked_queue import LockedQueue, key_reused, repeated_put
from twisted_appserver.queue.postgresql.outbox import Outbox
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.request_keys import batch_body, digest, lane
from twisted_appserver.queue.terms import NO_TERMS, Terms, encode_terms


def repeated_batch(
    request: Request, numbers: Iterable[int] | None, first_digest: bytes
) -> list[QueuedTask] | ReusedError:
    """Return the result of a batch whose key was used before, see L{locked_queue.repeated_put}."""
    if numbers is None or first_digest != _digest(request):
        return key_reused(request)
    return [remembered_task(number) for number in numbers]


def is_batch(request: Request) -> bool:
    """Return whether a put is performed as a batch: one of many tasks, or of a task with a unique key."""
    if request.tasks is not None:
        return True
    return request.task.terms is not None and request.task.terms.unique != ""


def _shared_terms(terms: Terms | None) -> str | None:
    """Return the common part of the terms of all tasks of a batch, as it is stored."""
    if terms is not None and terms.unique:
        terms = replace(terms, unique="", unique_for=0.0)
    return None if terms is None or terms == NO_TERMS else encode_terms(terms)


def _digest(request: Request) -> bytes:
    if request.tasks is None:
        return digest(request.task.body) if request.key else b""
    return digest(batch_body([task.body for task in request.tasks])) if request.key else b""


class MixedRequests:
    """
    The done, put and get requests of one queue, if at least one of them is about many tasks.

    @param outbox: what is known about the outbox.
    @param server: identifies this server to the others.
    """

    def __init__(self, queue: LockedQueue, outbox: Outbox, server: str) -> None:
        self._queue, self._outbox, self._server = queue, outbox, server

    def perform(self, done: Sequence[Request], put: Sequence[Request], get: Sequence[Request]) -> None:
        """Perform the requests. Requests of one verb are performed in the order in which they are given."""
        FrequentRequests(self._queue, done, (), ()).perform(self._outbox, self._server)
        for are_batches, some in groupby(put, is_batch):
            requests = list(some)
            if are_batches:
                self._put(requests)
            else:
                FrequentRequests(self._queue, (), requests, ()).perform(self._outbox, self._server)
            if any(request.pending and request.may_wait for request in requests):
                break  # later requests wait too
        FrequentRequests(self._queue, (), (), get).perform(self._outbox, self._server)

    def _put(self, requests: Sequence[Request]) -> None:
        batches = [request.tasks or [request.task] for request in requests]
        tasks = list(chain.from_iterable(batches))
        uniques = empty_if_unset([task.terms and task.terms.unique for task in tasks])
        rows = self._queue.execute(
            "put_batches", lowest_number=self._queue.bounds.lowest_number,
            lowest_waiting=self._queue.bounds.lowest_waiting,
            sizes=[len(batch) for batch in batches],
            delays=[request.delay for request in requests],
            keys=[request.key for request in requests],
            lanes=[lane(request.key) for request in requests],
            digests=[_digest(request) for request in requests],
            waits=[request.may_wait for request in requests],
            bodies=[task.body for task in tasks],
            priorities=empty_if_unset([task.priority for task in tasks]),
            orders=empty_if_unset([task.order for task in tasks]),
            terms=empty_if_unset([_shared_terms(batch[0].terms) for batch in batches]), uniques=uniques,
            unique_for=[task.terms.unique_for if task.terms else 0.0 for task in tasks] if uniques else [],
        )  # fmt: skip
        for what, place, numbers, first_digest, existing in rows:
            request = requests[place - 1]
            if what == "put":
                self._resolve(request, batches[place - 1], numbers, existing)
            elif what == "repeated" and request.tasks is None:
                request.resolve(repeated_put(request, numbers[0], first_digest))
            else:
                request.resolve(self._refusal(what, request, numbers, first_digest))

    def _refusal(self, what: str, request: Request, numbers: Sequence[int], first_digest: bytes) -> Any:
        """Return the result of a batch that was not added, given what C{put_batches} has returned for it."""
        if what == "repeated":
            return repeated_batch(request, numbers, first_digest)
        if what == "shut_down":
            return SHUTDOWN
        count = len(request.tasks or [request.task])
        return BatchError(f"a batch of {count} tasks never fits: the maxsize of the queue is {numbers[0]}")

    def _resolve(
        self,
        request: Request,
        tasks: list[QueuedTask],
        numbers: Sequence[int],
        existing: Sequence[int] | None,
    ) -> None:
        """Set the result of a batch. C{existing} has the places, from 1 on, of tasks that were not added."""
        if existing:
            places = set(existing)
            tasks = [ExistingTask(0, b"") if n in places else task for n, task in enumerate(tasks, 1)]
        for task, number in zip(tasks, numbers, strict=True):
            task.number = number
        if not request.delay and len(existing or ()) < len(tasks):
            self._queue.changed("getters")
        request.resolve(tasks if request.tasks is not None else tasks[0])
