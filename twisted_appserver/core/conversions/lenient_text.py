"""
Rewrites text that people and HTML forms send into the form that msgspec reads. Pure.

Strategy: msgspec accepts text in one canonical form, such as C{5} or C{2020-02-03T04:05:00}. Only text that
msgspec has rejected is rewritten, so canonical text costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Any

from msgspec import inspect as types

from twisted_appserver.core.upload import Upload

NUMBER = re.compile(r"([+-]?)(?=\.?[0-9])([0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)?")
# A plus sign that the client did not percent-encode arrives as a space.
ZONE = r"(?:([Zz])|([ +-])([0-9]{2}):?([0-9]{2}))?"
TIME = re.compile(r"([0-9]{2}:[0-9]{2})(:[0-9]{2}(?:\.[0-9]+)?)?" + ZONE)
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")
BOOLEANS = {"on": "true", "yes": "true", "y": "true", "t": "true"}
BOOLEANS |= {"off": "false", "no": "false", "n": "false", "f": "false"}
SEQUENCES = (types.CollectionType, types.ListType, types.SetType, types.FrozenSetType, types.VarTupleType)
OBJECTS = (types.StructType, types.DataclassType, types.TypedDictType)


def union_members(info: types.Type) -> list[types.Type]:
    """Return the members of a union without their metadata; for any other type a list with that type."""
    if isinstance(info, types.Metadata):
        return union_members(info.type)
    if isinstance(info, types.UnionType):
        return [kind for each in info.types for kind in union_members(each)]
    return [info]


def literal_values(kind: types.Type) -> list[Any]:
    """Return the values of a Literal or an enum; an empty list for other types."""
    if isinstance(kind, types.EnumType) and issubclass(kind.cls, Enum):
        return [each.value for each in kind.cls]
    return list(kind.values) if isinstance(kind, types.LiteralType) else []


def normalize(value: Any, info: types.Type) -> Any:
    """
    Rewrite text, or lists and objects of text, into the form that msgspec reads.

    @param info: the type that the value is to be converted to.
    @return: the rewritten value; the value itself if no rule applies.
    """
    found = union_members(info)
    if any(isinstance(each, types.StrType | types.AnyType) for each in found):
        return value
    if isinstance(value, str):
        return _normalize_text(value, found)
    if isinstance(value, dict):
        return _normalize_object(value, found)
    if isinstance(value, Upload) and any(isinstance(kind, SEQUENCES) for kind in found):
        return [value]
    if isinstance(value, list):
        for kind in found:
            if isinstance(kind, SEQUENCES):
                return [normalize(each, kind.item_type) for each in value]
            if isinstance(kind, types.TupleType) and len(kind.item_types) == len(value):
                return [normalize(each, inner) for each, inner in zip(value, kind.item_types, strict=True)]
    return value


def _normalize_text(text: str, found: list[types.Type]) -> Any:
    stripped = text.strip()
    for kind in found:
        if isinstance(kind, SEQUENCES):
            return [normalize(text, kind.item_type)]
        if isinstance(kind, types.NoneType) and not stripped:  # a form field that was left empty
            return None
        rule = RULES.get(type(kind))
        if any(isinstance(each, int) for each in literal_values(kind)):
            rule = _number
        changed = rule(stripped) if rule else None
        if changed is not None:
            return changed
    return stripped


def _normalize_object(value: dict[Any, Any], found: list[types.Type]) -> dict[Any, Any]:
    for kind in found:
        if isinstance(kind, OBJECTS):
            inner = {each.encode_name: each.type for each in kind.fields}
            return {
                name: normalize(each, inner[name]) if name in inner else each for name, each in value.items()
            }
        if isinstance(kind, types.DictType):
            return {
                normalize(name, kind.key_type): normalize(each, kind.value_type)
                for name, each in value.items()
            }
    return value


def _number(text: str) -> str | None:
    found = NUMBER.fullmatch(text)
    if not found:
        return None
    sign, integer, fraction, exponent = found.groups(default="")
    fraction = "" if fraction == "." else fraction
    return f"{sign.strip('+')}{integer.lstrip('0') or '0'}{fraction}{exponent}"


def _boolean(text: str) -> str | None:
    return BOOLEANS.get(text.lower())


def _time(text: str) -> str | None:
    found = TIME.fullmatch(text)
    if not found:
        return None
    minutes, seconds, utc, sign, zone_hours, zone_minutes = found.groups(default="")
    zone = f"{sign.replace(' ', '+')}{zone_hours}:{zone_minutes}" if sign else utc.upper()
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
