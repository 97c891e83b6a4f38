"""
The log of a server: short coloured lines on a terminal, JSON lines elsewhere.

A line that belongs to a call contains the request id and the trace id of that call (W3C Trace Context,
section 3.2). This includes lines that the function logs or prints.
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    LogEvent,
    Logger,
    LogLevel,
    PredicateResult,
    formatEvent,
)
from twisted.python.failure import Failure

from twisted_appserver.core.call import CURRENT, Call, Reply

RESET, FAINT = "\x1b[0m", "\x1b[2m"
COLOURS = {LogLevel.warn: "\x1b[33m", LogLevel.error: "\x1b[31m", LogLevel.critical: "\x1b[31m"}
OPENED = "AppSite starting on "  # how Twisted's line about an open port of ours begins
# Copied from events. C{server} is the number of one of several servers.
FIELDS = ("route", "status", "duration", "method", "path", "client", "user", "pid", "server")


def _escape_surrogates(text: str) -> str:
    """Escape lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "backslashreplace").decode()


def message_of(event: dict[str, Any]) -> tuple[str, str]:
    """Return the message of an event, and its traceback."""
    failure = event.get("log_failure")
    trace = _escape_surrogates(failure.getTraceback()).rstrip() if isinstance(failure, Failure) else ""
    text = _escape_surrogates(formatEvent(event)).rstrip()
    message, _, rest = text.partition("\nTraceback (most recent call last):\n")
    return message, f"Traceback (most recent call last):\n{rest}" if rest else trace


def _request_id(event: dict[str, Any]) -> str:
    call = CURRENT.get()
    return str(event.get("request_id") or (call.request_id if call is not None else ""))


def _trace_id(event: dict[str, Any]) -> str:
    call = event.get("call") or CURRENT.get()
    _, *rest = call.headers.get("traceparent", "").split("-") if call is not None else ("",)
    return rest[0] if rest else event.get("trace_id", "")


def values_of(event: dict[str, Any]) -> dict[str, Any]:
    """Return what a line for an event contains besides its message, by name."""
    values: dict[str, Any] = {"request_id": _request_id(event), "trace_id": _trace_id(event)}
    values |= {name: event.get(name) for name in (*FIELDS, "from_logging")}
    return {
        name: _escape_surrogates(value) if isinstance(value, str) else value
        for name, value in values.items()
        if value not in (None, "")
    }


def text_line(event: dict[str, Any], colours: bool = True) -> str:
    """
    Format an event for people.

    @param colours: whether to write for a terminal, in colours and without the date.
    """
    text, trace = message_of(event)
    if event.get("from_logging"):
        text = f"{event['log_level'].name} {event['log_namespace']}: {text}"
    time = datetime.fromtimestamp(event["log_time"])
    request_id = _request_id(event)
    request_id = "" if request_id in text else request_id
    if "server" in event:
        text = f"[server {event['server']}] {text}"
    lines = trace.splitlines()
    if not colours:
        return "\n  ".join([f"{time:%Y-%m-%d %H:%M:%S} {text} {request_id}".rstrip(), *lines]) + "\n"
    colour = COLOURS.get(event.get("log_level"), "")
    if event.get("status", 0) >= 500:
        colour = COLOURS[LogLevel.error]
    if lines:
        lines = [*(f"{FAINT}{line}{RESET}" for line in lines[:-1]), f"{colour}{lines[-1]}{RESET}"]
    first = f"{FAINT}{time:%H:%M:%S}{RESET} {colour}{text}{RESET if colour else ''}"
    return "\n  ".join([first + (f" {FAINT}{request_id}{RESET}" if request_id else ""), *lines]) + "\n"


def json_line(event: dict[str, Any]) -> str:
    """Format an event as a line of JSON. C{duration} is in seconds."""
    text, trace = message_of(event)
    level = event.get("log_level")
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(event["log_time"], UTC),
        "level": level.name if level is not None else "info",
        "logger": event.get("log_namespace", ""),
        "message": text,
    }
    values = values_of(event)
    values.pop("from_logging", None)
    line |= values
    if trace:
        line["traceback"] = trace
    return msgspec.json.encode(line, enc_hook=str).decode() + "\n"


def _shows_colours(file: Any) -> bool:
    """Return true if a file is a terminal whose user wants colours (https://no-color.org)."""
    return file.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _escape_json(text: str) -> str:
    return re.sub("[^\0-\x7f]+", lambda found: json.dumps(found[0])[1:-1], text)


def make_observer(file: Any, log_format: str) -> FilteringLogObserver:
    """
    Make a log observer that writes to a file. Characters that the file cannot encode are escaped.

    @param file: a text file, or a C{twisted.python.logfile.LogFile}.
    @param log_format: C{text} or C{json}; if empty, text for a terminal and JSON for any other file.
    """
    observer = _make_file_observer(file, log_format)
    predicates: Any = [_is_not_about_our_port]
    return FilteringLogObserver(observer, predicates)


def is_about_our_port(event: LogEvent) -> bool:
    """
    Return whether Twisted logs with this event that a port is open. Its line has the name of a class, and no
    URL.
    """
    return event.get("log_namespace") == "log_legacy" and str(event.get("log_text", "")).startswith(OPENED)


def _is_not_about_our_port(event: LogEvent) -> Any:
    return PredicateResult.no if is_about_our_port(event) else PredicateResult.maybe


def _make_file_observer(file: Any, log_format: str) -> FileLogObserver:
    terminal = hasattr(file, "isatty") and file.isatty()
    encoding = getattr(file, "encoding", None) or "utf-8"
    if (log_format or ("text" if terminal else "json")) == "json":
        if encoding.lower().replace("-", "") == "utf8":
            return FileLogObserver(file, json_line)
        return FileLogObserver(file, lambda event: _escape_json(json_line(event)))
    line = partial(text_line, colours=terminal and _shows_colours(file))

    def encodable(event: dict[str, Any]) -> str:
        return line(event).encode(encoding, "backslashreplace").decode(encoding)

    return FileLogObserver(file, encodable)


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
