"""Values converted and validated by pydantic. It is imported only for annotations that come from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, get_args, get_origin

import msgspec

from twisted_appserver.core.conversions.annotations import UNIONS, WRAPPERS, bare, fields, parts
from twisted_appserver.core.conversions.finite import is_finite
from twisted_appserver.core.conversions.unfit import HIDDEN, Unfit, repeated

PACKAGES = ("pydantic", "pydantic_core", "pydantic_extra_types")
# A JSON text, or a number with a fraction or an exponent.
NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*"|(?P<number>-?\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+))', re.DOTALL)
HOOKS = ("__get_pydantic_core_schema__", "__pydantic_validator__")
INSTEAD = "use pydantic models throughout, or a msgspec.Struct with msgspec.Meta"


def is_pydantic(part: Any) -> bool:
    """Whether a type, or the metadata of one, comes from pydantic."""
    cls = part if isinstance(part, type) else type(part)
    names = {each.__module__.split(".")[0] for each in cls.__mro__}
    if names.intersection(PACKAGES):
        return True
    # Other classes may support pydantic without requiring it.
    return any(hasattr(cls, name) for name in HOOKS) and find_spec("pydantic") is not None


def field_of(annotation: Any, default: Any) -> Any:
    """The C{pydantic.Field()} of a parameter, which may be its default or in its annotation; or C{None}."""
    for each in (default, *getattr(annotation, "__metadata__", ())):
        if any(base.__name__ == "FieldInfo" for base in type(each).__mro__) and is_pydantic(each):
            return each
    return None


def _is_many(annotation: Any) -> bool:
    """Whether a form or query field may be repeated for it."""
    kinds = [get_origin(kind) or kind for kind in bare(annotation)]
    return any(
        isinstance(kind, type)
        and issubclass(kind, Collection)
        and not issubclass(kind, str | bytes | bytearray | Mapping)
        for kind in kinds
    )


def _takes_none(annotation: Any) -> bool:
    """Whether empty text means None for it: it allows None, and no text."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in WRAPPERS:
        return _takes_none(args[0])
    return origin in UNIONS and type(None) in args and str not in bare(annotation)


def _exact(found: re.Match[bytes]) -> bytes:
    """A JSON number as it is, or as text if a float would lose digits; any text as it is."""
    number = found["number"]
    if not number or Decimal(repr(float(number))) == Decimal(number.decode()):
        return found[0]
    return b'"%s"' % number


def _fields(kind: Any) -> dict[str, Any] | None:
    """The annotations of a class by the names that its fields have in JSON; C{None} if it has no fields."""
    if not isinstance(kind, type) or getattr(kind, "__pydantic_root_model__", False):
        return None
    if not hasattr(kind, "model_fields"):
        return fields(kind)
    found = {}
    for name, each in kind.model_fields.items():
        found[name] = each.annotation
        if isinstance(each.validation_alias, str):
            found[each.validation_alias] = each.annotation
    return found


class ModelConverter:
    """
    Converts with a C{TypeAdapter}; the rules are pydantic's own.

    @ivar exact: whether L{decode} must read the JSON itself.
    @ivar fields: the names that a JSON object for it may have; C{None} if it is no model.
    @raise TypeError: when pydantic cannot use the annotation.
    """

    def __init__(self, annotation: Any, field: Any = None) -> None:
        if any(isinstance(each, msgspec.Meta) for each in parts(annotation)):
            raise TypeError(f"pydantic ignores msgspec.Meta: {annotation}; {INSTEAD}")
        if field is not None and (field.alias or field.validation_alias):
            raise TypeError("pydantic.Field(alias=...) is not supported here; rename the parameter")
        try:
            from pydantic import TypeAdapter, ValidationError

            self._adapter: Any = TypeAdapter(annotation)
            self._adapter.rebuild()
        except Exception as error:
            why = str(error).partition("\n")[0].partition(". ")[0]
            raise TypeError(f"pydantic cannot use {annotation}: {why}; {INSTEAD}") from None
        self._error = ValidationError
        self.many = _is_many(annotation)
        self.exact = True
        schema = repr(self._adapter.core_schema)
        self._decimals = "'decimal'" in schema
        self._numbers = self._decimals or "'float'" in schema
        found = [_fields(kind) for kind in bare(annotation)]
        members = {name: kind for each in found if each is not None for name, kind in each.items()}
        self._lists = {name: _is_many(kind) for name, kind in members.items()}
        self._optional = {name: _takes_none(kind) for name, kind in members.items()}
        self.fields = frozenset(members) if found and None not in found else None
        self._lists[""] = self.many or any(
            hasattr(kind, "__pydantic_root_model__") for kind in bare(annotation)
        )
        self._optional[""] = _takes_none(annotation)

    def convert(self, value: Any, strict: bool) -> Any:
        """
        @param strict: whether the value came as JSON.
        @raise Unfit: when it does not fit.
        """
        if strict:
            return self._checked(self._adapter.validate_python, value)
        try:
            return self._from_text(value)
        except Unfit as error:
            return self._again(error, value)

    def _again(self, error: Unfit, value: Any) -> Any:
        """
        Validate once more, with None for the empty texts that were refused.

        @raise Unfit: when this does not help.
        """
        whole = not isinstance(value, dict)
        given = {"": value} if whole else value
        empty = []
        for each in (error, *error.others):
            name = "" if whole else each.path.lstrip(".").partition(".")[0]
            if isinstance(each.value, list) and not self._lists.get(name, True):
                raise repeated(each.value, name and f".{name}") from None
            if self._optional.get(name) and each.value == "":
                empty.append(name)
        if not empty:
            raise error
        given = {**given, **dict.fromkeys(empty)}
        return self._from_text(None if whole else given)

    def _from_text(self, value: Any) -> Any:
        if self.many and value is not None and not isinstance(value, list):
            try:  # it may be JSON, or of another type of a union
                return self._checked(self._adapter.validate_strings, value)
            except Unfit:
                value = [value]
        if isinstance(value, dict):
            value = {
                name: [each] if self._lists.get(name) and isinstance(each, str) else each
                for name, each in value.items()
            }
        members = value.values() if isinstance(value, dict) else (value,)
        texts = all(isinstance(each, str) for each in members)
        return self._checked(
            self._adapter.validate_strings if texts else self._adapter.validate_python, value
        )

    def decode(self, raw: msgspec.Raw) -> Any:
        """
        The value of JSON, with all digits of its numbers.

        @raise Unfit: when it does not fit.
        """
        text = bytes(raw)
        if self._decimals:  # pydantic itself reads the numbers of JSON as floats
            text = NUMBER.sub(_exact, text)
        return self._checked(self._adapter.validate_json, text)

    def _checked(self, validate: Callable[[Any], Any], value: Any) -> Any:
        try:
            found = validate(value)
        except self._error as error:
            raise _unfit(error) from None
        if self._numbers and not is_finite(found):
            raise Unfit(
                "must be a finite number" if isinstance(found, float) else "has a number that is not finite"
            )
        return found

    textual = True
    unfillable = False

    def schema(self, template: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The JSON Schema, and those of the models in it, by name."""
        try:
            made = self._adapter.json_schema(ref_template=template.replace("{name}", "{model}"))
        except Exception:  # a type for which pydantic has no schema
            return {}, {}
        return made, made.pop("$defs", {})


def _unfit(error: Any) -> Unfit:
    made = []
    for each in error.errors(include_url=False, include_context=False):
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in each["loc"])
        if each["type"] == "missing":
            made.append(Unfit("is missing", HIDDEN, path))
        else:
            why = each["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            rule = why.removeprefix("Input should ")
            made.append(Unfit(f": {why}" if rule == why else f"must {rule}", each["input"], path))
    first, *others = made
    return Unfit(first.why, first.value, first.path, tuple(others))
