"""
Checks the metadata of annotated_types (C{Ge}, C{Len}, C{Predicate} and so on) without importing that package.
Pure.

Strategy: msgspec ignores this metadata, so a value is converted first and checked afterwards. The list of
checks for an annotation is built once. The list is empty if the annotation has no such metadata.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Annotated, Any, get_args, get_origin

from twisted_appserver.core.conversions.annotations import UNIONS, WRAPPERS, class_fields, plain_types
from twisted_appserver.core.conversions.conversion_error import ConversionError

Check = Callable[[Any], None]  # raises ConversionError
# For each class: the attribute with the limit, the condition on value and limit, and the message.
COMPARISONS: dict[str, tuple[str, Callable[[Any, Any], bool], str]] = {
    "Gt": ("gt", operator.gt, "must be greater than {}"),
    "Ge": ("ge", operator.ge, "must be at least {}"),
    "Lt": ("lt", operator.lt, "must be less than {}"),
    "Le": ("le", operator.le, "must be at most {}"),
    "MultipleOf": ("multiple_of", lambda value, limit: value % limit == 0, "must be a multiple of {}"),
    "MinLen": ("min_length", lambda value, limit: len(value) >= limit, "must have a length of at least {}"),
    "MaxLen": ("max_length", lambda value, limit: len(value) <= limit, "must have a length of at most {}"),
}
KEYWORDS = {"Gt": "exclusiveMinimum", "Ge": "minimum", "Lt": "exclusiveMaximum", "Le": "maximum"}
KEYWORDS |= {"MultipleOf": "multipleOf"}
NO_LIMITS = ("Unit", "DocInfo")  # they describe a value and do not restrict it


def has_limits(metadata: Any) -> bool:
    """Return whether this is metadata of annotated_types."""
    return bool(_class_names(metadata))


def _class_names(metadata: Any) -> list[str]:
    """Return the classes of annotated_types that the metadata is an instance of; empty for other metadata."""
    return [
        each.__name__ for each in type(metadata).__mro__ if each.__module__.split(".")[0] == "annotated_types"
    ]


def _ungroup(metadata: Any) -> list[Any]:
    """Return the members of a group such as C{Interval}; for other metadata a list with that metadata."""
    if "GroupedMetadata" in _class_names(metadata):
        return [single for each in metadata for single in _ungroup(each)]
    return [metadata]


def checks_for(annotation: Any, known: dict[Any, list[Check]] | None = None) -> list[Check]:
    """
    Return the checks that a value of the annotated type must pass.

    @param known: the checks of the classes that have been visited.
    @raise TypeError: when metadata of annotated_types is not supported.
    """
    known = {} if known is None else known
    origin, args = get_origin(annotation) or annotation, get_args(annotation)
    if origin is Annotated:
        checks = [_metadata_check(each) for group in annotation.__metadata__ for each in _ungroup(group)]
        return checks_for(args[0], known) + [each for each in checks if each]
    if origin in UNIONS:
        return _union_checks(args, known)
    if origin in WRAPPERS or hasattr(annotation, "__supertype__"):
        return checks_for(args[0] if args else annotation.__supertype__, known)
    if not isinstance(origin, type):
        return []
    if hints := class_fields(origin):
        return _field_checks(origin, hints, known)
    return _container_checks(origin, args, known)


def _metadata_check(metadata: Any) -> Check | None:
    """
    Return the check for a piece of metadata; C{None} if it restricts nothing.

    @raise TypeError: when this metadata of annotated_types is not supported.
    """
    names = _class_names(metadata)
    if not names or names[0] in NO_LIMITS:
        return None
    if names[0] in COMPARISONS:
        attribute, holds, reason = COMPARISONS[names[0]]
        limit = getattr(metadata, attribute)
        return _make_check(lambda value: holds(value, limit), reason.format(limit))
    if names[0] == "Predicate":
        name = getattr(metadata.func, "__qualname__", repr(metadata.func))
        return _make_check(metadata.func, f"must satisfy {name}")
    if names[0] == "Timezone" and metadata.tz in (None, ...):
        wanted = metadata.tz is not None
        reason = "must have a time zone" if wanted else "must not have a time zone"
        return _make_check(lambda value: (value.tzinfo is not None) is wanted, reason)
    raise TypeError(f"{metadata!r} is not supported; use msgspec.Meta in a msgspec.Struct instead")


def _make_check(holds: Callable[[Any], Any], reason: str) -> Check:
    def check(value: Any) -> None:
        try:
            good = value is None or holds(value)
        except (TypeError, ValueError, ArithmeticError, AttributeError):  # the value cannot be compared
            good = False
        if not good:
            raise ConversionError(
                reason, str(value) if not isinstance(value, str | int | float | list) else value
            )

    return check


def _run(checks: list[Check], value: Any) -> None:
    for each in checks:
        each(value)


def _member_checks(checks: list[Check], members: Callable[[Any], Any]) -> list[Check]:
    """
    Return the checks of a container whose members must pass C{checks}.

    @param members: returns the members of a value, each with its path.
    """
    if not checks:
        return []

    def check(value: Any) -> None:
        for path, member in members(value):
            try:
                _run(checks, member)
            except ConversionError as error:
                raise ConversionError(error.reason, error.value, path + error.path) from None

    return [check]


def _field_checks(cls: Any, hints: dict[str, Any], known: dict[Any, list[Check]]) -> list[Check]:
    if cls in known:  # the class contains itself, so its checks are not complete yet
        return [lambda value: _run(known[cls], value)]
    made = known[cls] = []
    encoded = getattr(cls, "__struct_encode_fields__", ())
    renamed = dict(zip(getattr(cls, "__struct_fields__", ()), encoded, strict=True))
    for name, hint in hints.items():
        made += _member_checks(checks_for(hint, known), partial(_field, name, renamed.get(name, name)))
    return made


def _field(name: str, shown_name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f".{shown_name}", value[name])] if name in value else []
    return [(f".{shown_name}", getattr(value, name))]


def _union_checks(args: tuple[Any, ...], known: dict[Any, list[Check]]) -> list[Check]:
    members = []
    for arg in args:
        for kind in plain_types(arg):
            cls = get_origin(kind) or kind
            if isinstance(cls, type):
                members.append((dict if hasattr(cls, "__required_keys__") else cls, checks_for(arg, known)))
    if not any(checks for _, checks in members):
        return []

    def check(value: Any) -> None:
        for cls, checks in members:
            if isinstance(value, cls):
                _run(checks, value)
                return

    return [check]


def _container_checks(origin: type, args: tuple[Any, ...], known: dict[Any, list[Check]]) -> list[Check]:
    if not args or not issubclass(origin, Collection):
        return []
    if issubclass(origin, Mapping):
        keys = _member_checks(
            checks_for(args[0], known), lambda value: [(f"[{key!r}]", key) for key in value]
        )
        return keys + _member_checks(
            checks_for(args[1], known), lambda value: [(f"[{key!r}]", each) for key, each in value.items()]
        )
    if issubclass(origin, tuple) and args[-1] is not ...:
        made = []
        for index, arg in enumerate(args):
            made += _member_checks(checks_for(arg, known), partial(_item, index))
        return made
    return _member_checks(
        checks_for(args[0], known), lambda value: [(f"[{index}]", each) for index, each in enumerate(value)]
    )


def _item(index: int, value: Any) -> list[tuple[str, Any]]:
    return [(f"[{index}]", value[index])]


def schema_keywords(annotation: Any) -> dict[str, Any]:
    """Return the limits of an annotation as JSON Schema keywords; leave out limits that have no keyword."""
    if get_origin(annotation) is not Annotated:
        return {}
    found: dict[str, Any] = {}
    for each in (single for group in annotation.__metadata__ for single in _ungroup(group)):
        name = next(iter(_class_names(each)), "")
        limit = getattr(each, COMPARISONS[name][0]) if name in COMPARISONS else None
        if name in KEYWORDS and isinstance(limit, int | float):
            found[KEYWORDS[name]] = limit
        elif name in ("MinLen", "MaxLen"):
            subject = "Length" if plain_types(annotation) == [str] else "Items"
            found[f"{name[:3].lower()}{subject}"] = limit
    return {key: limit for key, limit in found.items() if limit is not None}
