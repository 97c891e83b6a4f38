"""The requests of TQueueSrv about many tasks at once: their bodies, and their responses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec

from twisted_appserver import Call, HTTPError
from twisted_appserver.core.conversions.conversion_error import ConversionError
from twisted_appserver.core.invalid_json import explain_json_error
from twisted_appserver.core.request_data import check_depth, read_body, read_fields
from twisted_appserver.queue.existing_task import ExistingTask
from twisted_appserver.queue.interface import IBroker
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.task_documents import trace_document
from twisted_appserver.tqueue.request_options import (
    QUERY,
    Leased,
    Query,
    put_terms,
    read_renewal,
    without_worker,
)

LONGEST_PROGRESS = 1000  # bytes of JSON; clients have the same limit
MOST_TASKS = 1000  # in one batch; clients have the same limit
ELEMENT_OPTIONS = ("priority", "order", "unique", "unique_for")  # of one task of a batch
RAW_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


class Finished(Leased, frozen=True):
    """A task that is done, with its result, any JSON value."""

    result: msgspec.Raw = msgspec.Raw(b"")


class FinishedTasks(msgspec.Struct, frozen=True):
    """The body of a request to finish tasks."""

    tasks: list[Finished]


FINISHED = msgspec.json.Decoder(FinishedTasks)


def is_batch(call: Call) -> bool:
    """Return whether the body is a JSON array."""
    return call.body.lstrip()[:1] == b"[" and read_fields(b"{}", call.raw_headers)[1]


def read_batch(call: Call, worker: str, query: Query, max_task: int) -> list[QueuedTask]:
    """
    Return the tasks in the array of a put.

    An element is a task; an array of a task, its priority and optionally its order; or an array of a task and
    an object with L{ELEMENT_OPTIONS}.

    @param query: has the priority and the order of the other tasks, and the terms of all.
    @param max_task: bytes.
    @raise HTTPError: 400, 413 or 422 when an element cannot be a task, or there are too few or too many.
    """
    body = call.body
    try:
        values, raws = msgspec.json.decode(body), RAW_ARRAY.decode(body)
        check_depth(body, values, 2)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise HTTPError(400, explain_json_error(body, error)) from None
    if not 1 <= len(raws) <= MOST_TASKS:
        raise HTTPError(422, f"a batch has 1 to {MOST_TASKS} tasks, not {len(raws)}")
    tasks, priority, order, terms = list[QueuedTask](), query.priority, query.order, put_terms(call, query)
    for value, raw in zip(values, raws, strict=True):
        if type(value) is dict and "worker" not in value and len(raw) <= max_task:
            tasks.append(QueuedTask(0, bytes(raw), priority, order, terms=terms))
        else:
            tasks.append(_read_element(call, len(tasks), value, raw, worker, query, max_task))
    return tasks


def _read_element(
    call: Call, place: int, value: Any, raw: msgspec.Raw, worker: str, query: Query, max_task: int
) -> QueuedTask:
    """Return the task that an element of a batch describes, in any of its forms."""
    priority, order, terms = query.priority, query.order, put_terms(call, query)
    if type(value) is list and 1 <= len(value) <= 3:
        raw = RAW_ARRAY.decode(raw)[0]
        own, value = _element_options(place, value[1:]), value[0]
        priority, order = own.priority, own.order
        if own.unique:
            query = msgspec.structs.replace(query, unique=own.unique, unique_for=own.unique_for)
            terms = put_terms(call, query)
    if type(value) is not dict:
        raise HTTPError(
            400,
            f"the element at index {place} must be a task (a JSON object), [task, priority, order] "
            "or [task, options]",
        )
    body = without_worker(value, bytes(raw), worker)
    if len(body) > max_task:
        raise HTTPError(413, f"a task is at most {max_task} bytes; the one at index {place} has {len(body)}")
    return QueuedTask(0, body, priority, order, terms=terms)


def _element_options(place: int, given: list[Any]) -> Query:
    """Return the options of an element of a batch: its priority and its order, or an object with options."""
    options = dict(zip(("priority", "order"), given, strict=False))
    if len(given) == 1 and type(given[0]) is dict:
        options = given[0]
        if wrong := sorted(options.keys() - ELEMENT_OPTIONS):
            known = ", ".join(ELEMENT_OPTIONS)
            raise HTTPError(422, f"the task at index {place} has the options {known}, not {wrong[0]}")
    try:
        return QUERY.convert(options, False)  # type: ignore[no-any-return]
    except ConversionError as error:
        raise HTTPError(422, f"the task at index {place}: {error.message('', '')}") from None


def read_finished(call: Call, max_task: int) -> list[Finished]:
    """
    Return the tasks in the body of a request to finish tasks.

    @param max_task: bytes that a result may have.
    @raise HTTPError: 400, 413, 415 or 422 when the body does not list tasks, or a result is too large.
    """
    read_body(call.body or b"{}", "application/json")  # the task is an object of limited depth
    try:
        tasks = FINISHED.decode(call.body or b"{}").tasks
    except msgspec.ValidationError as error:
        raise HTTPError(
            422, f"the body must be like {{'tasks': [{{'task_id': ..., 'result': ...}}]}}: {error}"
        ) from None
    if len(tasks) > MOST_TASKS:
        raise HTTPError(422, f"one request finishes at most {MOST_TASKS} tasks, not {len(tasks)}")
    for task in tasks:
        if len(task.result) > max_task:
            raise HTTPError(413, f"a result is at most {max_task} bytes, not {len(task.result)}")
    return tasks


class BatchRequests:
    """
    Performs requests about many tasks, for L{wire.Wire}.

    @param ask: awaits a result of the broker.
    @param make_id: returns the id of a task, given the name of its queue and its number.
    @param find_number: returns the number of a task, given the name of its queue and its id; 0 for a wrong
        id.
    @param max_task: bytes.
    """

    def __init__(
        self,
        broker: IBroker,
        ask: Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]],
        make_id: Callable[[str, int], str],
        find_number: Callable[[str, str], int],
        max_task: int,
    ) -> None:
        self._broker, self._ask, self._max_task = broker, ask, max_task
        self._id, self._number = make_id, find_number

    async def put(self, call: Call, worker: str, query: Query) -> dict[str, Any]:
        """Add the tasks of the body: all of them or none."""
        tasks = read_batch(call, worker, query, self._max_task)
        found = await self._ask(self._broker.put_many(worker, tasks, query.key, query.timeout, query.delay))
        if isinstance(found, str):
            return {"worker": worker, "task_ids": [], **({"reason": found} if query.detail else {})}
        ids = [self._id(worker, task.number) for task in found]
        return {"worker": worker, "task_ids": ids, **_added_documents(found)}

    async def get(self, worker: str, query: Query) -> dict[str, Any]:
        """
        Lease up to C{n} tasks.

        @return: the document, without the length of the lease.
        @raise HTTPError: 422 when C{n} is wrong.
        """
        count = query.n or 0
        if not 1 <= count <= MOST_TASKS:
            raise HTTPError(422, f"n must be 1 to {MOST_TASKS}, not {count}")
        found = await self._ask(
            self._broker.get_many(worker, count, query.lease, query.key, query.timeout, query.by)
        )
        if isinstance(found, str):
            return {"worker": worker, "tasks": [], **({"reason": found} if query.detail else {})}
        tasks = [
            {
                "task_id": self._id(worker, task.number),
                "task": msgspec.Raw(task.body),
                **({"delivery": task.deliveries} if query.detail else {}),
                **trace_document(task),
            }
            for task in found
        ]
        return {"worker": worker, "tasks": tasks}

    async def done(self, call: Call, worker: str) -> dict[str, Any]:
        """Finish the tasks of the body. Return the tasks that were not leased."""
        tasks = read_finished(call, self._max_task)
        finished = [(self._number(worker, task.task_id), task.delivery, bytes(task.result)) for task in tasks]
        return _lost(worker, tasks, await self._ask(self._broker.done_many(worker, finished)))

    async def renew(self, call: Call, worker: str, query: Query) -> dict[str, Any]:
        """Renew the leases of many tasks. Return the tasks that are no longer leased."""
        tasks = read_renewal(call)
        numbers = [(self._number(worker, task.task_id), task.delivery) for task in tasks]
        progress = {
            number: _encode_progress(task.progress)
            for (number, _), task in zip(numbers, tasks, strict=True)
            if task.progress is not None
        }
        kept = await self._ask(self._broker.renew(worker, numbers, query.lease, progress))
        return _lost(worker, tasks, kept)


def _encode_progress(value: Any) -> bytes:
    """
    @raise HTTPError: 422 when a value is too long.
    """
    progress = msgspec.json.encode(value)
    if len(progress) > LONGEST_PROGRESS:
        raise HTTPError(422, f"progress is at most {LONGEST_PROGRESS} bytes, not {len(progress)}")
    return progress


def _added_documents(found: Sequence[QueuedTask]) -> dict[str, Any]:
    """Return which tasks of a batch have not been added, and why; nothing if all have."""
    existing = [place for place, task in enumerate(found) if isinstance(task, ExistingTask)]
    document: dict[str, Any] = {"existing": existing} if existing else {}
    is_repeated = any(not task.body for task in found if not isinstance(task, ExistingTask))
    return document | {"repeated": True} if is_repeated else document


def _lost(worker: str, tasks: Sequence[Leased], kept: Sequence[bool]) -> dict[str, Any]:
    lost = [
        {"task_id": task.task_id, "delivery": task.delivery}
        for task, is_kept in zip(tasks, kept, strict=True)
        if not is_kept
    ]
    return {"worker": worker, "lost": lost}
