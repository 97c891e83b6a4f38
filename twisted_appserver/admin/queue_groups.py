"""How many tasks the groups of a queue have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted_appserver.admin.store_errors import ask
from twisted_appserver.queue.interface import IBroker
from twisted_appserver.queue.queued_task import QueuedTask

STATES = ("leased", "ready", "delayed", "held")
MOST_TASKS = 1000  # of each state that are counted
MOST_GROUPS = 100  # that are returned


async def count_groups(
    broker: IBroker, queue: str, is_visible: Callable[[QueuedTask, str], bool]
) -> dict[str, Any]:
    """
    Return the groups of a queue, with the number of their tasks in each state. Those with the most tasks come
    first.

    Only the first tasks of each state are counted. C{complete} is false if there are more tasks or groups.

    @param is_visible: whether a task in a state is counted.
    """
    groups: dict[str, Counter[str]] = {}
    is_complete = True
    for state in STATES:
        tasks = await ask(broker.peek(queue, MOST_TASKS, state))
        is_complete &= len(tasks) < MOST_TASKS
        for task in tasks:
            if task.terms is not None and task.terms.group and is_visible(task, state):
                groups.setdefault(task.terms.group, Counter())[state] += 1
    largest = sorted(groups.items(), key=lambda each: (-each[1].total(), each[0]))
    found = [
        {"group": name, **{state: counts[state] for state in STATES}}
        for name, counts in largest[:MOST_GROUPS]
    ]
    return {"queue": queue, "groups": found, "complete": is_complete and len(largest) <= MOST_GROUPS}
