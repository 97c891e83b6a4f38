"""How answers begin: status line, Date and headers, made once for all that are alike."""

from __future__ import annotations

from http import HTTPStatus
from time import time
from typing import Any

from twisted.web.http import datetimeToString

from twisted_appserver.calls import Reply

MOST = 1024  # that are kept
REASONS = {status.value: status.phrase for status in HTTPStatus}


class Heads:
    """
    The beginnings of answers, with a Date that is made once a second (RFC 9110, section 6.6.1). Text, to be
    encoded as latin-1 when it is complete.
    """

    def __init__(self) -> None:
        self._second = 0
        self._date = ""
        self._made: dict[tuple[int, Any, bool], str] = {}  # of this second

    def __call__(self, reply: Reply) -> str:
        second = int(time())
        if second != self._second:
            self._second = second
            self._date = f"\r\nDate: {datetimeToString(second).decode()}\r\n"
            self._made.clear()
        key = (reply.status, reply.headers, not reply.body)
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= MOST:
                self._made.clear()
            made = self._made[key] = self._make(reply)
        return made

    def _make(self, reply: Reply) -> str:
        lines = [f"{name.title()}: {value}\r\n" for name, value in reply.headers]
        if reply.body and not any(name == "content-type" for name, _ in reply.headers):
            lines.append("Content-Type: application/json\r\n")
        first = f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Unknown')}"
        return "".join((first, self._date, *lines))


begin_answer = Heads()
