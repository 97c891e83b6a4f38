"""Makes a call from a function of the table and its variables, as a request for it would. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import isfunction, ismethod
from os import urandom
from typing import Any
from urllib.parse import unquote

import msgspec

from twisted_appserver.closest_name import closest
from twisted_appserver.core.call import CURRENT, Call
from twisted_appserver.core.json_encoding import encode
from twisted_appserver.core.mounted_resource import MountedResource
from twisted_appserver.core.path_templates import UndescribableError, path_templates
from twisted_appserver.core.request_data import KEY_HEADER
from twisted_appserver.core.router import Router
from twisted_appserver.errors import HTTPError, JobError

METHODS = ("POST", "PUT", "PATCH", "QUERY", "DELETE", "GET")  # a call has the first of its route's methods
TRACE = (b"traceparent", b"tracestate")  # headers copied from the current call
JSON_TYPE = (b"content-type", b"application/json")


def name_of(function: Any) -> str:
    """Return the name of a function, or of a route, for messages."""
    return function if isinstance(function, str) else str(getattr(function, "__qualname__", repr(function)))


def entries_of(router: Router, function: Any) -> list[Any]:
    """
    Return the entries of a function.

    @param function: a function of the table, or the name of a route. After a reload, a function of the
        previous table stands for the new function with its name.
    """
    if isinstance(function, str):
        return [entry for entry in router.entries if entry.handler.name == function]
    found = [entry for entry in router.entries if _is_same(entry.handler, function)]
    return found or [entry for entry in router.entries if _has_same_name(entry.handler.original, function)]


def _is_same(handler: Any, function: Any) -> bool:
    candidates = handler.original, handler.function
    return any(each is function or (ismethod(each) and each == function) for each in candidates)


def _has_same_name(one: Any, other: Any) -> bool:
    if not (isfunction(one) and isfunction(other)) or "<" in one.__qualname__:
        return False
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def find_entry(router: Router, function: Any) -> Any:
    """
    Return the only entry of a function.

    @raise JobError: when there is no such entry, or when there are several.
    """
    found, name = entries_of(router, function), name_of(function)
    if not found:
        near = closest(name, [handler.name for handler in router.handlers])
        hint = f"; did you mean {near!r}?" if near else "; add it to url_patterns"
        raise JobError(f"{name} is in no entry of the table{hint}")
    if len(found) > 1:
        places = " and ".join(entry.place for entry in found)
        raise JobError(f"{name} is in {len(found)} entries: {places}; {_advice(found)}")
    if isinstance(found[0].handler.original, MountedResource):
        raise JobError(f"{name} is a Twisted resource; only functions can be jobs")
    return found[0]


def _advice(entries: list[Any]) -> str:
    """Return how to put a job of one of several entries."""
    names = [repr(entry.handler.name) for entry in entries]
    if len(set(names)) == len(names):
        return f"put by name: {', '.join(names[:-1])} or {names[-1]}"
    return "give each a name, Route(..., name='this'), and write jobs.put('this', ...)"


def make_function_call(entry: Any, variables: Mapping[str, Any], key: str = "") -> Call:
    """
    Make the same call as a POST with these variables. Groups of the pattern become the path, and all other
    variables a JSON body. The call gets the user and the trace of the current call, if there is one.

    @param key: the C{Idempotency-Key}; empty for none.
    @raise JobError: when the function does not take these variables.
    """
    handler, current = entry.handler, CURRENT.get()
    path, groups = _path(entry, variables)
    fields = {name: value for name, value in variables.items() if name not in groups}
    _check_names(handler, fields)
    headers = [JSON_TYPE] if fields else []
    headers += [(KEY_HEADER, _key_field(key))] if key else []
    headers += [pair for pair in (current.raw_headers if current else ()) if pair[0] in TRACE]
    method = next((each for each in METHODS if each in entry.methods), min(entry.methods))
    call = Call(
        method, path, raw_headers=tuple(headers), body=_body(handler, fields), request_id=urandom(8).hex(),
        handler=handler, groups=groups, user=current.user if current else "",
        base=current.base if current else "",
    )  # fmt: skip
    try:
        handler.arguments.values(call, groups)
    except HTTPError as error:
        raise JobError(f"{handler.name}: {error.detail}") from None
    return call


def _key_field(key: str) -> bytes:
    """Return the value of the header. Only a key that begins with a quote needs quotes around it."""
    if key.startswith('"'):
        key = '"' + key.replace("\\", r"\\").replace('"', r"\"") + '"'
    return key.encode()


def _check_names(handler: Any, fields: Mapping[str, Any]) -> None:
    """Reject variables that the function would not receive. A request may have such variables."""
    arguments = handler.arguments
    if arguments.var_keyword or arguments.dict_name or arguments.reads_request:
        return
    body = arguments.body_object
    names = {each.name for each in arguments.parameters}.union((body and body.fields) or ())
    for name in fields.keys() - names:
        near = closest(name, names)
        hint = (
            f"did you mean {near!r}?" if near else f"its variables are {', '.join(sorted(names)) or 'none'}"
        )
        raise JobError(f"{handler.name} takes no variable {name!r}; {hint}")


def _body(handler: Any, fields: Mapping[str, Any]) -> bytes:
    try:
        return encode(fields) if fields else b""
    except (TypeError, ValueError) as error:
        raise JobError(f"{handler.name}: the variables cannot be sent as JSON: {error}") from None


def _path(entry: Any, variables: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """
    Return a path of an entry, and the groups in this path.

    @raise JobError: when a variable is missing, or does not fit its group.
    """
    name = entry.handler.name
    try:
        templates = path_templates(entry.regex)
    except UndescribableError as error:
        raise JobError(f"{name}: no path can be made from the pattern {entry.regex!r}: {error}") from None
    usable = [each for each in templates if each[1].keys() <= variables.keys()]
    if not usable:
        missing = min(templates[0][1].keys() - variables.keys())
        raise JobError(f"{name}: {missing} is missing")
    most = max(len(groups) for _, groups in usable)
    for template, regexes in usable:
        groups = {each: _text(name, each, variables[each]) for each in regexes}
        path = "".join(_filled(template, groups))
        found = entry.match(path) if len(groups) == most else None
        if found is not None and groups.items() <= found.groupdict().items():
            return path, groups
    shown = ", ".join(f"{each}={variables[each]!r}" for each in usable[0][1])
    raise JobError(f"{name}: {shown} does not fit the pattern {entry.regex!r}")


def _filled(template: str, groups: Mapping[str, str]) -> Iterator[str]:
    """Yield the parts of a path."""
    for position, part in enumerate(template.replace("{", "}").split("}")):
        yield groups[part] if position % 2 else unquote(part)


def _text(name: str, group: str, value: Any) -> str:
    """Return a variable as it is written in a path."""
    try:
        plain = msgspec.to_builtins(value)
    except (TypeError, ValueError):
        plain = None
    if isinstance(plain, bool):
        return str(plain).lower()
    if not isinstance(plain, str | int | float):
        raise JobError(f"{name}: {group} is a part of the path and must be text or a number, not {value!r}")
    return str(plain)
