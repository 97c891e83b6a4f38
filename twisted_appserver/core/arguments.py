"""
How the variables of a call become the arguments of a function. Pure.

Strategy: the signature and the groups of the pattern are examined once, when the table is loaded. The result
is one L{Parameter} for each parameter, and a few flags for the steps that a call may skip.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any, NotRequired, Required, Unpack, get_args, get_origin

import msgspec

from twisted_appserver.closest_name import closest
from twisted_appserver.core.call import Call
from twisted_appserver.core.conversions.annotations import class_fields, plain_types, walk
from twisted_appserver.core.conversions.conversion_error import ConversionError
from twisted_appserver.core.conversions.parameters import Parameter, takes_all_variables
from twisted_appserver.core.request_data import (
    JSON_ADVICE,
    decode,
    looks_like_json,
    read_fields,
    read_query,
)
from twisted_appserver.errors import HTTPError

NOTHING: dict[str, Any] = {}


def _is_call(parameter: inspect.Parameter) -> bool:
    """
    Return whether a parameter receives the Call. Metadata and C{None} next to it are allowed.

    @raise TypeError: when the annotation contains more than the Call, as in C{list[Call]}.
    """
    if parameter.kind is parameter.VAR_POSITIONAL or not any(
        each is Call for each in walk(parameter.annotation)
    ):
        return False
    if plain_types(parameter.annotation) != [Call]:
        raise TypeError(f"Call cannot be part of another type: {parameter}; annotate a parameter as Call")
    return True


class Arguments:
    """
    The parameters of a function, and how the variables of a call fill them.

    @param signature: the function's signature, with its annotations resolved.
    @param groups: the named groups of the pattern.
    @ivar parameters: the parameters that variables fill by name.
    @ivar positional: the names and defaults of positional-only parameters.
    @ivar call_name: the name of the parameter that receives the Call; empty if there is none.
    @ivar dict_name: the name of the parameter that receives all variables; empty if there is none.
    @ivar var_keyword: the parameter C{**variables}; C{None} if there is none.
    @ivar body_object: the parameter that the whole body is converted to; C{None} if there is none.
    @ivar direct: whether all arguments may come from the groups, without conversion.
    @ivar reads_request: whether the function takes only groups and the Call, and so reads the query and the
        body itself.
    @ivar notes: warnings for the log at start-up.
    @ivar doubtful: the problem of a parameter that may be misspelt; empty if there is none.
    @raise TypeError: when the function cannot receive the groups, or no request can fill a parameter.
    """

    def __init__(self, signature: inspect.Signature, groups: Collection[str]) -> None:
        self.signature = signature
        self.call_name = self.dict_name = self.doubtful = ""
        self.notes: list[str] = []
        self._dict_by_name = False  # whether an object with the name of the dict parameter replaces it
        self.var_keyword: Parameter | None = None
        self.parameters = self._find_parameters(groups)
        self.notes += [each.note for each in self.parameters if each.note]
        self._names = frozenset(each.name for each in self.parameters)
        self._check_groups(groups)
        self.body_object = self._find_body_object(groups)
        self._prepare(groups)

    def _find_parameters(self, groups: Collection[str]) -> list[Parameter]:
        parameters = list(self.signature.parameters.values())
        self.positional = [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_ONLY]
        fillable = []
        for parameter in parameters:
            if _is_call(parameter):
                self.call_name = parameter.name
            elif parameter.kind is parameter.VAR_KEYWORD:
                fillable += self._take_var_keyword(parameter)
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                fillable.append(parameter)
        self._choose_dict(fillable, groups)
        return [Parameter(each) for each in fillable if each.name != self.dict_name]

    def _take_var_keyword(self, parameter: inspect.Parameter) -> list[inspect.Parameter]:
        """Record C{**variables}. Return the keys of a TypedDict there as named parameters (PEP 692)."""
        if get_origin(parameter.annotation) is not Unpack:
            self.var_keyword = Parameter(parameter)
            return []
        (cls,) = get_args(parameter.annotation)
        return [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint,
                default=inspect.Parameter.empty if name in cls.__required_keys__ else msgspec.UNSET,
            )
            for name, hint in (class_fields(cls) or {}).items()
        ]

    def _choose_dict(self, fillable: list[inspect.Parameter], groups: Collection[str]) -> None:
        """Find the parameter that receives all variables, if there is one."""
        mappings = [each for each in fillable if takes_all_variables(each)]
        if len(mappings) == 1:
            (only,) = mappings
            self.dict_name = only.name
            # If a request has a JSON object with the parameter's name, the parameter probably expects this
            # object rather than all variables. A plain dict that is the only parameter always receives all
            # variables.
            self._dict_by_name = len(fillable) > 1 or bool(getattr(only.annotation, "__args__", ()))
        elif len(fillable) == 1 and groups and not self.var_keyword:
            (only,) = fillable
            if only.annotation is only.default is only.empty and only.name not in groups:
                self.dict_name = only.name
                self.doubtful = (
                    f"{only.name} receives all variables as a dict, because no parameter has the name of "
                    f"the group {min(groups)!r}; annotate it as dict, or name it after the group"
                )

    def _check_groups(self, groups: Collection[str]) -> None:
        unknown = set(groups) - self._names
        if unknown and not (self.var_keyword or self.dict_name):
            near = closest(min(unknown), self._names - set(groups))
            hint = f"; did you mean {near!r}?" if near else ""
            raise TypeError(f"{self.signature} has no parameter for the group {min(unknown)!r}{hint}")
        for each in self.parameters:
            if each.name in groups and not each.accepts_text:
                raise TypeError(
                    f"the group {each.name!r} is text, which {self.signature} does not accept; "
                    "change the annotation"
                )

    def _find_body_object(self, groups: Collection[str]) -> Parameter | None:
        """Return the parameter that the whole body is converted to: the only one that takes an object."""
        objects = [each for each in self.parameters if each.fields is not None]
        if len(objects) != 1 or objects[0].name in groups:
            return None
        (only,) = objects
        fields = only.fields or frozenset()
        if only.name in fields:
            self.notes.append(
                f"{only.name} is filled by name only, because its class has a field {only.name!r}; "
                "rename the parameter to fill it from the whole body"
            )
            return None
        self._not_in_body_object = {*self._names, *groups} - fields
        return only

    def _prepare(self, groups: Collection[str]) -> None:
        """Find out which steps a call may skip."""
        self._group_count = len(groups)
        self._raw_names = frozenset(each.name for each in self.parameters if each.takes_raw_json)
        var_keyword_raw = self.var_keyword is not None and self.var_keyword.takes_raw_json
        self._keeps_raw_json = bool(self._raw_names) or var_keyword_raw
        self._has_combined = self._keeps_raw_json or bool(self.body_object or self.dict_name)
        self._file_names = {each.name for each in self.parameters if each.takes_files}
        if self.body_object and self.body_object.takes_files:
            self._file_names |= (self.body_object.fields or set()) - self._not_in_body_object
        required = {each.name for each in self.parameters if each.required}
        untyped = not self.positional and all(each.type in (Any, str) for each in self.parameters)
        typed = self.var_keyword and self.var_keyword.type is not Any
        self.direct = untyped and not self.dict_name and not typed and required <= set(groups)
        only_call = bool(self.call_name) and not self.var_keyword and not self.dict_name
        self.reads_request = only_call and self._names == set(groups)

    def values(self, call: Call, groups: dict[str, str]) -> dict[str, Any]:
        """
        Return the arguments of a call by name, except the Call.

        @raise HTTPError: 400, 415 or 422 when the request cannot be read or a variable cannot be converted.
        """
        query, fields, is_json = NOTHING, NOTHING, False
        if not (self.reads_request and len(groups) == self._group_count):
            if call.query:
                query = read_query(call.query)
            if call.body:
                fields, is_json = read_fields(
                    call.body, call.raw_headers, bool(self.call_name), self._keeps_raw_json, self._takes_file
                )
        variables = {**query, **fields, **groups}
        typed: Collection[str] = fields if is_json else ()  # the names whose values came as JSON
        if groups and is_json:
            typed = fields.keys() - groups.keys()
        values = self._combined(call, variables, fields or query, is_json) if self._has_combined else {}
        for parameter in self.parameters:
            name = parameter.name
            if name in variables:
                values[name] = parameter.convert(variables.pop(name), name in typed)
            elif parameter.required and name not in values:
                raise HTTPError(422, f"{name} is missing{self._hint(name, variables, call, is_json)}")
            elif parameter.make_default and name not in values:
                values[name] = parameter.make_default()
        return self._with_rest(self.var_keyword, values, variables, typed) if self.var_keyword else values

    def _takes_file(self, name: str) -> bool:
        """
        Return whether a parameter receives the file of this name.

        @raise HTTPError: 422 when a parameter of this name, or for all variables, cannot receive a file.
        """
        if name in self._file_names:
            return True
        rest = self.var_keyword
        if name in self._names or self.dict_name or (rest and not rest.takes_files):
            raise HTTPError(422, f"{name} must not be a file")
        return rest is not None

    def _hint(self, missing: str, variables: Collection[str], call: Call, is_json: bool) -> str:
        """Return what to add to the message about a missing variable: a name like it, or its content type."""
        return _content_type_hint(call, is_json) or self._missing_hint(missing, variables, call)

    def _explain(self, error: HTTPError, fields: Collection[str], call: Call, is_json: bool) -> str:
        """Return the message about a body or query that is not an object of the class, with hints."""
        hint, cause = _content_type_hint(call, is_json), error.__cause__
        if hint or not isinstance(cause, ConversionError):
            return error.detail + hint
        return cause.message("", hint=lambda missing: self._missing_hint(missing, fields, call))

    def _missing_hint(self, missing: str, variables: Collection[str], call: Call) -> str:
        """Return how to send a missing file, or a name in the request that is like the missing one."""
        files = {each.name for each in self.parameters if each.takes_files and each.fields is None}
        known, others = self._names, _other_files(call)
        if self.body_object:
            files |= self.body_object.file_fields
            known |= self.body_object.fields or frozenset()
        is_file = missing in files
        if is_file and others is None:
            return f"; send it as a file of a multipart form, as curl -F {missing}=@FILE does"
        names = [name for name in (*variables, *(others or ())) if name not in known]
        near = closest(missing, names)
        if is_file and others and len(others) == 1:
            near = others[0]
        return f", but the request has {near!r}" if near else ""

    def _combined(
        self, call: Call, variables: dict[str, Any], fields: dict[str, Any], is_json: bool
    ) -> dict[str, Any]:
        """
        Return the arguments that are made from several variables.

        JSON values may come undecoded. Decode each value that no converter decodes itself.
        """
        values: dict[str, Any] = {}
        if self.body_object and self.body_object.name not in fields:
            variables.pop(self.body_object.name, None)  # from the query; text cannot be the object
            try:
                self._fill_body_object(self.body_object, fields, is_json, values)
            except HTTPError as error:
                raise HTTPError(error.status, self._explain(error, fields, call, is_json)) from None
        if self._keeps_raw_json and is_json:
            self._decode(variables)
        if self.dict_name:
            values[self.dict_name] = self._all_variables(variables)
        return values

    def _fill_body_object(
        self, target: Parameter, fields: dict[str, Any], is_json: bool, values: dict[str, Any]
    ) -> None:
        """Convert all fields to one object, except those that fill other parameters."""
        found: Any = {name: each for name, each in fields.items() if name not in self._not_in_body_object}
        if not target.required and found.keys().isdisjoint(target.fields or ()):
            return
        if self._keeps_raw_json and is_json:
            raw = msgspec.Raw(msgspec.json.encode(found))
            found = raw if target.takes_raw_json else decode(raw)
        values[target.name] = target.convert(found, is_json, "")

    def _decode(self, variables: dict[str, Any]) -> None:
        """Decode the JSON values that no converter decodes itself."""
        keep_rest = self.var_keyword is not None and self.var_keyword.takes_raw_json
        for name, value in variables.items():
            keep = name in self._raw_names or (keep_rest and name not in self._names)
            if type(value) is msgspec.Raw and not keep:
                variables[name] = decode(value, name)

    def _all_variables(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the dict for the parameter that receives all variables."""
        found = {name: decode(v, name) if type(v) is msgspec.Raw else v for name, v in variables.items()}
        named = found.get(self.dict_name) if self._dict_by_name else None
        return named if isinstance(named, dict) else found

    def _with_rest(
        self, rest: Parameter, values: dict[str, Any], variables: dict[str, Any], typed: Collection[str]
    ) -> dict[str, Any]:
        """Add the variables that C{**variables} receives."""
        if self.body_object and self.body_object.name in values:
            used = self.body_object.fields or ()
            variables = {name: value for name, value in variables.items() if name not in used}
        if rest.type is Any:
            return {**variables, **values}
        for name, value in variables.items():
            values.setdefault(name, rest.convert(value, name in typed, name))
        return values


def _other_files(call: Call) -> list[str] | None:
    """Return the names of the files in a form, for a message; C{None} if the body is not multipart."""
    if not call.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return None
    names: list[str] = []
    read_fields(call.body, call.raw_headers, takes_file=lambda name: bool(names.append(name)))  # type: ignore[func-returns-value]
    return names


def _content_type_hint(call: Call, is_json: bool) -> str:
    """
    Return what to add to an error if the body is JSON, but is labelled otherwise.

    Only a function that takes the Call can receive such a body.
    """
    return f"; {JSON_ADVICE}" if not is_json and looks_like_json(call.body) else ""
