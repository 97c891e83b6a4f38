"""The JSON schemas of the arguments and the result of a tool. Pure."""

from __future__ import annotations

import json
from typing import Any

from twisted_appserver.admin.docstrings import Docstring
from twisted_appserver.admin.response_descriptions import JSON, describe_responses
from twisted_appserver.admin.schemas import REFERENCE, REFERRED, Schemas
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.path_templates import Template, UndescribableError, schema_pattern

COMPONENTS = REFERENCE.format(name="")  # the place of the definitions in an OpenAPI document
DEFINITIONS = "#/$defs/"


def arguments_schema(
    handler: Handler, templates: list[Template], schemas: Schemas, documented: Docstring
) -> dict[str, Any]:
    """
    Return the schema of an object with all variables of a function, by the names of its parameters.

    @param templates: the paths of its pattern.
    @raise UndescribableError: when a parameter needs a file, which JSON cannot contain.
    """
    arguments, groups = handler.arguments, _groups(templates)
    described: dict[str, dict[str, Any]] = {}
    required = [name for name in groups if all(name in found for _, found in templates)]
    for each in arguments.parameters:
        if each.takes_files and each.required:
            raise UndescribableError(f"{each.name} is a file, which JSON cannot contain")
        if not each.takes_files:
            described[each.name] = dict(schemas.of_parameter(each))
        if each.required and each.name not in required:
            required.append(each.name)
    for name, regex in groups.items():
        schema = described.setdefault(name, {})
        schema.pop("default", None)
        if schema in ({}, {"type": "string"}):
            pattern = schema_pattern(regex)
            described[name] = {"type": "string"} | ({"pattern": pattern} if pattern else {})
    for name, text in documented.parameters.items():
        if text and name in described:
            described[name] = {**described[name], "description": text}
    takes_all = arguments.var_keyword is not None or bool(arguments.dict_name) or arguments.reads_request
    schema = {"type": "object", "properties": described, "additionalProperties": takes_all}
    return self_contained(schema | ({"required": required} if required else {}), schemas)


def _groups(templates: list[Template]) -> dict[str, str]:
    """Return the regular expressions of all groups by their names."""
    return {name: regex for _, groups in templates for name, regex in groups.items()}


def result_schema(handler: Handler, schemas: Schemas, documented: Docstring) -> dict[str, Any] | None:
    """
    Return the schema of a result, from the annotation of the function; C{None} if it has no annotation that
    JSON Schema can express, or if the function chooses the format of its result itself.
    """
    found = describe_responses(handler, schemas, documented.result).get("200", {})
    schema = found.get("content", {}).get(JSON, {}).get("schema")
    if not schema:
        return None
    name = schema.get("$ref", "").removeprefix(COMPONENTS)
    return self_contained(schemas.components.get(name, schema), schemas)


def self_contained(schema: dict[str, Any], schemas: Schemas) -> dict[str, Any]:
    """Return a schema that contains the definitions to which it refers."""
    text = json.dumps(schema)
    found: dict[str, Any] = {}
    waiting = REFERRED.findall(text)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = schemas.components[name]
            waiting += REFERRED.findall(json.dumps(found[name]))
    whole = {**schema, "$defs": dict(sorted(found.items()))} if found else schema
    made: dict[str, Any] = json.loads(json.dumps(whole).replace(f'"{COMPONENTS}', f'"{DEFINITIONS}'))
    return made
