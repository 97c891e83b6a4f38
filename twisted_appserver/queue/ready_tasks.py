"""
The ready tasks of a queue, in its order.

Strategy: a heap. In a queue of the kind C{fifo}, its entries are the tasks themselves, which msgspec compares
by their numbers, so that a task needs no further memory. In other queues, the entries are tuples of the place
and the task.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any

from twisted_appserver.queue.arrivals import Arrivals
from twisted_appserver.queue.paging import START, Place, first_entries
from twisted_appserver.queue.queued_task import QueuedTask


def ready_place(task: QueuedTask, kind: str) -> Place:
    """Return the place of a task among the ready ones of a queue of this kind."""
    if kind == "fifo":
        return Place(0.0, "", task.number)
    if kind == "priority":
        return Place(task.priority, task.order, task.number)
    counted = task.deliveries - (task.terms.forgiven if task.terms is not None else 0)
    return Place(0.0 if counted else 1.0, "", -task.number)


class ReadyTasks:
    """
    @param kind: C{"fifo"}, C{"lifo"} or C{"priority"}.
    """

    def __init__(self, kind: str) -> None:
        self._kind, self._is_fifo = kind, kind == "fifo"
        self._heap: list[Any] = []
        self._arrivals: Arrivals | None = None  # until somebody needs it

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[QueuedTask]:
        """Yield the tasks, in no order."""
        return iter(self._heap) if self._is_fifo else (entry[3] for entry in self._heap)

    def _entry(self, task: QueuedTask) -> Any:
        return task if self._is_fifo else (*ready_place(task, self._kind), task)

    def add(self, task: QueuedTask) -> None:
        """Add a task at its place."""
        heappush(self._heap, task if self._is_fifo else self._entry(task))
        if self._arrivals is not None:
            self._arrivals.add(task.number, task.put_at)

    def add_all(self, tasks: Iterable[QueuedTask]) -> None:
        """Add many tasks."""
        self._heap += map(self._entry, tasks)
        heapify(self._heap)
        self._arrivals = None

    def pop(self) -> QueuedTask:
        """Remove the first task, and return it."""
        task: QueuedTask = heappop(self._heap) if self._is_fifo else heappop(self._heap)[3]
        if self._arrivals is not None:
            self._arrivals.discard(task.number)
        return task

    @property
    def first(self) -> QueuedTask | None:
        """The first task; C{None} if there is none."""
        if not self._heap:
            return None
        return self._heap[0] if self._is_fifo else self._heap[0][3]  # type: ignore[no-any-return]

    def page(self, count: int, after: Place = START) -> list[QueuedTask]:
        """Return the first tasks that come after a place, in order."""
        if self._is_fifo:
            return first_entries(self._heap, count, lambda task: task.number > after.third)
        return [entry[3] for entry in first_entries(self._heap, count, lambda entry: entry[:3] > after)]

    def remove(self, numbers: Collection[int]) -> list[QueuedTask]:
        """
        Remove the tasks with these numbers, and return the tasks that were found.

        Tasks at the head of the queue cost little. For others, all tasks are searched.
        """
        gone = list[Any]()
        while len(gone) < len(numbers) and self._heap and self.first.number in numbers:  # type: ignore[union-attr]
            gone.append(self.pop())
        if len(gone) < len(numbers):
            others = [task for task in self if task.number in numbers]
            if others:
                self.replace([task for task in self if task.number not in numbers], self._kind)
                gone += others
        return gone

    def replace(self, tasks: Iterable[QueuedTask], kind: str) -> None:
        """Contain these tasks from now on, in the order of this kind."""
        tasks = list(tasks)
        self._kind, self._is_fifo, self._heap = kind, kind == "fifo", []
        self.add_all(tasks)

    def clear(self) -> None:
        """Remove all tasks."""
        self._heap, self._arrivals = [], None

    @property
    def oldest(self) -> float:
        """
        When the oldest of these tasks was put; 0.0 if there is no task or the time is unknown.

        In a fifo queue, this task is at the head. In other queues, the first call looks at all tasks; from
        then on, the order of arrival is kept up to date.
        """
        if self._is_fifo:
            return self._heap[0].put_at if self._heap else 0.0
        if self._arrivals is None:
            self._arrivals = Arrivals((task.number, task.put_at) for task in self)
        return self._arrivals.first
