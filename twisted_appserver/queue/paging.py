"""Places in the order of tasks, so that lists of tasks can be read a page at a time. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush, nsmallest
from typing import Any, NamedTuple

MOST_NUMBER = 2**63 - 1


class Place(NamedTuple):
    """
    Where a task is in a list. Ready tasks are in the order in which they are handed out, others in the order
    of their numbers. Tasks that have ended are in the order of their ends, the last one first: C{first} is
    the end, and C{third} the number.
    """

    first: float
    second: str
    third: int


START = Place(-math.inf, "", -MOST_NUMBER)  # before every task
NEWEST = Place(math.inf, "", MOST_NUMBER)  # after every end


def write_place(place: Place) -> str:
    """Return a place as text."""
    return f"{place.first!r},{place.third},{place.second}"


def read_place(text: str) -> Place:
    """
    Read a place.

    @raise ValueError: when it was not written by L{write_place}.
    """
    first, third, second = text.split(",", 2)
    number = int(third)
    if not -MOST_NUMBER <= number <= MOST_NUMBER or math.isnan(float(first)) or "\0" in second:
        raise ValueError(f"no place: {text!r}")
    return Place(float(first), second, number)


def first_entries(heap: list[Any], count: int, comes_after: Callable[[Any], bool]) -> list[Any]:
    """
    Return the first entries of a heap that come after a place, in order. The heap stays as it is.

    Only the entries before and on the page are visited, so a page near the beginning costs little however
    many tasks there are.

    @param heap: no two of its entries may be equal.
    @param comes_after: whether an entry comes after that place.
    """
    if count >= len(heap) // 4:
        return nsmallest(count, (entry for entry in heap if comes_after(entry)))
    found: list[Any] = []
    candidates = [(heap[0], 0)] if heap else []
    while candidates and len(found) < count:
        entry, index = heappop(candidates)
        if comes_after(entry):
            found.append(entry)
        for child in (2 * index + 1, 2 * index + 2):
            if child < len(heap):
                heappush(candidates, (heap[child], child))
    return found
