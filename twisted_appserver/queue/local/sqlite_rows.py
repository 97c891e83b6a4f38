"""
Tasks as rows of a file of SQLite. C{shift} is the difference between the times in the file and the times of
the reactor.

Frequent values are exact numbers, text and bytearrays: for all others, such as bytes, booleans and C{None},
sqlite3 looks for adapters, which takes longer than converting them here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import json

from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.request_keys import Remembered
from twisted_appserver.queue.terms import Terms, decode_terms, encode_terms

FEW = 4  # tasks that are not worth a statement of their own
PRECISION = 1 / 128  # seconds; the beginnings of leases are rounded down, so that many of them are equal


def rows_of_puts(puts: Iterable[tuple[str, QueuedTask]], shift: float) -> list[tuple[Any, ...]]:
    """Return the values of the statement C{put} for new tasks, which are given with their queues."""
    return [
        (
            t.number,
            q,
            bytearray(t.body),
            t.priority,
            t.order,
            t.due and t.due + shift,
            t.put_at + shift,
        )
        for q, t in puts
    ]


def rows_of_keys(keys: Iterable[tuple[str, str, Remembered]], shift: float) -> list[tuple[Any, ...]]:
    """Return the values of the statement C{remember}: the last key of each lane."""
    last = {(queue, lane): (queue, lane, key) for queue, lane, key in keys}
    return [
        (
            queue,
            lane,
            k.key,
            k.number,
            k.until + shift,
            bytearray(k.digest),
            json.encode(k.numbers).decode() if k.numbers else "",
        )
        for queue, lane, k in last.values()
    ]


def to_key(row: Sequence[Any], shift: float) -> tuple[str, str, Remembered]:
    """Make the key of a row of the statement C{keys}."""
    queue, lane, key, number, until, known, numbers = row
    more = json.decode(numbers, type=tuple[int, ...]) if numbers else ()
    return queue, lane, Remembered(key, number, until - shift, known, more)


def rows_of_terms(terms: Iterable[tuple[int, Terms]], shift: float) -> list[tuple[int, str]]:
    """Return the values of the statement C{set_terms}."""
    return [(number, encode_terms(each.shifted(shift))) for number, each in terms]


def group_updates(
    updates: Iterable[tuple[Any, ...]], shift: float
) -> tuple[list[tuple[Any, ...]], list[tuple[tuple[Any, ...], list[tuple[int]]]]]:
    """
    Return the rows of the statement C{update}, and the values and rows of C{update_alike} for tasks that get
    equal values, because they were leased together.

    @param updates: as L{Change.updates} has them. The last update of each task is valid.
    """
    last = {update[-1]: update for update in updates}
    alike: dict[tuple[Any, ...], list[tuple[int]]] = {}
    for due, span, deliveries, holder, buried, began, by, number in last.values():
        start = began and (began + shift) // PRECISION * PRECISION
        values = (due and due + shift, span, deliveries, holder, int(buried), start, by)
        alike.setdefault(values, []).append((number,))
    few = FEW if len(alike) > 1 else 1
    groups = [(values, numbers) for values, numbers in alike.items() if len(numbers) >= few]
    single = [
        (*values, *number) for values, numbers in alike.items() if len(numbers) < few for number in numbers
    ]
    return single, groups


def to_task(row: Sequence[Any], shift: float, now: float) -> QueuedTask:
    """
    Make a task of a row of the statement C{tasks}, without the queue.

    If the row was written later than C{now}, the clock was set back since then. Its times are moved by the
    same amount, so that a delay does not become longer.
    """
    number, body, priority, order, due, span, deliveries, holder, *rest = row
    buried, began, by, attempts, terms, put_at = rest
    shift += max(0.0, began - shift - now, put_at - shift - now)
    # Zeros and empty texts are constants here, because values from SQLite would need memory for each task.
    task = QueuedTask(
        number, body, priority or 0.0, order or "", due - shift if due else 0.0, 0.0, deliveries
    )
    task.holder, task.buried, task.span, task.attempts = holder or "", bool(buried), span or 0.0, attempts
    task.began, task.by = began - shift if began else 0.0, by or ""
    task.put_at = put_at - shift if put_at else 0.0
    if terms is not None:
        task.terms = decode_terms(terms).shifted(-shift)
    return task
