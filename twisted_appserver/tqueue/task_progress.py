"""Reports the progress of the task of this thread or process, for functions that a worker calls."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

Report = Callable[[Any], None]
REPORT: ContextVar[Report | None] = ContextVar("report", default=None)


class Reported(NamedTuple):
    """What a function in another process has reported."""

    value: Any


def report_progress(value: Any) -> None:
    """
    Report the progress of the task that this function performs. The last report is sent with the next renewal
    of its lease, after a twelfth of the lease at the latest, and is forgotten when the lease ends.

    @param value: a number from 0 to 1, text such as C{"3 of 10"}, or any JSON value of at most 1000 bytes.
    @raise RuntimeError: when no worker has called the function here.
    @raise ValueError: when the value is too long.
    @raise TypeError: when it cannot be sent as JSON.
    """
    report = REPORT.get()
    if report is None:
        raise RuntimeError("report_progress(): no worker performs a task in this thread")
    report(value)
