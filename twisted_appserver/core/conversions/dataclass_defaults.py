"""
Fills in the fields of dataclasses that a request leaves out. Pure.

Strategy: if a field is missing in the request, msgspec relies on the default stored in the class. The
instance then lacks the field, and so do its JSON, its C{vars()}, its copies and its pickles. The other
fields are stored in the order of the request. A converter therefore keeps a template for each class that
stores its fields in a C{__dict__}.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, get_origin

from twisted_appserver.core.conversions.finite import field_names

MISSING = dataclasses.MISSING
Templates = dict[type, dict[str, Any]]  # for each class: its fields in order, with their defaults or MISSING


def templates_for(parts: Iterable[Any]) -> Templates:
    """
    Return the templates of the dataclasses in an annotation.

    @param parts: the parts of the annotation.
    """
    classes = {kind for each in parts if isinstance(kind := get_origin(each) or each, type)}
    return {cls: _template(cls) for cls in classes if cls.__dictoffset__ and _declares_fields(cls)}


def _declares_fields(cls: type) -> bool:
    return hasattr(cls, "__dataclass_fields__") or hasattr(cls, "__attrs_attrs__")


def _template(cls: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(cls):
        return dict.fromkeys([each.name for each in cls.__attrs_attrs__], MISSING)
    found = {}
    for each in dataclasses.fields(cls):
        in_class = getattr(cls, each.name, MISSING) is each.default  # rather than in a slot of a base class
        found[each.name] = each.default if in_class else MISSING
    return found


def fill_in_defaults(value: Any, templates: Templates) -> None:
    """Add the missing fields to every instance in a value, and sort its fields in the order of its class."""
    if isinstance(value, dict):
        members: Iterable[Any] = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        members = value
    else:
        template = templates.get(type(value))
        if template is not None:
            _fill_instance(vars(value), template)
        members = [getattr(value, name, None) for name in field_names(value)]
    for each in members:
        fill_in_defaults(each, templates)


def _fill_instance(values: dict[str, Any], template: dict[str, Any]) -> None:
    found = {name: values.pop(name, default) for name, default in template.items()}
    found = {name: each for name, each in found.items() if each is not MISSING} | values
    values.clear()
    values.update(found)
