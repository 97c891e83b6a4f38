"""url_patterns as the user writes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from twisted_appserver.errors import PatternError

EMPTY_GROUP = re.compile(r"\(\?P<(\w+)>\)")


@dataclass(frozen=True)
class Route:
    """
    One entry of url_patterns.

    @ivar regex: matches the whole path; its named groups are passed to the function.
    @ivar function: what to call, or its name as C{"package.module:name"}.
    @ivar methods: the HTTP methods that it answers. HEAD comes with GET, OPTIONS is answered for it.
    @ivar name: names it in logs and figures; the function's own name if C{None}.
    @ivar executor: C{"inline"}, C{"threads"}, C{"processes"}, C{"cluster"}; C{None} for the service's choice.
    @ivar timeout: seconds for one call, 0 for no limit; C{None} for the service's choice.
    @ivar idempotent: whether a cluster may run a call again whose worker has died.
    """

    regex: str
    function: Callable[..., Any] | str
    methods: Sequence[str] = ("GET", "POST")
    name: str | None = None
    executor: str | None = None
    timeout: float | None = None
    idempotent: bool = False


@dataclass(frozen=True)
class _Include:
    prefix: str
    patterns: Sequence[Any]


def include(prefix: str, patterns: Sequence[Any]) -> Any:
    """An entry of url_patterns that stands for all of C{patterns} below C{prefix}, a regular expression."""
    return _Include(prefix, patterns)


def _whole(regex: str) -> str:
    """The pattern without the anchors that mean nothing more, its empty groups filled."""
    regex = regex.removeprefix("^")
    if regex.endswith("$") and (len(regex) - len(regex[:-1].rstrip("\\"))) % 2:
        regex = regex[:-1]
    regex = EMPTY_GROUP.sub(r"(?P<\1>[^/]+)", regex)
    return f"(?:{regex})" if "|" in regex else regex


def flatten(patterns: Any, prefix: str = "", place: str = "url_patterns") -> Iterator[tuple[str, str, Route]]:
    """Each entry's place in the table, whole pattern and Route."""
    if not isinstance(patterns, Iterable) or isinstance(patterns, str | bytes):
        raise PatternError(f"{place} must be a sequence of (regex, function), not {patterns!r}")
    for position, entry in enumerate(patterns):
        here = f"{place}[{position}]"
        if isinstance(entry, _Include) and isinstance(entry.prefix, str):
            yield from flatten(entry.patterns, prefix + _whole(entry.prefix), here)
            continue
        if isinstance(entry, tuple | list) and len(entry) == 2:
            entry = Route(*entry)
        if not isinstance(entry, Route) or not isinstance(entry.regex, str):
            raise PatternError(f"{here} must be (regex, function), a Route or an include, not {entry!r}")
        yield here, prefix + _whole(entry.regex), entry


def resolve(function: Callable[..., Any] | str) -> Callable[..., Any]:
    if isinstance(function, str):
        module, _, name = function.partition(":")
        if not (module and name):
            raise TypeError(f"a function is named like 'package.module:name', not {function!r}")
        function = getattr(import_module(module), name)
    if not callable(function):
        raise TypeError(f"{function!r} cannot be called")
    return function


def unnamed_groups(regex: str) -> list[str]:
    """A line about groups of a pattern that no parameter receives; nothing if there are none."""
    compiled = re.compile(regex)
    if compiled.groups == len(compiled.groupindex):
        return []
    return ["a group without a name is passed to no parameter; write (?P<name>...) or (?:...)"]
