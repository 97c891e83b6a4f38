"""Heads of responses: status line, Date and headers, built once for equal responses."""

from __future__ import annotations

from time import time

from twisted.web.http import datetimeToString

from twisted_appserver.core.statuses import title

MOST = 1024  # heads in the cache
KEPT = 2048  # length up to which a head is cached, in characters
NOSNIFF = ("x-content-type-options", "nosniff")  # in every response (Fetch, section 3.6)
Key = tuple[int, tuple[tuple[str, str], ...], bool]  # status, headers, and whether the body is empty


class ResponseHeads(dict[Key, str]):
    """
    A cache of heads. The key contains everything that a head depends on. A head is text, to be encoded as
    latin-1 when it is complete. Call L{refresh} before sending, because the heads contain the Date of the
    last call.
    """

    _second = 0
    _date = ""

    def refresh(self) -> None:
        """Update the Date, at most once a second (RFC 9110, section 6.6.1)."""
        second = int(time())
        if second != self._second:
            self._second = second
            self._date = f"\r\nDate: {datetimeToString(second).decode()}\r\n"
            self.clear()

    def __missing__(self, key: Key) -> str:
        if len(self) >= MOST:
            self.clear()
        status, headers, empty = key
        given = {name for name, _ in headers}
        lines = [f"{name.title()}: {value}\r\n" for name, value in headers]
        if not empty and "content-type" not in given:
            lines.append("Content-Type: application/json\r\n")
        if NOSNIFF[0] not in given:
            lines.append(f"{NOSNIFF[0].title()}: {NOSNIFF[1]}\r\n")
        first = f"HTTP/1.1 {status} {title(status)}"
        made = "".join((first, self._date, *lines))
        if len(made) <= KEPT:
            self[key] = made
        return made


response_heads = ResponseHeads()
