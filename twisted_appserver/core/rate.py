"""Rates, such as 10 tasks in a second, which are written as C{10/s}."""

from __future__ import annotations

import re
from functools import lru_cache

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}  # seconds
LONGEST, MOST = 366 * 86400.0, 10_000.0  # seconds between two tasks; tasks in a second
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(?:/([smhd]))?", re.ASCII)


@lru_cache(1000)
def seconds_between(rate: str) -> float:
    """
    Return how many seconds a rate leaves between two tasks; 0.0 for no limit.

    @param rate: a number, C{/} and the unit: C{s}, C{m}, C{h} or C{d} (second to day). Without the unit it is
        per second. Empty for no limit.
    @raise ValueError: when it is not a rate, is less than once in 366 days, or is more than 10,000 times in a
        second.
    """
    if not rate:
        return 0.0
    found = _RATE.fullmatch(rate)
    number = float(found[1]) if found else 0.0
    seconds = UNITS[found[2] or "s"] / number if found and number else 0.0
    if not 1 / MOST <= seconds <= LONGEST:
        raise ValueError(
            f"rate must be like 10/s, 100/m, 5/h or 1/d, at most {MOST:.0f}/s; empty for none; not {rate!r}"
        )
    return seconds
