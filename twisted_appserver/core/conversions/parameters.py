"""The parameters of a function, each with the converter for its annotation. Pure."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, MutableMapping
from decimal import Decimal
from typing import Annotated, Any, get_args, get_origin

import msgspec

from twisted_appserver.core.conversions.annotations import bare
from twisted_appserver.core.conversions.converters import converter_for
from twisted_appserver.core.conversions.models import field_of, is_pydantic
from twisted_appserver.core.conversions.unfit import Unfit
from twisted_appserver.errors import HTTPError

MAPPINGS = (dict, Mapping, MutableMapping)
# Types whose values are written out in a signature, and the ones that are common for other types.
LITERALS = (str, bytes, int, float, bool, list, tuple, set, dict)
WIDER: dict[Any, tuple[type, ...]] = {float: (int,), complex: (int, float), Decimal: (int,), set: (tuple,)}
# Defaults in a class, which are nothing but objects in a signature.
FIELDS = (dataclasses.Field, type(msgspec.field()))


class Parameter:
    """
    One parameter of a function: its type, if annotated, and how a variable becomes its value.

    @ivar default: its default value; C{inspect.Parameter.empty} if it has none.
    @ivar make_default: makes the default, if that is not in the signature; C{None} otherwise.
    @ivar fields: the names that a JSON object for it may have; C{None} if its values are no such objects.
    @ivar textual: whether text may become its value.
    @ivar exact: whether values from JSON must come undecoded, as C{msgspec.Raw}.
    @raise TypeError: when no request can fill it.
    """

    make_default: Callable[[], Any] | None = None
    fields: frozenset[str] | None = None
    exact = False
    textual = True

    def __init__(self, parameter: inspect.Parameter) -> None:
        self.name, self.default = parameter.name, parameter.default
        self.type: Any = parameter.annotation
        if self.type in (parameter.empty, object, Any):
            self.type = Any
        field = field_of(self.type, self.default)
        if isinstance(self.default, FIELDS) or type(self.default).__name__ == "_CountingAttr":
            raise TypeError(f"a field() as the default of {self.name} has a meaning in classes only")
        if field is not None:
            self._take(field)
        self.required = self.default is parameter.empty
        if self.type is Any and field is None:
            return
        try:
            self.converter = converter_for(self.type, field)
        except TypeError as error:
            raise TypeError(f"the annotation of {self.name} cannot be used: {error}") from None
        if self.required and self.converter.unfillable:
            raise TypeError(f"no request can fill the parameter {parameter}")
        self.fields, self.exact = self.converter.fields, self.converter.exact
        self._convert, self.textual = self.converter.convert, self.converter.textual

    def _take(self, field: Any) -> None:
        """Use the default of a C{pydantic.Field()}, and its limits."""
        if field is self.default:
            self.type = Annotated[self.type, field]
            self.default = inspect.Parameter.empty
        if self.default is inspect.Parameter.empty and not field.is_required():
            self.make_default = lambda: field.get_default(call_default_factory=True)
            self.default = field.get_default()

    @property
    def note(self) -> str:
        """A line about a default of another type than the annotation; empty if it fits."""
        if fits(self.default, self.type):
            return ""
        return (
            f"the default of {self.name} is {self.default!r}, which is not {kind_of(self.type)}; "
            "change the default or the annotation"
        )

    def convert(self, value: Any, strict: bool, name: str | None = None) -> Any:
        """
        @param strict: whether the value came as JSON.
        @param name: of the variable, if it is not the parameter's; empty if the value is all of the body.
        @raise HTTPError: 422 when it does not fit.
        """
        if self.type is Any or (self.type is str and type(value) is str):
            return value
        try:
            if self.exact and type(value) is msgspec.Raw:
                return self.converter.decode(value)
            return self._convert(value, strict)
        except Unfit as error:
            raise HTTPError(422, error.message(self.name if name is None else name)) from None


def fits(default: Any, annotation: Any) -> bool:
    """
    Whether a default is of the annotated type, as far as a simple look shows. None and objects that only
    mark a missing value are common, and fit.
    """
    if type(default) not in LITERALS:
        return True
    return any(_may_be(default, get_origin(kind) or kind) for kind in bare(annotation))


def _may_be(value: Any, kind: Any) -> bool:
    if kind in (Any, object) or not isinstance(kind, type) or is_pydantic(kind):
        return True
    try:
        return isinstance(value, (kind, *WIDER.get(kind, ())))
    except TypeError:  # a TypedDict or a Protocol
        return True


def kind_of(annotation: Any) -> str:
    return annotation.__name__ if type(annotation) is type else str(annotation)


def takes_all(parameter: inspect.Parameter) -> bool:
    """Whether it is annotated to receive all variables: C{dict}, C{Mapping}, or C{dict[str, Any]}."""
    if parameter.default is not parameter.empty:
        return False
    kinds = bare(parameter.annotation)
    if len(kinds) != 1:
        return False
    return (get_origin(kinds[0]) or kinds[0]) in MAPPINGS and get_args(kinds[0])[1:] in (
        (),
        (Any,),
        (object,),
    )
