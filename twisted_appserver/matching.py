"""Compiling patterns, and finding those that a path can make take for ever.

Strategy: Python's matcher tries every way to match before it gives up. Where text can be divided among
repetitions in many ways, these are exponentially many. That is so for a repetition within a repetition whose
other parts need not be there, or match the same characters; and for alternatives, within a repetition, that
match the same characters. Only those are looked for. Google's RE2 (the extra C{re2}) tries all ways at once.
Where it is installed it is what matches, but for two kinds of patterns: those with what it does not know, and
those of fixed text with one simple group between two slashes, which Python matches in proportional time too,
and twenty times faster than RE2's wrapper.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

MANY = 16  # repetitions, from which on they count as without end
CHARACTERS = [chr(code) for code in (*range(256), 0x391, 0x4E2D, 0x1F600)]
CATEGORIES = {
    codes.CATEGORY_DIGIT: r"\d",
    codes.CATEGORY_NOT_DIGIT: r"\D",
    codes.CATEGORY_SPACE: r"\s",
    codes.CATEGORY_NOT_SPACE: r"\S",
    codes.CATEGORY_WORD: r"\w",
    codes.CATEGORY_NOT_WORD: r"\W",
}
# A named group that cannot match a slash, and text that stands for itself.
VARYING = re.compile(r"\(\?P<\w+>(?:\[\^/\]|\\[dw]|\[[\w.-]+\])(?:[+*?]|\{\d+(?:,\d*)?\})?\)")
FIXED = re.compile(r"(?:[\w~@,;:=! -]|\\[^\w\s])*")
REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT)
ALL = frozenset(CHARACTERS)


class BacktrackingWarning(UserWarning):
    """Warns of a pattern that can take for ever to not match."""


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
    try:
        import re2
    except ImportError:
        pass
    else:
        options = re2.Options()
        options.log_errors = False
        try:
            return re2.compile(regex, options)
        except re2.error:  # what it does not know: lookahead, backreferences
            pass
    if found := prone(regex):
        warnings.warn(
            f"{place} {regex!r}: a path can make {found} take for ever; write it so that text can be divided "
            "in one way only, or install twisted_appserver[re2]",
            BacktrackingWarning,
            stacklevel=2,
        )
    return compiled


def prone(regex: str) -> str:
    """What in a pattern is prone to catastrophic backtracking; empty if nothing is."""
    return next(_found(parser.parse(regex)), "")


def _found(items: Iterable[Any]) -> Iterator[str]:
    for code, value in items:
        if code in REPEATS:
            _, most, body = value
            if most >= MANY:
                yield from _ambiguous(list(body))
            yield from _found(body)
        elif code is codes.SUBPATTERN:
            yield from _found(value[3])
        elif code is codes.BRANCH:
            for branch in value[1]:
                yield from _found(branch)
        elif code in (codes.ASSERT, codes.ASSERT_NOT):
            yield from _found(value[1])


def _ambiguous(body: list[Any]) -> Iterator[str]:
    """Why the repetition of this can divide the same text in several ways."""
    items = list(_flat(body))
    for index, (code, value) in enumerate(items):
        if code in REPEATS and value[1] >= MANY:
            inner = _characters(value[2])
            others = items[:index] + items[index + 1 :]
            needed = (each for each in others if not (each[0] in REPEATS and each[1][0] == 0))
            if all(_characters([each]) & inner for each in needed):
                yield "a repetition within a repetition"
        elif code is codes.BRANCH:
            sets = [_characters(list(branch)[:1]) for branch in value[1]]
            short = [len(branch) == 1 for branch in value[1]]
            if sum(not branch for branch in value[1]) > 1:
                yield "equal alternatives within a repetition"
            for first, one in enumerate(sets):
                for second in range(first + 1, len(sets)):
                    if one & sets[second] and short[first] and short[second]:
                        yield "alternatives within a repetition that match the same"


def _flat(items: Iterable[Any]) -> Iterator[Any]:
    """The items, with those of groups in their place."""
    for code, value in items:
        if code is codes.SUBPATTERN:
            yield from _flat(value[3])
        else:
            yield code, value


def _characters(items: Iterable[Any]) -> frozenset[str]:
    """The characters that items may begin or go on with, about."""
    found: set[str] = set()
    for code, value in _flat(items):
        if code is codes.LITERAL:
            found |= {chr(value)}
        elif code is codes.NOT_LITERAL:
            found |= ALL - {chr(value)}
        elif code is codes.ANY:
            found |= ALL - {"\n"}
        elif code is codes.IN:
            found |= _in(value)
        elif code in REPEATS:
            found |= _characters(value[2])
        elif code is codes.BRANCH:
            for branch in value[1]:
                found |= _characters(branch)
    return frozenset(found)


def _in(items: Iterable[Any]) -> frozenset[str]:
    """The characters of a set."""
    found: set[str] = set()
    negated = False
    for code, value in items:
        if code is codes.NEGATE:
            negated = True
        elif code is codes.LITERAL:
            found |= {chr(value)}
        elif code is codes.RANGE:
            found |= {each for each in CHARACTERS if value[0] <= ord(each) <= value[1]}
        elif code is codes.CATEGORY:
            found |= {each for each in CHARACTERS if re.fullmatch(CATEGORIES[value], each)}
    return ALL - found if negated else frozenset(found)
