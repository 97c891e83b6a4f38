"""A function and how a call's variables become its arguments. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator
from decimal import Decimal
from functools import partial
from math import isfinite
from typing import Any

import msgspec
from msgspec import inspect as types

from twisted_appserver.calls import Call
from twisted_appserver.errors import HTTPError
from twisted_appserver.variables import read_body, read_query

TAKEN = re.compile(r"multiple values for argument '(\w+)'")  # self, of a method that takes **variables
DEFER = "twisted.internet.defer"  # where what inlineCallbacks makes of a function is from


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a function: its type, if annotated, and how a variable becomes its value."""

    name: str
    type: Any = Any
    required: bool = True
    many: bool = False  # takes several values of a query or form field
    texts: bool = False  # whether JSON has numbers for it as texts, NaN perhaps: decimals, and keys

    def convert(self, value: Any, strict: bool) -> Any:
        if self.type is Any or (self.type is str and type(value) is str):
            return value
        if self.many and not strict and not isinstance(value, list):
            value = [value]
        try:
            found = msgspec.convert(value, self.type, strict=strict, str_keys=True)
        except msgspec.ValidationError as error:
            whole = _whole(value) if strict else value
            if repr(whole) == repr(value):
                raise HTTPError(422, f"{self.name}: {error}") from None
            return self.convert(whole, strict)
        if (self.texts or not strict) and not _finite(found):
            raise HTTPError(422, f"{self.name}: this is no finite number")
        return found


def _finite(value: Any) -> bool:
    """Whether there is no NaN or infinity, which JSON does not have either (RFC 8259, section 6)."""
    if isinstance(value, dict):
        return _finite([*value, *value.values()])
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_finite, value))
    if isinstance(value, Decimal):
        return value.is_finite()
    return not isinstance(value, float) or isfinite(value)


def _whole(value: Any) -> Any:
    """A value from JSON with its whole numbers as such, also those written like 1.0 (JSON Schema, 4.2.3)."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    return value


SEQUENCES = (types.CollectionType, types.ListType, types.SetType, types.FrozenSetType, types.VarTupleType)


def _annotation(parameter: inspect.Parameter) -> Any:
    return Any if parameter.annotation in (parameter.empty, object) else parameter.annotation


def _within(info: types.Type) -> Iterator[types.Type]:
    """A type, and those that it is made of; not what the fields of an object have."""
    yield info
    for value in msgspec.structs.astuple(info):
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, types.Type):
                yield from _within(each)


def _is_call(parameter: inspect.Parameter) -> bool:
    """
    Whether it receives the Call, which its annotation may say more of, or that it may be None.

    @raise TypeError: when the Call is a part of something else, which a request would fill.
    """
    if parameter.kind is parameter.VAR_POSITIONAL:  # which stays empty
        return False
    around = (types.Metadata, types.UnionType, types.NoneType)
    inside = [
        each for each in _within(types.type_info(_annotation(parameter))) if not isinstance(each, around)
    ]
    has_call = any(getattr(each, "cls", None) is Call for each in inside)
    if has_call and len(inside) > 1:
        raise TypeError(f"the Call must be all of its annotation: {parameter}")
    return has_call


def _parameter(parameter: inspect.Parameter) -> Parameter:
    annotation = _annotation(parameter)
    info = types.type_info(annotation)
    kinds = info.types if isinstance(info, types.UnionType) else (info,)
    required = parameter.default is parameter.empty
    if required and any(isinstance(kind, types.CustomType) for kind in kinds):
        raise TypeError(f"no request can fill the parameter {parameter}")
    many = any(isinstance(kind, SEQUENCES) for kind in kinds)
    texts = any(
        isinstance(each, types.DecimalType) or isinstance(getattr(each, "key_type", None), types.FloatType)
        for each in _within(info)
    )
    return Parameter(parameter.name, annotation, required, many, texts)


class Handler:
    """
    A function with all that is known about how to call it.

    @param function: what to call.
    @param groups: the named groups of its pattern.
    @param name: names it in logs and figures.
    @param executor: where it is performed; C{None} for the service's choice.
    @param timeout: seconds for one call; C{None} for the service's choice.
    @raise TypeError: when the function cannot take the groups, or no request could fill a parameter.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        groups: Collection[str] = (),
        name: str | None = None,
        executor: str | None = None,
        timeout: float | None = None,
    ) -> None:
        self.function, self.timeout = function, timeout
        self.name = name or str(getattr(function, "__qualname__", type(function).__qualname__))
        self.idempotent = False
        self.index = 0  # where it stands in the table
        self.router: Any = None  # whose table that is
        try:
            signature = inspect.signature(function, eval_str=True)
        except (NameError, ValueError) as error:
            raise TypeError(f"the signature of {self.name} cannot be read: {error}") from None
        self.executor = "inline" if _on_reactor(function, signature, executor) else executor
        self.call_name = self.dict_name = ""  # of the parameters that receive the Call, or every variable
        self.rest: Parameter | None = None  # **variables
        self.parameters = self._plan(signature, groups)
        unknown = set(groups) - {parameter.name for parameter in self.parameters}
        if unknown and not (self.rest or self.dict_name):
            raise TypeError(f"{self.name}{signature} has no parameter for the group {min(unknown)!r}")
        # With nothing but the groups to pass and nothing to convert, the groups are the arguments.
        names = {parameter.name for parameter in self.parameters}
        required = {parameter.name for parameter in self.parameters if parameter.required}
        plain = not self.positional and all(p.type in (Any, str) for p in self.parameters)
        typed = self.rest and self.rest.type is not Any
        self.direct = plain and not self.dict_name and not typed and required <= set(groups)
        # What takes nothing else but the Call reads the query and the body itself, if it wants them.
        self.reads = bool(self.call_name) and not self.rest and names == set(groups)
        self.groups = len(groups)

    def _plan(self, signature: inspect.Signature, groups: Collection[str]) -> list[Parameter]:
        by_position, by_name = [], []
        parameters = signature.parameters.values()
        self.positional = [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_ONLY]
        for parameter in parameters:
            if _is_call(parameter):
                self.call_name = parameter.name
            elif parameter.kind is parameter.VAR_KEYWORD:
                self.rest = _parameter(parameter)
            elif parameter.kind is parameter.KEYWORD_ONLY:
                by_name.append(parameter)
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                by_position.append(parameter)
        if len(by_position) == 1 and not self.rest and by_position[0].name not in groups:
            only = by_position[0]
            if only.annotation in (only.empty, dict) and only.default is only.empty:
                self.dict_name = by_position.pop().name
        return [_parameter(parameter) for parameter in by_position + by_name]

    def run(self, call: Call) -> Any:
        """
        Call the function with the variables of C{call}.

        @raise HTTPError: 400, 415 or 422 when the variables do not fit.
        """
        if self.direct and len(call.groups) == self.groups and (self.reads or not (call.query or call.body)):
            if self.call_name:
                return self.function(**call.groups, **{self.call_name: call})
            return self.function(**call.groups)
        variables = read_query(call.query) if call.query else {}
        typed: Collection[str] = ()  # the names whose values came as JSON, if no group has them
        if call.body:
            fields, is_json = read_body(call.body, call.content_type, bool(self.call_name))
            variables.update(fields)
            typed = fields if is_json else ()
        if call.groups:
            variables.update(call.groups)
            typed = set(typed) - call.groups.keys()
        values = self._values(variables, typed)
        if self.call_name:
            values[self.call_name] = call
        args = [values.pop(name, default) for name, default in self.positional]
        try:
            return self.function(*args, **values)
        except TypeError as error:
            taken = TAKEN.search(str(error))
            if self.rest is None or taken is None or error.__traceback__.tb_next:  # type: ignore[union-attr]
                raise
            raise HTTPError(422, f"{taken[1]}: a variable cannot have this name") from None

    def _values(self, variables: dict[str, Any], typed: Collection[str]) -> dict[str, Any]:
        """Of the parameters, by name."""
        values: dict[str, Any] = {self.dict_name: dict(variables)} if self.dict_name else {}
        for parameter in self.parameters:
            name = parameter.name
            if name in variables:
                values[name] = parameter.convert(variables.pop(name), name in typed)
            elif parameter.required:
                raise HTTPError(422, f"{name}: this variable is missing")
        if self.rest and self.rest.type is Any:
            return {**variables, **values}
        if self.rest:
            for name, value in variables.items():
                rest = msgspec.structs.replace(self.rest, name=name)
                values.setdefault(name, rest.convert(value, name in typed))
        return values


def _layers(function: Any) -> Iterator[Any]:
    """A function and, one by one, those that C{functools.wraps} says are in it; none is a partial."""
    while function is not None:
        while isinstance(function, partial):
            function = function.func
        yield function
        function = getattr(function, "__wrapped__", None)


def _on_reactor(function: Callable[..., Any], signature: inspect.Signature, executor: str | None) -> bool:
    """
    Whether it is a coroutine function, or returns a Deferred (by inlineCallbacks or its annotation). What
    a decorator has made an ordinary function is none, whatever is in it, and goes where its Route says.
    """
    layers = list(_layers(function))
    outer = layers[0]
    if any(map(inspect.iscoroutinefunction, (outer, type(outer).__call__))):
        return True
    if inspect.isasyncgenfunction(outer):
        return True
    if inspect.isgeneratorfunction(outer):
        return False
    modules = [getattr(each, "__globals__", {}).get("__name__") for each in layers]
    if executor and len(layers) > 1 and modules[0] != DEFER:
        return False
    result = getattr(signature.return_annotation, "__origin__", signature.return_annotation)
    return DEFER in modules or getattr(result, "__name__", "") == "Deferred"
