"""Converts values with msgspec. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, get_args, get_origin

import msgspec
from msgspec import inspect as types

from twisted_appserver.core.conversions.annotations import plain_types, walk
from twisted_appserver.core.conversions.conversion_error import ConversionError
from twisted_appserver.core.conversions.dataclass_defaults import fill_in_defaults, templates_for
from twisted_appserver.core.conversions.finite import is_finite
from twisted_appserver.core.conversions.lenient_text import OBJECTS, SEQUENCES, normalize, union_members
from twisted_appserver.core.conversions.limits import checks_for, has_limits, schema_keywords
from twisted_appserver.core.conversions.messages import explain
from twisted_appserver.core.conversions.value_order import in_order
from twisted_appserver.core.upload import SCHEMA, Upload

# A JSON string, or an integer written like 1.0.
INTEGER = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?\d+)\.0+(?=[\s,}\]]|$)', re.DOTALL)
# Reads a number that is too large for a float as infinity.
LENIENT_DECODER = msgspec.json.Decoder(float_hook=float)


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
    if isinstance(info, types.CustomType) and info.cls not in (object, Upload):
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
        self.takes_files = any(each is Upload for each in inner)
        floats = any(isinstance(each, type) and issubclass(each, float) for each in inner)
        # Whether text, or JSON, can become NaN or infinity, so that numbers must be checked.
        self._check_text_numbers = finite and (self.takes_raw_json or floats)
        self._check_json_numbers = finite and (self.takes_raw_json or any(map(_has_number_keys, inner)))
        self._templates = templates_for(inner)
        numbers = self._check_text_numbers or self._check_json_numbers
        self._is_complete = not (self._checks or numbers or self._templates)  # after msgspec has converted it
        self.fields = _field_names(found)
        objects = (*OBJECTS, types.DictType, types.NoneType)
        self.accepts_text = not all(isinstance(kind, objects) or _is_upload(kind) for kind in found)

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
        return self._checked(found, value, self._check_json_numbers if strict else self._check_text_numbers)

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
            return self._checked(self._decoder.decode(raw), None, self._check_json_numbers)
        except msgspec.ValidationError as error:
            first = error
        try:
            found = self._decoder.decode(_integers_in_json(bytes(raw)))
        except msgspec.ValidationError as error:
            raise self._explain(error or first, LENIENT_DECODER.decode(raw), True) from None
        return self._checked(found, None, self._check_json_numbers)

    def _checked(self, found: Any, value: Any, numbers: bool) -> Any:
        if numbers and not is_finite(found):
            raise ConversionError("must be a finite number", str(found) if value is None else value)
        if self._templates:
            fill_in_defaults(found, self._templates)
        for check in self._checks:
            check(found)
        return found

    def schema(self, template: str) -> tuple[dict[str, Any], dict[str, Any]]:
        (made,), components = msgspec.json.schema_components(
            (self._type,), schema_hook=_custom_schema, ref_template=template
        )
        made, components = in_order([made, components], list(walk(self._type)))
        return {**made, **schema_keywords(self._type)}, components


def _field_names(found: list[types.Type]) -> frozenset[str] | None:
    objects = [kind for kind in found if isinstance(kind, OBJECTS) and not getattr(kind, "array_like", False)]
    if not objects or len(objects) != sum(not isinstance(kind, types.NoneType) for kind in found):
        return None
    return frozenset(each.encode_name for kind in objects for each in kind.fields)


def _is_upload(info: types.Type) -> bool:
    return isinstance(info, types.CustomType) and info.cls is Upload


def _custom_schema(cls: type) -> dict[str, str]:
    if cls is Upload:
        return dict(SCHEMA)
    raise NotImplementedError
