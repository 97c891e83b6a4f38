"""
Describes what a function takes, as OpenAPI's parameters and request bodies.

A variable may come from the path, the body or the query string, but a generated function should take it once.
So each variable is described in one place, which depends on the method and on the other parameters.
"""

from __future__ import annotations

from typing import Any

from twisted_appserver.admin.call_descriptions import described_call
from twisted_appserver.admin.docstrings import Docstring
from twisted_appserver.admin.schemas import BINARY, Schemas, form_fields
from twisted_appserver.core.conversions.parameters import Parameter
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.path_templates import UndescribableError, schema_pattern

JSON = "application/json"
MULTIPART = "multipart/form-data"
METHODS_WITH_BODY = ("POST", "PUT", "PATCH", "QUERY")
# The schema of C{**variables} in a query string.
ANY_QUERY = {
    "name": "variables",
    "in": "query",
    "description": "Any variables.",
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}


class RequestDescription:
    """
    Describe the requests for a function with one method.

    @param groups: the regular expressions of the groups in the path, by name.
    @param names: the names that the path has for these groups.
    @param documented: the docstring of the function.
    @raise UndescribableError: when no request with this method can fill a parameter.
    """

    def __init__(
        self,
        handler: Handler,
        method: str,
        groups: dict[str, str],
        names: dict[str, str],
        schemas: Schemas,
        documented: Docstring | None = None,
    ) -> None:
        self._handler, self._method, self._schemas = handler, method, schemas
        self._texts = {} if documented is None else documented.parameters
        self._call = described_call(handler.original)
        self._arguments = arguments = handler.arguments
        self._rest = [each for each in arguments.parameters if each.name not in groups]
        self._takes_all = bool(arguments.var_keyword or arguments.dict_name)
        self._fields, self._query = self._places()
        self.parameters = self._path_parameters(groups, names) + self._query_parameters()
        self.body = self._body() if method in METHODS_WITH_BODY else None

    @property
    def _takes_files(self) -> bool:
        """Whether a parameter that no group fills may receive a file."""
        rest = self._arguments.var_keyword
        return any(each.takes_files for each in (*self._rest, *([rest] if rest else ())))

    def _places(self) -> tuple[list[Parameter], list[Parameter]]:
        """Return the parameters that the body fills, and the parameters that the query string fills."""
        whole, rest = self._arguments.body_object, self._rest
        if self._method not in METHODS_WITH_BODY:
            for each in rest:
                if each.required and not (_fits_query(each) or (each is whole and not each.takes_files)):
                    kind = "a file" if each.takes_files else "an object"
                    raise UndescribableError(
                        f"{each.name} is {kind}, which only a body can contain; a {self._method} has no body"
                    )
            return [], [each for each in rest if each is whole or _fits_query(each)]
        if self._whole_body is not None:
            return [self._whole_body], [each for each in rest if each is not whole and _fits_query(each)]
        if self._handler.call_name and not self._takes_all and all(map(_fits_query, rest)):
            return [], rest  # the function reads the body itself
        return rest, []

    @property
    def _whole_body(self) -> Parameter | None:
        """The parameter whose object is the whole body, if it is the only required one."""
        whole = self._arguments.body_object
        required = [each for each in self._rest if each.required]
        return whole if whole is not None and required == [whole] and not self._takes_all else None

    def _path_parameters(self, groups: dict[str, str], names: dict[str, str]) -> list[dict[str, Any]]:
        by_name = {each.name: each for each in self._arguments.parameters}
        described = []
        for name, regex in groups.items():
            schema = dict(self._schemas.of_parameter(by_name[name])) if name in by_name else {}
            schema.pop("default", None)  # a path has no defaults
            schema = schema or {"type": "string"}
            if schema == {"type": "string"} and (pattern := schema_pattern(regex)):
                schema["pattern"] = pattern
            parameter = {"name": names[name], "in": "path", "required": True, "schema": schema}
            described.append(self._with_text(name, parameter))
        return described

    def _with_text(self, name: str, described: dict[str, Any]) -> dict[str, Any]:
        """Return a parameter or a field with its description from the docstring."""
        return {**described, "description": self._texts[name]} if self._texts.get(name) else described

    def _query_parameters(self) -> list[dict[str, Any]]:
        described = []
        for each in self._query:
            schema = self._schemas.of_parameter(each)
            if each is self._arguments.body_object:
                described += self._members(each, schema)
            else:
                parameter = _query_parameter(each.name, each.required, schema)
                described.append(self._with_text(each.name, parameter))
        if self._takes_all and self._method not in METHODS_WITH_BODY and not self._takes_files:
            described.append(ANY_QUERY)
        if self._call is not None:
            members = self._schemas.members(self._call.query)
            described += [_query_parameter(name, False, members[name]) for name in self._call.names]
        # A member of an object may have the name of another parameter, and receives the same value.
        return list({each["name"]: each for each in reversed(described)}.values())[::-1]

    def _members(self, parameter: Parameter, schema: dict[str, Any]) -> list[dict[str, Any]]:
        """Describe the members of the object to which the whole query string is converted."""
        found = self._schemas.resolved(schema)
        required = found.get("required", []) if parameter.required else []
        members = found.get("properties", {})
        return [_query_parameter(name, name in required, member) for name, member in members.items()]

    def _body(self) -> dict[str, Any] | None:
        if self._whole_body is not None:
            schema = self._schemas.of_parameter(self._whole_body)
            media_type = MULTIPART if self._whole_body.takes_files else JSON
            return {"required": True, "content": {media_type: {"schema": schema}}}
        if self._call is not None:
            return self._call_body(self._call.body)
        content: dict[str, Any] = {}
        required = [each.name for each in self._fields if each.required]
        if self._fields or self._takes_all:
            content = self._fields_content(required)
        if self._handler.call_name and not self._fields:
            content["application/octet-stream"] = {"schema": BINARY}
        return {"required": bool(required), "content": content} if content else None

    def _call_body(self, body: Any) -> dict[str, Any] | None:
        """Describe the body that a function reads from its call."""
        if body is None:
            return None
        return {"required": False, "content": {JSON: {"schema": self._schemas.of_type(body)}}}

    def _fields_content(self, required: list[str]) -> dict[str, Any]:
        """Describe a body with fields: a form if there are files, otherwise a JSON object or a form."""
        body: dict[str, Any] = {"type": "object"}
        if self._fields:
            body["properties"] = {
                each.name: self._with_text(each.name, self._schemas.of_parameter(each))
                for each in self._fields
            }
        if required:
            body["required"] = required
        rest = self._arguments.var_keyword
        if rest is not None and rest.takes_files:
            schema = self._schemas.of_parameter(rest)
            one = {**schema, "description": "A file. The other fields of any names are files too."}
            body["properties"] = {**body.get("properties", {}), rest.name: one}  # pages make an input for it
            body["additionalProperties"] = schema
        if self._takes_files:
            return {MULTIPART: {"schema": self._multipart(body)}}
        content = {JSON: {"schema": body}}
        if fields := form_fields(body.get("properties", {})):
            content["application/x-www-form-urlencoded"] = {"schema": {**body, "properties": fields}}
        return content

    def _multipart(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the schema of a form with files. A field without items is the same as a missing field."""
        required = body.get("required", ())
        properties = {
            name: form_fields({name: schema}).get(name) or _not_empty(schema, name in required)
            for name, schema in body.get("properties", {}).items()
        }
        return {**body, "properties": properties, "propertyNames": {"minLength": 1}}


def _not_empty(schema: dict[str, Any], required: bool) -> dict[str, Any]:
    """Return the schema of a repeated field: if the field is required, there is at least one."""
    if required and schema.get("type") == "array":
        return {**schema, "minItems": max(1, schema.get("minItems", 0))}
    return schema


def _query_parameter(name: str, required: bool, schema: dict[str, Any]) -> dict[str, Any]:
    schema = dict(_not_empty(schema, required))
    parameter: dict[str, Any] = {"name": name, "in": "query", "required": required, "schema": schema}
    if "description" in schema:  # tools show the description of the parameter only
        parameter["description"] = schema.pop("description")
    if schema.get("type") == "array":  # one field for each item; this is the default of OpenAPI too
        parameter |= {"style": "form", "explode": True}
    return parameter


def _fits_query(parameter: Parameter) -> bool:
    """Return whether a query string can contain a value for a parameter."""
    return parameter.accepts_text and not parameter.takes_files
