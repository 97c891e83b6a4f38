"""
The metadata of annotated_types (C{Ge}, C{Len}, C{Predicate}...), checked without that package. Pure.

Strategy: msgspec ignores this metadata. A value is therefore converted first and then checked. Each
annotation has a list of checks, made once, which is empty if the annotation has no such metadata.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Annotated, Any, get_args, get_origin

from twisted_appserver.core.conversions.annotations import UNIONS, WRAPPERS, bare, fields
from twisted_appserver.core.conversions.unfit import Unfit

Check = Callable[[Any], None]  # raises Unfit
# For each name the attribute with the limit, what holds for a value and the limit, and the words for it.
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
NO_LIMITS = ("Unit", "DocInfo")  # they describe a value and restrict nothing


def _names(metadata: Any) -> list[str]:
    """The classes of annotated_types that it is an instance of; none for other metadata."""
    return [
        each.__name__ for each in type(metadata).__mro__ if each.__module__.split(".")[0] == "annotated_types"
    ]


def has_limits(metadata: Any) -> bool:
    return bool(_names(metadata))


def _single(metadata: Any) -> list[Any]:
    """A group such as C{Interval} as its members."""
    if "GroupedMetadata" in _names(metadata):
        return [single for each in metadata for single in _single(each)]
    return [metadata]


def _test(metadata: Any) -> Check | None:
    """
    @raise TypeError: when it is of a kind that this module does not know.
    """
    names = _names(metadata)
    if not names or names[0] in NO_LIMITS:
        return None
    if names[0] in COMPARISONS:
        attribute, holds, why = COMPARISONS[names[0]]
        limit = getattr(metadata, attribute)
        return _check(lambda value: holds(value, limit), why.format(limit))
    if names[0] == "Predicate":
        name = getattr(metadata.func, "__qualname__", repr(metadata.func))
        return _check(metadata.func, f"must satisfy {name}")
    if names[0] == "Timezone" and metadata.tz in (None, ...):
        wanted = metadata.tz is not None
        words = "must have a time zone" if wanted else "must not have a time zone"
        return _check(lambda value: (value.tzinfo is not None) is wanted, words)
    raise TypeError(f"{metadata!r} is not supported; use msgspec.Meta in a msgspec.Struct instead")


def _check(holds: Callable[[Any], Any], why: str) -> Check:
    def check(value: Any) -> None:
        try:
            good = value is None or holds(value)
        except (TypeError, ValueError, ArithmeticError, AttributeError):  # it cannot be compared
            good = False
        if not good:
            raise Unfit(why, str(value) if not isinstance(value, str | int | float | list) else value)

    return check


def _inside(checks: list[Check], members: Callable[[Any], Any]) -> list[Check]:
    """Checks for the members of a value, each of which comes with its path."""
    if not checks:
        return []

    def check(value: Any) -> None:
        for path, member in members(value):
            try:
                _run(checks, member)
            except Unfit as error:
                raise Unfit(error.why, error.value, path + error.path) from None

    return [check]


def _of_fields(cls: Any, hints: dict[str, Any], known: dict[Any, list[Check]]) -> list[Check]:
    if cls in known:  # the class contains itself: its checks are not complete yet
        return [lambda value: _run(known[cls], value)]
    made = known[cls] = []
    encoded = getattr(cls, "__struct_encode_fields__", ())
    renamed = dict(zip(getattr(cls, "__struct_fields__", ()), encoded, strict=True))
    for name, hint in hints.items():
        made += _inside(checks_of(hint, known), partial(_field, name, renamed.get(name, name)))
    return made


def _field(name: str, shown: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f".{shown}", value[name])] if name in value else []
    return [(f".{shown}", getattr(value, name))]


def _run(checks: list[Check], value: Any) -> None:
    for each in checks:
        each(value)


def _of_union(args: tuple[Any, ...], known: dict[Any, list[Check]]) -> list[Check]:
    choices = []
    for arg in args:
        for kind in bare(arg):
            plain = get_origin(kind) or kind
            if isinstance(plain, type):
                choices.append(
                    (dict if hasattr(plain, "__required_keys__") else plain, checks_of(arg, known))
                )
    if not any(checks for _, checks in choices):
        return []

    def check(value: Any) -> None:
        for kind, checks in choices:
            if isinstance(value, kind):
                _run(checks, value)
                return

    return [check]


def checks_of(annotation: Any, known: dict[Any, list[Check]] | None = None) -> list[Check]:
    """
    What a value of this type must pass.

    @param known: the checks of the classes that have been seen.
    @raise TypeError: when metadata of annotated_types cannot be checked.
    """
    known = {} if known is None else known
    origin, args = get_origin(annotation) or annotation, get_args(annotation)
    if origin is Annotated:
        tests = [_test(each) for group in annotation.__metadata__ for each in _single(group)]
        return checks_of(args[0], known) + [each for each in tests if each]
    if origin in UNIONS:
        return _of_union(args, known)
    if origin in WRAPPERS or hasattr(annotation, "__supertype__"):
        return checks_of(args[0] if args else annotation.__supertype__, known)
    if not isinstance(origin, type):
        return []
    if hints := fields(origin):
        return _of_fields(origin, hints, known)
    return _of_container(origin, args, known)


def _of_container(origin: type, args: tuple[Any, ...], known: dict[Any, list[Check]]) -> list[Check]:
    if not args or not issubclass(origin, Collection):
        return []
    if issubclass(origin, Mapping):
        keys = _inside(checks_of(args[0], known), lambda value: [(f"[{key!r}]", key) for key in value])
        values = checks_of(args[1], known)
        return keys + _inside(values, lambda value: [(f"[{key!r}]", each) for key, each in value.items()])
    if issubclass(origin, tuple) and args[-1] is not ...:
        made = []
        for index, arg in enumerate(args):
            made += _inside(checks_of(arg, known), partial(_item, index))
        return made
    return _inside(
        checks_of(args[0], known), lambda value: [(f"[{index}]", each) for index, each in enumerate(value)]
    )


def _item(index: int, value: Any) -> list[tuple[str, Any]]:
    return [(f"[{index}]", value[index])]


def keywords(annotation: Any) -> dict[str, Any]:
    """The limits of an annotation in the words of JSON Schema, as far as it has words for them."""
    if get_origin(annotation) is not Annotated:
        return {}
    found: dict[str, Any] = {}
    for each in (single for group in annotation.__metadata__ for single in _single(group)):
        name = next(iter(_names(each)), "")
        limit = getattr(each, COMPARISONS[name][0]) if name in COMPARISONS else None
        if name in KEYWORDS and isinstance(limit, int | float):
            found[KEYWORDS[name]] = limit
        elif name in ("MinLen", "MaxLen"):
            subject = "Length" if bare(annotation) == [str] else "Items"
            found[f"{name[:3].lower()}{subject}"] = limit
    return {key: limit for key, limit in found.items() if limit is not None}
