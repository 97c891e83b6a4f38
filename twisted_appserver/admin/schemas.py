"""The JSON schemas of parameters and results, in the form that OpenAPI 3.1 contains."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec

from twisted_appserver.core.conversions.converters import IConverter, converter_for
from twisted_appserver.core.conversions.parameters import Parameter

REFERENCE = "#/components/schemas/{name}"
DECIMAL = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
BOOLEAN = {"type": "string", "enum": ["true", "false", "1", "0"]}
PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The request id, which the log contains too."},
    },
}


class Schemas:
    """
    The schemas of one document.

    @ivar components: the schemas to which others refer, by name.
    """

    def __init__(self) -> None:
        self.components: dict[str, Any] = {"problem": PROBLEM}

    def of_parameter(self, parameter: Parameter) -> dict[str, Any]:
        """Return the schema of a parameter's type, with its default."""
        schema: dict[str, Any] = {}
        with suppress(TypeError):  # JSON Schema cannot describe the type; then the parameter has a default
            if parameter.type is not Any:
                schema = self._of_converter(parameter.converter)
        if not parameter.required:
            with suppress(TypeError):
                default = msgspec.to_builtins(parameter.default, str_keys=True)
                schema = _complete({**schema, "default": default})
        return schema

    def of_type(self, annotation: Any) -> dict[str, Any]:
        """
        Return the schema of a type.

        @raise TypeError: when JSON Schema cannot describe the type.
        """
        return self._of_converter(converter_for(annotation))

    def _of_converter(self, converter: IConverter) -> dict[str, Any]:
        """
        Return the schema of a converter's type. The schemas to which it refers are added to L{components},
        under other names if theirs are taken.
        """
        schema, definitions = converter.schema(REFERENCE)
        references = {}
        for name, definition in definitions.items():
            number, free = 2, name
            while self.components.get(free, _complete(definition)) != _complete(definition):
                free, number = f"{name}{number}", number + 1
            references[REFERENCE.format(name=name)] = REFERENCE.format(name=free)
        for name, definition in definitions.items():
            free = references[REFERENCE.format(name=name)].rpartition("/")[2]
            self.components[free] = _complete(_replace_references(definition, references))
        completed: dict[str, Any] = _complete(_replace_references(schema, references))
        return completed


def _replace_references(schema: Any, references: dict[str, str]) -> Any:
    if isinstance(schema, list):
        return [_replace_references(each, references) for each in schema]
    if isinstance(schema, dict):
        return {key: _replace_references(value, references) for key, value in schema.items()}
    return references.get(schema, schema) if isinstance(schema, str) else schema


def _complete(schema: Any) -> Any:
    """
    Return a schema with a pattern for decimal numbers, for which JSON Schema has no type, and without
    defaults that cannot be written as JSON.
    """
    if isinstance(schema, list):
        return [_complete(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    completed = {
        key: _complete(value) for key, value in schema.items() if key != "default" or _is_json(value)
    }
    if completed.get("format") == "decimal":
        completed |= {"type": ["string", "number"], "pattern": DECIMAL}
    return completed


def _is_json(value: Any) -> bool:
    try:
        return bool(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError):  # such as infinity or a lone surrogate
        return False


def form_fields(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a form; no fields if a type has no clear representation in a form."""
    if any(
        {"$ref", "anyOf"} & schema.keys() or schema.get("type") in ("array", "object")
        for schema in properties.values()
    ):
        return {}
    return {
        name: BOOLEAN if schema.get("type") == "boolean" else schema for name, schema in properties.items()
    }
