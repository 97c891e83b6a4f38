"""
The lifespan of an application: the code that a process runs before its first call and after its last one.

Strategy: a lifespan is entered and left by the same thread, and an asynchronous one by the same asyncio task,
because locks, databases and task groups may require that.
"""

from __future__ import annotations

import asyncio
import contextlib
import dis
import inspect
import logging
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from types import FunctionType
from typing import Any

from twisted_appserver.core.import_errors import import_problem
from twisted_appserver.errors import ConfigurationError

Lifespan = Callable[[], Any]

log = logging.getLogger(__name__)

NO_YIELD = "lifespan has no yield; it needs one, between what it does at the start and at the end"
COROUTINE = "lifespan is a coroutine function; it needs a yield, where calls are performed"
# The code that all functions made by these decorators share.
MADE_SYNC = contextlib.contextmanager(iter).__code__
MADE_ASYNC = contextlib.asynccontextmanager(aiter).__code__


def check_lifespan(function: Any) -> Lifespan:
    """
    Return a function that makes the context manager of a lifespan.

    @param function: the lifespan that the application defines: a function that makes a context manager, or a
        generator function with one yield.
    @raise ConfigurationError: when C{function} is neither.
    """
    if isinstance(function, contextlib.ContextDecorator | contextlib.AsyncContextDecorator):
        raise ConfigurationError("lifespan is the result of a call; write lifespan without ()")
    if not callable(function):
        raise ConfigurationError(
            f"lifespan must be a function decorated with contextlib.contextmanager, not {function!r}"
        )
    try:
        inspect.signature(function).bind()
    except TypeError:
        raise ConfigurationError(
            f"lifespan{inspect.signature(function)} must be callable without arguments"
        ) from None
    except ValueError:  # It is not written in Python.
        pass
    if inspect.isgeneratorfunction(function):
        return contextlib.contextmanager(function)
    if inspect.isasyncgenfunction(function):
        return contextlib.asynccontextmanager(function)
    if problem := _problem(function):
        raise ConfigurationError(problem)
    return function  # type: ignore[no-any-return]


def _problem(function: Any) -> str:
    """Return why a function cannot make a context manager, judging by its code; empty if it can."""
    made = getattr(function, "__code__", None)
    inner = inspect.unwrap(function) if made in (MADE_SYNC, MADE_ASYNC) else function
    if inspect.iscoroutinefunction(inner):
        return COROUTINE
    if inspect.isasyncgenfunction(inner):
        return (
            "" if made is MADE_ASYNC else "lifespan is async; decorate it with contextlib.asynccontextmanager"
        )
    if inspect.isgeneratorfunction(inner):
        return (
            "" if made is MADE_SYNC else "lifespan is not async; decorate it with contextlib.contextmanager"
        )
    if isinstance(inner, type):
        methods = ("__enter__", "__aenter__")
        is_manager = any(hasattr(inner, name) for name in methods)
        return "" if is_manager else f"lifespan is the class {inner.__name__}, which is not a context manager"
    return NO_YIELD if inspect.isfunction(inner) and _returns_none(inner) else ""


def _returns_none(function: FunctionType) -> bool:
    """Return whether a function without a yield returns C{None} wherever it ends."""
    previous: Any = None
    for step in dis.get_instructions(function):
        if step.opname == "RETURN_CONST" and step.argval is not None:
            return False
        if step.opname == "RETURN_VALUE":
            is_none = previous.opname == "LOAD_CONST" and previous.argval is None
            if step.is_jump_target or not is_none:  # other values may arrive with a jump
                return False
        previous = step
    return True


def open_lifespan(function: Lifespan) -> tuple[Any, bool]:
    """
    Make the context manager of a lifespan.

    @return: the context manager, and whether it is asynchronous.
    @raise ConfigurationError: when C{function} returns no context manager.
    """
    manager = function()
    for name, is_async in (("__aenter__", True), ("__enter__", False)):
        if hasattr(type(manager), name):
            return manager, is_async
    raise ConfigurationError(
        f"lifespan() returned {manager!r}, which is not a context manager; "
        "decorate it with contextlib.contextmanager"
    )


def is_async(function: Lifespan) -> bool:
    """Return whether a lifespan appears to be asynchronous. Nothing is called."""
    inner = inspect.unwrap(function)
    return inspect.isasyncgenfunction(inner) or hasattr(inner, "__aenter__")


def entering_error(error: BaseException | None) -> ConfigurationError:
    """Return the error of a lifespan that ended before it was entered, as one line."""
    if isinstance(error, ConfigurationError):
        return error
    if error is None:
        return ConfigurationError("the lifespan ended before its yield")
    return ConfigurationError(f"the lifespan failed: {''.join(import_problem(error))}")


async def stay(manager: Any, entered: Callable[[], object], end: Awaitable[Any]) -> None:
    """
    Enter an asynchronous context manager, and leave it at the end.

    @param entered: called when it is entered.
    @param end: awaited inside the context manager.
    """
    async with manager:
        entered()
        await end


def _report_tasks(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Log which tasks do not run while the process performs calls."""
    if tasks:
        names = {str(getattr(task.get_coro(), "__qualname__", task.get_name())) for task in tasks}
        log.warning(
            "the lifespan has started asyncio tasks (%s); they do not run between the start and the end of a "
            "worker process; use a thread instead",
            ", ".join(sorted(names)),
        )


class ProcessLifespan:
    """
    The lifespan of a process without a reactor. It is entered and left in the thread that performs calls.

    The event loop of an asynchronous lifespan runs only while the lifespan is entered or left.

    @param loop: an event loop to use; C{None} for a new one, which is closed at the end.
    """

    def __init__(self, function: Lifespan, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._function, self._loop = function, loop
        self._leave: Callable[[], object] | None = None

    def enter(self) -> None:
        """
        Enter the lifespan.

        @raise ConfigurationError: when it fails.
        """
        try:
            manager, is_async = open_lifespan(self._function)
            if is_async:
                self._enter_async(manager)
            else:
                manager.__enter__()
                self._leave = partial(manager.__exit__, None, None, None)
        except BaseException as error:
            raise entering_error(error) from error

    def leave(self) -> None:
        """
        Leave the lifespan, if it is entered. Raises whatever it raises.
        """
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def _enter_async(self, manager: Any) -> None:
        loop = self._loop or asyncio.new_event_loop()
        entered, end = loop.create_future(), loop.create_future()
        task = loop.create_task(stay(manager, lambda: entered.set_result(None), end))
        loop.run_until_complete(asyncio.wait((task, entered), return_when=asyncio.FIRST_COMPLETED))
        if task.done():
            self._close(loop)
            task.result()
            raise entering_error(None)
        if self._loop is None:
            _report_tasks(asyncio.all_tasks(loop) - {task})
        self._leave = partial(self._leave_async, loop, task, end)

    def _leave_async(self, loop: Any, task: asyncio.Task[None], end: asyncio.Future[None]) -> None:
        end.set_result(None)
        try:
            loop.run_until_complete(task)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            self._close(loop)

    def _close(self, loop: Any) -> None:
        if loop is not self._loop:
            loop.close()
