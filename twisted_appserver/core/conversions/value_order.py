"""Puts the values of enumerations in schemas into the order in which they are defined. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, Literal, get_args, get_origin


def in_order(schema: Any, annotations: Iterable[Any]) -> Any:
    """
    Return a schema whose enumerations have the order of the enums and Literals among some annotations.

    msgspec sorts the values. People read them in a form, where the author's order is the better one.
    """
    orders: dict[frozenset[str], list[Any]] = {}
    for each in annotations:
        if isinstance(each, type) and issubclass(each, Enum):
            values = [member.value for member in each]
        elif get_origin(each) is Literal:
            values = list(get_args(each))
        else:
            continue
        orders.setdefault(_unordered(values), values)
    return _reorder(schema, orders) if orders else schema


def _unordered(values: list[Any]) -> frozenset[str]:
    return frozenset(map(repr, values))


def _reorder(schema: Any, orders: dict[frozenset[str], list[Any]]) -> Any:
    if isinstance(schema, list):
        return [_reorder(each, orders) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _reorder(value, orders) for key, value in schema.items()}
    if isinstance(values := made.get("enum"), list):
        made["enum"] = orders.get(_unordered(values), values)
    return made
