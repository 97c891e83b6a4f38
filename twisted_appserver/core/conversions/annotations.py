"""
Reading a function's signature and the parts of its annotations. Pure.

Strategy: C{inspect.signature} finds the parameters below decorators and partials, but leaves references such
as C{list["Later"]} unresolved. C{typing.get_type_hints} resolves them, but does not know where a partial or
an object with C{__call__} was defined. So the first one finds the annotations, and the second resolves each
in the namespaces of the functions that the callable is made of.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial, reduce
from operator import or_
from typing import Annotated, Any, Final, Literal, NotRequired, Required, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as hints_of

UNIONS = (Union, types.UnionType)
WRAPPERS = (Annotated, Final, Required, NotRequired)


def layers(function: Any) -> Iterator[Any]:
    """A function and the functions that C{functools.wraps} put into it, outermost first, without partials."""
    while function is not None:
        while isinstance(function, partial):
            function = function.func
        yield function
        function = getattr(function, "__wrapped__", None)


def _namespaces(function: Any) -> Iterator[dict[str, Any]]:
    """Where the names in its annotations may be defined, the most likely place first."""
    owners = []
    for layer in reversed(list(layers(function))):
        if not hasattr(layer, "__globals__") and not isinstance(layer, type):
            owners.append(type(layer))
            layer = getattr(type(layer).__call__, "__wrapped__", type(layer).__call__)
        if isinstance(layer, types.MethodType):
            owners.append(type(layer.__self__))
        if isinstance(layer, type):
            owners.append(layer)
        yield getattr(layer, "__globals__", None) or _module(layer)
    for owner in owners:
        for base in owner.__mro__:
            yield {**_module(base), **vars(base)}


def _module(thing: Any) -> dict[str, Any]:
    """The names in the module where a class or function was defined."""
    return vars(sys.modules.get(getattr(thing, "__module__", None) or "builtins", types))


def _resolve(annotation: Any, namespace: dict[str, Any]) -> Any:
    while isinstance(annotation, str):
        annotation = eval(annotation, namespace)

    def carrier() -> None: ...

    carrier.__annotations__ = {"it": annotation}
    found = hints_of(carrier, namespace, namespace, include_extras=True)["it"]
    expanded = _expanded(found)
    if expanded is found:
        return annotation if annotation is None else found
    return _resolve(expanded, namespace)


def _resolved(name: str, annotation: Any, namespaces: list[dict[str, Any]]) -> Any:
    """
    An annotation without strings, forward references and aliases.

    @raise TypeError: when it cannot be resolved.
    """
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation
    reason = ""
    for namespace in namespaces:
        try:
            return _resolve(annotation, dict(namespace))
        except NameError as error:
            reason = (
                reason or f"{error}; import it outside of `if TYPE_CHECKING:`, or define it in the module"
            )
        except Exception as error:
            reason = reason or str(error) or type(error).__name__
    raise TypeError(f"the annotation of {name} cannot be read: {reason}")


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """
    The signature of a callable. A return annotation that cannot be resolved stays as it is.

    @raise TypeError: when the callable has none, or the annotation of a parameter cannot be resolved.
    """
    try:
        found = inspect.signature(function)
    except (NameError, ValueError) as error:
        raise TypeError(f"its signature cannot be read: {error}") from None
    namespaces = list(_namespaces(function))
    parameters = [
        each
        if each.kind is each.VAR_POSITIONAL  # which stays empty
        else each.replace(annotation=_resolved(each.name, each.annotation, namespaces))
        for each in found.parameters.values()
    ]
    returns = found.return_annotation
    with suppress(TypeError):  # only documentation uses it
        returns = _resolved("return", returns, namespaces)
    return found.replace(parameters=parameters, return_annotation=returns)


def _is_alias(annotation: Any) -> bool:
    """Whether it was made by a C{type} statement (PEP 695)."""
    return type(annotation).__name__ == "TypeAliasType"


def _expanded(annotation: Any, within: tuple[Any, ...] = ()) -> Any:
    """An annotation with the values of aliases instead of their names."""
    origin, args = get_origin(annotation), get_args(annotation)
    if _is_alias(annotation):
        if annotation in within:
            raise TypeError(f"the alias {annotation} contains itself; use a Struct")
        return _expanded(annotation.__value__, (*within, annotation))
    if _is_alias(origin):
        return _expanded(origin.__value__[args], (*within, origin))
    if origin is Annotated:
        base = _expanded(args[0], within)
        return annotation if base is args[0] else Annotated[(base, *annotation.__metadata__)]
    if origin is Literal or not args:
        return annotation
    expanded = tuple([each if isinstance(each, list) else _expanded(each, within) for each in args])
    if all(new is old for new, old in zip(expanded, args, strict=True)):
        return annotation
    if origin in UNIONS:
        return reduce(or_, expanded)
    if hasattr(annotation, "copy_with"):
        return annotation.copy_with(expanded)
    return origin[expanded]


def fields(cls: Any) -> dict[str, Any] | None:
    """The fields of a Struct, dataclass, attrs class, TypedDict or NamedTuple; C{None} for other classes."""
    names: Any = getattr(cls, "__struct_fields__", None) or getattr(cls, "__dataclass_fields__", None)
    if names is None and hasattr(cls, "__attrs_attrs__"):
        names = [each.name for each in cls.__attrs_attrs__]
    if names is None and (hasattr(cls, "__required_keys__") or (issubclass(cls, tuple) and cls is not tuple)):
        names = getattr(cls, "__annotations__", None)
    if not names:
        return None
    hints = hints_of(cls, include_extras=True)
    return {name: hints[name] for name in hints if name in names or hasattr(cls, "__required_keys__")}


def parts(annotation: Any, seen: set[Any] | None = None) -> Iterator[Any]:
    """An annotation, its metadata, and whatever it is made of, including the fields of classes."""
    seen = set() if seen is None else seen
    yield annotation
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from annotation.__metadata__
        args = args[:1]
    inside = [] if origin is Literal else [each for each in args if not isinstance(each, list)]
    inside += [getattr(annotation, name, None) for name in ("__supertype__", "__bound__")]
    for cls in (annotation, origin):
        if isinstance(cls, type) and cls not in seen:
            seen.add(cls)
            inside += (fields(cls) or {}).values()
    for each in inside:
        if each is not None:
            yield from parts(each, seen)


def bare(annotation: Any) -> list[Any]:
    """The types that a value may have, without metadata and None."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in WRAPPERS:
        return bare(args[0])
    if origin in UNIONS:
        return [kind for each in args if each is not types.NoneType for kind in bare(each)]
    if hasattr(annotation, "__supertype__"):
        return bare(annotation.__supertype__)
    if isinstance(annotation, TypeVar) and annotation.__bound__ is not None:
        return bare(annotation.__bound__)
    return [annotation]
