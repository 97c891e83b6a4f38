"""The functions of a table as OpenAPI 3.1 describes them: from their patterns, signatures and docstrings."""

from __future__ import annotations

import inspect
import json
import re
import weakref
from contextlib import suppress
from typing import Any, get_args

import msgspec

from twisted_appserver.core.call import Reply
from twisted_appserver.core.conversions.converters import IConverter, converter_for
from twisted_appserver.core.conversions.parameters import Parameter
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.perform import JSON_LINES
from twisted_appserver.core.regex_syntax import REPEATS, codes, parser

TEMPLATE = "#/components/schemas/{name}"
RESERVED = "{}?#%\\"  # what does not stand for itself in a template, or in the address that it becomes
NO_WIDTH = () if codes is None else (codes.AT, codes.ASSERT, codes.ASSERT_NOT)
DECIMAL = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
BOOLEAN = {"type": "string", "enum": ["true", "false", "1", "0"]}
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
WITH_BODY = ("POST", "PUT", "PATCH")
PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The id under which the log knows the request."},
    },
}


def template(regex: str) -> tuple[str, dict[str, str]] | None:
    """
    A pattern as a path with C{{names}}, and what each name must match. What is optional and holds no name is
    left out. C{None} where anything else without a name is not fixed text: that is no one path.
    """
    if parser is None:  # on a Python that has moved it
        return None
    parsed = parser.parse(regex)
    names = {number: name for name, number in parsed.state.groupdict.items()}
    path = _path(parsed, names)
    if path is None:
        return None
    groups = {name: _within(regex, name) for name in re.findall(r"\{(\w+)\}", path)}
    return path if path.startswith("/") else f"/{path}", groups


def _path(items: Any, names: dict[int, str]) -> str | None:
    """What a part of a pattern adds to the path."""
    path = ""
    for code, value in items:
        part: str | None = None
        if code is codes.LITERAL and chr(value) not in RESERVED:
            part = chr(value)
        elif code is codes.SUBPATTERN:
            part = f"{{{names[value[0]]}}}" if value[0] in names else _path(value[3], names)
        elif code in REPEATS and value[0] < 2:
            part = _path(value[2], names)
            if not (value[0] or "{" in (part or "")):
                part = ""
        elif code in NO_WIDTH:
            part = ""
        if part is None:
            return None
        path += part
    return path


def _within(regex: str, name: str) -> str:
    """What a group of a pattern must match: up to the first parenthesis with which that is a pattern."""
    inner = regex.partition(f"(?P<{name}>")[2]
    for end in re.finditer(r"\)", inner):
        with suppress(re.error):
            re.compile(inner[: end.start()])
            return inner[: end.start()]
    return ".*"


class Description:
    """
    @param service: an L{AppService}.
    """

    def __init__(self, service: Any) -> None:
        self._service = service
        self._router: Any = bool  # returns the one that the document is of; a reload must be able to free it
        self._document: dict[str, Any] = {}

    async def openapi(self) -> dict[str, Any]:
        """The document."""
        router = self._service.dispatcher.router
        if self._router() is not router:
            self._router = weakref.ref(router)
            self._document = describe(router.entries, self._service.title)
        return self._document


def describe(entries: Any, title: str) -> dict[str, Any]:
    """
    The document for a table.

    @param entries: of a L{Router}.
    """
    components: dict[str, Any] = {"problem": PROBLEM}
    paths: dict[str, dict[str, Any]] = {}
    shapes: dict[str, str] = {}
    for number, entry in enumerate(entries):
        told = template(entry.regex)
        if told is None:
            continue
        path, groups = told
        shape = re.sub(r"\{\w+\}", "{}", path)
        if shapes.setdefault(shape, path) != path:  # one that OpenAPI cannot tell from an earlier one
            continue
        item = paths.setdefault(path, {})
        for method in sorted(entry.methods - {"HEAD"}):
            if method.lower() in METHODS and method.lower() not in item:  # the first that matches answers
                item[method.lower()] = _operation(entry.handler, method, groups, number, components)
        if set(entry.regex) & set("[]()*+?|^$\\"):
            item.setdefault("x-regex", entry.regex)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "0"},
        "servers": [{"url": ".."}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(
    handler: Handler, method: str, groups: dict[str, str], number: int, components: dict[str, Any]
) -> dict[str, Any]:
    summary, _, text = (inspect.getdoc(handler.function) or "").partition("\n")
    made: dict[str, Any] = {"operationId": f"{handler.name}-{number}-{method.lower()}", "tags": ["functions"]}
    made |= {"summary": summary or handler.name}
    if text.strip():
        made["description"] = text.strip()
    fields = {each.name: (each, _schema(each, components)) for each in handler.arguments.parameters}
    parameters = []
    for name, regex in groups.items():
        schema = dict(fields[name][1]) if name in fields else {"type": "string"}
        if schema == {"type": "string"} and regex not in ("[^/]+", ".+", ".*"):
            schema["pattern"] = f"^(?:{regex})$"
        parameters.append(
            {"name": name, "in": "path", "required": True, "schema": schema or {"type": "string"}}
        )
    rest = {name: field for name, field in fields.items() if name not in groups}
    if method in WITH_BODY:
        if rest or handler.arguments.var_keyword or handler.arguments.dict_name or handler.call_name:
            made["requestBody"] = _body(handler, rest)
    else:
        for name, (each, schema) in rest.items():
            parameters.append({"name": name, "in": "query", "required": each.required, "schema": schema})
    if parameters:
        made["parameters"] = parameters
    problem = {"application/problem+json": {"schema": {"$ref": TEMPLATE.format(name="problem")}}}
    made["responses"] = {
        "200": {"description": "What it returns.", "content": _result(handler, components)},
        "202": {"description": "A job, where Location says, for Prefer: respond-async (RFC 7240)."},
        "422": {"description": "A variable is missing or does not fit.", "content": problem},
        "default": {"description": "A problem.", "content": problem},
    }
    return made


def _body(handler: Handler, rest: dict[str, tuple[Parameter, dict[str, Any]]]) -> dict[str, Any]:
    """
    The body of a request, whose fields are the parameters that are not groups.

    @param rest: these parameters, with their schemas.
    """
    body: dict[str, Any] = {"type": "object"}
    if rest:
        body["properties"] = {name: schema for name, (_, schema) in rest.items()}
    required = [name for name, (each, _) in rest.items() if each.required]
    whole = handler.arguments.body_object
    if whole and whole.name in required:  # the body may also be this object itself
        required.remove(whole.name)
        body["anyOf"] = [{"required": [whole.name]}, rest[whole.name][1]]
    if required:
        body["required"] = required
    kinds = {"application/json": {"schema": body}}
    if texts := _as_texts(body.get("properties", {})):
        kinds["application/x-www-form-urlencoded"] = {"schema": {**body, "properties": texts}}
    return {"required": bool(required or "anyOf" in body), "content": kinds}


def _schema(parameter: Parameter, components: dict[str, Any]) -> dict[str, Any]:
    """Of a parameter's type, with its default."""
    schema: dict[str, Any] = {}
    with suppress(TypeError):  # a type that JSON Schema does not know, whose parameter has a default
        if parameter.type is not Any:
            schema = _described(parameter.converter, components)
    if not parameter.required:
        with suppress(TypeError):
            default = msgspec.to_builtins(parameter.default, str_keys=True)
            schema = _told({**schema, "default": default})
    return schema


def _described(converter: IConverter, components: dict[str, Any]) -> dict[str, Any]:
    """
    The schema of a type. The components that it refers to are added to C{components}, under other names if
    theirs are taken.
    """
    schema, more = converter.schema(TEMPLATE)
    renamed = {}
    for name, each in more.items():
        number, free = 2, name
        while components.get(free, _told(each)) != _told(each):
            free, number = f"{name}{number}", number + 1
        renamed[TEMPLATE.format(name=name)] = TEMPLATE.format(name=free)
    for name, each in more.items():
        place = renamed[TEMPLATE.format(name=name)].rpartition("/")[2]
        components[place] = _told(_referring(each, renamed))
    told: dict[str, Any] = _told(_referring(schema, renamed))
    return told


def _referring(schema: Any, renamed: dict[str, str]) -> Any:
    if isinstance(schema, list):
        return [_referring(each, renamed) for each in schema]
    if isinstance(schema, dict):
        return {key: _referring(value, renamed) for key, value in schema.items()}
    return renamed.get(schema, schema) if isinstance(schema, str) else schema


def _of_type(kind: Any, components: dict[str, Any]) -> dict[str, Any]:
    """
    @raise TypeError: when it is a type that JSON Schema does not know.
    """
    return _described(converter_for(kind), components)


def _told(schema: Any) -> Any:
    """
    A schema that says what a decimal number looks like, of which JSON Schema knows nothing, without defaults
    that have no place in JSON.
    """
    if isinstance(schema, list):
        return [_told(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    told = {key: _told(value) for key, value in schema.items() if key != "default" or _is_json(value)}
    if told.get("format") == "decimal":
        told |= {"type": ["string", "number"], "pattern": DECIMAL}
    return told


def _is_json(value: Any) -> bool:
    try:
        return bool(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError):  # such as infinity, or half a character
        return False


def _as_texts(properties: dict[str, Any]) -> dict[str, Any]:
    """The fields of a form; none where some have a type that a form has no clear way to write."""
    if any(
        {"$ref", "anyOf"} & each.keys() or each.get("type") in ("array", "object")
        for each in properties.values()
    ):
        return {}
    return {name: BOOLEAN if each.get("type") == "boolean" else each for name, each in properties.items()}


def _result(handler: Handler, components: dict[str, Any]) -> dict[str, Any]:
    kind = handler.signature.return_annotation
    if kind in (Reply, "Reply"):
        return {"*/*": {}}
    inner = inspect.unwrap(handler.function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        item = {} if kind in (inspect.Signature.empty, Any) else _item(kind, components)
        return {JSON_LINES: {"schema": item}, "text/event-stream": {}}
    schema: dict[str, Any] = {"type": ["object", "array"]}
    # JSON Schema does not know every type, such as a Deferred.
    with suppress(TypeError, ValueError, NameError):
        if kind not in (inspect.Signature.empty, Any, None):
            schema = _of_type(kind, components)
    return {"application/json": {"schema": schema}}


def _item(kind: Any, components: dict[str, Any]) -> dict[str, Any]:
    """Of what a generator yields, from its annotation as C{Iterator[dict]} or the like."""
    with suppress(TypeError, ValueError, NameError, IndexError):
        return _of_type(get_args(kind)[0], components)
    return {}
