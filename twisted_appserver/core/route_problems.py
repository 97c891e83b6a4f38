"""Finds entries of a table that can be loaded, but cannot work. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Sequence
from typing import Any, get_args, get_origin

from twisted_appserver.core.conversions.annotations import plain_types
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.upload import Upload

# Groups of other frameworks match only themselves here: <name> and <int:name> (Flask), {name} (FastAPI).
FOREIGN_GROUP = re.compile(r"(?<![\\?P])(?:<(?:\w+:)?([A-Za-z_]\w*)>|\{([A-Za-z_]\w*)(?::\w+)?\})")
NOT_JSON = frozenset((None, type(None), str, bytes, int, float, bool, tuple, set, frozenset))
NO_BODY = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"))  # methods whose requests have no body
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
    return [*found, *filter(None, [_result_problem(handler), _upload_problem(handler, methods)])]
