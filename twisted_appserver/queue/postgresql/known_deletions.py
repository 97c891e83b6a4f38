"""The deletions of queues that a server knows, so that none is announced twice."""

from __future__ import annotations

MOST = 10_000  # queues


class KnownDeletions:
    """The number of the last known deletion of each queue."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    def is_new(self, name: str, number: int, before: int) -> bool:
        """
        Return whether a deletion was not known, and remember it.

        @param number: of the last deletion of the queue; 0 if there is none.
        @param before: all deletions up to this number took place before the server started.
        """
        if number <= self._numbers.get(name, before):
            return False
        self._numbers[name] = number
        if len(self._numbers) > MOST:
            del self._numbers[next(iter(self._numbers))]
        return True
