"""Finds NaN and infinity in converted values. Pure."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from typing import Any


def is_finite(value: Any) -> bool:
    """Return whether a value is free of NaN and infinity, which JSON excludes (RFC 8259, section 6)."""
    if isinstance(value, dict):
        return is_finite([*value, *value.values()])
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_finite, value))
    if isinstance(value, Decimal):
        return value.is_finite()
    if isinstance(value, float):
        return isfinite(value)
    return all(is_finite(getattr(value, name, None)) for name in field_names(value))


def field_names(value: Any) -> list[str]:
    """Return the names of an object's fields; an empty list if its class declares none."""
    for attribute in ("__struct_fields__", "__dataclass_fields__", "__pydantic_fields__"):
        if hasattr(type(value), attribute):
            return list(getattr(type(value), attribute))
    return [each.name for each in getattr(type(value), "__attrs_attrs__", ())]
