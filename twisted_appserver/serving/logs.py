"""What a server logs: short lines in colour for a person at a terminal, JSON lines for everything else.

A line that comes of a call, also of what its function logs or prints, has the request id of the call, and
the id of the trace that it belongs to (W3C Trace Context, section 3.2).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
from twisted.logger import FileLogObserver, Logger, LogLevel, formatEvent
from twisted.python.failure import Failure

from twisted_appserver.core.call import CURRENT, Call, Reply

RESET, FAINT = "\x1b[0m", "\x1b[2m"
COLOURS = {LogLevel.warn: "\x1b[33m", LogLevel.error: "\x1b[31m", LogLevel.critical: "\x1b[31m"}
FIELDS = ("route", "status", "duration", "method", "path", "client", "user", "pid")  # of events, as they are


def _sayable(text: str) -> str:
    """With what UTF-8 does not have escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _message(event: dict[str, Any]) -> tuple[str, str]:
    """What an event says, and its traceback."""
    failure = event.get("log_failure")
    trace = _sayable(failure.getTraceback()).rstrip() if isinstance(failure, Failure) else ""
    whole = _sayable(formatEvent(event)).rstrip()
    text, _, more = whole.partition("\nTraceback (most recent call last):\n")
    return text, f"Traceback (most recent call last):\n{more}" if more else trace


def _request_id(event: dict[str, Any]) -> str:
    call = CURRENT.get()
    return str(event.get("request_id") or (call.request_id if call is not None else ""))


def terminal(event: dict[str, Any]) -> str:
    """An event for a person."""
    text, trace = _message(event)
    when = datetime.fromtimestamp(event["log_time"]).strftime("%H:%M:%S")
    colour = COLOURS.get(event.get("log_level"), "")
    if event.get("status", 0) >= 500:
        colour = COLOURS[LogLevel.error]
    shown = _request_id(event)
    tail = f" {FAINT}{shown}{RESET}" if shown and shown not in text else ""
    trace = "".join(f"\n  {FAINT}{line}{RESET}" for line in trace.splitlines()[:-1]) + (
        f"\n  {colour}{trace.splitlines()[-1]}{RESET}" if trace else ""
    )
    return f"{FAINT}{when}{RESET} {colour}{text}{RESET if colour else ''}{tail}{trace}\n"


def json_line(event: dict[str, Any]) -> str:
    """An event as a line of JSON. C{duration} is in seconds."""
    text, trace = _message(event)
    level = event.get("log_level")
    shown: dict[str, Any] = {
        "time": datetime.fromtimestamp(event["log_time"], UTC),
        "level": level.name if level is not None else "info",
        "logger": event.get("log_namespace", ""),
        "message": text,
    }
    call = event.get("call") or CURRENT.get()
    if request_id := _request_id(event):
        shown["request_id"] = request_id
    if call is not None and (parent := call.headers.get("traceparent", "").split("-"))[1:]:
        shown["trace_id"] = parent[1]
    fields = {name: event[name] for name in FIELDS if event.get(name) not in (None, "")}
    shown |= {name: _sayable(value) if isinstance(value, str) else value for name, value in fields.items()}
    if trace:
        shown["traceback"] = trace
    return msgspec.json.encode(shown, enc_hook=str).decode() + "\n"


def observer(file: TextIO, kind: str) -> FileLogObserver:
    """
    What writes to a file.

    @param kind: C{text} or C{json}; by whether the file is a terminal if empty.
    """
    kind = kind or ("text" if file.isatty() else "json")
    return FileLogObserver(file, terminal if kind == "text" else json_line)


class Requests:
    """An observer of a L{Dispatcher<dispatch.dispatcher.Dispatcher>}: a line for each request."""

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __call__(self, call: Call, reply: Reply) -> None:
        if call.path.startswith("/-/") and reply.status < 400:
            return
        seconds = self._reactor.seconds() - call.arrived if call.arrived else 0.0
        self.log.info(
            "{method} {path} {status} {shown} ms",
            method=call.method or "-",
            path=call.path.encode("unicode_escape").decode() or "-",
            status=reply.status,
            shown=f"{seconds * 1000:.1f}",
            duration=round(seconds, 6),
            route=call.handler.name if call.handler is not None else "",
            client=call.client,
            user=call.user,
            request_id=call.request_id,
            call=call,
        )
