"""
Where in a value a conversion failed. Pure.

Strategy: msgspec writes C{[...]} for each key of a dict. To find the key, the value is converted again with
only a part of that dict. The part is halved until a single key is left.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted_appserver.core.conversions.unfit import HIDDEN, shown

STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
UNKNOWN = "..."  # msgspec's name for any key
Fails = Callable[[Any], bool]  # whether a value leads to the same error


def find(path: str, value: Any, fails: Fails) -> tuple[list[Any], str]:
    """
    The steps to a place, and its path as messages show it.

    @param path: as msgspec has it, without the dollar sign.
    """
    steps: list[Any] = []
    shown_path = ""
    for name, index in STEP.findall(path):
        step: Any = name or (int(index) if index != UNKNOWN else UNKNOWN)
        if step == UNKNOWN and index:
            step, value = _narrow(value, steps, fails)
            shown_path += f"[{UNKNOWN if step is UNKNOWN else shown(step)}]"
        else:
            shown_path += f".{name}" if name else f"[{index}]"
        steps.append(step)
    return steps, shown_path


def member(value: Any, steps: list[Any]) -> Any:
    """What is at a place; L{HIDDEN} if there is nothing."""
    for step in steps:
        inside = isinstance(value, dict) and step in value
        if not inside and not (isinstance(value, list) and isinstance(step, int) and step < len(value)):
            return HIDDEN
        value = value[step]
    return value


def wrong_key(value: Any, steps: list[Any], fails: Fails) -> Any:
    """The key that was refused in the dict at a place; L{HIDDEN} if it cannot be found."""
    key, _ = _narrow(value, steps, fails)
    return HIDDEN if key is UNKNOWN else key


def _narrow(value: Any, steps: list[Any], fails: Fails) -> tuple[Any, Any]:
    """The key of the dict at a place that leads to the error, and the value without all its other keys."""
    found = member(value, steps)
    if not isinstance(found, dict):
        return UNKNOWN, value
    entries = list(found.items())
    good, bad = 0, len(entries)  # the first entries that lead to no error, and those that do
    while bad - good > 1:
        middle = (good + bad) // 2
        if fails(_replaced(value, steps, dict(entries[:middle]))):
            bad = middle
        else:
            good = middle
    alone = _replaced(value, steps, dict(entries[good:bad]))
    return (entries[good][0], alone) if entries and fails(alone) else (UNKNOWN, value)


def _replaced(value: Any, steps: list[Any], new: Any) -> Any:
    """A copy of a value with something else at a place."""
    if not steps:
        return new
    copy = value.copy()
    copy[steps[0]] = _replaced(value[steps[0]], steps[1:], new)
    return copy
