"""How one value of a request becomes an argument. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from types import NoneType
from typing import Any, Protocol, get_args, get_origin

import msgspec
from msgspec import inspect as types

from twisted_appserver.core.conversions.annotations import UNIONS, WRAPPERS, bare, parts
from twisted_appserver.core.conversions.defaults import complete, templates_of
from twisted_appserver.core.conversions.finite import is_finite
from twisted_appserver.core.conversions.limits import checks_of, has_limits, keywords
from twisted_appserver.core.conversions.messages import explain
from twisted_appserver.core.conversions.models import ModelConverter, is_pydantic
from twisted_appserver.core.conversions.texts import OBJECTS, SEQUENCES, kinds, loosen
from twisted_appserver.core.conversions.unfit import Unfit

# A JSON text, or a whole number written like 1.0.
WHOLE = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?\d+)\.0+(?=[\s,}\]]|$)', re.DOTALL)


class IConverter(Protocol):
    """
    @ivar exact: whether values from JSON should be given to L{decode}, which keeps all digits of numbers.
    @ivar fields: the names that a JSON object for it may have; C{None} if its values are no such objects.
    """

    exact: bool
    fields: frozenset[str] | None

    def convert(self, value: Any, strict: bool) -> Any:
        """
        @param strict: whether the value came as JSON; otherwise it is text, or lists and objects of text.
        @raise Unfit: when it does not fit.
        """

    def decode(self, raw: msgspec.Raw) -> Any:
        """
        @raise Unfit: when the JSON does not fit.
        """

    def schema(self, template: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """
        The JSON Schema, and the named ones that it refers to.

        @raise TypeError: when JSON Schema cannot describe it.
        """


def whole_numbers(value: Any) -> Any:
    """A value from JSON with 1.0 as 1, since JSON Schema calls both integers (section 4.2.3)."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole_numbers(each) for each in value]
    if isinstance(value, dict):
        return {key: whole_numbers(each) for key, each in value.items()}
    return value


def _whole_numbers(raw: bytes) -> bytes:
    """The same for JSON that is not decoded yet."""
    return WHOLE.sub(lambda found: found[1] or found[0], raw)


def _has_number_keys(part: Any) -> bool:
    """Whether it is a mapping whose keys, which are text in JSON, become floats."""
    origin = get_origin(part)
    return isinstance(origin, type) and issubclass(origin, Mapping) and float in bare(get_args(part)[0])


def _unfillable(info: types.Type, seen: list[types.Type]) -> Iterator[types.CustomType]:
    """The types in it for which no request has a value."""
    if isinstance(info, types.CustomType) and info.cls is not object:
        yield info
    if any(info is each for each in seen):
        return
    seen.append(info)
    for value in msgspec.structs.astuple(info):
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, types.Field) and each.required:
                yield from _unfillable(each.type, seen)
            elif isinstance(each, types.Type):
                yield from _unfillable(each, seen)


class Converter:
    """
    Converts with msgspec, which is strict with JSON and lenient with text.

    @param finite: whether NaN and infinity are refused.
    @raise TypeError: when msgspec does not support the annotation.
    """

    def __init__(self, annotation: Any, finite: bool = True) -> None:
        inner = list(parts(annotation))
        self._type = annotation
        self._info = types.type_info(annotation)
        self._decoder = msgspec.json.Decoder(annotation)
        self._checks = checks_of(annotation) if any(map(has_limits, inner)) else []
        found = kinds(self._info)
        tuples = all(isinstance(kind, types.TupleType | types.NoneType) for kind in found)
        self._many = tuples or any(isinstance(kind, SEQUENCES) for kind in found)
        self.exact = any(isinstance(each, type) and issubclass(each, Decimal) for each in inner)
        floats = any(isinstance(each, type) and issubclass(each, float) for each in inner)
        # Whether text, or JSON, may become NaN or infinity.
        self._text_numbers = finite and (self.exact or floats)
        self._json_numbers = finite and (self.exact or any(map(_has_number_keys, inner)))
        self._templates = templates_of(inner)
        self._final = not (self._checks or self._text_numbers or self._json_numbers or self._templates)
        self.fields = _fields(found)
        objects = (*OBJECTS, types.DictType, types.NoneType)
        self.textual = not all(isinstance(kind, objects) for kind in found)

    @property
    def unfillable(self) -> bool:
        """Whether it needs a value that no request can have."""
        return any(True for _ in _unfillable(self._info, []))

    def convert(self, value: Any, strict: bool) -> Any:
        if not strict and self._many and not isinstance(value, list):
            value = [value]
        try:
            found = msgspec.convert(value, self._type, strict=strict, str_keys=True)
        except msgspec.ValidationError as error:
            found = self._again(error, value, strict)
        if self._final:
            return found
        return self._checked(found, value, self._json_numbers if strict else self._text_numbers)

    def _again(self, error: msgspec.ValidationError, value: Any, strict: bool) -> Any:
        """Convert a value that msgspec has refused, in the form that it reads."""
        other = self._readable(value, strict)
        if repr(other) != repr(value):
            try:
                return msgspec.convert(other, self._type, strict=strict, str_keys=True)
            except msgspec.ValidationError as second:
                error = second
        raise self._explained(error, value, strict)

    def _readable(self, value: Any, strict: bool) -> Any:
        return whole_numbers(value) if strict else loosen(value, self._info)

    def _explained(self, error: msgspec.ValidationError, value: Any, strict: bool) -> Unfit:
        message = str(error)

        def fails(other: Any) -> bool:
            try:
                msgspec.convert(self._readable(other, strict), self._type, strict=strict, str_keys=True)
            except msgspec.ValidationError as found:
                return str(found) == message
            return False

        return explain(error, value, self._info, not strict, fails)

    def decode(self, raw: msgspec.Raw) -> Any:
        try:
            return self._checked(self._decoder.decode(raw), None, self._json_numbers)
        except msgspec.ValidationError as error:
            first = error
        try:
            found = self._decoder.decode(_whole_numbers(bytes(raw)))
        except msgspec.ValidationError as error:
            raise self._explained(error or first, LOOSE.decode(raw), True) from None
        return self._checked(found, None, self._json_numbers)

    def _checked(self, found: Any, value: Any, numbers: bool) -> Any:
        if numbers and not is_finite(found):
            raise Unfit("must be a finite number", str(found) if value is None else value)
        if self._templates:
            complete(found, self._templates)
        for check in self._checks:
            check(found)
        return found

    def schema(self, template: str) -> tuple[dict[str, Any], dict[str, Any]]:
        (made,), components = msgspec.json.schema_components((self._type,), ref_template=template)
        return {**made, **keywords(self._type)}, components


def _fields(found: list[types.Type]) -> frozenset[str] | None:
    objects = [kind for kind in found if isinstance(kind, OBJECTS) and not getattr(kind, "array_like", False)]
    if not objects or len(objects) != sum(not isinstance(kind, types.NoneType) for kind in found):
        return None
    return frozenset(each.encode_name for kind in objects for each in kind.fields)


LOOSE = msgspec.json.Decoder(float_hook=float)  # for messages: a number may be too large


def _members(annotation: Any) -> tuple[Any, ...]:
    """What a union is made of; nothing for another annotation."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in WRAPPERS:
        return _members(args[0])
    if hasattr(annotation, "__supertype__"):
        return _members(annotation.__supertype__)
    return args if origin in UNIONS else ()


class AlternativesConverter:
    """Converts to the first type of a union that fits, for unions that msgspec does not support."""

    fields = None
    textual = True
    unfillable = False

    def __init__(self, annotation: Any) -> None:
        # Any text is a str, so str is the last resort.
        members = sorted(_members(annotation), key=lambda kind: bare(kind) == [str])
        self._optional = NoneType in members
        self._text = str in bare(annotation)
        self._converters = [converter_for(each) for each in members if each is not NoneType]
        self._checks = checks_of(annotation)
        self.exact = any(each.exact for each in self._converters)

    def convert(self, value: Any, strict: bool) -> Any:
        is_none = value is None or (not strict and value == "" and not self._text)
        return self._first(lambda each: each.convert(value, strict), is_none)

    def decode(self, raw: msgspec.Raw) -> Any:
        return self._first(lambda each: each.decode(raw), bytes(raw) == b"null")

    def _first(self, convert: Callable[[Any], Any], is_none: bool) -> Any:
        errors = []
        for each in () if self._optional and is_none else self._converters:
            try:
                found = convert(each)
            except Unfit as error:
                errors.append(error)
                continue
            for check in self._checks:
                check(found)
            return found
        if errors:
            raise _either(errors)
        return None

    def schema(self, template: str) -> tuple[dict[str, Any], dict[str, Any]]:
        made = [each.schema(template) for each in self._converters]
        components = {name: schema for _, more in made for name, schema in more.items()}
        null = [{"type": "null"}] if self._optional else []
        return {"anyOf": [schema for schema, _ in made] + null}, components


def _either(errors: list[Unfit]) -> Unfit:
    if len({each.why for each in errors}) == 1:
        return errors[0]
    why = " or ".join(dict.fromkeys(each.why.removeprefix("must be ") for each in errors))
    return Unfit(f"must be {why}", errors[0].value, errors[0].path)


def converter_for(annotation: Any, field: Any = None) -> Any:
    """
    @param field: a C{pydantic.Field()} that stands as the default.
    @raise TypeError: when values of this annotation cannot be made.
    """
    if field is not None or any(map(is_pydantic, parts(annotation))):
        return ModelConverter(annotation, field)
    try:
        return Converter(annotation)
    except TypeError:
        if not _members(annotation):
            raise
        return AlternativesConverter(annotation)
