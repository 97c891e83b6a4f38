"""
Compiles patterns, and finds those that are prone to catastrophic backtracking.

Google's RE2 (the extra C{re2}) matches every pattern in linear time, but its wrapper takes twenty times as
long as Python for a short path. So it matches only the patterns that Python might match slowly, if it is
installed and supports them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from twisted_appserver.core.regex_safety import EXPONENTIAL, MINUTES, SECOND, UNKNOWN, slowness
from twisted_appserver.errors import how_to_install

# A named group that cannot match a slash.
GROUP = re.compile(r"\(\?P<\w+>(?:\[\^/\]|\\[dw]|\[[\w.-]+\])(?:[+*?]|\{\d+(?:,\d*)?\})?\)")
# Text that matches only itself.
FIXED = re.compile(r"(?:[\w~@,;:=! -]|\\[^\w\s])*")
INNER = r"write [ab]+ instead of (a|b|ab)+, or make the inner repetition possessive, as in (\w++-?)+"
NEXT = (
    "separate two repetitions with a character that neither of them matches, "
    "as in [^/-]+-[^/-]+ instead of [^/]+-[^/]+"
)
# What RE2 does not support: lookarounds, backreferences, atomic groups and possessive repetitions.
OUTSIDE_RE2 = re.compile(r"\(\?(?:[=!>]|<[=!]|P=|\()|\\[1-9]|[*+?}]\+")
ADVICE = {EXPONENTIAL: INNER, MINUTES: NEXT, SECOND: NEXT}


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


@lru_cache
def _slowness(regex: str) -> str:
    return "" if _simple(regex) else slowness(regex)


def compile_pattern(regex: str) -> Any:
    """
    Compile a pattern.

    @return: an object with C{fullmatch} and C{groupindex}.
    @raise re.error: when the regular expression is invalid.
    """
    compiled = re.compile(regex)
    return _compile_with_re2(regex) or compiled


def backtracking(regex: str, compiled: Any) -> tuple[str, str]:
    """
    Return how long a path can block the server, and what to do about it.

    @param compiled: the result of L{compile_pattern}.
    @return: a problem if the time is minutes or more, and a note if the time is a second or unknown; both are
        empty if the pattern is safe.
    """
    how_long = _slowness(regex)
    if not how_long or not isinstance(compiled, re.Pattern):
        return "", ""
    if how_long == UNKNOWN:
        text = "too complex to check: a path may block the server for a long time; simplify the pattern"
    else:
        text = f"a path of 8 KiB can block the server {how_long}; {ADVICE[how_long]}"
    text += "" if OUTSIDE_RE2.search(regex) else f"; or use the extra re2: {how_to_install('re2')}"
    return (text, "") if how_long in (EXPONENTIAL, MINUTES) else ("", text)


def _compile_with_re2(regex: str) -> Any:
    """
    Compile a pattern with RE2.

    @return: C{None} if Python matches the pattern quickly, or RE2 is not installed or does not support it.
    """
    try:
        import re2
    except ImportError:
        return None
    if not _slowness(regex):
        return None
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(regex, options)
    except re2.error:  # for example lookarounds and backreferences
        return None
