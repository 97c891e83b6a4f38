"""Calls a function with an item. Used in the threads and in the processes of a worker."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from contextvars import Context
from typing import Any, NamedTuple, Protocol

from twisted_appserver.errors import AppserverError

from .client.failures import Failure, describe
from .client.forks import leave
from .client.trace import NO_TRACE, TRACE, Trace
from .performed_task import CURRENT, CurrentTask
from .task_failure import own_frames_removed
from .task_progress import REPORT, Report

Function = Callable[[Any], Any]


class Outcome(NamedTuple):
    """
    How a call has ended.

    @ivar result: what the function has returned.
    @ivar failure: why it has failed; C{None} if it has not failed.
    """

    result: Any = None
    failure: Failure | None = None


class WorkerError(AppserverError):
    """Raised when a worker cannot go on, for example because too many functions hang."""


class FunctionCaller(Protocol):
    """Calls the function. Used by one thread at a time."""

    def call(
        self, item: Any, report: Report, trace: Trace = NO_TRACE, current: CurrentTask | None = None
    ) -> Outcome:
        """
        Call the function with an item, in a trace.

        @param report: receives what the function reports with L{task_progress.report_progress}.
        @param current: the task, for L{performed_task.current_task}.
        @raise WorkerError: when that is not possible.
        """

    def kill(self) -> None:
        """End a call that is running, if that is possible. May be called from any thread."""

    def close(self) -> None:
        """Make no further calls."""


def call_function(
    function: Function,
    item: Any,
    report: Report | None = None,
    trace: Trace = NO_TRACE,
    current: CurrentTask | None = None,
) -> Outcome:
    """
    Call a function with an item, in a context that has only the task and its trace.

    A process that the function forks ends where the function returns or raises.
    """
    process, error, result = os.getpid(), None, None
    try:
        context = Context()
        context.run(TRACE.set, trace)
        context.run(CURRENT.set, current)
        result = context.run(_call, function, item, report)
    except BaseException as raised:  # includes sys.exit(); Ctrl-C goes to the main thread of the worker
        error = own_frames_removed(raised)
    if os.getpid() != process:
        leave(error)
    if error is None:
        error = _not_run(result)
    return Outcome(result) if error is None else Outcome(failure=describe(error))


def _call(function: Function, item: Any, report: Report | None) -> Any:
    REPORT.set(report)
    return function(item)


def _not_run(result: Any) -> TypeError | None:
    """Return an error if the function has not run: its result is a coroutine or generator."""
    if not (inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result)):
        return None
    if inspect.iscoroutine(result):
        result.close()
    return TypeError(f"the function returned a {type(result).__name__}, which was never run")


class ThreadCaller:
    """Calls the function in the calling thread."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def call(
        self, item: Any, report: Report, trace: Trace = NO_TRACE, current: CurrentTask | None = None
    ) -> Outcome:
        return call_function(self._function, item, report, trace, current)

    def kill(self) -> None:
        """Do nothing: a thread cannot be ended."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
