"""msgspec's validation errors in plain words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect as types

from twisted_appserver.conversions.texts import OBJECTS, choices, kinds
from twisted_appserver.conversions.unfit import HIDDEN, Unfit, shown

ERROR = re.compile(r"(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*)`)?", re.DOTALL)
STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
EXPECTED = re.compile(r"Expected `(?P<kinds>[^`]+)`(?P<limit>.*?)(?:, got .*)?", re.DOTALL)
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


def _steps(path: str) -> Iterator[str]:
    for name, index in STEP.findall(path):
        yield name or index


def _inner_types(info: types.Type, step: str) -> Iterator[types.Type]:
    """The types that a member of a value may have."""
    for kind in kinds(info):
        if isinstance(kind, OBJECTS):
            yield from (each.type for each in kind.fields if each.encode_name == step)
        elif isinstance(kind, types.DictType):
            yield kind.value_type
        elif isinstance(kind, types.TupleType) and step.isdigit():
            yield from kind.item_types[int(step) :][:1]
        elif hasattr(kind, "item_type"):
            yield kind.item_type


def _member(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return next(iter(value.values())) if step == "..." and len(value) == 1 else value.get(step, HIDDEN)
    if isinstance(value, list) and step.isdigit() and int(step) < len(value):
        return value[int(step)]
    return HIDDEN


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
    return " or ".join(NOUNS.get(name, name) for name in names) + expected["limit"]


def explain(error: msgspec.ValidationError, value: Any, info: types.Type, texts: bool) -> Unfit:
    """
    @param value: what was converted.
    @param info: of the type that it was converted to.
    @param texts: whether it came as text.
    """
    parsed = ERROR.fullmatch(str(error))
    assert parsed is not None
    what, path = parsed["what"], parsed["path"] or ""
    found = kinds(info)
    for step in _steps(path):
        value = _member(value, step)
        found = [each for kind in found for inner in _inner_types(kind, step) for each in kinds(inner)]
    if parsed["key"]:
        keys = [each for kind in found if isinstance(kind, types.DictType) for each in kinds(kind.key_type)]
        must = _expected(what, keys, False)
        return Unfit(f"has a key that must be {must}" if must else f"has a wrong key: {what}", HIDDEN, path)
    if missing := MISSING.fullmatch(what):
        return Unfit("is missing", HIDDEN, f"{path}.{missing[1]}")
    if unknown := UNKNOWN.fullmatch(what):
        return Unfit("is not a known field", HIDDEN, f"{path}.{unknown[1]}")
    must = _expected(what, found, texts)
    return Unfit(f"must be {must}", value, path) if must else Unfit(f": {what}", HIDDEN, path)
