"""A function of the table, and how a call runs it. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Sequence
from typing import Any

from twisted_appserver.core.arguments import Arguments
from twisted_appserver.core.call import Call
from twisted_appserver.core.conversions.annotations import signature, unwrap
from twisted_appserver.core.retry import Retry
from twisted_appserver.core.schedule import Schedule
from twisted_appserver.core.wrapping import apply_decorators, leads_to
from twisted_appserver.errors import HTTPError

# The message of Python's error if a variable has the name of C{self}, in a method that takes **variables.
NAME_IN_USE = re.compile(r"multiple values for argument '(\w+)'")
DEFERRED = re.compile(r"['\"]?(?:\w+\.)*Deferred\b")  # an annotation that could not be resolved
DEFER = "twisted.internet.defer"  # the module that defines the wrapper made by inlineCallbacks
AWAITABLES = (Awaitable, AsyncIterable)  # futures and tasks of asyncio are awaitable too


class Handler:
    """
    A function, with everything needed for calls of it.

    @param function: the function to call.
    @param groups: the named groups of its pattern.
    @param name: the name for logs and figures; C{None} for the function's own name.
    @param executor: the executor that runs the function; C{None} for the service's default.
    @param timeout: seconds for one call; C{None} for the service's default.
    @param decorators: the decorators around the function, outermost first.
    @ivar function: the function with its decorators, which calls run.
    @ivar original: the function without them.
    @ivar arguments: how variables become its arguments.
    @ivar awaits: whether it runs on the reactor and can await objects of asyncio.
    @ivar schedule: when the server itself calls it; C{None} for never.
    @ivar limits: the L{core.route_limits.RouteLimits} of its jobs; C{None} for none.
    @ivar max_stream: C{None}; see L{core.streamed_body.StreamingHandler}.
    @ivar tool: whether AI assistants may call it; C{None} if the service decides.
    @ivar index: the position in the table.
    @ivar router: the L{core.router.Router} of that table.
    @ivar notes: warnings for the log at start-up.
    @raise TypeError: when the function cannot receive the groups, or no request can fill a parameter.
    """

    limits: Any = None
    max_stream: int | None = None
    tool: bool | None = None

    def __init__(
        self,
        function: Callable[..., Any],
        groups: Collection[str] = (),
        name: str | None = None,
        executor: str | None = None,
        timeout: float | None = None,
        decorators: Sequence[Callable[..., Any]] = (),
    ) -> None:
        self.original, self.timeout = function, timeout
        self.name = name or str(getattr(function, "__qualname__", type(function).__qualname__))
        self.idempotent = False
        self.retry: Retry | None = None
        self.schedule: Schedule | None = None
        self.index = 0
        self.router: Any = None
        try:
            self.signature = signature(function)
            self._check_method(groups)
            on_reactor = _on_reactor(function, self.signature, executor)
            self.function = apply_decorators(function, decorators, on_reactor)
            if decorators and leads_to(self.function, function):
                self.signature = signature(self.function)
            self.arguments = Arguments(self.signature, groups)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        made_async = not on_reactor and _on_reactor(self.function, self.signature, executor)
        self.executor = "inline" if on_reactor or made_async else executor
        self.awaits = self.executor == "inline" and _can_await(self.function, self.signature)
        self.notes = [f"{self.name}: {note}" for note in self.arguments.notes]
        if made_async:
            self.notes.append(
                f"{self.name}: its decorator is async, so it runs on the reactor and must not block"
            )
        elif executor not in (None, self.executor):
            self.notes.append(f"{self.name}: a coroutine runs on the reactor, and not on {executor!r}")
        # Copies of the values that L{run} needs for every call.
        self.call_name = self.arguments.call_name
        self._direct, self._reads_request = self.arguments.direct, self.arguments.reads_request
        self._group_count = len(groups)

    def _check_method(self, groups: Collection[str]) -> None:
        """
        @raise TypeError: when the function is a method without its object.
        """
        first = next(iter(self.signature.parameters.values()), None)
        *_, inner = unwrap(self.original)
        owner, _, name = getattr(inner, "__qualname__", "").rpartition(".")
        if first is None or first.name != "self" or first.name in groups or not inspect.isfunction(inner):
            return
        if owner and not owner.endswith("<locals>") and first.annotation is first.default is first.empty:
            cls = owner.rpartition(".")[2]
            raise TypeError(f"this is a method without an object; write {cls}().{name} instead")

    def run(self, call: Call) -> Any:
        """
        Call the function with the variables of a call, and return its result.

        @raise HTTPError: 400, 415 or 422 when the request cannot be read or a variable cannot be converted.
        """
        if (
            self._direct
            and len(call.groups) == self._group_count
            and (self._reads_request or not (call.query or call.body))
        ):
            if self.call_name:
                return self.function(**call.groups, **{self.call_name: call})
            return self.function(**call.groups)
        values = self.arguments.values(call, call.groups)
        if self.call_name:
            values[self.call_name] = call
        args = [values.pop(name, default) for name, default in self.arguments.positional]
        try:
            return self.function(*args, **values)
        except TypeError as error:
            taken = NAME_IN_USE.search(str(error))
            ours = error.__traceback__ is not None and error.__traceback__.tb_next is None
            if self.arguments.var_keyword is None or taken is None or not ours:
                raise
            raise HTTPError(422, f"{taken[1]}: a variable cannot have this name; rename it") from None


def _on_reactor(function: Callable[..., Any], signature: inspect.Signature, executor: str | None) -> bool:
    """
    Return whether a function runs on the reactor.

    That is the case for coroutine functions, and for functions that return a Deferred or an awaitable
    according to C{inlineCallbacks} or their annotation. If a decorator has turned such a function into an
    ordinary one, its Route decides.
    """
    found = list(unwrap(function))
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
    return DEFER in modules or getattr(result, "__name__", "") == "Deferred" or _is_awaitable(result)


def _is_awaitable(annotation: Any) -> bool:
    annotation = getattr(annotation, "__origin__", annotation)
    if getattr(annotation, "__name__", "") == "Deferred":
        return False
    return isinstance(annotation, type) and issubclass(annotation, AWAITABLES)


def _can_await(function: Callable[..., Any], signature: inspect.Signature) -> bool:
    """Return whether a function, perhaps a decorated one, is a coroutine function or returns an awaitable."""
    for each in unwrap(function):
        for called in (each, type(each).__call__):
            if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
                return True
    return _is_awaitable(signature.return_annotation)
