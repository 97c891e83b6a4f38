"""The trace that a task belongs to (W3C Trace Context). Needs the standard library only.

It is a dict with C{traceparent}, and C{tracestate} if there is any: headers for requests to other services.
It is empty for a task without a trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

Trace = Mapping[str, str]
NAMES = ("traceparent", "tracestate")
NO_TRACE: Trace = {}
TRACE: ContextVar[Trace] = ContextVar("trace", default=NO_TRACE)


def current_trace() -> dict[str, str]:
    """Return the trace of the task that C{tqueue work} or a C{Worker} performs here; empty for none."""
    return dict(TRACE.get())


def trace_in(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the trace of a task in the response of a server."""
    return {name: document[name] for name in NAMES if document.get(name)}
