"""
Text that people and HTML forms write, rewritten into what msgspec reads. Pure.

Strategy: msgspec accepts text in one canonical form, such as C{5} or C{2020-02-03T04:05:00}. Only text that
msgspec has refused comes here, so canonical text costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Any

from msgspec import inspect as types

NUMBER = re.compile(r"([+-]?)(?=\.?[0-9])([0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)?")
# A space stands for the plus that a client did not escape.
ZONE = r"(?:([Zz])|([ +-])([0-9]{2}):?([0-9]{2}))?"
TIME = re.compile(r"([0-9]{2}:[0-9]{2})(:[0-9]{2}(?:\.[0-9]+)?)?" + ZONE)
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")
BOOLEANS = {"on": "true", "yes": "true", "y": "true", "t": "true"}
BOOLEANS |= {"off": "false", "no": "false", "n": "false", "f": "false"}
SEQUENCES = (types.CollectionType, types.ListType, types.SetType, types.FrozenSetType, types.VarTupleType)
OBJECTS = (types.StructType, types.DataclassType, types.TypedDictType)


def kinds(info: types.Type) -> list[types.Type]:
    """The types that a union is made of, without metadata."""
    if isinstance(info, types.Metadata):
        return kinds(info.type)
    if isinstance(info, types.UnionType):
        return [kind for each in info.types for kind in kinds(each)]
    return [info]


def _number(text: str) -> str | None:
    found = NUMBER.fullmatch(text)
    if not found:
        return None
    sign, whole, fraction, exponent = found.groups(default="")
    fraction = "" if fraction == "." else fraction
    return f"{sign.strip('+')}{whole.lstrip('0') or '0'}{fraction}{exponent}"


def _boolean(text: str) -> str | None:
    return BOOLEANS.get(text.lower())


def _time(text: str) -> str | None:
    found = TIME.fullmatch(text)
    if not found:
        return None
    minutes, seconds, utc, sign, hours, rest = found.groups(default="")
    zone = f"{sign.replace(' ', '+')}{hours}:{rest}" if sign else utc.upper()
    return f"{minutes}{seconds or ':00'}{zone}"


def _datetime(text: str) -> str | None:
    day = DAY.match(text)
    time = _time(text[day.end() :]) if day else None
    return day[0] + time if day and time else None


RULES: dict[type, Callable[[str], str | None]] = {
    types.IntType: _number,
    types.FloatType: _number,
    types.DecimalType: _number,
    types.TimeDeltaType: _number,
    types.BoolType: _boolean,
    types.TimeType: _time,
    types.DateTimeType: _datetime,
}


def choices(kind: types.Type) -> list[Any]:
    """The values of a Literal or an enum."""
    if isinstance(kind, types.EnumType) and issubclass(kind.cls, Enum):
        return [each.value for each in kind.cls]
    return list(kind.values) if isinstance(kind, types.LiteralType) else []


def _text(text: str, found: list[types.Type]) -> Any:
    stripped = text.strip()
    for kind in found:
        if isinstance(kind, SEQUENCES):
            return [loosen(text, kind.item_type)]
        if isinstance(kind, types.NoneType) and not stripped:  # an input of a form that was left empty
            return None
        rule = RULES.get(type(kind))
        if any(isinstance(each, int) for each in choices(kind)):
            rule = _number
        changed = rule(stripped) if rule else None
        if changed is not None:
            return changed
    return stripped


def _members(value: dict[Any, Any], found: list[types.Type]) -> dict[Any, Any]:
    for kind in found:
        if isinstance(kind, OBJECTS):
            inner = {each.encode_name: each.type for each in kind.fields}
            return {
                name: loosen(each, inner[name]) if name in inner else each for name, each in value.items()
            }
        if isinstance(kind, types.DictType):
            return {
                loosen(name, kind.key_type): loosen(each, kind.value_type) for name, each in value.items()
            }
    return value


def loosen(value: Any, info: types.Type) -> Any:
    """Text, or lists and objects of text, as msgspec reads it for a type; unchanged if no rule applies."""
    found = kinds(info)
    if any(isinstance(each, types.StrType | types.AnyType) for each in found):
        return value
    if isinstance(value, str):
        return _text(value, found)
    if isinstance(value, dict):
        return _members(value, found)
    if isinstance(value, list):
        for kind in found:
            if isinstance(kind, SEQUENCES):
                return [loosen(each, kind.item_type) for each in value]
            if isinstance(kind, types.TupleType) and len(kind.item_types) == len(value):
                return [loosen(each, inner) for each, inner in zip(value, kind.item_types, strict=True)]
    return value
