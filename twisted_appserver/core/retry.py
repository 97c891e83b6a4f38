"""How often failed work is tried again, and how long the pauses between attempts are."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import msgspec

YEAR = 366 * 86400.0  # seconds
MOST_ATTEMPTS = 2**63 - 1  # the largest integer that all stores can keep
LARGEST_FACTOR = 1000.0


class Retry(msgspec.Struct, frozen=True):
    """
    An exponential backoff: each pause is longer than the one before, up to a limit.

    The pauses are C{first}, C{first * factor}, C{first * factor**2} seconds and so on. Each of them is made a
    little longer or shorter at random, so that tasks that fail together are not tried again together.

    @ivar attempts: the maximum number of attempts, including the first; 0 for no limit.
    @ivar first: seconds until the second attempt; 0 for no pauses at all.
    @ivar factor: how many times longer each pause is than the one before.
    @ivar most: seconds of the longest pause, before C{jitter}.
    @ivar jitter: the largest random change of a pause, as a share of the pause.
    @raise ValueError: when one of these cannot be used.
    """

    attempts: int
    first: float = 1.0
    factor: float = 2.0
    most: float = 300.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        limits = (
            ("attempts", 0, MOST_ATTEMPTS, ""),
            ("first", 0, YEAR, " seconds"),
            ("factor", 1, LARGEST_FACTOR, ""),
            ("most", 0, YEAR, " seconds"),
            ("jitter", 0, 1, ""),
        )
        for name, least, highest, unit in limits:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{name} must be a number, not {value!r}")
            if not least <= value <= highest:
                raise ValueError(f"{name} must be {least} to {int(highest)}{unit}, not {value!r}")
        if not isinstance(self.attempts, int):
            raise ValueError(f"attempts must be a whole number, not {self.attempts!r}")

    def delay(self, failures: int, chance: Callable[[], float] = random.random) -> float:
        """
        Return the seconds until the next attempt.

        @param failures: how many attempts have failed, from 1.
        @param chance: returns a random number, from 0 up to but not including 1.
        """
        try:
            pause = min(self.most, self.first * math.pow(self.factor, max(failures, 1) - 1))
        except OverflowError:
            pause = self.most if self.first else 0.0
        return pause * (1.0 + self.jitter * (2.0 * chance() - 1.0))
