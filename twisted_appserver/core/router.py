"""
Finds the function for a path. Pure.

Strategy: trying one regular expression after the other would cost more with every entry. Most patterns
consist of segments between slashes, and each segment is either fixed text or contains groups. Such patterns
are indexed by the number of segments, by the positions of the fixed segments, and by their texts. So the
index returns only a few candidates for a path. Patterns of any other form are always candidates. The
candidates are tried in the order of the table, so the first match wins, as if all patterns had been tried.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from operator import attrgetter, itemgetter
from typing import Any

from twisted_appserver.closest_name import closest
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.lifespan import check_lifespan
from twisted_appserver.core.mounted_resource import ALL_METHODS, EXECUTOR, MountedResource, is_resource
from twisted_appserver.core.pattern_compiler import backtracking, compile_pattern, fixed_segments
from twisted_appserver.core.retry import Retry
from twisted_appserver.core.route_limits import RouteLimits, check_key, limit_errors, limits_of
from twisted_appserver.core.route_problems import method_problems, route_problems
from twisted_appserver.core.routes import (
    Decorator,
    Route,
    flatten,
    normalize,
    resolve_function,
    unnamed_group_warnings,
)
from twisted_appserver.core.schedule import Schedule, only_path
from twisted_appserver.core.streamed_body import StreamingHandler
from twisted_appserver.errors import AppserverError, ConfigurationError, HTTPError, PatternError

GROUP_NAME = re.compile(r"\(\?P<\w+>")
INDEX = attrgetter("handler.index")
OF_SERVICES = ("processes", "cluster")  # executors that a service makes, and an AppResource must be given
NO_SLASH = re.compile(r"\w(?![?*{])")  # the start of a pattern that cannot match the slash of a path


def _option_errors(route: Route, regex: str) -> Iterator[str]:
    """
    Yield why options of a Route cannot be used.

    @param regex: the whole pattern, including the prefix of an include.
    """
    methods, timeout, executor = route.methods, route.timeout, route.executor
    if (
        isinstance(methods, str)
        or not (isinstance(methods, Collection) and methods)
        or not all(isinstance(each, str) and each.isalpha() and each.isupper() for each in methods)
    ):
        yield f"methods must be upper-case names such as ('GET', 'POST'), not {methods!r}"
    if not (timeout is None or (isinstance(timeout, int | float) and 0 <= timeout < float("inf"))):
        yield f"timeout must be a number of seconds, 0 or more, not {timeout!r}"
    if not (route.retry is None or isinstance(route.retry, Retry)):
        yield f"retry must be a Retry such as Retry(attempts=5), not {route.retry!r}"
    if not (executor is None or isinstance(executor, str)):
        yield f"executor must be a name such as 'threads', not {executor!r}"
    stream = route.max_stream
    if not (stream is None or (type(stream) is int and stream >= 0)):
        yield f"max_stream must be a number of bytes, 0 for no limit, not {stream!r}"
    if route.tool not in (None, True, False):
        yield f"tool must be True, False or None, not {route.tool!r}"
    if NO_SLASH.match(regex):
        yield f"a pattern must begin with / to match a path: {regex!r}"
    yield from limit_errors(route)


class _Entry:
    """
    An entry of the table: a pattern with its function.

    @param place: the position in url_patterns.
    @param regex: the whole pattern.
    @param decorators: the decorators around its function, outermost first.
    @ivar errors: why the entry cannot be used. If it cannot, the other attributes may be missing.
    @ivar match: matches a whole path.
    """

    handler: Handler

    def __init__(self, place: str, regex: str, route: Route, decorators: Sequence[Decorator]) -> None:
        self.place, self.regex, self._route = f"{place} {route.regex!r}", regex, route
        self.errors = [PatternError(f"{self.place}: {reason}") for reason in _option_errors(route, regex)]
        pattern = function = None
        with self._collecting():
            pattern = compile_pattern(regex)
        with self._collecting():
            function = resolve_function(route.function)
        if pattern is None or function is None:
            return
        self._pattern, self.match = pattern, pattern.fullmatch
        self.methods = frozenset() if self.errors else frozenset(route.methods)
        if "GET" in self.methods:
            self.methods |= {"HEAD"}
        with self._collecting():
            self.handler = self._make_handler(function, decorators)
            self.handler.schedule = self._make_schedule()
        if not self.errors:
            with self._collecting():
                self.handler.limits = self._make_limits()

    @contextmanager
    def _collecting(self) -> Iterator[None]:
        """Collect an error, which may be of any type: annotations may raise anything."""
        try:
            yield
        except Exception as error:
            reason = " ".join(str(error).split()) or repr(error)
            if reason.startswith("unknown extension ?<"):
                reason += "; write a group with a name as (?P<name>...)"
            self.errors.append(PatternError(f"{self.place}: {reason}"))
            self.errors[-1].__cause__ = error

    def _make_handler(self, function: Any, decorators: Sequence[Decorator]) -> Handler:
        """
        @raise ValueError: when a Twisted resource has options that only functions may have.
        @raise TypeError: when the function cannot be called with the groups of the pattern.
        """
        route, name, executor = self._route, self._route.name, self._route.executor
        if is_resource(function):
            if route.methods is Route.methods:
                self.methods = ALL_METHODS
            if decorators:
                raise ValueError(
                    "a Twisted resource cannot be wrapped; list it outside of include(..., wrap=)"
                )
            if executor is not None:
                raise ValueError("a Twisted resource runs on the reactor; leave out executor")
            if route.max_stream is not None:
                raise ValueError("a Twisted resource gets whole bodies; leave out max_stream")
            name, executor = name or type(function).__name__, EXECUTOR
            function = MountedResource(function, self.regex)
        make = Handler if route.max_stream is None else StreamingHandler
        handler = make(function, self._pattern.groupindex, name, executor, route.timeout, decorators)
        if isinstance(handler, StreamingHandler):
            handler.max_stream = route.max_stream or 0
            handler.check()
        handler.idempotent, handler.retry, handler.tool = route.idempotent, route.retry, route.tool
        return handler

    def _make_limits(self) -> RouteLimits | None:
        """
        @raise ValueError: when the function has no jobs, or no variable that the limits need.
        """
        limits = limits_of(self._route)
        if limits is not None:
            if self.handler.executor == EXECUTOR:
                raise ValueError("a Twisted resource has no jobs; leave out key, at_once and rate")
            check_key(limits, self.handler, {*self._pattern.groupindex})
        return limits

    def _make_schedule(self) -> Schedule | None:
        """
        @raise ValueError: when the pattern cannot have this schedule.
        @raise ImportError: when a package is missing.
        """
        route = self._route
        if (route.cron, route.every, route.timezone) == (None, None, None):
            return None
        schedule = Schedule(route.cron, route.every, route.timezone)
        only_path(self.regex)
        return schedule

    @cached_property
    def _backtracking(self) -> tuple[str, str]:
        found = backtracking(self.regex, self._pattern)
        if normalize(self._route.regex) == self.regex:
            return found
        problem, note = (f"with the prefix of its include: {text}" if text else "" for text in found)
        return problem, note

    @property
    def problems(self) -> list[str]:
        """Why the entry cannot work, although it can be loaded."""
        problems, _ = method_problems(self._route.methods)
        found = route_problems(self.regex, self.handler, self.methods)
        doubtful = self.handler.arguments.doubtful
        found += [f"{self.handler.name}: {doubtful}"] if doubtful else []
        return [*found, *problems, *filter(None, self._backtracking[:1])]

    @property
    def notes(self) -> list[str]:
        """Warnings for the log at start-up."""
        _, notes = method_problems(self._route.methods)
        groups = unnamed_group_warnings(self.regex)
        return [*self.handler.notes, *groups, *notes, *filter(None, self._backtracking[1:])]


def _entries(patterns: Sequence[Any]) -> Iterator[_Entry | PatternError]:
    """Yield the entries of a table, and an error for each that has the wrong form."""
    for each in flatten(patterns):
        yield each if isinstance(each, PatternError) else _Entry(*each)


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
    @param errors: if it is given, the table leaves out what cannot be used, and adds the errors to this list.
    @ivar lifespan: makes the context manager of the lifespan; C{None} if there is none.
    @ivar entries: the entries of the table, each with C{regex}, C{methods} and C{handler}.
    @ivar left_out: the number of entries that cannot be used.
    @raise PatternError: when an entry cannot be used. The message names the entry and the reason.
    @raise ConfigurationError: when the lifespan cannot be used.
    """

    def __init__(
        self, patterns: Sequence[Any], lifespan: Any = None, errors: list[AppserverError] | None = None
    ) -> None:
        self.lifespan = None
        found: list[AppserverError] = []
        try:
            self.lifespan = None if lifespan is None else check_lifespan(lifespan)
        except ConfigurationError as error:
            found.append(error)
        self.entries: list[_Entry] = []
        self.left_out = 0
        for entry in _entries(patterns):
            if isinstance(entry, _Entry) and not entry.errors:
                self.entries.append(entry)
            else:
                found += entry.errors if isinstance(entry, _Entry) else [entry]
                self.left_out += 1
        if errors is not None:
            errors += found
        elif found:
            raise found[0]
        self._not_indexed: list[_Entry] = []
        # The keys are the number of segments and the positions of the fixed segments. Each value is a
        # function that picks the fixed segments of a path, and a dict that finds entries by the texts of
        # these segments.
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

    @cached_property
    def streams_bodies(self) -> bool:
        """Whether any function reads bodies as they arrive."""
        return any(handler.max_stream is not None for handler in self.handlers)

    @property
    def handlers(self) -> list[Handler]:
        """The handler of every entry, in the order of the table."""
        return [entry.handler for entry in self.entries]

    def check_executors(self, names: Collection[str]) -> None:
        """
        @param names: as for L{executor_errors}.
        @raise ConfigurationError: when an entry names another executor.
        """
        for error in self.executor_errors(names):
            raise error

    def executor_errors(self, names: Collection[str]) -> Iterator[ConfigurationError]:
        """
        Yield an error for each entry that names an unknown executor.

        @param names: the names that may be used. Only resources may name the executor of resources.
        """
        for entry in self.entries:
            name, is_mounted = entry.handler.executor, isinstance(entry.handler.original, MountedResource)
            if name is None or (name in names and is_mounted == (name == EXECUTOR)):
                continue
            others = [each for each in names if each != EXECUTOR]
            nearest = closest(name, others)
            advice = f"did you mean {nearest!r}?" if nearest else f"use one of {', '.join(others)}"
            if name in OF_SERVICES and name not in names:
                advice = f"pass executors={{{name!r}: executor}} to AppResource, or {advice}"
            yield ConfigurationError(f"{entry.place}: unknown executor {name!r}; {advice}")

    @property
    def problems(self) -> list[str]:
        """The entries that cannot work, although the table can be loaded."""
        if not self.entries and not self.left_out:
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
