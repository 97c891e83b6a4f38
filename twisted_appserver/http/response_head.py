"""How answers begin: status line, Date and headers, made once for all that are alike."""

from __future__ import annotations

from time import time

from twisted.web.http import datetimeToString

from twisted_appserver.core.statuses import title

MOST = 1024  # that are kept
KEPT = 2048  # characters up to which one is kept
NOSNIFF = ("x-content-type-options", "nosniff")  # in every response (Fetch, section 3.6)
Key = tuple[int, tuple[tuple[str, str], ...], bool]  # status and headers of a reply, and whether it is empty


class ResponseHeads(dict[Key, str]):
    """
    The beginnings of answers, by what they depend on. Text, to be encoded as latin-1 when it is complete.
    Whoever is going to send some has them refreshed first: the Date is that of the last time.
    """

    _second = 0
    _date = ""

    def refresh(self) -> None:
        """Have the Date of now, made once a second (RFC 9110, section 6.6.1)."""
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
