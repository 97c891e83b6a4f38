"""Whether a value contains NaN or infinity."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from typing import Any


def is_finite(value: Any) -> bool:
    """Whether a value has no NaN or infinity, which JSON does not have either (RFC 8259, section 6)."""
    if isinstance(value, dict):
        return is_finite([*value, *value.values()])
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_finite, value))
    if isinstance(value, Decimal):
        return value.is_finite()
    if isinstance(value, float):
        return isfinite(value)
    return all(is_finite(getattr(value, name, None)) for name in names(value))


def names(value: Any) -> list[str]:
    """The fields of an object."""
    for attribute in ("__struct_fields__", "__dataclass_fields__", "__pydantic_fields__"):
        if hasattr(type(value), attribute):
            return list(getattr(type(value), attribute))
    return [each.name for each in getattr(type(value), "__attrs_attrs__", ())]
