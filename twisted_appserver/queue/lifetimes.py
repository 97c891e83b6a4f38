"""When the time to live of waiting tasks ends. Only tasks with a time to live are here."""

from __future__ import annotations

from heapq import heapify, heappop, heappush


class Lifetimes:
    """The waiting tasks of a queue that have a time to live, by number."""

    def __init__(self) -> None:
        self._ends: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []  # may contain tasks that do not wait any more

    def add(self, number: int, ends: float) -> None:
        """Add a task that waits now. C{ends}: when its time to live is over; 0.0 for never."""
        if not ends or self._ends.get(number) == ends:
            return
        self._ends[number] = ends
        if len(self._heap) > 100 + 2 * len(self._ends):
            self._heap = [(end, each) for each, end in self._ends.items()]
            heapify(self._heap)
        else:
            heappush(self._heap, (ends, number))

    def discard(self, number: int) -> None:
        """Remove a task that does not wait any more."""
        self._ends.pop(number, None)

    def clear(self) -> None:
        """Remove all tasks."""
        self._ends.clear()
        self._heap.clear()

    @property
    def next(self) -> float | None:
        """When the next time to live may be over; C{None} for never."""
        return self._heap[0][0] if self._heap else None

    def over(self, now: float) -> set[int]:
        """Remove the tasks whose time to live is over, and return their numbers."""
        found = set()
        while self._heap and self._heap[0][0] <= now:
            ends, number = heappop(self._heap)
            if self._ends.get(number) == ends:
                del self._ends[number]
                found.add(number)
        return found
