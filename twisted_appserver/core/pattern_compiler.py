"""
Compiles patterns, and reports those that are prone to catastrophic backtracking.

Google's RE2 (the extra C{re2}) matches every pattern in linear time. If it is installed, it matches all
patterns except two kinds: patterns that RE2 does not support, and patterns with at most one simple group
between two slashes. Python also matches the latter in linear time, and twenty times faster than RE2's wrapper
does. L{core.regex_safety} checks the patterns that Python matches.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

from twisted_appserver.core.regex_safety import UNKNOWN, slowness
from twisted_appserver.errors import how_to_install

# A named group that cannot match a slash.
GROUP = re.compile(r"\(\?P<\w+>(?:\[\^/\]|\\[dw]|\[[\w.-]+\])(?:[+*?]|\{\d+(?:,\d*)?\})?\)")
# Text that matches only itself.
FIXED = re.compile(r"(?:[\w~@,;:=! -]|\\[^\w\s])*")
ADVICE = (
    "make it unambiguous: between two repetitions, put a character that neither of them matches "
    r"([^/-]+-[^/-]+ instead of [^/]+-[^/]+), write [ab]+ instead of (a|b|ab)+, or make the inner repetition "
    r"possessive (\w++)"
)


class BacktrackingWarning(UserWarning):
    """Reports a pattern that is prone to catastrophic backtracking."""


def fixed_segments(regex: str) -> list[str | None] | None:
    """
    Return the text of each segment that is fixed, and C{None} for each segment with groups.

    @return: C{None} if the pattern has another form.
    """
    found: list[str | None] = []
    for segment in GROUP.sub("\0", regex).split("/"):
        if not all(map(FIXED.fullmatch, segment.split("\0"))):
            return None
        found.append(None if "\0" in segment else re.sub(r"\\(.)", r"\1", segment))
    return found


def _simple(regex: str) -> bool:
    """Return whether a pattern has at most one group between two slashes, and fixed text otherwise."""
    parts = GROUP.sub("\0", regex).split("/")
    return fixed_segments(regex) is not None and all(part.count("\0") < 2 for part in parts)


def compile_pattern(regex: str, place: str) -> Any:
    """
    Compile a pattern, and warn if it is prone to catastrophic backtracking.

    @param place: the position in the table, for the warning.
    @return: an object with C{fullmatch} and C{groupindex}.
    @raise re.error: when the regular expression is invalid.
    """
    compiled = re.compile(regex)
    if _simple(regex):
        return compiled
    found = _compile_with_re2(regex)
    if found is not None:
        return found
    if how_long := slowness(regex):
        problem = f"a path of 8 KiB can block the server {how_long}"
        if how_long == UNKNOWN:
            problem = "too complex to check; a path may block the server for a long time"
        warnings.warn(
            f"{place} {regex!r}: {problem}; {ADVICE}, or install the extra re2, which "
            f"supports no lookarounds, backreferences and possessive repetitions: {how_to_install('re2')}",
            BacktrackingWarning,
            stacklevel=2,
        )
    return compiled


def _compile_with_re2(regex: str) -> Any:
    """Compile a pattern with RE2; return C{None} if RE2 is not installed or does not support the pattern."""
    try:
        import re2
    except ImportError:
        return None
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(regex, options)
    except re2.error:  # for example lookarounds and backreferences
        return None
