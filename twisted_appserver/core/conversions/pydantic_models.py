"""Converts and validates values with pydantic, which is imported only if an annotation needs it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, get_args, get_origin

import msgspec

from twisted_appserver.core.conversions.annotations import UNIONS, WRAPPERS, class_fields, plain_types, walk
from twisted_appserver.core.conversions.conversion_error import (
    HIDDEN,
    IS_MISSING,
    ConversionError,
    repeated_field_error,
)
from twisted_appserver.core.conversions.finite import is_finite
from twisted_appserver.core.upload import Upload

PACKAGES = ("pydantic", "pydantic_core", "pydantic_extra_types")
# A JSON string, or a number with a fraction or an exponent.
NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*"|(?P<number>-?\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+))', re.DOTALL)
HOOKS = ("__get_pydantic_core_schema__", "__pydantic_validator__")
INSTEAD = "use pydantic models throughout, or a msgspec.Struct with msgspec.Meta"


def is_pydantic(part: Any) -> bool:
    """Return whether a type, or a piece of metadata, comes from pydantic or supports it."""
    cls = part if isinstance(part, type) else type(part)
    if cls is Upload:  # it works without pydantic too
        return False
    names = {each.__module__.split(".")[0] for each in cls.__mro__}
    if names.intersection(PACKAGES):
        return True
    # Other classes may support pydantic without importing it.
    return any(hasattr(cls, name) for name in HOOKS) and find_spec("pydantic") is not None


def pydantic_field(annotation: Any, default: Any) -> Any:
    """Return the C{pydantic.Field()} in the default or the annotation of a parameter, or C{None}."""
    for each in (default, *getattr(annotation, "__metadata__", ())):
        if any(base.__name__ == "FieldInfo" for base in type(each).__mro__) and is_pydantic(each):
            return each
    return None


def _takes_several(annotation: Any) -> bool:
    """Return whether a form or query field may be repeated for this annotation."""
    kinds = [get_origin(kind) or kind for kind in plain_types(annotation)]
    return any(
        isinstance(kind, type)
        and issubclass(kind, Collection)
        and not issubclass(kind, str | bytes | bytearray | Mapping)
        for kind in kinds
    )


def _takes_none(annotation: Any) -> bool:
    """Return whether empty text means None: the annotation allows None and does not allow text."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in WRAPPERS:
        return _takes_none(args[0])
    return origin in UNIONS and type(None) in args and str not in plain_types(annotation)


def _keep_digits(found: re.Match[bytes]) -> bytes:
    """Return a JSON number as a string if a float would lose digits; return everything else unchanged."""
    number = found["number"]
    if not number or Decimal(repr(float(number))) == Decimal(number.decode()):
        return found[0]
    return b'"%s"' % number


def _json_fields(kind: Any) -> dict[str, Any] | None:
    """Return the annotations of a class by the JSON names of its fields; C{None} if it has no fields."""
    if not isinstance(kind, type) or getattr(kind, "__pydantic_root_model__", False):
        return None
    if not hasattr(kind, "model_fields"):
        return class_fields(kind)
    found = {}
    for name, each in kind.model_fields.items():
        found[name] = each.annotation
        if isinstance(each.validation_alias, str):
            found[each.validation_alias] = each.annotation
    return found


class PydanticConverter:
    """
    Convert with a C{TypeAdapter}, following pydantic's own rules.

    @ivar takes_raw_json: always true: L{decode} must read the JSON itself.
    @ivar fields: the names that a JSON object may have; C{None} if the annotation is not a model.
    @param field: the C{pydantic.Field()} of the parameter.
    @raise TypeError: when pydantic cannot use the annotation.
    """

    def __init__(self, annotation: Any, field: Any = None) -> None:
        if any(isinstance(each, msgspec.Meta) for each in walk(annotation)):
            raise TypeError(f"pydantic would ignore the msgspec.Meta in {annotation}; {INSTEAD}")
        if field is not None and (field.alias or field.validation_alias):
            raise TypeError("pydantic.Field(alias=...) is not supported here; rename the parameter")
        try:
            from pydantic import TypeAdapter, ValidationError

            self._adapter: Any = TypeAdapter(annotation)
            self._adapter.rebuild()
        except Exception as error:
            reason = str(error).partition("\n")[0].partition(". ")[0]
            raise TypeError(f"pydantic cannot use {annotation}: {reason}; {INSTEAD}") from None
        self._error = ValidationError
        self.takes_several = _takes_several(annotation)
        self.takes_raw_json = True
        schema = repr(self._adapter.core_schema)
        self.takes_files = Upload.__get_pydantic_core_schema__.__qualname__ in schema
        self._decimals = "'decimal'" in schema
        self._numbers = self._decimals or "'float'" in schema
        found = [_json_fields(kind) for kind in plain_types(annotation)]
        members = {name: kind for each in found if each is not None for name, kind in each.items()}
        self._lists = {name: _takes_several(kind) for name, kind in members.items()}
        self._optional = {name: _takes_none(kind) for name, kind in members.items()}
        self.fields = frozenset(members) if found and None not in found else None
        self._lists[""] = self.takes_several or any(
            hasattr(kind, "__pydantic_root_model__") for kind in plain_types(annotation)
        )
        self._optional[""] = _takes_none(annotation)

    def convert(self, value: Any, strict: bool) -> Any:
        """
        Convert a value.

        @param strict: whether the value came as JSON.
        @raise ConversionError: when it cannot be converted.
        """
        if strict:
            return self._checked(self._adapter.validate_python, value)
        try:
            return self._from_text(value)
        except ConversionError as error:
            return self._with_nulls(error, value)

    def _with_nulls(self, error: ConversionError, value: Any) -> Any:
        """
        Validate again, with None instead of the empty texts that were rejected.

        @raise ConversionError: when this does not help.
        """
        single = not isinstance(value, dict)
        given = {"": value} if single else value
        empty = []
        for each in (error, *error.others):
            name = "" if single else each.path.lstrip(".").partition(".")[0]
            if isinstance(each.value, list) and not self._lists.get(name, True):
                raise repeated_field_error(each.value, name and f".{name}") from None
            if self._optional.get(name) and each.value == "":
                empty.append(name)
        if not empty:
            raise error
        given = {**given, **dict.fromkeys(empty)}
        return self._from_text(None if single else given)

    def _from_text(self, value: Any) -> Any:
        if self.takes_several and value is not None and not isinstance(value, list):
            try:  # the text may be JSON, or another member of a union may accept it
                return self._checked(self._adapter.validate_strings, value)
            except ConversionError:
                value = [value]
        if isinstance(value, dict):
            value = {
                name: [each] if self._lists.get(name) and isinstance(each, str | Upload) else each
                for name, each in value.items()
            }
        members = value.values() if isinstance(value, dict) else (value,)
        texts = all(isinstance(each, str) for each in members)
        return self._checked(
            self._adapter.validate_strings if texts else self._adapter.validate_python, value
        )

    def decode(self, raw: msgspec.Raw) -> Any:
        """
        Convert JSON and keep all digits of its numbers.

        @raise ConversionError: when it cannot be converted.
        """
        text = bytes(raw)
        if self._decimals:  # pydantic itself reads JSON numbers as floats
            text = NUMBER.sub(_keep_digits, text)
        return self._checked(self._adapter.validate_json, text)

    def _checked(self, validate: Callable[[Any], Any], value: Any) -> Any:
        try:
            found = validate(value)
        except self._error as error:
            raise _conversion_error(error) from None
        if self._numbers and not is_finite(found):
            raise ConversionError(
                "must be a finite number" if isinstance(found, float) else "has a number that is not finite"
            )
        return found

    accepts_text = True
    needs_custom_class = False

    def schema(self, template: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the JSON Schema and the schemas that it refers to, by name."""
        try:
            made = self._adapter.json_schema(ref_template=template.replace("{name}", "{model}"))
        except Exception:  # a type for which pydantic has no schema
            return {}, {}
        return made, made.pop("$defs", {})


def _conversion_error(error: Any) -> ConversionError:
    """Return a C{ValidationError} of pydantic as a C{ConversionError}."""
    made = []
    for each in error.errors(include_url=False, include_context=False):
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in each["loc"])
        if each["type"] == "missing":
            made.append(ConversionError(IS_MISSING, HIDDEN, path))
        else:
            reason = each["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            rule = reason.removeprefix("Input should ")
            reason = f": {reason}" if rule == reason else f"must {rule}"
            made.append(ConversionError(reason, each["input"], path))
    first, *others = made
    return ConversionError(first.reason, first.value, first.path, tuple(others))
