"""The unique keys of one queue, and the waiting or running tasks that have them."""

from __future__ import annotations


class UniqueKeys:
    """
    Usually one task has a key. Several tasks have the same key only if tasks were kicked after they had been
    buried.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, tuple[int, ...]] = {}

    def add(self, key: str, number: int) -> None:
        """Record that a task with this key waits or runs. This may be recorded again."""
        numbers = self._numbers.get(key, ())
        if key and number not in numbers:
            self._numbers[key] = (*numbers, number)

    def discard(self, key: str, number: int) -> None:
        """Record that a task with this key does not wait or run any more."""
        left = tuple(each for each in self._numbers.get(key, ()) if each != number)
        if left:
            self._numbers[key] = left
        else:
            self._numbers.pop(key, None)

    def find(self, key: str) -> int | None:
        """Return the number of the first task with this key."""
        numbers = self._numbers.get(key)
        return min(numbers) if numbers else None
