"""
The log of a server: short coloured lines on a terminal, JSON lines elsewhere.

A line that belongs to a call contains the request id and the trace id of that call (W3C Trace Context,
section 3.2). This includes lines that the function logs or prints.
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
FIELDS = ("route", "status", "duration", "method", "path", "client", "user", "pid")  # copied from events


def _escape_surrogates(text: str) -> str:
    """Escape lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "backslashreplace").decode()


def _message(event: dict[str, Any]) -> tuple[str, str]:
    """Return the message of an event, and its traceback."""
    failure = event.get("log_failure")
    trace = _escape_surrogates(failure.getTraceback()).rstrip() if isinstance(failure, Failure) else ""
    text = _escape_surrogates(formatEvent(event)).rstrip()
    message, _, rest = text.partition("\nTraceback (most recent call last):\n")
    return message, f"Traceback (most recent call last):\n{rest}" if rest else trace


def _request_id(event: dict[str, Any]) -> str:
    call = CURRENT.get()
    return str(event.get("request_id") or (call.request_id if call is not None else ""))


def terminal_line(event: dict[str, Any]) -> str:
    """Format an event for a person at a terminal."""
    text, trace = _message(event)
    when = datetime.fromtimestamp(event["log_time"]).strftime("%H:%M:%S")
    colour = COLOURS.get(event.get("log_level"), "")
    if event.get("status", 0) >= 500:
        colour = COLOURS[LogLevel.error]
    request_id = _request_id(event)
    tail = f" {FAINT}{request_id}{RESET}" if request_id and request_id not in text else ""
    trace = "".join(f"\n  {FAINT}{line}{RESET}" for line in trace.splitlines()[:-1]) + (
        f"\n  {colour}{trace.splitlines()[-1]}{RESET}" if trace else ""
    )
    return f"{FAINT}{when}{RESET} {colour}{text}{RESET if colour else ''}{tail}{trace}\n"


def json_line(event: dict[str, Any]) -> str:
    """Format an event as a line of JSON. C{duration} is in seconds."""
    text, trace = _message(event)
    level = event.get("log_level")
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(event["log_time"], UTC),
        "level": level.name if level is not None else "info",
        "logger": event.get("log_namespace", ""),
        "message": text,
    }
    call = event.get("call") or CURRENT.get()
    if request_id := _request_id(event):
        line["request_id"] = request_id
    if call is not None and (parent := call.headers.get("traceparent", "").split("-"))[1:]:
        line["trace_id"] = parent[1]
    fields = {name: event[name] for name in FIELDS if event.get(name) not in (None, "")}
    for name, value in fields.items():
        line[name] = _escape_surrogates(value) if isinstance(value, str) else value
    if trace:
        line["traceback"] = trace
    return msgspec.json.encode(line, enc_hook=str).decode() + "\n"


def make_observer(file: TextIO, log_format: str) -> FileLogObserver:
    """
    Make a log observer that writes to a file.

    @param log_format: C{text} or C{json}; if empty, text for a terminal and JSON for any other file.
    """
    log_format = log_format or ("text" if file.isatty() else "json")
    return FileLogObserver(file, terminal_line if log_format == "text" else json_line)


class RequestLog:
    """
    Log one line per request. An instance is an observer of a L{Dispatcher<dispatch.dispatcher.Dispatcher>}.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __call__(self, call: Call, reply: Reply) -> None:
        if call.path.startswith("/-/") and reply.status < 400:
            return
        seconds = self._reactor.seconds() - call.arrived if call.arrived else 0.0
        self.log.info(
            "{method} {path} {status} {milliseconds} ms",
            method=call.method or "-",
            path=call.path.encode("unicode_escape").decode() or "-",
            status=reply.status,
            milliseconds=f"{seconds * 1000:.1f}",
            duration=round(seconds, 6),
            route=call.handler.name if call.handler is not None else "",
            client=call.client,
            user=call.user,
            request_id=call.request_id,
            call=call,
        )
