"""Explains msgspec's validation errors in plain words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect as types

from twisted_appserver.core.conversions.conversion_error import (
    HIDDEN,
    IS_MISSING,
    ConversionError,
    format_value,
    repeated_field_error,
)
from twisted_appserver.core.conversions.error_paths import SameError, member_at, rejected_key, resolve_path
from twisted_appserver.core.conversions.lenient_text import OBJECTS, SEQUENCES, literal_values, union_members

ERROR = re.compile(r"(?P<message>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*)`)?", re.DOTALL)
EXPECTED = re.compile(r"Expected `(?P<kinds>[^`]+)`(?P<limit>.*?)(?:, got .*)?", re.DOTALL)
LENGTH = re.compile(r" of length (\d+)")
LISTS = (*SEQUENCES, types.TupleType, types.NamedTupleType, types.AnyType)
MISSING = re.compile(r"Object missing required field `(.+)`")
UNKNOWN = re.compile(r"Object contains unknown field `(.+)`")
# The name of each type in messages, by its name in msgspec.
NOUNS = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "null": "null",
    "array": "a list",
    "object": "an object",
    "decimal": "a decimal number",
    "uuid": "a UUID",
    "date": "a date like 2030-01-31",
    "time": "a time like 14:30",
    "datetime": "a date and time like 2030-01-31T14:30",
    "duration": "a duration like PT90S, or seconds",
    "bytes": "base64",
    "Upload": "a file in a multipart form",
    "finite": "a finite number",
    "digits": "an integer of at most 4300 digits",
}
# The key in NOUNS for each message of msgspec that does not name the type.
MESSAGES = {
    "Number out of range": "finite",
    "Integer value out of range": "digits",
    "Invalid decimal string": "decimal",
    "Invalid UUID": "uuid",
    "Invalid RFC3339 encoded date": "date",
    "Invalid RFC3339 encoded time": "time",
    "Invalid RFC3339 encoded datetime": "datetime",
    "Invalid ISO8601 duration": "duration",
    "Invalid base64 encoded string": "bytes",
}


def _inner_types(info: types.Type, step: Any) -> Iterator[types.Type]:
    """Yield the types that a member of a value may have."""
    for kind in union_members(info):
        if isinstance(kind, OBJECTS):
            yield from (each.type for each in kind.fields if each.encode_name == step)
        elif isinstance(kind, types.DictType):
            yield kind.value_type
        elif isinstance(kind, types.TupleType) and isinstance(step, int):
            yield from kind.item_types[step:][:1]
        elif hasattr(kind, "item_type"):
            yield kind.item_type


def _list_values(found: list[types.Type]) -> str:
    """List the values of Literals and enums; return empty text if other types are among these."""
    values = [each for kind in found for each in literal_values(kind)]
    if values and all(literal_values(kind) or isinstance(kind, types.NoneType) for kind in found):
        return (
            f"one of {', '.join(map(format_value, values))}" if len(values) > 1 else format_value(values[0])
        )
    return ""


def _expected(message: str, found: list[types.Type], is_text: bool) -> str:
    """Return what the value must be; empty text if msgspec's message is about something else."""
    if MESSAGES.get(message):
        return NOUNS[MESSAGES[message]]
    expected = EXPECTED.fullmatch(message)
    if (expected or message.startswith("Invalid enum value")) and (values := _list_values(found)):
        return values
    if not expected:
        return ""
    names = expected["kinds"].split(" | ")
    if is_text and len(names) > 1:  # only empty text means null
        names = [name for name in names if name != "null"]
    limit = expected["limit"]
    if names == ["array"]:
        limit = LENGTH.sub(r" of \1 items", limit)
    return " or ".join(NOUNS.get(name, name) for name in names) + limit


def explain(
    error: msgspec.ValidationError, value: Any, info: types.Type, is_text: bool, same_error: SameError
) -> ConversionError:
    """
    Return an error of msgspec with a message in plain words.

    @param value: the value that could not be converted.
    @param info: the type that it should have been converted to.
    @param is_text: whether the value came as text rather than as JSON.
    @param same_error: returns whether converting another value raises the same error.
    """
    parsed = ERROR.fullmatch(str(error))
    assert parsed is not None
    message = parsed["message"]
    steps, path = resolve_path(parsed["path"] or "", value, same_error)
    found = union_members(info)
    for step in steps:
        found = [
            each for kind in found for inner in _inner_types(kind, step) for each in union_members(inner)
        ]
    if parsed["key"]:
        return _invalid_key(message, rejected_key(value, steps, same_error), path, found)
    if missing := MISSING.fullmatch(message):
        return ConversionError(IS_MISSING, HIDDEN, f"{path}.{missing[1]}")
    if unknown := UNKNOWN.fullmatch(message):
        return ConversionError("is not a known field", HIDDEN, f"{path}.{unknown[1]}")
    return _invalid_value(message, member_at(value, steps), path, found, is_text)


def _invalid_key(message: str, key: Any, path: str, found: list[types.Type]) -> ConversionError:
    dicts = [kind for kind in found if isinstance(kind, types.DictType)]
    expected = _expected(message, [each for kind in dicts for each in union_members(kind.key_type)], False)
    if expected:
        return ConversionError(f"has a key that must be {expected}", key, path)
    return ConversionError(f"has an invalid key: {message}", HIDDEN, path)


def _invalid_value(
    message: str, value: Any, path: str, found: list[types.Type], is_text: bool
) -> ConversionError:
    if is_text and isinstance(value, list) and not any(isinstance(kind, LISTS) for kind in found):
        return repeated_field_error(value, path)
    expected = _expected(message, found, is_text)
    if expected:
        return ConversionError(f"must be {expected}", value, path)
    return ConversionError(f": {message}", HIDDEN, path)
