"""The function that C{tqueue work} calls, imported by its name and checked before the first task."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from importlib import import_module
from operator import attrgetter
from types import ModuleType
from typing import Any

from twisted_appserver.closest_name import closest
from twisted_appserver.core.import_errors import (
    import_problem,
    missing_file_advice,
    missing_module_advice,
    module_of,
)

NOT_RUN = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


def function_named(target: str) -> Callable[[Any], Any]:
    """
    Import a function.

    @param target: C{module:function}; the current folder is searched too.
    @raise ValueError: when it cannot be imported, or cannot be called with an item. The message is one line.
    """
    place, colon, name = target.partition(":")
    if not colon or not place or not name:
        raise ValueError(f"the function must be MODULE:FUNCTION, not {target!r}")
    if place.endswith(".py") or os.sep in place:
        path = f"{place.removesuffix('.py')}.py"
        if not os.path.isfile(path):
            raise ValueError(missing_file_advice(path))
        meant, folder = module_of(path)
        raise ValueError(f"the function must be named by its module: {meant}:{name}, not {target}{folder}")
    module = _module(place)
    try:
        function = attrgetter(name)(module)
    except AttributeError:
        near = closest(name, (key for key, value in vars(module).items() if callable(value)))
        advice = f"; did you mean {near}?" if near else ""
        raise ValueError(f"{module.__file__ or place} has no function {name}{advice}") from None
    check_function(function, target)
    return function  # type: ignore[no-any-return]


def _module(name: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return import_module(name)
    except (Exception, SystemExit) as error:
        if advice := missing_module_advice(name, error):
            raise ValueError(advice) from None
        line, text = import_problem(error)
        raise ValueError(f"cannot import {name}: {line}{text}") from None


def check_function(function: Any, target: str) -> None:
    """
    Check that a function can be called with an item.

    @param target: its name, for the message.
    @raise ValueError: when it cannot.
    """
    if not callable(function):
        raise ValueError(f"{target} cannot be called")
    if any(check(each) for check in NOT_RUN for each in (function, type(function).__call__)):
        raise ValueError(f"{target} must be a plain function: a coroutine or generator would not run")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions of C extensions have none
        return
    try:
        signature.bind(None)
    except TypeError:
        name = target.rpartition(":")[2]
        raise ValueError(f"{target} must accept one argument, the item: it is {name}{signature}") from None
