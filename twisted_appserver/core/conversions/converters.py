"""Chooses the converter for an annotation. Pure."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from typing import Any, Protocol, get_args, get_origin

import msgspec

from twisted_appserver.core.conversions.annotations import UNIONS, WRAPPERS, plain_types, walk
from twisted_appserver.core.conversions.conversion_error import ConversionError
from twisted_appserver.core.conversions.limits import checks_for
from twisted_appserver.core.conversions.msgspec_converter import MsgspecConverter
from twisted_appserver.core.conversions.pydantic_models import PydanticConverter, is_pydantic


class IConverter(Protocol):
    """
    Converts values to the type of an annotation.

    @ivar takes_raw_json: whether values from JSON should be passed to L{decode}, which keeps all digits of
        numbers.
    @ivar fields: the names that a JSON object may have; C{None} if values are not objects with known names.
    @ivar accepts_text: whether text can be converted.
    @ivar takes_files: whether a value may be or contain an L{Upload}.
    @ivar needs_custom_class: whether a value must be an instance of a class that no request can provide.
    """

    takes_raw_json: bool
    fields: frozenset[str] | None
    accepts_text: bool
    takes_files: bool

    @property
    def needs_custom_class(self) -> bool: ...

    def convert(self, value: Any, strict: bool) -> Any:
        """
        Convert a value.

        @param strict: whether the value came as JSON; otherwise it is text, or lists and objects of text.
        @raise ConversionError: when it cannot be converted.
        """

    def decode(self, raw: msgspec.Raw) -> Any:
        """
        Convert JSON.

        @raise ConversionError: when it cannot be converted.
        """

    def schema(self, template: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """
        Return the JSON Schema and the schemas that it refers to, by name.

        @param template: the text of a reference; braces around C{name} stand for the name of the schema.
        @raise TypeError: when JSON Schema cannot describe the type.
        """


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union; an empty tuple for other annotations."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in WRAPPERS:
        return _members(args[0])
    if hasattr(annotation, "__supertype__"):
        return _members(annotation.__supertype__)
    return args if origin in UNIONS else ()


class UnionConverter:
    """Convert to the first matching member of a union, for unions that msgspec does not support."""

    fields = None
    accepts_text = True
    needs_custom_class = False

    def __init__(self, annotation: Any) -> None:
        # str accepts any text, so it is tried last.
        members = sorted(_members(annotation), key=lambda kind: plain_types(kind) == [str])
        self._optional = NoneType in members
        self._allows_text = str in plain_types(annotation)
        self._converters = [converter_for(each) for each in members if each is not NoneType]
        self._checks = checks_for(annotation)
        self.takes_raw_json = any(each.takes_raw_json for each in self._converters)
        self.takes_files = any(each.takes_files for each in self._converters)

    def convert(self, value: Any, strict: bool) -> Any:
        is_none = value is None or (not strict and value == "" and not self._allows_text)
        return self._first(lambda each: each.convert(value, strict), is_none)

    def decode(self, raw: msgspec.Raw) -> Any:
        return self._first(lambda each: each.decode(raw), bytes(raw) == b"null")

    def _first(self, convert: Callable[[Any], Any], is_none: bool) -> Any:
        errors = []
        for each in () if self._optional and is_none else self._converters:
            try:
                found = convert(each)
            except ConversionError as error:
                errors.append(error)
                continue
            for check in self._checks:
                check(found)
            return found
        if errors:
            raise _combine(errors)
        return None

    def schema(self, template: str) -> tuple[dict[str, Any], dict[str, Any]]:
        made = [each.schema(template) for each in self._converters]
        components = {name: schema for _, more in made for name, schema in more.items()}
        null = [{"type": "null"}] if self._optional else []
        return {"anyOf": [schema for schema, _ in made] + null}, components


def _combine(errors: list[ConversionError]) -> ConversionError:
    """Return one error for all members of a union."""
    if len({each.reason for each in errors}) == 1:
        return errors[0]
    expected = " or ".join(dict.fromkeys(each.reason.removeprefix("must be ") for each in errors))
    return ConversionError(f"must be {expected}", errors[0].value, errors[0].path)


def converter_for(annotation: Any, field: Any = None) -> Any:
    """
    Return the L{IConverter} for an annotation.

    @param field: the C{pydantic.Field()} of the parameter.
    @raise TypeError: when no request can provide values of this type.
    """
    if field is not None or any(map(is_pydantic, walk(annotation))):
        return PydanticConverter(annotation, field)
    try:
        return MsgspecConverter(annotation)
    except TypeError:
        if not _members(annotation):
            raise
        return UnionConverter(annotation)
