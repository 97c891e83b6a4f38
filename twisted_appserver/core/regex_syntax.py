"""
Parsed regular expressions: their items, their size and the characters that they match. Pure.

An expression is a sequence of items. Each item is a code and a value, as C{re}'s own parser returns them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

from twisted_appserver.errors import AppserverError

codes: Any = None
parser: Any = None
with suppress(ImportError):  # both modules are private, so a later version of Python may move them
    codes, parser = import_module("re._constants"), import_module("re._parser")
REPEATS: tuple[Any, ...] = () if codes is None else (codes.MAX_REPEAT, codes.MIN_REPEAT)
MAX_CODE_POINT = 0x10FFFF


class TooComplexError(AppserverError):
    """Raised when an expression is too large or too unusual to be checked."""


def sub_expressions(code: Any, value: Any) -> list[Any]:
    """Return the expressions inside an item."""
    if code is codes.IN:
        return [value]
    if code is codes.BRANCH:
        return list(value[1])
    if code is codes.ATOMIC_GROUP:
        return [value]
    if code in (codes.SUBPATTERN, codes.ASSERT, codes.ASSERT_NOT):
        return [value[-1]]
    if code in (*REPEATS, codes.POSSESSIVE_REPEAT):
        return [value[2]]
    if code is codes.GROUPREF_EXISTS:
        return [part for part in value[1:] if part]
    return []


def size_of(items: Any, limit: int) -> int:
    """
    Return the number of nodes that an expression needs, with bounded repetitions written out.

    @param limit: nodes of one item; larger items count as C{limit + 1}.
    """
    total = 0
    for code, value in items:
        inside = 1
        if code is not codes.IN:
            inside = sum(size_of(each, limit) for each in sub_expressions(code, value)) or 1
        if code in (*REPEATS, codes.POSSESSIVE_REPEAT):
            least, most, _ = value
            inside *= max(1, least) if most is codes.MAXREPEAT else max(1, most)
        total += min(inside, limit + 1)
    return total


def matches_empty(items: Any) -> bool:
    """Return whether an expression matches empty text."""
    return bool(items.getwidth()[0] == 0)


def named_characters(items: Any) -> Iterator[str]:
    """Yield the characters that an expression names, and their neighbours, in upper and lower case."""
    for code, value in _walk(items):
        ends = value if code is codes.RANGE else [value] if code in (codes.LITERAL, codes.NOT_LITERAL) else []
        for end in ends:
            for code_point in (end - 1, end, end + 1):
                if 0 <= code_point <= MAX_CODE_POINT:
                    yield chr(code_point)
                    yield from chr(code_point).swapcase()[:1]


def _walk(items: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every item of an expression at every depth."""
    for code, value in items:
        yield code, value
        for part in sub_expressions(code, value):
            yield from _walk(part)


def character_test(code: Any, value: Any, flags: int) -> Callable[[str], bool]:
    """
    Return a function that tests whether an item matches a character.

    @raise TooComplexError: when the item is not supported.
    """
    items = value if code is codes.IN else [(code, value)]
    negated = bool(items) and items[0][0] is codes.NEGATE
    test = _set_test(items[negated:], flags)
    if flags & re.IGNORECASE:
        return lambda each: any(map(test, {each, *each.lower(), *each.upper()})) is not negated
    return lambda each: test(each) is not negated


def _set_test(items: Any, flags: int) -> Callable[[str], bool]:
    """Return a function that tests whether one of the items of a set matches a character."""
    categories: list[re.Pattern[str]] = []
    ranges: list[tuple[int, int]] = []
    for code, value in items:
        if code is codes.LITERAL:
            ranges.append((value, value))
        elif code is codes.RANGE:
            ranges.append(value)
        elif code is codes.NOT_LITERAL:
            ranges += [(0, value - 1), (value + 1, MAX_CODE_POINT)]
        elif code is codes.ANY:
            ranges += [(0, MAX_CODE_POINT)] if flags & re.DOTALL else [(0, 9), (11, MAX_CODE_POINT)]
        elif code is codes.CATEGORY:
            categories.append(_category(value, flags))
        else:
            raise TooComplexError
    return lambda each: (
        any(low <= ord(each) <= high for low, high in ranges) or any(one.match(each) for one in categories)
    )


def _category(value: Any, flags: int) -> re.Pattern[str]:
    """Return the pattern for a category such as C{\\d} or C{\\S}."""
    name = str(value).rpartition("_")[2]
    letter = name[0].lower()
    return re.compile("\\" + (letter.upper() if "NOT" in str(value) else letter), flags & re.ASCII)
