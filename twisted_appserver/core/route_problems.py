"""Finds entries of a table that can be loaded, but cannot work. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Sequence
from typing import Any, get_args, get_origin

from twisted_appserver.closest_name import closest
from twisted_appserver.core.call import Call
from twisted_appserver.core.conversions.annotations import plain_types
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.upload import Upload
from twisted_appserver.errors import HTTPError

# Groups of other frameworks match only themselves here: <name> and <int:name> (Flask), {name} (FastAPI).
FOREIGN_GROUP = re.compile(r"(?<![\\?P])(?:<(?:\w+:)?([A-Za-z_]\w*)>|\{([A-Za-z_]\w*)(?::\w+)?\})")
TWO_SLASHES = re.compile(r"(?<![\\:[^])//")  # except in a URL, as in https?://
NOT_JSON = frozenset((None, type(None), str, bytes, int, float, bool, tuple, set, frozenset))
NO_BODY = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"))  # methods whose requests have no body
# The methods that the HTTP parser accepts; to a request with any other method it answers 400.
METHODS = frozenset(
    (
        *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"),
        *("COPY", "LOCK", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK", "BIND", "REBIND"),
        *("UNBIND", "ACL", "REPORT", "MKACTIVITY", "CHECKOUT", "MERGE", "MKCALENDAR", "LINK", "UNLINK"),
        *("NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE", "SOURCE"),
    )
)
SEQUENCES = (list, tuple, set, frozenset, Sequence)
RESULTS = "a dict, a list, an object such as a dataclass, or a Reply"


def _result_problem(handler: Handler) -> str:
    """Return why the result of a function cannot be sent, judging by its annotation; empty if it can."""
    function = handler.original
    if handler.function is not function or hasattr(function, "__wrapped__"):
        return ""  # a decorator may convert the result
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return ""
    annotation = handler.signature.return_annotation
    if not _is_not_json(annotation):
        return ""
    name = "None" if annotation in (None, type(None)) else inspect.formatannotation(annotation)
    return f"{handler.name} returns {name} according to its annotation; a function must return {RESULTS}"


def _is_not_json(annotation: Any) -> bool:
    try:
        return annotation in NOT_JSON or get_origin(annotation) in (tuple, set, frozenset)
    except TypeError:  # it cannot be hashed
        return False


def _is_file(annotation: Any) -> bool:
    """Return whether every value of an annotated parameter is a file, or a sequence of files."""
    return all(
        each is Upload or (get_origin(each) in SEQUENCES and _is_file(get_args(each)[0]))
        for each in plain_types(annotation)
    )


def _upload_problem(handler: Handler, methods: Collection[str]) -> str:
    """Return which required parameter is a file that no request can contain; empty if there is none."""
    if not NO_BODY.issuperset(methods):
        return ""
    for each in handler.arguments.parameters:
        if each.required and each.takes_files and _is_file(each.type):
            names = " or ".join(sorted({*methods} - ({"HEAD"} if "GET" in methods else set())))
            return f"{each.name} is an Upload, and {names} requests contain no files; use methods=('POST',)"
    return ""


def _schedule_problem(regex: str, handler: Handler) -> str:
    """Return why every scheduled call of a function fails; empty if it may succeed."""
    if handler.schedule is None:
        return ""
    try:
        handler.arguments.values(Call("GET", regex), {})
    except HTTPError as error:
        return f"a scheduled call of {handler.name} has no variables, and so it fails: {error.detail}"
    return ""


def method_problems(methods: Collection[str]) -> tuple[list[str], list[str]]:
    """
    Return problems and notes about methods that HTTP does not have.

    @return: a problem for each method that seems to be misspelt, and a note for each other unknown method.
    """
    problems, notes = [], []
    for method in sorted(METHODS.union(methods) - METHODS):
        if near := closest(method, sorted(METHODS)):
            problems.append(f"unknown method {method!r}; did you mean {near!r}?")
        else:
            notes.append(f"unknown method {method!r}: only --channel twisted and an AppResource accept it")
    return problems, notes


def route_problems(regex: str, handler: Handler, methods: Collection[str]) -> list[str]:
    """
    Return why an entry cannot work, one sentence for each problem.

    @param regex: the whole pattern.
    @param methods: the methods that the function handles.
    """
    found = [
        f"{each[0]} in the pattern matches only this text; write (?P<{each[1] or each[2]}>)"
        for each in FOREIGN_GROUP.finditer(regex)
    ]
    if TWO_SLASHES.search(regex):
        found.append("matches only paths with //; remove the / at the end of the prefix, or the / after it")
    found += [_result_problem(handler), _upload_problem(handler, methods), _schedule_problem(regex, handler)]
    return [*filter(None, found)]
