"""The OpenAPI 3.1 document of a table: made from patterns, signatures and docstrings."""

from __future__ import annotations

import inspect
import re
import weakref
from contextlib import suppress
from typing import Any, get_args

from twisted_appserver.admin.path_templates import path_template
from twisted_appserver.admin.schemas import REFERENCE, Schemas, form_fields
from twisted_appserver.core.call import Reply
from twisted_appserver.core.conversions.parameters import Parameter
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.mounted_resource import EXECUTOR
from twisted_appserver.core.perform import JSON_LINES

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
METHODS_WITH_BODY = ("POST", "PUT", "PATCH")
Fields = dict[str, tuple[Parameter, dict[str, Any]]]  # parameters and their schemas, by name


class OpenAPIDocument:
    """
    Serve the OpenAPI document of a service. It is made again after a reload.

    @param service: an L{AppService}.
    """

    def __init__(self, service: Any) -> None:
        self._service = service
        # A weak reference to the router of the document, so that a reload can free the previous router.
        self._router: Any = bool
        self._document: dict[str, Any] = {}

    async def openapi(self) -> dict[str, Any]:
        """Return the document."""
        router = self._service.dispatcher.router
        if self._router() is not router:
            self._router = weakref.ref(router)
            self._document = make_document(router.entries, self._service.title)
        return self._document


def make_document(entries: Any, title: str) -> dict[str, Any]:
    """
    Make the document of a table.

    @param entries: the entries of a L{Router}.
    @param title: the title of the document.
    """
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    shapes: dict[str, str] = {}
    for number, entry in enumerate(entries):
        template = path_template(entry.regex)
        if template is None or entry.handler.executor == EXECUTOR:
            continue
        path, groups = template
        shape = re.sub(r"\{\w+\}", "{}", path)
        if shapes.setdefault(shape, path) != path:  # OpenAPI cannot distinguish it from an earlier path
            continue
        item = paths.setdefault(path, {})
        for method in sorted(entry.methods - {"HEAD"}):
            if (
                method.lower() in METHODS and method.lower() not in item
            ):  # the first entry that matches is called
                item[method.lower()] = _operation(entry.handler, method, groups, number, schemas)
        if set(entry.regex) & set("[]()*+?|^$\\"):
            item.setdefault("x-regex", entry.regex)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "0"},
        "servers": [{"url": ".."}],
        "paths": paths,
        "components": {"schemas": schemas.components},
    }


def _operation(
    handler: Handler, method: str, groups: dict[str, str], number: int, schemas: Schemas
) -> dict[str, Any]:
    """Describe a function that is called with one method."""
    summary, _, text = (inspect.getdoc(handler.original) or "").partition("\n")
    operation: dict[str, Any] = {
        "operationId": f"{handler.name}-{number}-{method.lower()}",
        "tags": ["functions"],
        "summary": summary or handler.name,
    }
    if text.strip():
        operation["description"] = text.strip()
    fields = {each.name: (each, schemas.of_parameter(each)) for each in handler.arguments.parameters}
    parameters = _path_parameters(groups, fields)
    rest = {name: field for name, field in fields.items() if name not in groups}
    if method in METHODS_WITH_BODY:
        if rest or handler.arguments.var_keyword or handler.arguments.dict_name or handler.call_name:
            operation["requestBody"] = _body(handler, rest)
    else:
        for name, (each, schema) in rest.items():
            parameters.append({"name": name, "in": "query", "required": each.required, "schema": schema})
    if parameters:
        operation["parameters"] = parameters
    operation["responses"] = _responses(handler, schemas)
    return operation


def _path_parameters(groups: dict[str, str], fields: Fields) -> list[dict[str, Any]]:
    parameters = []
    for name, regex in groups.items():
        schema = dict(fields[name][1]) if name in fields else {"type": "string"}
        if schema == {"type": "string"} and regex not in ("[^/]+", ".+", ".*"):
            schema["pattern"] = f"^(?:{regex})$"
        parameters.append(
            {"name": name, "in": "path", "required": True, "schema": schema or {"type": "string"}}
        )
    return parameters


def _responses(handler: Handler, schemas: Schemas) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": REFERENCE.format(name="problem")}}}
    return {
        "200": {"description": "The result.", "content": _result(handler, schemas)},
        "202": {"description": "A job; its URL is in Location. For Prefer: respond-async (RFC 7240)."},
        "422": {"description": "A variable is missing or invalid.", "content": problem},
        "default": {"description": "An error.", "content": problem},
    }


def _body(handler: Handler, rest: Fields) -> dict[str, Any]:
    """
    Describe the body of a request.

    @param rest: the parameters that are not in the path; they are the fields of the body.
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
    content = {"application/json": {"schema": body}}
    if fields := form_fields(body.get("properties", {})):
        content["application/x-www-form-urlencoded"] = {"schema": {**body, "properties": fields}}
    return {"required": bool(required or "anyOf" in body), "content": content}


def _result(handler: Handler, schemas: Schemas) -> dict[str, Any]:
    """Describe what a function returns, from its annotation."""
    annotation = handler.signature.return_annotation
    if annotation in (Reply, "Reply"):
        return {"*/*": {}}
    function = inspect.unwrap(handler.original)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        item = {} if annotation in (inspect.Signature.empty, Any) else _item(annotation, schemas)
        return {JSON_LINES: {"schema": item}, "text/event-stream": {}}
    schema: dict[str, Any] = {"type": ["object", "array"]}
    # JSON Schema cannot describe every type, such as a Deferred.
    with suppress(TypeError, ValueError, NameError):
        if annotation not in (inspect.Signature.empty, Any, None):
            schema = schemas.of_type(annotation)
    return {"application/json": {"schema": schema}}


def _item(annotation: Any, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of what a generator yields, from an annotation such as C{Iterator[dict]}."""
    with suppress(TypeError, ValueError, NameError, IndexError):
        return schemas.of_type(get_args(annotation)[0])
    return {}
