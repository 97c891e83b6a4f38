"""
Durations in buckets.

Strategy: the bounds of the buckets double, so the length of an integer gives the bucket.
"""

from __future__ import annotations

FIRST_BOUND = 0.0005  # seconds; of calls


def bounds_from(first: float, number: int) -> list[float]:
    """Return so many bounds, in seconds."""
    return [first * 2**index for index in range(number)]


BOUNDS = bounds_from(FIRST_BOUND, 18)  # up to 65 seconds


class Durations:
    """
    Count calls or attempts by their duration.

    @param first: the first bound, in seconds.
    @param number: how many bounds there are. One more bucket counts all longer calls.
    @ivar counts: the calls in each bucket.
    @ivar total: the sum of the durations, in seconds.
    @ivar number: how many calls there were.
    """

    def __init__(self, first: float = FIRST_BOUND, number: int = len(BOUNDS)) -> None:
        self.first = first
        self.counts = [0] * (number + 1)
        self.total = 0.0
        self.number = 0

    @property
    def bounds(self) -> list[float]:
        """The bounds of all buckets except the last, in seconds."""
        return bounds_from(self.first, len(self.counts) - 1)

    def add(self, seconds: float) -> None:
        """Count a call or an attempt."""
        index = int(seconds / self.first).bit_length()
        self.counts[min(index, len(self.counts) - 1)] += 1
        self.total += seconds
        self.number += 1


def percentile(counts: list[int], share: float) -> float:
    """
    Return the seconds within which this share of the calls finished. Calls are assumed to be spread evenly
    within a bucket.
    """
    left = share * sum(counts)
    for index, count in enumerate(counts):
        if count and left <= count:
            low = 0.0 if index == 0 else BOUNDS[index - 1]
            high = BOUNDS[min(index, len(BOUNDS) - 1)]
            return low + (high - low) * left / count
        left -= count
    return 0.0
