"""Checks the arguments of a worker when it is made, because it would fail only when it gets a task."""

from __future__ import annotations

from typing import Any, Literal

from twisted_appserver.settings import FORKED_SERVER, THREADED_SERVER

from .client.checks import YEAR
from .function_call import Function
from .target_function import check_function, function_named

TYPES = (THREADED_SERVER, FORKED_SERVER)


def checked_function(function: str | Function) -> Function:
    """
    Return the function of a worker.

    @param function: a function, or its name.
    @raise ValueError: when it cannot be imported, or cannot be called with an item.
    """
    if isinstance(function, str):
        return function_named(function)
    check_function(function, getattr(function, "__qualname__", None) or repr(function))
    return function


def check_numbers(threads: Any, prefetch: Any, time_limit: Any, delay: Any, patience: Any) -> None:
    """
    Check the numbers that a worker was given, see L{worker.Worker}.

    @raise ValueError: when one of them cannot be used.
    """
    for name, value, least in (("threads", threads, 1), ("prefetch", prefetch, 0)):
        if not _is_number(value) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be a whole number of {least} or more, not {value!r}")
    if time_limit is not None and not (_is_number(time_limit) and time_limit > 0):
        raise ValueError(f"time_limit must be more than 0 seconds, or None for no limit, not {time_limit!r}")
    if not (delay is None or delay is False or (_is_number(delay) and 0 <= delay <= YEAR)):
        raise ValueError(
            "delay must be seconds until a failed task is tried again, False for never, or None for what "
            f"the queue requires, not {delay!r}"
        )
    if not (_is_number(patience) and patience >= 0):
        raise ValueError(f"patience must be 0 seconds or more, not {patience!r}")


def check_type(type: Literal["threaded", "forked"]) -> None:
    """
    Check the type of a worker.

    @raise ValueError: when there is no such type.
    """
    if type not in TYPES:
        raise ValueError(f"type must be one of {', '.join(TYPES)}, not {type!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
