"""
Kicks all buried tasks of a queue that have failed with the same error.

Strategy: the buried tasks are read a page at a time, and kicked one by one. Every store joins the kicks of a
page to few commits.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults

from twisted_appserver.queue.interface import IBroker
from twisted_appserver.queue.paging import START, Place

PAGE = 500  # tasks that are read, and kicked at the same time


async def kick_same_error(broker: IBroker, name: str, error: str, most: int) -> int:
    """
    Make buried tasks ready whose last attempt has failed with an error.

    @param error: the whole error; empty for tasks whose last attempt has none, such as a lost lease.
    @param most: how many tasks are kicked at most, the oldest first.
    @return: how many were kicked.
    """
    kicked, place, is_last = 0, START, False
    while kicked < most and not is_last:
        tasks = await broker.peek(name, PAGE, "buried", place)
        errors = await broker.errors(name, [task.number for task in tasks if task.attempts])
        alike = [task.number for task in tasks if errors.get(task.number, "") == error]
        found = await gatherResults(
            [Deferred.fromCoroutine(broker.kick_task(name, number)) for number in alike[: most - kicked]],
            consumeErrors=True,
        )
        kicked += sum(task is not None for task in found)
        is_last = len(tasks) < PAGE
        if tasks:
            place = Place(0.0, "", tasks[-1].number)
    return kicked
