"""The entries of C{url_patterns}, as users write them. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from twisted_appserver.closest_name import closest
from twisted_appserver.core.import_errors import missing_module_advice, module_of
from twisted_appserver.core.mounted_resource import is_resource
from twisted_appserver.core.retry import Retry
from twisted_appserver.core.wrapping import decorators_of
from twisted_appserver.errors import PatternError

EMPTY_GROUP = re.compile(r"\(\?P<(\w+)>\)")


@dataclass(frozen=True)
class Route:
    """
    One entry of url_patterns.

    @ivar regex: the regular expression, which must match the whole path. Its named groups are passed to the
        function.
    @ivar function: the function to call, or its name as C{"package.module:name"}.
    @ivar methods: the HTTP methods that the function handles. GET includes HEAD. The server answers OPTIONS.
        QUERY (RFC 10008) is like GET with a body.
    @ivar name: the name for logs and figures; C{None} for the function's own name.
    @ivar executor: C{"inline"}, C{"threads"}, C{"processes"} or C{"cluster"}; C{None} for the service's
        default.
    @ivar timeout: seconds for one call, 0 for no limit; C{None} for the service's default.
    @ivar idempotent: whether a call may be repeated after its process has died: by a cluster, or as a job in
        a store.
    @ivar retry: how often a job is tried if it ends with a status of 500 or more or its process dies, and the
        pauses between attempts; C{None} for one attempt.
    @ivar cron: when the server itself calls the function: five fields as in crontab(5), such as
        C{"0 3 * * *"}. The pattern must be a fixed path then.
    @ivar every: seconds between two calls by the server itself.
    @ivar timezone: the time zone of C{cron}, such as C{"Europe/Berlin"}; UTC if C{None}.
    @ivar key: for jobs: the variable whose value is the group of a job. Jobs of one group begin in order.
    @ivar at_once: how many jobs of a group run at the same time; 1 if C{None}. Without C{key}, the limit is
        for all jobs of the route.
    @ivar rate: how often jobs of the route begin, such as C{"10/s"}, C{"100/m"}, C{"5/h"} or C{"1/d"};
        C{None} for no limit.
    @ivar max_stream: lets the function read the body as it arrives, from C{call.stream}: the maximum number
        of bytes, 0 for no limit. C{--max-body} does not apply. C{None} if the function gets whole bodies.
    @ivar tool: whether AI assistants may call the function, at C{/-/mcp}; C{None} if C{--mcp} decides.
    """

    regex: str
    function: Callable[..., Any] | str
    methods: Sequence[str] = ("GET", "POST")
    name: str | None = None
    executor: str | None = None
    timeout: float | None = None
    idempotent: bool = False
    retry: Retry | None = None
    cron: str | None = None
    every: float | None = None
    timezone: str | None = None
    key: str | None = None
    at_once: int | None = None
    rate: str | None = None
    max_stream: int | None = None
    tool: bool | None = None


@dataclass(frozen=True)
class _Include:
    prefix: str
    patterns: Sequence[Any]
    wrap: Any


Decorator = Callable[[Any], Any]
Entry = tuple[str, str, Route, tuple[Decorator, ...]]


def include(prefix: str, patterns: Sequence[Any], *, wrap: Decorator | Sequence[Decorator] = ()) -> Any:
    """
    Return an entry of url_patterns that stands for all C{patterns} below a prefix.

    @param prefix: a regular expression; empty for the patterns as they are.
    @param patterns: entries as in C{url_patterns}.
    @param wrap: a decorator for every function below the prefix, or several, outermost first. A context
        manager made by C{contextlib.contextmanager} is a decorator too, and is left when the whole call has
        ended, even if the function is a coroutine function or a generator.
    """
    return _Include(prefix, patterns, wrap)


def normalize(regex: str) -> str:
    """Remove redundant anchors from a pattern, and let empty groups match one segment."""
    regex = regex.removeprefix("^")
    if regex.endswith("$") and (len(regex) - len(regex[:-1].rstrip("\\"))) % 2:
        regex = regex[:-1]
    regex = EMPTY_GROUP.sub(r"(?P<\1>[^/]+)", regex)
    return f"(?:{regex})" if "|" in regex else regex


def _include_advice(patterns: Any) -> str:
    """Return what to write if C{include} got a module, or its name, in place of a table; empty otherwise."""
    if isinstance(patterns, str):
        name = patterns if all(map(str.isidentifier, patterns.split("."))) else "module"
        return f"include takes a table, not the name {patterns!r}; import it and write {name}.url_patterns"
    if isinstance(patterns, ModuleType):
        return f"include takes a table, not a module; write {patterns.__name__}.url_patterns"
    return ""


def flatten(
    patterns: Any, prefix: str = "", place: str = "url_patterns", decorators: tuple[Decorator, ...] = ()
) -> Iterator[Entry | PatternError]:
    """
    Yield the entries of a table and of the tables included in it.

    @return: for each entry its position, such as C{url_patterns[0][1]}, its whole pattern, its Route, and the
        decorators around its function, outermost first; or an error if the entry has the wrong form.
    """
    if not isinstance(patterns, Iterable) or isinstance(patterns, str | bytes):
        is_name = isinstance(patterns, str)
        advice = f"; to serve the module or the file of this name, write app={patterns!r}" if is_name else ""
        yield PatternError(f"{place} must be a sequence of (regex, function) pairs, not {patterns!r}{advice}")
        return
    for position, entry in enumerate(patterns):
        here = f"{place}[{position}]"
        if isinstance(entry, _Include) and isinstance(entry.prefix, str):
            try:
                inner = decorators + decorators_of(entry.wrap)
            except TypeError as error:
                yield PatternError(f"{here}: {error}")
                continue
            if advice := _include_advice(entry.patterns):
                yield PatternError(f"{here}: {advice}")
                continue
            yield from flatten(entry.patterns, prefix + normalize(entry.prefix), here, inner)
            continue
        if isinstance(entry, tuple | list) and len(entry) == 2:
            entry = Route(*entry)
        if not isinstance(entry, Route) or not isinstance(entry.regex, str):
            comma = "; write a table of one pair with a comma behind it: ((regex, function),)"
            hint = comma if isinstance(entry, str) and position == 0 and not prefix else ""
            yield PatternError(
                f"{here} must be (regex, function), Route(...) or include(...), not {entry!r}{hint}"
            )
            continue
        yield here, prefix + normalize(entry.regex), entry, decorators


def resolve_function(function: Any) -> Any:
    """
    Return a function, and import it if its name is given.

    @raise TypeError: when the name has the wrong form, or the object cannot be called.
    """
    if isinstance(function, str):
        module, _, name = function.partition(":")
        if not (module and name) or os.sep in module or module.endswith(".py"):
            meant = f"{module_of(module)[0]}:{name}" if module and name else "package.module:name"
            raise TypeError(f"write the name of a function as {meant!r}, not {function!r}")
        function = _import(module, name)
    if not callable(function) and not is_resource(function):
        raise TypeError(f"{function!r} cannot be called; give a function or a Twisted resource")
    return function


def _import(module: str, name: str) -> Any:
    """
    @raise TypeError: when there is no such module, or it has no such function.
    """
    try:
        imported = import_module(module)
    except ModuleNotFoundError as error:
        if advice := missing_module_advice(module, error):
            raise TypeError(advice) from error
        raise
    if not hasattr(imported, name):
        functions = [key for key, value in vars(imported).items() if callable(value)]
        near = closest(name, functions)
        hint = f"; did you mean {near!r}?" if near else ""
        raise TypeError(f"module {module!r} has no function {name!r}{hint}")
    return getattr(imported, name)


def unnamed_group_warnings(regex: str) -> list[str]:
    """Return a warning if a pattern has groups without a name; otherwise an empty list."""
    compiled = re.compile(regex)
    if compiled.groups == len(compiled.groupindex):
        return []
    return ["a group without a name is not passed to the function; write (?P<name>...) or (?:...)"]
