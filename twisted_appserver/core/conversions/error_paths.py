"""
Finds the failing member of a value. Pure.

Strategy: msgspec reports every key of a dict as C{[...]}. To find the key, the value is converted again with
only part of the dict. The part is halved until a single key is left.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted_appserver.core.conversions.conversion_error import HIDDEN, format_value

STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
ANY_KEY = "..."  # stands for a key in msgspec's paths
SameError = Callable[[Any], bool]  # returns whether converting a value raises the same error


def resolve_path(path: str, value: Any, same_error: SameError) -> tuple[list[Any], str]:
    """
    Find the keys that a path of msgspec leaves out.

    @param path: msgspec's path without the leading C{$}.
    @param value: the value that could not be converted.
    @return: the steps to the failing member, and the path to show in messages.
    """
    steps: list[Any] = []
    shown_path = ""
    for name, index in STEP.findall(path):
        step: Any = name or (int(index) if index != ANY_KEY else ANY_KEY)
        if step == ANY_KEY and index:
            step, value = _find_failing_key(value, steps, same_error)
            shown_path += f"[{ANY_KEY if step is ANY_KEY else format_value(step)}]"
        else:
            shown_path += f".{name}" if name else f"[{index}]"
        steps.append(step)
    return steps, shown_path


def member_at(value: Any, steps: list[Any]) -> Any:
    """Return the member that these steps lead to; L{HIDDEN} if there is none."""
    for step in steps:
        inside = isinstance(value, dict) and step in value
        if not inside and not (isinstance(value, list) and isinstance(step, int) and step < len(value)):
            return HIDDEN
        value = value[step]
    return value


def rejected_key(value: Any, steps: list[Any], same_error: SameError) -> Any:
    """Return the key that was rejected in the dict at these steps; L{HIDDEN} if it cannot be found."""
    key, _ = _find_failing_key(value, steps, same_error)
    return HIDDEN if key is ANY_KEY else key


def _find_failing_key(value: Any, steps: list[Any], same_error: SameError) -> tuple[Any, Any]:
    """Return the key that causes the error in the dict at these steps, and the value with only that key."""
    found = member_at(value, steps)
    if not isinstance(found, dict):
        return ANY_KEY, value
    entries = list(found.items())
    good, bad = 0, len(entries)  # the first C{good} entries cause no error, the first C{bad} entries do
    while bad - good > 1:
        middle = (good + bad) // 2
        if same_error(_replaced(value, steps, dict(entries[:middle]))):
            bad = middle
        else:
            good = middle
    single = _replaced(value, steps, dict(entries[good:bad]))
    return (entries[good][0], single) if entries and same_error(single) else (ANY_KEY, value)


def _replaced(value: Any, steps: list[Any], new: Any) -> Any:
    """Return a copy of a value with the member at these steps replaced."""
    if not steps:
        return new
    copy = value.copy()
    copy[steps[0]] = _replaced(value[steps[0]], steps[1:], new)
    return copy
