"""Performs done, put and get: all such requests of a queue in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted_appserver.queue.interface import SHUTDOWN
from twisted_appserver.queue.postgresql.heartbeat import MAX_SILENCE
from twisted_appserver.queue.postgresql.locked_queue import LockedQueue, repeated_put, to_leased_task, to_task
from twisted_appserver.queue.postgresql.outbox import Outbox
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.request_keys import digest, lane
from twisted_appserver.queue.terms import encode_terms


class FrequentRequests:
    """
    The done, put and get requests of one queue.

    This also ends the leases and delays that are due, even if there is no request.
    """

    def __init__(
        self, queue: LockedQueue, done: Sequence[Request], put: Sequence[Request], get: Sequence[Request]
    ) -> None:
        self._queue, self._done, self._get = queue, done, get
        self._put, self._repeats = split_repeats(put)

    def perform(self, outbox: Outbox, server: str, transaction_number: int = 0) -> None:
        """
        Perform the requests, and notify the other servers.

        @param outbox: its tasks for this queue are moved first.
        @param server: identifies this server to the others.
        @param transaction_number: if not 0, record the transaction in the database under this number.
        """
        bounds = self._queue.bounds
        rows = outbox.perform(
            self._queue, server=server, transaction_number=transaction_number,
            lowest_number=bounds.lowest_number, lowest_waiting=bounds.lowest_waiting,
            last_return=bounds.last_return, front=bounds.front, no_expiry_before=bounds.no_expiry_before,
            max_silence=MAX_SILENCE, **self._arguments(),
        )  # fmt: skip
        finished, numbers = dict[int, QueuedTask](), list[int]()
        for what, place, number, *task in rows:
            if what in ("get", "repeated_get"):
                self._get[place - 1].found_again = what == "repeated_get"
                self._get[place - 1].resolve(to_leased_task((number, *task)))
            elif what == "put":
                numbers.append(number)
            elif what == "done":
                finished[number] = to_task((number, *task))
            else:
                self._read_other_row(what, place, number, task)
        self._resolve_puts(numbers)
        self._resolve_dones(finished)

    def _arguments(self) -> dict[str, Any]:
        put, get, done = self._put, self._get, self._done
        keys = empty_if_unset([request.key for request in put])
        return {
            "done_numbers": [request.number for request in done],
            "done_deliveries": empty_if_unset([request.delivery for request in done]),
            "done_results": empty_if_unset([request.body for request in done]),
            "put_bodies": [request.task.body for request in put],
            "put_priorities": empty_if_unset([request.task.priority for request in put]),
            "put_orders": empty_if_unset([request.task.order for request in put]),
            "put_delays": empty_if_unset([request.delay for request in put]),
            "put_keys": keys,
            "put_lanes": list(map(lane, keys)),
            "put_digests": [digest(request.task.body) for request in put] if keys else [],
            "put_terms": stored_terms([request.task for request in put]),
            "get_count": len(get),
            "get_leases": empty_if_unset([request.seconds for request in get]),
            "get_holders": empty_if_unset([request.key for request in get]),
            "get_by": empty_if_unset([request.by for request in get]),
        }

    def _read_other_row(self, what: str, place: int, number: int, task: Sequence[Any]) -> None:
        body, waiters, front, time = task[0], task[2], task[4], task[5]
        queue = self._queue
        if what in ("lowest_number", "lowest_waiting", "last_return"):
            setattr(queue.bounds, what, number)
        elif what == "front":
            queue.bounds.front = front
        elif what == "no_expiry_before":
            queue.bounds.no_expiry_before = time
        elif what == "jumped":
            queue.effects.jumped = True
        elif what == "paced":
            queue.effects.pauses[queue.name] = time
        elif what == "changed":
            queue.changed(waiters)
        elif what == "returned":
            queue.effects.counts[queue.name, "returned"] += number
        elif what == "expired":
            queue.effects.counts[queue.name, "expired"] += number
        elif what == "repeated_put":
            self._put[place - 1].resolve(repeated_put(self._put[place - 1], number, body))
        else:  # shut_down or drained
            for request in self._put if what == "shut_down" else self._get:
                if request.pending:
                    request.resolve(SHUTDOWN)

    def _resolve_puts(self, numbers: Sequence[int]) -> None:
        """
        @param numbers: the numbers of the new tasks, in order; there may be fewer than requests.
        """
        accepted = [request for request in self._put if request.pending]
        for request, number in zip(accepted, numbers, strict=False):
            request.task.number = number
            request.resolve(request.task)
        for request, first in self._repeats:
            if not first.pending:
                result = first.result
                if isinstance(result, QueuedTask):
                    result = repeated_put(request, result.number, digest(first.task.body))
                request.resolve(result)

    def _resolve_dones(self, finished: dict[int, QueuedTask]) -> None:
        """
        @param finished: the tasks that were deleted, by number.
        """
        for request in self._done:
            task = finished.get(request.number)
            fits = task is not None and request.delivery in (0, task.deliveries)
            request.resolve(finished.pop(request.number) if fits else None)


def empty_if_unset(values: list[Any]) -> list[Any]:
    """Return the values, or an empty list if all of them are 0, empty or C{None}."""
    return values if any(values) else []


def stored_terms(tasks: Sequence[QueuedTask]) -> list[str | None]:
    """Return the terms of tasks as they are stored, or an empty list if none has terms."""
    return empty_if_unset([task.terms and encode_terms(task.terms) for task in tasks])


def split_repeats(puts: Sequence[Request]) -> tuple[list[Request], list[tuple[Request, Request]]]:
    """
    Separate puts that repeat another put of the same list.

    @return: the puts with a new key or without a key; and the other puts, each with the put that it repeats.
    """
    by_key, fresh, repeats = dict[str, Request](), list[Request](), list[tuple[Request, Request]]()
    for request in puts:
        first = by_key.setdefault(request.key, request) if request.key else request
        if first is request:
            fresh.append(request)
        else:
            repeats.append((request, first))
    return fresh, repeats
