"""What a client does with many tasks at once, step by step. Does no I/O; needs the standard library only."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

from .attempts import Patience, Steps, poll, repeat
from .errors import LeaseLost
from .items import ItemError, to_result, to_task
from .leases import BLOCK, LeasedTask, Owner
from .requests import LONGEST_ORDER, Document
from .session import QueueSession
from .terms import TaskId, unique_keys

T = TypeVar("T")
MOST_TASKS = 1000  # in one batch; the server has the same limit
Unique = tuple[Iterable[str | None] | None, float | None]
SortKey = Callable[[Any], tuple[float | None, str | None]]


def put_many(
    session: QueueSession,
    items: Iterable[Any],
    sort_key: SortKey,
    timeout: float | None,
    terms: Document,
    unique: Unique,
) -> Steps[list[TaskId]]:
    """
    Add many items: all or none. Return the ids of their tasks.

    @param sort_key: returns the priority of an item and the text that sorts it; C{None} for none.
    @param unique: the unique keys of the items, or C{None}; and for how many seconds they stay taken.
    """
    items = list(several(items, "put_many"))
    keys = unique_keys(*unique, len(items))
    elements = [
        _element(to_task(item), *sort_key(item), keys[place] if keys else {})
        for place, item in enumerate(items)
    ]
    return (yield from _put(session, elements, timeout, terms))


def several(items: Iterable[T], verb: str) -> Iterable[T]:
    """
    Return the items that were given as a list.

    @raise TypeError: when a single item was given, because its parts would be put as items.
    """
    if isinstance(items, dict | str | bytes | bytearray):
        raise TypeError(f"{verb}() takes a list of items, not one {type(items).__name__}: put it into a list")
    return items


def put_tasks(
    session: QueueSession,
    tasks: Iterable[Document],
    timeout: float | None,
    terms: Document,
    unique: Unique,
) -> Steps[list[TaskId]]:
    """Add many tasks by their fields, as L{put_many}."""
    elements = [
        json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()
        for fields in several(tasks, "put_tasks")
    ]
    if keys := unique_keys(*unique, len(elements)):
        elements = [_element(task, None, None, own) for task, own in zip(elements, keys, strict=True)]
    return (yield from _put(session, elements, timeout, terms))


def _put(
    session: QueueSession,
    elements: Sequence[bytes],
    timeout: float | None,
    terms: Document,
) -> Steps[list[TaskId]]:
    if len(elements) > MOST_TASKS:
        raise ValueError(f"a batch has at most {MOST_TASKS} items, not {len(elements)}: put several batches")
    if not elements:
        return []
    body, key = b"[%b]" % b",".join(elements), session.key()

    def request(wait: float) -> Steps[list[TaskId]]:
        return session.ask(session.requests.put_many(body, key, wait, terms))

    return (yield from poll(request, timeout, session.clock))


def get_tasks(
    session: QueueSession, n: int, timeout: float | None, lease: float | None
) -> Steps[list[Document]]:
    """Lease up to C{n} tasks, without renewing their leases. Return their ids, deliveries and fields."""
    document, _ = yield from _get(session, _checked(n), timeout, lease)
    return list(document["tasks"])


def _checked(n: int) -> int:
    if not 1 <= n <= MOST_TASKS:
        raise ValueError(f"a batch has 1 to {MOST_TASKS} tasks, not {n}")
    return n


def _get(
    session: QueueSession, n: int, timeout: float | None, lease: float | None
) -> Steps[tuple[Document, float]]:
    key = session.key()

    def request(wait: float) -> Steps[tuple[Document, float]]:
        return session.ask_since(session.requests.get_many(n, key, wait, lease, session.by))

    return (yield from poll(request, timeout, session.clock))


def get_many(
    session: QueueSession, n: int, timeout: float | None, owner: Owner, auto: bool
) -> Steps[list[Any]]:
    """
    Lease up to C{n} tasks. Return their items.

    @param auto: whether to finish them at once.
    """
    tasks = yield from _lease(session, _checked(n), timeout, owner)
    if auto:
        session.tasks.take_many(None, owner)
        try:
            yield from finish_many(session, tasks, BLOCK)
        except LeaseLost as error:
            session.warn(str(error))
        except OSError:  # they are done in the background
            session.warn("tasks could not be finished yet: the server cannot be reached")
    return [task.item for task in tasks]


def _lease(session: QueueSession, n: int, timeout: float | None, owner: Owner) -> Steps[list[LeasedTask]]:
    """
    Lease up to C{n} tasks for an owner, and renew their leases from now on.

    @raise ItemError: when none of the tasks can be converted to an item. Such tasks are released.
    """
    found, wrong = list[LeasedTask](), None
    document, since = yield from _get(session, n, timeout, session.lease)
    session.note_lease(document)
    for each in document["tasks"]:
        try:
            task = yield from session.to_item(each, owner, since, None)
        except ItemError as error:
            wrong = error
            session.warn(str(error))
        else:
            session.tasks.add(task)
            found.append(task)
    if wrong is not None and not found:
        raise wrong
    return found


def done_many(
    session: QueueSession, items: Iterable[Any] | None, results: Iterable[Any] | None, owner: Owner
) -> Steps[None]:
    """Finish the tasks with these items, or all tasks of the owner if C{None}, with results."""
    items = None if items is None else list(several(items, "task_done_many"))
    given = None if results is None else [to_result(result) for result in results]
    if given is not None and (items is None or len(given) != len(items)):
        raise ValueError("task_done_many() needs one result for each item")
    tasks = session.tasks.take_many(items, owner)
    for task, result in zip(tasks, given or (), strict=given is not None):
        task.result = result
    yield from finish_many(session, tasks, owner)


def finish_many(session: QueueSession, tasks: Sequence[LeasedTask], owner: Owner) -> Steps[None]:
    """
    Finish tasks. If the server cannot be reached, they are also finished in the background.

    @raise LeaseLost: when some were no longer leased. The others are finished.
    """
    lost = 0
    for start in range(0, len(tasks), MOST_TASKS):
        lost += yield from _finish_batch(session, tasks[start : start + MOST_TASKS], owner)
    if lost:
        raise LeaseLost(f"the leases of {lost} of {len(tasks)} tasks had run out before they were done")


def _finish_batch(session: QueueSession, tasks: Sequence[LeasedTask], owner: Owner) -> Steps[int]:
    """Finish tasks with one request. Return how many were no longer leased."""
    leased, retry, gone = session.tasks, Patience(lambda: session.patience, session.clock), 0
    request = session.requests.done_many([(task.task_id, task.delivery, task.result) for task in tasks])
    with ExitStack() as stack:
        for task in tasks:
            stack.enter_context(leased.finishing(task, owner))
            stack.enter_context(leased.requesting(task))
        try:
            lost = set((yield from repeat(request, retry)))
        except Exception:
            for task in tasks:
                task.sent |= retry.sent
            raise
    for task in tasks:
        found = "" if (task.task_id, task.delivery) in lost else task.task_id
        try:
            leased.settle(task, found, retry.sent, "done")
        except LeaseLost:
            gone += 1
    return gone


def _element(task: bytes, priority: float | None, order: str | None, options: Document) -> bytes:
    """Return an element of the array that adds many tasks. C{options}: the options for its unique key."""
    number: float | str | None = priority
    if priority is not None and abs(priority) == math.inf:
        number = str(priority)
    order = (order or "")[:LONGEST_ORDER]
    if options:
        own = {name: str(value) if value == math.inf else value for name, value in options.items()}
        if priority is not None:
            own |= {"priority": number, "order": order}
        return b"[%b,%b]" % (task, json.dumps(own).encode())
    return task if priority is None else b"[%b,%b]" % (task, json.dumps([number, order])[1:-1].encode())
