"""The JSON schemas of parameters and results, in the form that OpenAPI 3.1 contains."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import msgspec

from twisted_appserver.admin.docstrings import read_docstring
from twisted_appserver.core.conversions.converters import IConverter, converter_for
from twisted_appserver.core.conversions.parameters import Parameter
from twisted_appserver.core.upload import SCHEMA as BINARY

__all__ = ["BINARY", "REFERENCE", "Schemas", "form_fields"]

REFERENCE = "#/components/schemas/{name}"
REFERRED = re.compile(r'"#/components/schemas/([^"]+)"')
DECIMAL = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
JSON_TYPES = {bool: "boolean", int: "integer", float: "number", type(None): "null"}
NAME = re.compile(r"[^A-Za-z0-9._-]+")  # characters that the name of a component must not contain
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
        self.components: dict[str, Any] = {}
        # Finished schemas are kept, because a function has the same parameters with every method. The
        # annotation is kept, so that no other annotation gets its id.
        self._of_parameters: dict[Parameter, dict[str, Any]] = {}
        self._of_types: dict[int, tuple[Any, dict[str, Any]]] = {}
        self._origins: dict[str, str] = {}  # the origin of each component, as text
        self.problem = self.add("Problem", PROBLEM)

    def add(self, name: str, schema: dict[str, Any]) -> dict[str, Any]:
        """
        Add a schema to the components, under another name if its own is taken.

        @return: a reference to it.
        """
        free = self._free_name(name, _with_references(name, {name: schema}))
        self.components[free] = _titled(schema, name, free)
        return {"$ref": REFERENCE.format(name=free)}

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """
        Return the schema of an object, even if the given schema only refers to it; for a union, return the
        first object.
        """
        for each in [schema, *schema.get("anyOf", ())]:
            found: dict[str, Any] = self.components.get(each.get("$ref", "").rpartition("/")[2], each)
            if "properties" in found:
                return found
        return schema

    def members(self, annotation: Any) -> dict[str, Any]:
        """
        Return the schemas of the members of a class.

        @raise TypeError: when JSON Schema cannot describe the class.
        """
        members: dict[str, Any] = self.resolved(self.of_type(annotation)).get("properties", {})
        return members

    def _free_name(self, name: str, origin: str) -> str:
        """
        Return a name for which generators make a class of its own: they ignore case and punctuation.

        @param origin: the class from which the component is made. The same name is returned for the same
            origin.
        """
        taken = {_class_name(each): each for each in self.components}
        name = NAME.sub("_", name).strip("_") or "Object"
        number, free = 2, name
        while (other := taken.get(_class_name(free))) is not None:
            if self._origins[other] == origin:
                return other
            free, number = f"{name}{number}", number + 1
        self._origins[free], self.components[free] = origin, {}
        return free

    def of_parameter(self, parameter: Parameter) -> dict[str, Any]:
        """Return the schema of a parameter's type, with its default. Callers must not change it."""
        if parameter not in self._of_parameters:
            self._of_parameters[parameter] = self._make(parameter)
        return self._of_parameters[parameter]

    def _make(self, parameter: Parameter) -> dict[str, Any]:
        schema: dict[str, Any] = {}
        with suppress(TypeError):  # JSON Schema cannot describe the type; then the parameter has a default
            if parameter.type is not Any:
                schema = self._of_converter(parameter.converter)
        if not parameter.required:
            with suppress(TypeError):
                default = msgspec.to_builtins(parameter.default, str_keys=True)
                default = list(default) if isinstance(default, tuple) else default
                schema = _complete({**schema, "default": default})
        return schema

    def of_type(self, annotation: Any) -> dict[str, Any]:
        """
        Return the schema of a type. Callers must not change it.

        @raise TypeError: when JSON Schema cannot describe the type.
        """
        key = id(annotation)
        if key not in self._of_types:
            self._of_types[key] = annotation, self._of_converter(converter_for(annotation))
        return self._of_types[key][1]

    def _of_converter(self, converter: IConverter) -> dict[str, Any]:
        """
        Return the schema of a converter's type. The schemas to which it refers are added to L{components},
        under other names if theirs are taken.
        """
        schema, definitions = converter.schema(REFERENCE)
        title = schema.get("title", "")
        if title and title not in definitions and schema.get("type") == "object" and "properties" in schema:
            schema, definitions = {"$ref": REFERENCE.format(name=title)}, {**definitions, title: schema}
        definitions = {name: _documented(_complete(each)) for name, each in definitions.items()}
        references = {
            REFERENCE.format(name=name): REFERENCE.format(
                name=self._free_name(name, _with_references(name, definitions))
            )
            for name in definitions
        }
        for name, definition in definitions.items():
            free = references[REFERENCE.format(name=name)].rpartition("/")[2]
            self.components[free] = _titled(_replace_references(definition, references), name, free)
        completed: dict[str, Any] = _complete(_replace_references(schema, references))
        return completed


def _with_references(name: str, definitions: dict[str, Any]) -> str:
    """Return a definition together with all definitions to which it refers, as text."""
    found, waiting = {}, [name]
    while waiting:
        name = waiting.pop()
        if name in definitions and name not in found:
            found[name] = definitions[name]
            waiting += REFERRED.findall(json.dumps(found[name], default=str))
    return json.dumps(found, default=str, sort_keys=True)


def _class_name(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _titled(schema: dict[str, Any], name: str, free: str) -> dict[str, Any]:
    """Return a schema whose title is not the title of another class."""
    return {**schema, "title": free} if free != name and "title" in schema else schema


def _replace_references(schema: Any, references: dict[str, str]) -> Any:
    if isinstance(schema, list):
        return [_replace_references(each, references) for each in schema]
    if isinstance(schema, dict):
        return {key: _replace_references(value, references) for key, value in schema.items()}
    return references.get(schema, schema) if isinstance(schema, str) else schema


def _complete(schema: Any) -> Any:
    """
    Return a schema that code generators understand. Decimal numbers get a pattern, because JSON Schema has no
    type for them. Each array gets a schema for its items. All values of an enumeration get one type. Defaults
    that cannot be written as JSON are left out.
    """
    if isinstance(schema, list):
        return [_complete(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    completed = {
        key: _complete(value) for key, value in schema.items() if key != "default" or _is_json(value)
    }
    if completed.get("type") == "array" and not {"items", "prefixItems"} & completed.keys():
        completed["items"] = {}
    if "prefixItems" in completed and completed.get("items") is False:
        del completed["items"]  # minItems and maxItems say the same; generators expect a schema
    if "enum" in completed:
        completed |= _enumerations(completed.pop("enum"))
    if completed.get("format") == "decimal":
        completed |= {"type": ["string", "number"], "pattern": DECIMAL}
    return completed


def _documented(schema: Any) -> Any:
    """Return the schema of a class whose docstring describes its members, with these descriptions."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not properties or not isinstance(schema.get("description"), str):
        return schema
    found = read_docstring(schema["description"])
    described = {
        name: {"description": text, **properties[name]}
        for name, text in found.parameters.items()
        if text and isinstance(properties.get(name), dict)
    }
    text = "\n\n".join(filter(None, (found.summary, found.text)))
    return {**schema, "description": text, "properties": {**properties, **described}}


def _enumerations(values: list[Any]) -> dict[str, Any]:
    """Return the schema of some values: an enumeration, or one for each type of values."""
    kinds: dict[str, list[Any]] = {}
    for value in values:
        kinds.setdefault(JSON_TYPES.get(type(value), "string"), []).append(value)
    schemas = [{"type": kind, "enum": found} for kind, found in kinds.items()]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _is_json(value: Any) -> bool:
    try:
        return bool(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError):  # such as infinity or a lone surrogate
        return False


def form_fields(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a form; no fields if a type has no clear representation in a form."""
    fields = {}
    for name, schema in properties.items():
        if {"$ref", "anyOf"} & schema.keys() or schema.get("type") in ("array", "object", None):
            return {}
        fields[name] = BOOLEAN if schema.get("type") == "boolean" else schema
    return fields
