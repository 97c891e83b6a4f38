"""Finds the oldest of the ready tasks of a queue, even if they are in another order."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush


class Arrivals:
    """
    When the ready tasks of a queue were put, by their numbers, which count up in the order of puts.

    @param ready: the numbers and times of the tasks that are ready now.
    """

    def __init__(self, ready: Iterable[tuple[int, float]]) -> None:
        self._put_at = dict(ready)
        self._heap = list(self._put_at)  # may contain tasks that are not ready any more
        heapify(self._heap)

    def add(self, number: int, put_at: float) -> None:
        """Add a task that is ready now."""
        self._put_at[number] = put_at
        if len(self._heap) > 100 + 2 * len(self._put_at):
            self._heap = list(self._put_at)
            heapify(self._heap)
        else:
            heappush(self._heap, number)

    def discard(self, number: int) -> None:
        """Remove a task that is not ready any more."""
        self._put_at.pop(number, None)

    @property
    def first(self) -> float:
        """When the task with the lowest number was put; 0.0 if no task is ready or the time is unknown."""
        while self._heap and self._heap[0] not in self._put_at:
            heappop(self._heap)
        return self._put_at[self._heap[0]] if self._heap else 0.0
