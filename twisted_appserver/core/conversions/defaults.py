"""
Complete instances of dataclasses. Pure.

Strategy: for a field that was not sent, msgspec relies on the default in the class. The instance then lacks
that field, so its JSON, C{vars()}, copies and pickles lack it too. Fields are also stored in the order of the
request. A converter therefore keeps a template of each class that stores its fields in a C{__dict__}.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, get_origin

from twisted_appserver.core.conversions.finite import names

MISSING = dataclasses.MISSING
Templates = dict[type, dict[str, Any]]  # for each class its fields in order, each with its default or MISSING


def templates_of(parts: Iterable[Any]) -> Templates:
    """
    @param parts: the parts of an annotation.
    """
    classes = {kind for each in parts if isinstance(kind := get_origin(each) or each, type)}
    return {cls: _template(cls) for cls in classes if cls.__dictoffset__ and _is_record(cls)}


def _is_record(cls: type) -> bool:
    return hasattr(cls, "__dataclass_fields__") or hasattr(cls, "__attrs_attrs__")


def _template(cls: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(cls):
        return dict.fromkeys([each.name for each in cls.__attrs_attrs__], MISSING)
    found = {}
    for each in dataclasses.fields(cls):
        in_class = getattr(cls, each.name, MISSING) is each.default  # rather than in a slot of a base class
        found[each.name] = each.default if in_class else MISSING
    return found


def complete(value: Any, templates: Templates) -> None:
    """Give all instances in a value the fields that they lack, and the order of the fields in their class."""
    if isinstance(value, dict):
        inner: Iterable[Any] = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        inner = value
    else:
        template = templates.get(type(value))
        if template is not None:
            _fill(vars(value), template)
        inner = [getattr(value, name, None) for name in names(value)]
    for each in inner:
        complete(each, templates)


def _fill(values: dict[str, Any], template: dict[str, Any]) -> None:
    found = {name: values.pop(name, default) for name, default in template.items()}
    found = {name: each for name, each in found.items() if each is not MISSING} | values
    values.clear()
    values.update(found)
