"""A line for each request, in the combined format that Apache's and nginx's tools read."""

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

SAFE = "/:@!$&'()*+,;=~-._"  # in a path, as it is (RFC 3986, section 3.3)


def _text(value: str) -> str:
    """What a client sent, such that it cannot end its field or its line."""
    shown = value.encode("unicode_escape").decode().replace('"', '\\"')
    return shown or "-"


class AccessLog:
    """
    An observer of a L{Dispatcher}.

    @param path: of the file; C{-} for standard output. When it is moved away, a new one is begun.
    @raise ConfigurationError: when it cannot be written.
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
        self._second, self._date = 0, ""

    def __call__(self, call: Call, reply: Reply) -> None:
        second = int(time())
        if second != self._second:
            self._second, self._date = second, strftime("%d/%b/%Y:%H:%M:%S %z", localtime(second))
        headers = call.headers
        line = "-"
        if call.method:
            path = quote(call.path.encode("utf-8", "surrogateescape"), safe=SAFE)
            line = f"{_text(call.method)} {path}{'?' + _text(call.query) if call.query else ''} HTTP/1.1"
        size = len(reply.body) if reply.body and call.method != "HEAD" else "-"
        agent, referer = _text(headers.get("user-agent", "")), _text(headers.get("referer", ""))
        who = f"{call.client or '-'} - {_text(call.user).replace(' ', '_')}"
        text = f'{who} [{self._date}] "{line}" {reply.status} {size} "{referer}" "{agent}"'
        try:
            self._handler.emit(logging.LogRecord("access", logging.INFO, "", 0, text, (), None))
        except OSError as error:  # it was moved away, and no new one can be made
            self.log.error("--access-log: {e}", e=error)

    def close(self) -> None:
        self._handler.close()
