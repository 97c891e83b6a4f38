"""The requests of TQueueSrv about many tasks at once: their bodies, and their responses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from twisted_appserver import Call, HTTPError
from twisted_appserver.core.conversions.conversion_error import ConversionError
from twisted_appserver.core.invalid_json import explain_json_error
from twisted_appserver.core.request_data import check_depth, read_fields
from twisted_appserver.queue.interface import IBroker
from twisted_appserver.queue.model import QueuedTask
from twisted_appserver.tqueue.request_options import QUERY, Query, without_worker

MOST_TASKS = 1000  # in one batch; clients have the same limit
RAW_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


def is_batch(call: Call) -> bool:
    """Return whether the body is a JSON array."""
    return call.body.lstrip()[:1] == b"[" and read_fields(b"{}", call.raw_headers)[1]


def read_batch(call: Call, worker: str, query: Query, max_task: int) -> list[QueuedTask]:
    """
    Return the tasks in the array of a put.

    An element is a task, or an array of a task, its priority and its order. The last one may be missing.

    @param query: has the priority and the order of the other tasks.
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
    tasks, priority, order = list[QueuedTask](), query.priority, query.order
    for value, raw in zip(values, raws, strict=True):
        if type(value) is dict and "worker" not in value and len(raw) <= max_task:
            tasks.append(QueuedTask(0, bytes(raw), priority, order))
        else:
            tasks.append(_read_element(len(tasks), value, raw, worker, query, max_task))
    return tasks


def _read_element(
    place: int, value: Any, raw: msgspec.Raw, worker: str, query: Query, max_task: int
) -> QueuedTask:
    """Return the task that an element of a batch describes, if that needs more than a look."""
    if type(value) is list and 1 <= len(value) <= 3:
        raw = RAW_ARRAY.decode(raw)[0]
        options = dict(zip(("priority", "order"), value[1:], strict=False))
        value = value[0]
        try:
            query = QUERY.convert(options, False)
        except ConversionError as error:
            raise HTTPError(422, f"the task at index {place}: {error.message('', '')}") from None
    if type(value) is not dict:
        raise HTTPError(
            400,
            f"the element at index {place} must be a task (a JSON object) or [task, priority, order]",
        )
    body = without_worker(value, bytes(raw), worker)
    if len(body) > max_task:
        raise HTTPError(413, f"a task is at most {max_task} bytes; the one at index {place} has {len(body)}")
    return QueuedTask(0, body, query.priority, query.order)


class BatchRequests:
    """
    Performs requests about many tasks, for L{wire.Wire}.

    @param ask: awaits a result of the broker.
    @param make_id: returns the id of a task, given the name of its queue and its number.
    @param max_task: bytes.
    """

    def __init__(
        self,
        broker: IBroker,
        ask: Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]],
        make_id: Callable[[str, int], str],
        max_task: int,
    ) -> None:
        self._broker, self._ask, self._id, self._max_task = broker, ask, make_id, max_task

    async def put(self, call: Call, worker: str, query: Query) -> dict[str, Any]:
        """Add the tasks of the body: all of them or none."""
        tasks = read_batch(call, worker, query, self._max_task)
        found = await self._ask(self._broker.put_many(worker, tasks, query.key, query.timeout, query.delay))
        if isinstance(found, str):
            return {"worker": worker, "task_ids": [], **({"reason": found} if query.detail else {})}
        ids = [self._id(worker, task.number) for task in found]
        return {"worker": worker, "task_ids": ids, **({} if found[0].body else {"repeated": True})}
