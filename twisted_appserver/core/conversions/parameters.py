"""The parameters of a function, each with the converter for its annotation. Pure."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, get_args, get_origin

import msgspec

from twisted_appserver.core.conversions.annotations import plain_types
from twisted_appserver.core.conversions.conversion_error import ConversionError
from twisted_appserver.core.conversions.converters import converter_for
from twisted_appserver.core.conversions.pydantic_models import is_pydantic, pydantic_field
from twisted_appserver.errors import HTTPError

MAPPINGS = (dict, Mapping, MutableMapping)
# Defaults of these types are compared with the annotation.
CHECKED_DEFAULTS = (str, bytes, int, float, bool, list, tuple, set, dict)
# Other types that are accepted as the default for a type, such as 0 for a float.
WIDER: dict[Any, tuple[type, ...]] = {float: (int,), complex: (int, float), Decimal: (int,), set: (tuple,)}
# Calls of field(), which have a meaning in classes only.
FIELDS = (dataclasses.Field, type(msgspec.field()))


class Parameter:
    """
    One parameter of a function, and how a variable is converted to its type.

    @ivar type: the annotation; C{Any} if there is none.
    @ivar default: the default value; C{inspect.Parameter.empty} if there is none.
    @ivar make_default: returns the default if the signature does not contain it; otherwise C{None}.
    @ivar fields: the names that a JSON object may have; C{None} if values are not objects with known names.
    @ivar accepts_text: whether text can be converted to the type.
    @ivar takes_raw_json: whether values from JSON must come undecoded, as C{msgspec.Raw}.
    @ivar takes_files: whether a value may be or contain an L{Upload}.
    @raise TypeError: when no request can provide a value.
    """

    make_default: Callable[[], Any] | None = None
    fields: frozenset[str] | None = None
    takes_raw_json = takes_files = False
    accepts_text = True

    def __init__(self, parameter: inspect.Parameter) -> None:
        self.name, self.default = parameter.name, parameter.default
        self.type: Any = parameter.annotation
        if self.type in (parameter.empty, object, Any):
            self.type = Any
        field = pydantic_field(self.type, self.default)
        if isinstance(self.default, FIELDS) or type(self.default).__name__ == "_CountingAttr":
            raise TypeError(
                f"the default of {self.name} is a field(), which works in classes only; write the value"
            )
        if field is not None:
            self._use_pydantic_field(field)
        self.required = self.default is parameter.empty
        if self.type is Any and field is None:
            return
        try:
            self.converter = converter_for(self.type, field)
        except TypeError as error:
            raise TypeError(f"the annotation of {self.name} cannot be used: {error}") from None
        if self.required and self.converter.needs_custom_class:
            raise TypeError(f"no request can provide a value for the parameter {parameter}")
        self.fields, self.takes_raw_json = self.converter.fields, self.converter.takes_raw_json
        self._convert, self.accepts_text = self.converter.convert, self.converter.accepts_text
        self.takes_files = self.converter.takes_files

    def _use_pydantic_field(self, field: Any) -> None:
        """Use the default and the limits of a C{pydantic.Field()}."""
        if field is self.default:
            self.type = Annotated[self.type, field]
            self.default = inspect.Parameter.empty
        if self.default is inspect.Parameter.empty and not field.is_required():
            self.make_default = lambda: field.get_default(call_default_factory=True)
            self.default = field.get_default()

    @property
    def note(self) -> str:
        """A warning about a default that contradicts the annotation; empty if there is no contradiction."""
        if default_matches(self.default, self.type):
            return ""
        return (
            f"the default of {self.name} is {self.default!r}, which is not {type_name(self.type)}; "
            "change the default or the annotation"
        )

    @cached_property
    def file_fields(self) -> frozenset[str]:
        """The names in L{fields} whose values are files."""
        schema: dict[str, Any] = {}
        components: dict[str, Any] = {}
        with suppress(TypeError):  # JSON Schema cannot describe another field
            schema, components = self.converter.schema("{name}") if self.takes_files else ({}, {})
        kinds = [components.get(each.get("$ref"), each) for each in (schema, *schema.get("anyOf", ()))]
        members = [each for kind in kinds for each in kind.get("properties", {}).items()]
        return frozenset(name for name, member in members if "contentMediaType" in repr(member))

    def convert(self, value: Any, strict: bool, name: str | None = None) -> Any:
        """
        Convert the value of a variable.

        @param strict: whether the value came as JSON.
        @param name: the name of the variable, if it differs from the parameter's; empty for the whole body.
        @raise HTTPError: 422 when the value cannot be converted. Its cause is the L{ConversionError}.
        """
        if self.type is Any or (self.type is str and type(value) is str):
            return value
        try:
            if self.takes_raw_json and type(value) is msgspec.Raw:
                return self.converter.decode(value)
            return self._convert(value, strict)
        except ConversionError as error:
            raise HTTPError(422, error.message(self.name if name is None else name)) from error


def default_matches(default: Any, annotation: Any) -> bool:
    """
    Return whether a default has the annotated type, as far as a simple comparison shows.

    None and objects that mark a missing value are common defaults and match every type.
    """
    if type(default) not in CHECKED_DEFAULTS:
        return True
    return any(_may_be(default, get_origin(kind) or kind) for kind in plain_types(annotation))


def _may_be(value: Any, kind: Any) -> bool:
    if kind in (Any, object) or not isinstance(kind, type) or is_pydantic(kind):
        return True
    try:
        return isinstance(value, (kind, *WIDER.get(kind, ())))
    except TypeError:  # a TypedDict or a Protocol
        return True


def type_name(annotation: Any) -> str:
    return annotation.__name__ if type(annotation) is type else str(annotation)


def takes_all_variables(parameter: inspect.Parameter) -> bool:
    """Return whether a parameter is annotated to receive all variables, for example as C{dict}."""
    if parameter.default is not parameter.empty:
        return False
    kinds = plain_types(parameter.annotation)
    if len(kinds) != 1:
        return False
    return (get_origin(kinds[0]) or kinds[0]) in MAPPINGS and get_args(kinds[0])[1:] in (
        (),
        (Any,),
        (object,),
    )
