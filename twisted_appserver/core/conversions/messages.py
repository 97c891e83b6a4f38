"""msgspec's validation errors in plain words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect as types

from twisted_appserver.core.conversions.places import Fails, find, member, wrong_key
from twisted_appserver.core.conversions.texts import OBJECTS, SEQUENCES, choices, kinds
from twisted_appserver.core.conversions.unfit import HIDDEN, Unfit, repeated, shown

ERROR = re.compile(r"(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*)`)?", re.DOTALL)
EXPECTED = re.compile(r"Expected `(?P<kinds>[^`]+)`(?P<limit>.*?)(?:, got .*)?", re.DOTALL)
LENGTH = re.compile(r" of length (\d+)")
LISTS = (*SEQUENCES, types.TupleType, types.NamedTupleType, types.AnyType)
MISSING = re.compile(r"Object missing required field `(.+)`")
UNKNOWN = re.compile(r"Object contains unknown field `(.+)`")
# What msgspec calls a type, and how a client would.
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
    "finite": "a finite number",
    "digits": "an integer of at most 4300 digits",
}
SENTENCES = {
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
    """The types that a member of a value may have."""
    for kind in kinds(info):
        if isinstance(kind, OBJECTS):
            yield from (each.type for each in kind.fields if each.encode_name == step)
        elif isinstance(kind, types.DictType):
            yield kind.value_type
        elif isinstance(kind, types.TupleType) and isinstance(step, int):
            yield from kind.item_types[step:][:1]
        elif hasattr(kind, "item_type"):
            yield kind.item_type


def noun(found: list[types.Type]) -> str:
    """What a value of one of these types is called; empty if it has no name."""
    values = [each for kind in found for each in choices(kind)]
    if values and all(choices(kind) or isinstance(kind, types.NoneType) for kind in found):
        return f"one of {', '.join(map(shown, values))}" if len(values) > 1 else shown(values[0])
    return ""


def _expected(what: str, found: list[types.Type], texts: bool) -> str:
    """What the value must be, or an empty string if the error is of another kind."""
    if SENTENCES.get(what):
        return NOUNS[SENTENCES[what]]
    expected = EXPECTED.fullmatch(what)
    if (expected or what.startswith("Invalid enum value")) and (named := noun(found)):
        return named
    if not expected:
        return ""
    names = expected["kinds"].split(" | ")
    if texts and len(names) > 1:  # no text is null, except for an empty one
        names = [name for name in names if name != "null"]
    limit = expected["limit"]
    if names == ["array"]:
        limit = LENGTH.sub(r" of \1 items", limit)
    return " or ".join(NOUNS.get(name, name) for name in names) + limit


def explain(error: msgspec.ValidationError, value: Any, info: types.Type, texts: bool, fails: Fails) -> Unfit:
    """
    @param value: what was converted.
    @param info: of the type that it was converted to.
    @param texts: whether it came as text.
    @param fails: whether another value leads to the same error.
    """
    parsed = ERROR.fullmatch(str(error))
    assert parsed is not None
    what = parsed["what"]
    steps, path = find(parsed["path"] or "", value, fails)
    found = kinds(info)
    for step in steps:
        found = [each for kind in found for inner in _inner_types(kind, step) for each in kinds(inner)]
    if parsed["key"]:
        keys = [each for kind in found if isinstance(kind, types.DictType) for each in kinds(kind.key_type)]
        must = _expected(what, keys, False)
        why = f"has a key that must be {must}" if must else f"has a wrong key: {what}"
        return Unfit(why, wrong_key(value, steps, fails) if must else HIDDEN, path)
    if missing := MISSING.fullmatch(what):
        return Unfit("is missing", HIDDEN, f"{path}.{missing[1]}")
    if unknown := UNKNOWN.fullmatch(what):
        return Unfit("is not a known field", HIDDEN, f"{path}.{unknown[1]}")
    return _wrong(what, member(value, steps), path, found, texts)


def _wrong(what: str, value: Any, path: str, found: list[types.Type], texts: bool) -> Unfit:
    if texts and isinstance(value, list) and not any(isinstance(kind, LISTS) for kind in found):
        return repeated(value, path)
    must = _expected(what, found, texts)
    return Unfit(f"must be {must}", value, path) if must else Unfit(f": {what}", HIDDEN, path)
