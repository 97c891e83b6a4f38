"""The access log: one line per request in the combined log format of Apache and nginx."""

from __future__ import annotations

import logging
import sys
from logging.handlers import WatchedFileHandler
from time import localtime, strftime, time
from typing import Any
from urllib.parse import quote

from twisted.logger import Logger

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.errors import ConfigurationError

SAFE = "/:@!$&'()*+,;=~-._"  # characters of a path that are not percent-encoded (RFC 3986, section 3.3)


def _escape(value: str) -> str:
    """Escape text from a client, so that it cannot end its field or its line."""
    return value.encode("unicode_escape").decode().replace('"', '\\"') or "-"


class AccessLog:
    """
    Write one line per request. An instance is an observer of a L{Dispatcher}.

    @param path: the file; C{-} for standard output. When the file is moved away, a new one is created.
    @raise ConfigurationError: when the file cannot be written.
    """

    log = Logger()

    def __init__(self, path: str) -> None:
        try:
            self._handler: Any = (
                logging.StreamHandler(sys.__stdout__)
                if path == "-"
                else WatchedFileHandler(path, encoding="utf-8")
            )
        except OSError as error:
            raise ConfigurationError(f"--access-log {path}: {error.strerror}") from None
        self._second, self._date = 0, ""  # the date is formatted once per second

    def __call__(self, call: Call, reply: Reply) -> None:
        second = int(time())
        if second != self._second:
            self._second, self._date = second, strftime("%d/%b/%Y:%H:%M:%S %z", localtime(second))
        headers = call.headers
        line = "-"
        if call.method:
            path = quote(call.path.encode("utf-8", "surrogateescape"), safe=SAFE)
            query = f"?{_escape(call.query)}" if call.query else ""
            line = f"{_escape(call.method)} {path}{query} HTTP/1.1"
        size = len(reply.body) if reply.body and call.method != "HEAD" else "-"
        agent, referer = _escape(headers.get("user-agent", "")), _escape(headers.get("referer", ""))
        client = f"{call.client or '-'} - {_escape(call.user).replace(' ', '_')}"
        text = f'{client} [{self._date}] "{line}" {reply.status} {size} "{referer}" "{agent}"'
        try:
            self._handler.emit(logging.LogRecord("access", logging.INFO, "", 0, text, (), None))
        except OSError as error:  # the file was moved away, and no new one can be created
            self.log.error("--access-log: {e}", e=error)

    def close(self) -> None:
        """Close the file."""
        self._handler.close()
