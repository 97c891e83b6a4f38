"""The Router, which finds the function for a path. Pure.

Strategy: a table of one regular expression after the other costs more with every entry. Most patterns
are segments between slashes, each of them either fixed text or one group. Such patterns are filed under
their number of segments, which of them are fixed, and the fixed texts: a path looks up its few
candidates there. Whatever is not of that form is always a candidate. The candidates are then tried in
the order of the table, so that the first match wins, as if all had been tried.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import attrgetter, itemgetter
from typing import Any

from twisted_appserver.core.handler import Handler
from twisted_appserver.core.pattern_compiler import compile_pattern, segments
from twisted_appserver.core.routes import Route, flatten, resolve, unnamed_groups
from twisted_appserver.errors import HTTPError, PatternError

GROUP_NAME = re.compile(r"\(\?P<\w+>")
INDEX = attrgetter("handler.index")
NO_PATH = re.compile(r"\w(?![?*{])")  # what a pattern begins with that can match none


def _check(route: Route, regex: str) -> None:
    """
    @param regex: the whole pattern.
    @raise ValueError: when what the Route says makes no sense.
    """
    methods, timeout, executor = route.methods, route.timeout, route.executor
    if (
        isinstance(methods, str)
        or not (isinstance(methods, Collection) and methods)
        or not all(isinstance(each, str) and each.isalpha() and each.isupper() for each in methods)
    ):
        raise ValueError("methods must be like ('GET', 'POST')")
    if not (timeout is None or (isinstance(timeout, int | float) and 0 <= timeout < float("inf"))):
        raise ValueError(f"timeout must be 0 or more seconds, not {timeout!r}")
    if not (executor is None or isinstance(executor, str)):
        raise ValueError(f"executor must be a name, not {executor!r}")
    if NO_PATH.match(regex):
        raise ValueError("a pattern must begin with / to match a path")


class _Entry:
    def __init__(self, place: str, regex: str, route: Route) -> None:
        try:
            _check(route, regex)
            pattern = compile_pattern(regex, place)
            function = resolve(route.function)
            self.handler = Handler(function, pattern.groupindex, route.name, route.executor, route.timeout)
            self.handler.idempotent = route.idempotent
        except Exception as error:  # an annotation may raise anything
            why = " ".join(str(error).split()) or repr(error)
            raise PatternError(f"{place} {route.regex!r}: {why}") from error
        self.place = f"{place} {route.regex!r}"
        self.notes = [*self.handler.notes, *unnamed_groups(regex)]
        self.match, self.regex = pattern.fullmatch, regex
        self.methods = frozenset(route.methods) | ({"HEAD"} if "GET" in route.methods else set())


def _repeated(entries: Iterable[_Entry]) -> Iterator[str]:
    """Lines about methods of entries that an earlier entry with the same pattern always answers."""
    seen: dict[tuple[str, str], _Entry] = {}
    for entry in entries:
        regex = GROUP_NAME.sub("(", entry.regex)
        earlier: dict[str, list[str]] = {}
        for method in sorted(entry.methods):
            first = seen.setdefault((regex, method), entry)
            if first is not entry and not (method == "HEAD" and "GET" in entry.methods):
                earlier.setdefault(first.place, []).append(method)
        for place, methods in earlier.items():
            yield f"{entry.place}: never reached by {', '.join(methods)}: {place} has the same pattern"


class Router:
    """
    A table of patterns.

    @param patterns: (regex, function) pairs, Routes and includes.
    @ivar entries: the table: each with C{regex}, C{methods}, C{handler}.
    @raise PatternError: when an entry cannot be used; names it and says why.
    """

    def __init__(self, patterns: Sequence[Any]) -> None:
        self.entries = [_Entry(*entry) for entry in flatten(patterns)]
        self._always: list[_Entry] = []
        # By the number of segments, for each choice of fixed ones: what picks these, and the entries by them.
        by_count: dict[int, dict[tuple[int, ...], tuple[Any, dict[Any, list[_Entry]]]]] = {}
        for index, entry in enumerate(self.entries):
            entry.handler.index, entry.handler.router = index, self
            parts = segments(entry.regex)
            if parts is None:
                self._always.append(entry)
                continue
            fixed = tuple(i for i, text in enumerate(parts) if text is not None)
            shapes = by_count.setdefault(len(parts), {})
            pick, table = shapes.setdefault(fixed, (itemgetter(*fixed) if fixed else bool, {}))
            table.setdefault(pick(parts), []).append(entry)
        self._tables = {count: list(shapes.values()) for count, shapes in by_count.items()}

    @property
    def handlers(self) -> list[Handler]:
        """Of every entry, in the order of the table."""
        return [entry.handler for entry in self.entries]

    @property
    def notes(self) -> list[str]:
        """Lines about entries that work, but perhaps not as intended."""
        if not self.entries:
            return ["url_patterns is empty: every request is answered with 404"]
        own = [f"{entry.place}: {note}" for entry in self.entries for note in entry.notes]
        return own + list(_repeated(self.entries))

    def match(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        """
        The handler of the first entry that matches, and its groups.

        @param path: percent-decoded; what was not UTF-8 in it as surrogate escapes.
        @raise HTTPError: 400 when the path is not UTF-8, 404 when nothing matches, 405 (with Allow) when
            something does, but not with this method.
        """
        if not path.isascii():
            try:
                path.encode()
            except UnicodeEncodeError:
                raise HTTPError(400, "the path is not valid UTF-8") from None
        parts = path.split("/")
        candidates = self._always
        for pick, table in self._tables.get(len(parts), ()):
            more = table.get(pick(parts))
            if more is not None:
                candidates = sorted(candidates + more, key=INDEX) if candidates else more
        allowed: set[str] = set()
        for entry in candidates:
            found = entry.match(path)
            if found is None:
                continue
            if method in entry.methods:
                groups = found.groupdict()
                if None in groups.values():
                    groups = {name: text for name, text in groups.items() if text is not None}
                return entry.handler, groups
            allowed |= entry.methods
        if not allowed:
            raise HTTPError(404, f"no pattern matches {path}")
        names = ", ".join(sorted(allowed | {"OPTIONS"}))
        raise HTTPError(405, f"{method} is not among {names}", [("allow", names)])
