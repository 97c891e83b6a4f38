"""
Finds the function for a path. Pure.

Strategy: trying one regular expression after the other would cost more with every entry. Most patterns
consist of segments between slashes, and each segment is either fixed text or contains groups. Such patterns
are indexed by the number of segments, by the positions of the fixed segments, and by their texts. So a path
looks up a few candidates. Patterns of any other form are always candidates. The candidates are tried in the
order of the table, so the first match wins, as if all patterns had been tried.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import attrgetter, itemgetter
from typing import Any

from twisted_appserver.closest_name import closest
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.lifespan import check_lifespan
from twisted_appserver.core.mounted_resource import ALL_METHODS, EXECUTOR, MountedResource, is_resource
from twisted_appserver.core.pattern_compiler import compile_pattern, fixed_segments
from twisted_appserver.core.route_problems import route_problems
from twisted_appserver.core.routes import Decorator, Route, flatten, resolve_function, unnamed_group_warnings
from twisted_appserver.errors import ConfigurationError, HTTPError, PatternError

GROUP_NAME = re.compile(r"\(\?P<\w+>")
INDEX = attrgetter("handler.index")
NO_SLASH = re.compile(r"\w(?![?*{])")  # the start of a pattern that cannot match the slash of a path


def _check(route: Route, regex: str) -> None:
    """
    @param regex: the whole pattern, including the prefix of an include.
    @raise ValueError: when an option of the Route is invalid.
    """
    methods, timeout, executor = route.methods, route.timeout, route.executor
    if (
        isinstance(methods, str)
        or not (isinstance(methods, Collection) and methods)
        or not all(isinstance(each, str) and each.isalpha() and each.isupper() for each in methods)
    ):
        raise ValueError(f"methods must be upper-case names such as ('GET', 'POST'), not {methods!r}")
    if not (timeout is None or (isinstance(timeout, int | float) and 0 <= timeout < float("inf"))):
        raise ValueError(f"timeout must be a number of seconds, 0 or more, not {timeout!r}")
    if not (executor is None or isinstance(executor, str)):
        raise ValueError(f"executor must be a name such as 'threads', not {executor!r}")
    if NO_SLASH.match(regex):
        raise ValueError(f"a pattern must begin with / to match a path: {regex!r}")


class _Entry:
    """
    An entry of the table: a pattern with its function.

    @param place: the position in url_patterns.
    @param regex: the whole pattern.
    @param decorators: the decorators around its function, outermost first.
    @ivar match: matches a whole path.
    @ivar notes: warnings for the log at start-up.
    @ivar problems: why the entry cannot work, although it can be loaded.
    @raise PatternError: when the entry cannot be used.
    """

    def __init__(self, place: str, regex: str, route: Route, decorators: Sequence[Decorator]) -> None:
        try:
            _check(route, regex)
            pattern = compile_pattern(regex, place)
            function = resolve_function(route.function)
            self.methods = frozenset(route.methods) | ({"HEAD"} if "GET" in route.methods else set())
            name, executor = route.name, route.executor
            if is_resource(function):
                if route.methods is Route.methods:
                    self.methods = ALL_METHODS
                if decorators:
                    raise ValueError(
                        "a Twisted resource cannot be wrapped; list it outside of include(..., wrap=)"
                    )
                if executor is not None:
                    raise ValueError("a Twisted resource runs on the reactor; leave out executor")
                name, executor = name or type(function).__name__, EXECUTOR
                function = MountedResource(function, regex)
            self.handler = Handler(function, pattern.groupindex, name, executor, route.timeout, decorators)
            self.handler.idempotent = route.idempotent
        except Exception as error:  # an annotation may raise anything
            reason = " ".join(str(error).split()) or repr(error)
            if reason.startswith("unknown extension ?<"):
                reason += "; write a group with a name as (?P<name>...)"
            raise PatternError(f"{place} {route.regex!r}: {reason}") from error
        self.place = f"{place} {route.regex!r}"
        self.notes = [*self.handler.notes, *unnamed_group_warnings(regex)]
        self.problems = route_problems(regex, self.handler, self.methods)
        self.match, self.regex = pattern.fullmatch, regex


def _unreachable(entries: Iterable[_Entry]) -> Iterator[str]:
    """Yield warnings about methods that an earlier entry with the same pattern always handles."""
    seen: dict[tuple[str, str], _Entry] = {}
    for entry in entries:
        regex = GROUP_NAME.sub("(", entry.regex)
        earlier: dict[str, list[str]] = {}
        for method in sorted(entry.methods):
            first = seen.setdefault((regex, method), entry)
            if first is not entry and not (method == "HEAD" and "GET" in entry.methods):
                earlier.setdefault(first.place, []).append(method)
        for place, methods in earlier.items():
            yield f"{entry.place}: never called for {', '.join(methods)}: {place} has the same pattern"


class Router:
    """
    A table of patterns.

    @param patterns: (regex, function) pairs, Routes and includes.
    @param lifespan: the lifespan that the application defines; C{None} if there is none.
    @ivar lifespan: makes the context manager of the lifespan; C{None} if there is none.
    @ivar entries: the entries of the table, each with C{regex}, C{methods} and C{handler}.
    @raise PatternError: when an entry cannot be used. The message names the entry and the reason.
    @raise ConfigurationError: when the lifespan cannot be used.
    """

    def __init__(self, patterns: Sequence[Any], lifespan: Any = None) -> None:
        self.lifespan = None if lifespan is None else check_lifespan(lifespan)
        self.entries = [_Entry(*entry) for entry in flatten(patterns)]
        self._not_indexed: list[_Entry] = []
        # By the number of segments and the positions of the fixed ones: a function that picks these segments
        # of a path, and the entries by the texts of these segments.
        by_count: dict[int, dict[tuple[int, ...], tuple[Any, dict[Any, list[_Entry]]]]] = {}
        for index, entry in enumerate(self.entries):
            entry.handler.index, entry.handler.router = index, self
            parts = fixed_segments(entry.regex)
            if parts is None:
                self._not_indexed.append(entry)
                continue
            fixed = tuple(i for i, text in enumerate(parts) if text is not None)
            shapes = by_count.setdefault(len(parts), {})
            pick, table = shapes.setdefault(fixed, (itemgetter(*fixed) if fixed else bool, {}))
            table.setdefault(pick(parts), []).append(entry)
        self._tables = {count: list(shapes.values()) for count, shapes in by_count.items()}

    @property
    def handlers(self) -> list[Handler]:
        """The handler of every entry, in the order of the table."""
        return [entry.handler for entry in self.entries]

    def check_executors(self, names: Collection[str]) -> None:
        """
        Check the names of executors.

        @param names: the names that may be used. Only resources run where resources are rendered.
        @raise ConfigurationError: when an entry has another name.
        """
        for entry in self.entries:
            name, is_mounted = entry.handler.executor, isinstance(entry.handler.original, MountedResource)
            if name is None or (name in names and is_mounted == (name == EXECUTOR)):
                continue
            others = [each for each in names if each != EXECUTOR]
            nearest = closest(name, others)
            advice = f"did you mean {nearest!r}?" if nearest else f"use one of {', '.join(others)}"
            raise ConfigurationError(f"{entry.place}: unknown executor {name!r}; {advice}")

    @property
    def problems(self) -> list[str]:
        """The entries that cannot work, although the table can be loaded."""
        if not self.entries:
            return ["url_patterns is empty: every request gets 404"]
        return [f"{entry.place}: {problem}" for entry in self.entries for problem in entry.problems]

    @property
    def notes(self) -> list[str]:
        """Warnings about the problems, and about entries that work, but perhaps not as intended."""
        own = [f"{entry.place}: {note}" for entry in self.entries for note in entry.notes]
        return self.problems + own + list(_unreachable(self.entries))

    def match(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        """
        Find the first entry that matches.

        @param path: the percent-decoded path, with surrogate escapes for bytes that are not UTF-8.
        @return: its handler, and the named groups that took part in the match.
        @raise HTTPError: 400 when the path is not UTF-8, 404 when no pattern matches, 405 (with Allow) when a
            pattern matches but no entry handles the method.
        """
        if not path.isascii():
            try:
                path.encode()
            except UnicodeEncodeError:
                raise HTTPError(400, "the path is not valid UTF-8") from None
        parts = path.split("/")
        candidates = self._not_indexed
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
        names = ", ".join([*sorted(allowed - {"OPTIONS"}), "OPTIONS"])
        detail = f"{method} is not allowed for {path}; use {', '.join(sorted(allowed))}"
        raise HTTPError(405, detail, [("allow", names)])
