"""Compiling patterns, and reporting those that a path can make very slow.

Google's RE2 (the extra C{re2}) takes time in proportion to the path, whatever the pattern. Where it is
installed it matches all but two kinds of patterns: those with what it does not support, and those of fixed
text with one simple group between two slashes, which Python matches in proportional time too, and twenty
times faster than RE2's wrapper. L{core.regex_safety} checks what Python matches.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

from twisted_appserver.core.regex_safety import UNKNOWN, slowness

# A named group that cannot match a slash, and text that stands for itself.
VARYING = re.compile(r"\(\?P<\w+>(?:\[\^/\]|\\[dw]|\[[\w.-]+\])(?:[+*?]|\{\d+(?:,\d*)?\})?\)")
FIXED = re.compile(r"(?:[\w~@,;:=! -]|\\[^\w\s])*")
# What the warning suggests.
REMEDY = (
    "write it so that each text can be divided in one way only: between two repetitions put a character that "
    r"neither of them matches ([^/-]+-[^/-]+ instead of [^/]+-[^/]+), write [ab]+ instead of (a|b|ab)+, or "
    r"make the inner repetition possessive (\w++)"
)


class BacktrackingWarning(UserWarning):
    """Reports a pattern that a path can make very slow."""


def segments(regex: str) -> list[str | None] | None:
    """The fixed text of each segment, C{None} for one that varies; C{None} if it is not of that form."""
    found: list[str | None] = []
    for segment in VARYING.sub("\0", regex).split("/"):
        if not all(map(FIXED.fullmatch, segment.split("\0"))):
            return None
        found.append(None if "\0" in segment else re.sub(r"\\(.)", r"\1", segment))
    return found


def _simple(regex: str) -> bool:
    """Whether it has one group at most between two slashes, and nothing else that repeats."""
    parts = VARYING.sub("\0", regex).split("/")
    return segments(regex) is not None and all(part.count("\0") < 2 for part in parts)


def compile_pattern(regex: str, place: str) -> Any:
    """
    A pattern that has C{fullmatch} and C{groupindex}.

    @param place: names it in a warning.
    @raise re.error: when it is none.
    """
    compiled = re.compile(regex)
    if _simple(regex):
        return compiled
    found = _by_re2(regex)
    if found is not None:
        return found
    if how_long := slowness(regex):
        shown = f"a path of 8 KiB can occupy the server {how_long}"
        if how_long == UNKNOWN:
            shown = "too complex to be checked; a path might occupy the server for long"
        warnings.warn(
            f"{place} {regex!r}: {shown}; {REMEDY}, or install "
            "twisted_appserver[re2], which supports no lookaround, backreference or possessive repetition",
            BacktrackingWarning,
            stacklevel=2,
        )
    return compiled


def _by_re2(regex: str) -> Any:
    """The pattern compiled by RE2; C{None} if that is not installed or does not support it."""
    try:
        import re2
    except ImportError:
        return None
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(regex, options)
    except re2.error:  # lookaround, backreferences
        return None
