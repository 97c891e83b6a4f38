"""
Reads a function's signature and takes its annotations apart. Pure.

Strategy: C{inspect.signature} finds the parameters behind decorators and partials, but leaves references such
as C{list["Later"]} unresolved. C{typing.get_type_hints} resolves them, but does not know where a partial or
an object with C{__call__} was defined. So C{inspect.signature} finds the annotations, and C{get_type_hints}
resolves each of them in the namespaces of the functions that the callable consists of.
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


def unwrap(function: Any) -> Iterator[Any]:
    """
    Yield a function and the functions that it wraps (C{functools.wraps}), outermost first, without partials.
    """
    while function is not None:
        while isinstance(function, partial):
            function = function.func
        yield function
        function = getattr(function, "__wrapped__", None)


def _namespaces(function: Any) -> Iterator[dict[str, Any]]:
    """Yield the namespaces that may define the names in its annotations, the most likely one first."""
    owners = []
    for layer in reversed(list(unwrap(function))):
        if not hasattr(layer, "__globals__") and not isinstance(layer, type):
            owners.append(type(layer))
            layer = getattr(type(layer).__call__, "__wrapped__", type(layer).__call__)
        if isinstance(layer, types.MethodType):
            owners.append(type(layer.__self__))
        if isinstance(layer, type):
            owners.append(layer)
        yield getattr(layer, "__globals__", None) or _module_of(layer)
    for owner in owners:
        for base in owner.__mro__:
            yield {**_module_of(base), **vars(base)}


def _module_of(definition: Any) -> dict[str, Any]:
    """Return the namespace of the module that defines a class or function."""
    return vars(sys.modules.get(getattr(definition, "__module__", None) or "builtins", types))


def _resolve(annotation: Any, namespace: dict[str, Any]) -> Any:
    while isinstance(annotation, str):
        annotation = eval(annotation, namespace)

    def annotated() -> None: ...

    annotated.__annotations__ = {"it": annotation}
    found = hints_of(annotated, namespace, namespace, include_extras=True)["it"]
    expanded = _expand_aliases(found)
    if expanded is found:
        return annotation if annotation is None else found
    return _resolve(expanded, namespace)


def _resolved(name: str, annotation: Any, namespaces: list[dict[str, Any]]) -> Any:
    """
    Return an annotation with its strings, forward references and type aliases resolved.

    @param name: the name of the parameter, for the message.
    @raise TypeError: when it cannot be resolved.
    """
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation
    reason = ""
    for namespace in namespaces:
        try:
            return _resolve(annotation, dict(namespace))
        except NameError as error:
            reason = reason or f"{error}; import it outside `if TYPE_CHECKING:` or define it at module level"
        except Exception as error:
            reason = reason or str(error) or type(error).__name__
    raise TypeError(f"the annotation of {name} cannot be read: {reason}")


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """
    Return the signature of a callable with its annotations resolved.

    A return annotation that cannot be resolved stays unresolved, because only documentation needs it.

    @raise TypeError: when the callable has no signature, or the annotation of a parameter cannot be resolved.
    """
    try:
        found = inspect.signature(function)
    except (NameError, ValueError) as error:
        raise TypeError(f"its signature cannot be read: {error}") from None
    namespaces = list(_namespaces(function))
    parameters = [
        each
        if each.kind is each.VAR_POSITIONAL  # *args stay empty
        else each.replace(annotation=_resolved(each.name, each.annotation, namespaces))
        for each in found.parameters.values()
    ]
    returns = found.return_annotation
    with suppress(TypeError):
        returns = _resolved("return", returns, namespaces)
    return found.replace(parameters=parameters, return_annotation=returns)


def _is_alias(annotation: Any) -> bool:
    """Return whether a C{type} statement made this annotation (PEP 695)."""
    return type(annotation).__name__ == "TypeAliasType"


def _expand_aliases(annotation: Any, within: tuple[Any, ...] = ()) -> Any:
    """Return an annotation with type aliases replaced by their values."""
    origin, args = get_origin(annotation), get_args(annotation)
    if _is_alias(annotation):
        if annotation in within:
            raise TypeError(f"the alias {annotation} refers to itself; use a msgspec.Struct instead")
        return _expand_aliases(annotation.__value__, (*within, annotation))
    if _is_alias(origin):
        return _expand_aliases(origin.__value__[args], (*within, origin))
    if origin is Annotated:
        base = _expand_aliases(args[0], within)
        return annotation if base is args[0] else Annotated[(base, *annotation.__metadata__)]
    if origin is Literal or not args:
        return annotation
    expanded = tuple([each if isinstance(each, list) else _expand_aliases(each, within) for each in args])
    if all(new is old for new, old in zip(expanded, args, strict=True)):
        return annotation
    if origin in UNIONS:
        return reduce(or_, expanded)
    if hasattr(annotation, "copy_with"):
        return annotation.copy_with(expanded)
    return origin[expanded]


def class_fields(cls: Any) -> dict[str, Any] | None:
    """
    Return the annotations of a class by field name.

    @return: C{None} unless the class is a Struct, dataclass, attrs class, TypedDict or NamedTuple.
    """
    names: Any = getattr(cls, "__struct_fields__", None) or getattr(cls, "__dataclass_fields__", None)
    if names is None and hasattr(cls, "__attrs_attrs__"):
        names = [each.name for each in cls.__attrs_attrs__]
    if names is None and (hasattr(cls, "__required_keys__") or (issubclass(cls, tuple) and cls is not tuple)):
        names = getattr(cls, "__annotations__", None)
    if not names:
        return None
    hints = hints_of(cls, include_extras=True)
    return {name: hints[name] for name in hints if name in names or hasattr(cls, "__required_keys__")}


def walk(annotation: Any, seen: set[Any] | None = None) -> Iterator[Any]:
    """Yield an annotation, its metadata and everything in it, including the fields of classes."""
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
            inside += (class_fields(cls) or {}).values()
    for each in inside:
        if each is not None:
            yield from walk(each, seen)


def plain_types(annotation: Any) -> list[Any]:
    """Return the types that a value may have, without metadata and without None."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in WRAPPERS:
        return plain_types(args[0])
    if origin in UNIONS:
        return [kind for each in args if each is not types.NoneType for kind in plain_types(each)]
    if hasattr(annotation, "__supertype__"):
        return plain_types(annotation.__supertype__)
    if isinstance(annotation, TypeVar) and annotation.__bound__ is not None:
        return plain_types(annotation.__bound__)
    return [annotation]
