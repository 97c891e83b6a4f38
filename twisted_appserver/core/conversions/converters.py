"""Converts one value of a request to an argument. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from types import NoneType
from typing import Any, Protocol, get_args, get_origin

import msgspec
from msgspec import inspect as types

from twisted_appserver.core.conversions.annotations import UNIONS, WRAPPERS, plain_types, walk
from twisted_appserver.core.conversions.conversion_error import ConversionError
from twisted_appserver.core.conversions.dataclass_defaults import fill_in_defaults, templates_for
from twisted_appserver.core.conversions.finite import is_finite
from twisted_appserver.core.conversions.lenient_text import OBJECTS, SEQUENCES, normalize, union_members
from twisted_appserver.core.conversions.limits import checks_for, has_limits, schema_keywords
from twisted_appserver.core.conversions.messages import explain
from twisted_appserver.core.conversions.pydantic_models import PydanticConverter, is_pydantic

# A JSON string, or an integer written like 1.0.
INTEGER = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?\d+)\.0+(?=[\s,}\]]|$)', re.DOTALL)
LOOSE = msgspec.json.Decoder(float_hook=float)  # reads numbers that are too large for a float; for messages


class IConverter(Protocol):
    """
    Converts values to the type of an annotation.

    @ivar takes_raw_json: whether values from JSON should be passed to L{decode}, which keeps all digits of
        numbers.
    @ivar fields: the names that a JSON object may have; C{None} if values are not objects with known names.
    @ivar accepts_text: whether text can be converted.
    @ivar needs_custom_class: whether a value must be an instance of a class that no request can provide.
    """

    takes_raw_json: bool
    fields: frozenset[str] | None
    accepts_text: bool

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


def integers_from_floats(value: Any) -> Any:
    """Replace 1.0 by 1 in a value from JSON: JSON Schema calls both integers (section 4.2.3)."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [integers_from_floats(each) for each in value]
    if isinstance(value, dict):
        return {key: integers_from_floats(each) for key, each in value.items()}
    return value


def _integers_in_json(raw: bytes) -> bytes:
    """Replace 1.0 by 1 in JSON that has not been decoded."""
    return INTEGER.sub(lambda found: found[1] or found[0], raw)


def _has_number_keys(part: Any) -> bool:
    """Return whether this is a mapping with float keys, which are text in JSON."""
    origin = get_origin(part)
    return (
        isinstance(origin, type) and issubclass(origin, Mapping) and float in plain_types(get_args(part)[0])
    )


def _custom_types(info: types.Type, seen: list[types.Type]) -> Iterator[types.CustomType]:
    """Yield the required types for which no request can provide a value."""
    if isinstance(info, types.CustomType) and info.cls is not object:
        yield info
    if any(info is each for each in seen):
        return
    seen.append(info)
    for value in msgspec.structs.astuple(info):
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, types.Field) and each.required:
                yield from _custom_types(each.type, seen)
            elif isinstance(each, types.Type):
                yield from _custom_types(each, seen)


class MsgspecConverter:
    """
    Convert with msgspec, which is strict with JSON and lenient with text.

    @param finite: whether to reject NaN and infinity.
    @raise TypeError: when msgspec does not support the annotation.
    """

    def __init__(self, annotation: Any, finite: bool = True) -> None:
        inner = list(walk(annotation))
        self._type = annotation
        self._info = types.type_info(annotation)
        self._decoder = msgspec.json.Decoder(annotation)
        self._checks = checks_for(annotation) if any(map(has_limits, inner)) else []
        found = union_members(self._info)
        tuples = all(isinstance(kind, types.TupleType | types.NoneType) for kind in found)
        self._takes_several = tuples or any(isinstance(kind, SEQUENCES) for kind in found)
        self.takes_raw_json = any(isinstance(each, type) and issubclass(each, Decimal) for each in inner)
        floats = any(isinstance(each, type) and issubclass(each, float) for each in inner)
        # NaN and infinity can only come from these; other values need no check.
        self._text_numbers = finite and (self.takes_raw_json or floats)
        self._json_numbers = finite and (self.takes_raw_json or any(map(_has_number_keys, inner)))
        self._templates = templates_for(inner)
        self._is_complete = not (self._checks or self._text_numbers or self._json_numbers or self._templates)
        self.fields = _field_names(found)
        objects = (*OBJECTS, types.DictType, types.NoneType)
        self.accepts_text = not all(isinstance(kind, objects) for kind in found)

    @property
    def needs_custom_class(self) -> bool:
        return any(True for _ in _custom_types(self._info, []))

    def convert(self, value: Any, strict: bool) -> Any:
        if not strict and self._takes_several and not isinstance(value, list):
            value = [value]
        try:
            found = msgspec.convert(value, self._type, strict=strict, str_keys=True)
        except msgspec.ValidationError as error:
            found = self._convert_normalized(error, value, strict)
        if self._is_complete:
            return found
        return self._checked(found, value, self._json_numbers if strict else self._text_numbers)

    def _convert_normalized(self, error: msgspec.ValidationError, value: Any, strict: bool) -> Any:
        """Convert a value that msgspec has rejected, rewritten into the form that msgspec reads."""
        other = self._normalized(value, strict)
        if repr(other) != repr(value):
            try:
                return msgspec.convert(other, self._type, strict=strict, str_keys=True)
            except msgspec.ValidationError as second:
                error = second
        raise self._explain(error, value, strict)

    def _normalized(self, value: Any, strict: bool) -> Any:
        return integers_from_floats(value) if strict else normalize(value, self._info)

    def _explain(self, error: msgspec.ValidationError, value: Any, strict: bool) -> ConversionError:
        message = str(error)

        def same_error(other: Any) -> bool:
            try:
                msgspec.convert(self._normalized(other, strict), self._type, strict=strict, str_keys=True)
            except msgspec.ValidationError as found:
                return str(found) == message
            return False

        return explain(error, value, self._info, not strict, same_error)

    def decode(self, raw: msgspec.Raw) -> Any:
        try:
            return self._checked(self._decoder.decode(raw), None, self._json_numbers)
        except msgspec.ValidationError as error:
            first = error
        try:
            found = self._decoder.decode(_integers_in_json(bytes(raw)))
        except msgspec.ValidationError as error:
            raise self._explain(error or first, LOOSE.decode(raw), True) from None
        return self._checked(found, None, self._json_numbers)

    def _checked(self, found: Any, value: Any, numbers: bool) -> Any:
        if numbers and not is_finite(found):
            raise ConversionError("must be a finite number", str(found) if value is None else value)
        if self._templates:
            fill_in_defaults(found, self._templates)
        for check in self._checks:
            check(found)
        return found

    def schema(self, template: str) -> tuple[dict[str, Any], dict[str, Any]]:
        (made,), components = msgspec.json.schema_components((self._type,), ref_template=template)
        return {**made, **schema_keywords(self._type)}, components


def _field_names(found: list[types.Type]) -> frozenset[str] | None:
    objects = [kind for kind in found if isinstance(kind, OBJECTS) and not getattr(kind, "array_like", False)]
    if not objects or len(objects) != sum(not isinstance(kind, types.NoneType) for kind in found):
        return None
    return frozenset(each.encode_name for kind in objects for each in kind.fields)


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
