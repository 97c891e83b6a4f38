"""Requests whose heads were seen before, so that they need not be parsed or routed again."""

from __future__ import annotations

import re
from typing import Any

from twisted_appserver.core.call import Call
from twisted_appserver.core.mounted_resource import EXECUTOR
from twisted_appserver.http.request_parser import END_OF_HEAD, ParsedRequest

# A request line that needs no checks; most are like this. Paths below /-/ do not belong to the application.
PLAIN_LINE = re.compile(rb"(GET|POST|HEAD) (/(?!-/)[\w/.~-]*)(?:\?([\w=&.~%+:,;@/-]*))? HTTP/1\.1\r\n")
NEVER_KNOWN = {b"expect", b"idempotency-key", b"prefer", b"x-request-id"}  # these differ between calls
UNKNOWN: tuple[Any, int] = (None, -1)
CAPACITY = 1024  # entries of each table, and bytes of a head that is remembered


class KnownRequests:
    """
    The record of earlier requests that the connections of a site share.

    Both tables are plain dicts, because a method call would cost as much as the look-up. The bytes are
    compared as a whole, so a request is recognised only if every byte is the same.

    @ivar headers: the parsed headers and the length of the body, by the bytes of the headers.
    @ivar calls: a routed call and the length of the body, by the bytes of the whole head.
    """

    def __init__(self) -> None:
        self.headers: dict[bytes, tuple[tuple[tuple[bytes, bytes], ...], int]] = {}
        self.calls: dict[bytes, tuple[Call, int]] = {}
        self._seen: set[bytes] = set()  # heads

    def seen_before(self, head: bytes) -> bool:
        """
        Check whether a head came before, and so is worth remembering.

        Most paths are requested only once: a call is remembered when its head comes for the second time.
        """
        if head in self._seen:
            return True
        if len(head) <= CAPACITY:
            if len(self._seen) >= CAPACITY:
                self._seen.clear()
            self._seen.add(head)
        return False

    def remember_call(self, head: bytes, length: int, call: Call) -> None:
        """
        Reuse a routed call for requests with the same head.

        @param length: bytes of the body.
        """
        if call.handler.executor == EXECUTOR:  # resources need the base of each call
            return
        if len(self.calls) >= CAPACITY:
            self.calls.clear()
        self.calls[head] = (call, length)

    def remember_headers(self, data: bytes, request: ParsedRequest) -> None:
        """
        Reuse the parsed headers of a request, if it is plain.

        @param data: what arrived. The headers are remembered only if this is exactly one request.
        """
        headers, length = request.call.raw_headers, len(request.call.body)
        start, end = data.find(b"\r\n") + 2, data.find(END_OF_HEAD) + len(END_OF_HEAD)
        special = request.http10 or request.chunked or NEVER_KNOWN & dict(headers).keys()
        if (
            request.keep_alive
            and not special
            and end + length == len(data)
            and data.count(b"\n", 0, end) == len(headers) + 2
            and end < CAPACITY
        ):
            if len(self.headers) >= CAPACITY:
                self.headers.clear()
            self.headers[data[start:end]] = (headers, length)

    def forget(self) -> None:
        """Forget everything. Otherwise a reloaded application would be kept in memory."""
        self.headers.clear()
        self.calls.clear()
        self._seen.clear()
