"""
Applies the decorators of C{include(..., wrap=)} to a function. Pure.

Strategy: decorators are applied once, when the table is loaded. The context managers of C{contextlib} are
decorators too. Ordinary decorators would leave them as soon as a coroutine or a generator has been made,
before it has done anything. So this module applies them by the kind of the function, and they stay entered
until the coroutine or generator has ended. If a function returns a generator, or a Reply with one, they stay
entered until the generator has ended.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncContextDecorator, ContextDecorator, ExitStack, aclosing
from enum import Enum, auto
from functools import wraps
from typing import Any

import msgspec

from twisted_appserver.core.call import Reply

MAX_LAYERS = 100  # decorators around each other; a mock object has an endless chain of __wrapped__
_Function = Callable[..., Any]


class _Kind(Enum):
    """The kind of a function: how the work of a call continues after the function has returned."""

    FUNCTION = auto()
    COROUTINE = auto()
    GENERATOR = auto()
    ASYNC_GENERATOR = auto()


KINDS = (
    (inspect.isasyncgenfunction, _Kind.ASYNC_GENERATOR),
    (inspect.isgeneratorfunction, _Kind.GENERATOR),
    (inspect.iscoroutinefunction, _Kind.COROUTINE),
)


def decorators_of(wrap: Any) -> tuple[_Function, ...]:
    """
    Return the decorators that C{include} was given, outermost first.

    @raise TypeError: when one of them is not callable, or is a function with a C{yield} that has not been
        called.
    """
    decorators = tuple(wrap) if isinstance(wrap, Iterable) and not callable(wrap) else (wrap,)
    for decorator in decorators:
        if not callable(decorator):
            raise TypeError(f"wrap must be a decorator or a sequence of decorators, not {wrap!r}")
        inner = inspect.unwrap(decorator)
        if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
            raise TypeError(f"wrap={_name(decorator)} is a function with a yield; write {_name(decorator)}()")
    return decorators


def apply_decorators(function: _Function, decorators: Sequence[_Function], is_async: bool) -> _Function:
    """
    Wrap a function.

    @param decorators: the decorators, outermost first.
    @param is_async: whether the function returns something to await.
    @raise TypeError: when a decorator fails, or its result cannot be called like the function.
    """
    signature = inspect.signature(function) if decorators else None
    kind = _Kind.COROUTINE if is_async else _Kind.FUNCTION
    for decorator in reversed(decorators):
        kind = _kind(function, kind)
        inner, function = function, _apply(decorator, function, kind)
        if isinstance(function, ContextDecorator | AsyncContextDecorator):
            raise TypeError(f"wrap={_name(decorator)} makes a context manager; write {_name(decorator)}()")
        if not callable(function):
            raise TypeError(
                f"the decorator {_name(decorator)} returned {function!r}, which is not a function"
            )
        if "__signature__" in getattr(function, "__dict__", ()):  # It fills some parameters itself.
            signature = function.__signature__  # type: ignore[attr-defined]
        elif signature is not None and function is not inner:
            _check_call(function, signature, _name(decorator))
    return function


def leads_to(wrapped: Any, function: _Function) -> bool:
    """Return whether C{wrapped} refers to a function as C{functools.wraps} does."""
    for _ in range(MAX_LAYERS):
        if wrapped is function:
            return True
        wrapped = getattr(wrapped, "__wrapped__", None)
    return False


def _name(decorator: Any) -> str:
    if isinstance(decorator, ContextDecorator | AsyncContextDecorator):
        decorator = getattr(decorator, "func", decorator)  # the function of contextlib.contextmanager
    return str(getattr(decorator, "__name__", type(decorator).__name__))


def _check_call(function: _Function, signature: inspect.Signature, name: str) -> None:
    """
    @raise TypeError: when a function does not accept the arguments of the function that it wraps.
    """
    try:
        own = inspect.signature(function, follow_wrapped=False)
    except ValueError:  # The wrapper is not written in Python, as with functools.lru_cache.
        return
    positional = [each for each in signature.parameters.values() if each.kind is each.POSITIONAL_ONLY]
    named = [
        each.name
        for each in signature.parameters.values()
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    try:
        own.bind(*positional, **dict.fromkeys(named))
    except TypeError as error:
        raise TypeError(
            f"the decorator {name} returned a function that does not accept the same arguments: {error}; "
            "pass on *args and **kwargs"
        ) from None


def _kind(function: Any, otherwise: _Kind) -> _Kind:
    """
    @param otherwise: the kind of the wrapped function, if C{function} wraps another one. An ordinary function
        passes on the other function's result.
    """
    for test, kind in KINDS:
        if test(function) or test(type(function).__call__):
            return kind
    return otherwise


def _apply(decorator: Any, function: _Function, kind: _Kind) -> Any:
    asynchronous = isinstance(decorator, AsyncContextDecorator)
    if not (asynchronous or isinstance(decorator, ContextDecorator)):
        return decorator(function)
    if asynchronous and kind in (_Kind.FUNCTION, _Kind.GENERATOR):
        raise TypeError(f"wrap={_name(decorator)}() is asynchronous, and this function is not async")
    # contextlib uses this method to make a new context manager for each call. It has no public name.
    make = decorator._recreate_cm
    if kind is _Kind.FUNCTION:
        return _around_function(make, function)
    if kind is _Kind.GENERATOR:
        return _around_generator(make, function)
    if kind is _Kind.ASYNC_GENERATOR:
        make_async = make if asynchronous else lambda: _AsyncManager(make())
        return _around_async_generator(make_async, function)
    return _around_coroutine_async(make, function) if asynchronous else _around_coroutine(make, function)


class _AsyncManager:
    """A context manager as an asynchronous one."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    async def __aenter__(self) -> Any:
        return self._manager.__enter__()

    async def __aexit__(self, *error: Any) -> Any:
        return self._manager.__exit__(*error)


def _around_function(make: _Function, function: _Function) -> _Function:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            stack.enter_context(make())
            return _surrounded(function(*args, **kwargs), stack)

    return wrapper


def _surrounded(result: Any, stack: ExitStack) -> Any:
    """
    Return the result of a function. If it is a generator, or a Reply with one, leave the context managers of
    C{stack} when the generator ends.
    """
    is_reply = isinstance(result, Reply)
    items = result.body if is_reply else result
    if not isinstance(items, Iterator):
        return result
    generator = _items(items, stack.pop_all())
    next(generator)  # closing a generator that has not begun would not leave the context managers
    return msgspec.structs.replace(result, body=generator) if is_reply else generator


def _items(items: Iterator[Any], stack: ExitStack) -> Iterator[Any]:
    with stack:
        yield
        try:
            yield from items
        finally:
            getattr(items, "close", bool)()


def _around_generator(make: _Function, function: _Function) -> _Function:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with make():
            yield from _checked(function(*args, **kwargs), Iterator)

    return wrapper


def _around_async_generator(make: _Function, function: _Function) -> _Function:
    @wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        async with make(), aclosing(_checked(function(*args, **kwargs), AsyncIterator)) as items:
            async for item in items:
                yield item

    return wrapper


def _around_coroutine(make: _Function, function: _Function) -> _Function:
    @wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            stack.enter_context(make())
            result = function(*args, **kwargs)
            return _surrounded(await result if inspect.isawaitable(result) else result, stack)

    return wrapper


def _around_coroutine_async(make: _Function, function: _Function) -> _Function:
    @wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        async with make():
            result = function(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

    return wrapper


def _checked(result: Any, kind: Any) -> Any:
    """
    @raise TypeError: when a decorator has replaced the generator by something else.
    """
    if not isinstance(result, kind):
        raise TypeError(
            f"a decorator around a generator returned {type(result).__name__}; list it first in wrap"
        )
    return result
