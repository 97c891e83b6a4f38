"""A function and how a call's variables become its arguments. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from typing import Any, NotRequired, Required, Unpack, get_args, get_origin

import msgspec

from twisted_appserver.core.call import Call
from twisted_appserver.core.conversions.annotations import bare, layers, parts, signature
from twisted_appserver.core.conversions.annotations import fields as fields_of
from twisted_appserver.core.conversions.parameters import Parameter, takes_all
from twisted_appserver.core.request_data import decode, read_fields, read_query
from twisted_appserver.errors import HTTPError

TAKEN = re.compile(r"multiple values for argument '(\w+)'")  # self, of a method that takes **variables
NOTHING: dict[str, Any] = {}
DEFERRED = re.compile(r"['\"]?(?:\w+\.)*Deferred\b")  # an annotation that could not be resolved
DEFER = "twisted.internet.defer"  # where what inlineCallbacks makes of a function is from


def _is_call(parameter: inspect.Parameter) -> bool:
    """
    Whether it receives the Call, with or without metadata or None beside it.

    @raise TypeError: when the Call is a part of something else, which a request would fill.
    """
    if parameter.kind is parameter.VAR_POSITIONAL or not any(
        each is Call for each in parts(parameter.annotation)
    ):
        return False
    if bare(parameter.annotation) != [Call]:
        raise TypeError(f"the Call must be all of its annotation: {parameter}")
    return True


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
            self.signature = signature(function)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        self.executor = "inline" if _on_reactor(function, self.signature, executor) else executor
        self.notes: list[str] = []  # each is worth a line in the log at the start
        self._check_bound(groups)
        self.call_name = self.dict_name = ""  # of the parameters that receive the Call, or every variable
        self.dict_by_name = False  # whether the latter may also be a JSON object of its own name
        self.rest: Parameter | None = None  # **variables
        try:
            self.parameters = self._plan(groups)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        self.notes += [f"{self.name}: {each.note}" for each in self.parameters if each.note]
        self.names = frozenset(parameter.name for parameter in self.parameters)
        unknown = set(groups) - self.names
        if unknown and not (self.rest or self.dict_name):
            raise TypeError(f"{self.name}{self.signature} has no parameter for the group {min(unknown)!r}")
        if objects := [each.name for each in self.parameters if each.name in groups and not each.textual]:
            raise TypeError(f"{self.name}{self.signature}: the group {objects[0]!r} is text, not an object")
        self.whole = self._whole(groups)
        self._prepare(groups)

    def _check_bound(self, groups: Collection[str]) -> None:
        """
        @raise TypeError: when it is a method without the object that it needs.
        """
        first = next(iter(self.signature.parameters.values()), None)
        *_, inner = layers(self.function)
        owner, _, name = getattr(inner, "__qualname__", "").rpartition(".")
        if first is None or first.name != "self" or first.name in groups or not inspect.isfunction(inner):
            return
        if owner and not owner.endswith("<locals>") and first.annotation is first.default is first.empty:
            better = f"{owner.rpartition('.')[2]}().{name}"
            raise TypeError(f"{owner}.{name} is a method without an object; use one of an object: {better}")

    def _prepare(self, groups: Collection[str]) -> None:
        """Find out what L{run} may leave out."""
        self.groups = len(groups)
        self.exact = frozenset(each.name for each in self.parameters if each.exact)
        self.raw = bool(self.exact) or (self.rest is not None and self.rest.exact)
        self.special = self.raw or bool(self.whole or self.dict_name)
        # With nothing but the groups to pass and nothing to convert, the groups are the arguments.
        required = {parameter.name for parameter in self.parameters if parameter.required}
        plain = not self.positional and all(p.type in (Any, str) for p in self.parameters)
        typed = self.rest and self.rest.type is not Any
        self.direct = plain and not self.dict_name and not typed and required <= set(groups)
        # What takes nothing else but the Call reads the query and the body itself, if it wants them.
        only_call = bool(self.call_name) and not self.rest and not self.dict_name
        self.reads = only_call and self.names == set(groups)

    def _plan(self, groups: Collection[str]) -> list[Parameter]:
        parameters = list(self.signature.parameters.values())
        self.positional = [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_ONLY]
        fillable = []
        for parameter in parameters:
            if _is_call(parameter):
                self.call_name = parameter.name
            elif parameter.kind is parameter.VAR_KEYWORD:
                fillable += self._take_rest(parameter)
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                fillable.append(parameter)
        self._choose_dict(fillable, groups)
        return [Parameter(each) for each in fillable if each.name != self.dict_name]

    def _take_rest(self, parameter: inspect.Parameter) -> list[inspect.Parameter]:
        """Take **variables; those of a TypedDict (PEP 692) are parameters with names."""
        if get_origin(parameter.annotation) is not Unpack:
            self.rest = Parameter(parameter)
            return []
        (cls,) = get_args(parameter.annotation)
        return [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint,
                default=inspect.Parameter.empty if name in cls.__required_keys__ else msgspec.UNSET,
            )
            for name, hint in (fields_of(cls) or {}).items()
        ]

    def _choose_dict(self, fillable: list[inspect.Parameter], groups: Collection[str]) -> None:
        """Find the parameter that receives all variables, if there is one."""
        mappings = [each for each in fillable if takes_all(each)]
        if len(mappings) == 1:
            (only,) = mappings
            self.dict_name = only.name
            # A JSON object of this name is more likely meant than all variables, unless it is a plain dict.
            self.dict_by_name = len(fillable) > 1 or bool(getattr(only.annotation, "__args__", ()))
        elif len(fillable) == 1 and groups and not self.rest:
            (only,) = fillable
            if only.annotation is only.default is only.empty and only.name not in groups:
                self.dict_name, self.dict_by_name = only.name, False
                self.notes.append(
                    f"{only.name} receives all variables as a dict, because {self.name} has no parameter for "
                    f"the group {min(groups)!r}; annotate it as dict, or name it after the group"
                )

    def _whole(self, groups: Collection[str]) -> Parameter | None:
        """The parameter that may receive the whole body, if there is exactly one for an object."""
        objects = [each for each in self.parameters if each.fields is not None]
        if len(objects) != 1 or objects[0].name in groups:
            return None
        others = {each.name for each in self.parameters} | set(groups)
        self.not_whole = others - (objects[0].fields or set())
        return objects[0]

    def run(self, call: Call) -> Any:
        """
        Call the function with the variables of C{call}.

        @raise HTTPError: 400, 415 or 422 when the variables do not fit.
        """
        if self.direct and len(call.groups) == self.groups and (self.reads or not (call.query or call.body)):
            if self.call_name:
                return self.function(**call.groups, **{self.call_name: call})
            return self.function(**call.groups)
        values = self._values(call, call.groups)
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

    def _values(self, call: Call, groups: dict[str, str]) -> dict[str, Any]:
        """The arguments by name, except the Call."""
        query, fields, is_json = NOTHING, NOTHING, False
        if not (self.reads and len(groups) == self.groups):
            if call.query:
                query = read_query(call.query)
            if call.body:
                fields, is_json = read_fields(call.body, call.raw_headers, bool(self.call_name), self.raw)
        variables = {**query, **fields, **groups}
        typed: Collection[str] = fields if is_json else ()  # the names whose values came as JSON
        if groups and is_json:
            typed = fields.keys() - groups.keys()
        values = self._objects(variables, fields or query, is_json) if self.special else {}
        for parameter in self.parameters:
            name = parameter.name
            if name in variables:
                values[name] = parameter.convert(variables.pop(name), name in typed)
            elif parameter.required and name not in values:
                raise HTTPError(422, f"{name} is missing")
            elif parameter.make_default and name not in values:
                values[name] = parameter.make_default()
        return self._with_rest(self.rest, values, variables, typed) if self.rest else values

    def _objects(self, variables: dict[str, Any], fields: dict[str, Any], is_json: bool) -> dict[str, Any]:
        """
        The arguments that are made of several variables. Where these came undecoded, those are decoded that
        no converter decodes itself.
        """
        values: dict[str, Any] = {}
        if self.whole and self.whole.name not in variables:
            self._fill_whole(self.whole, fields, is_json, values)
        if self.raw and is_json:
            self._decode(variables)
        if self.dict_name:
            values[self.dict_name] = self._dict(variables)
        return values

    def _fill_whole(
        self, whole: Parameter, fields: dict[str, Any], is_json: bool, values: dict[str, Any]
    ) -> None:
        """Convert all fields to one object, except those that are other parameters."""
        found: Any = {name: each for name, each in fields.items() if name not in self.not_whole}
        if not whole.required and found.keys().isdisjoint(whole.fields or ()):
            return
        if self.raw and is_json:
            raw = msgspec.Raw(msgspec.json.encode(found))
            found = raw if whole.exact else decode(raw)
        values[whole.name] = whole.convert(found, is_json, "")

    def _decode(self, variables: dict[str, Any]) -> None:
        """Decode the JSON values that no converter decodes itself."""
        rest = self.rest is not None and self.rest.exact
        for name, value in variables.items():
            kept = name in self.exact or (rest and name not in self.names)
            if type(value) is msgspec.Raw and not kept:
                variables[name] = decode(value, name)

    def _dict(self, variables: dict[str, Any]) -> dict[str, Any]:
        found = {name: decode(v, name) if type(v) is msgspec.Raw else v for name, v in variables.items()}
        named = found.get(self.dict_name) if self.dict_by_name else None
        return named if isinstance(named, dict) else found

    def _with_rest(
        self, rest: Parameter, values: dict[str, Any], variables: dict[str, Any], typed: Collection[str]
    ) -> dict[str, Any]:
        if self.whole and self.whole.name in values:
            used = self.whole.fields or ()
            variables = {name: value for name, value in variables.items() if name not in used}
        if rest.type is Any:
            return {**variables, **values}
        for name, value in variables.items():
            values.setdefault(name, rest.convert(value, name in typed, name))
        return values


def _on_reactor(function: Callable[..., Any], signature: inspect.Signature, executor: str | None) -> bool:
    """
    Whether it is a coroutine function, or returns a Deferred (by inlineCallbacks or its annotation). What
    a decorator has made an ordinary function is none, whatever is in it, and goes where its Route says.
    """
    found = list(layers(function))
    outer = found[0]
    if any(map(inspect.iscoroutinefunction, (outer, type(outer).__call__))):
        return True
    if inspect.isasyncgenfunction(outer):
        return True
    if inspect.isgeneratorfunction(outer):
        return False
    modules = [getattr(each, "__globals__", {}).get("__name__") for each in found]
    if executor and len(found) > 1 and modules[0] != DEFER:
        return False
    result = getattr(signature.return_annotation, "__origin__", signature.return_annotation)
    if isinstance(result, str):  # it could not be resolved
        return DEFER in modules or bool(DEFERRED.match(result))
    return DEFER in modules or getattr(result, "__name__", "") == "Deferred"
