"""Parses requests with llhttp, and checks what llhttp leaves to its caller.

Strategy: bytes go in, calls come out. The parser never touches a transport. llhttp's callbacks collect one
request at a time. Limits are checked wherever bytes are counted, so that a client cannot exceed them by
sending slowly or in small pieces. L{RequestParser.feed} parses little more than one request at a time, since
a parsed request takes many times its bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from msgspec.structs import replace

from twisted_appserver.core.call import Call
from twisted_appserver.core.request_data import body_too_long
from twisted_appserver.core.request_target import check_host, make_call, quote_line, unquote_line
from twisted_appserver.errors import HTTPError

END_OF_HEAD = b"\r\n\r\n"
MAX_TARGET = 8192  # bytes of a request target
MAX_HEADERS = 100
MAX_HEAD = 16384  # bytes of all headers together, as in twisted.web
PIECE = 16384  # bytes passed to llhttp at once
CHUNK_OVERHEAD = 65536  # bytes of chunk framing that a body may have, besides 8 for each byte of content
HEADER_MEMORY = 150  # bytes that a header takes in memory besides its text: a tuple and two bytes objects
SINGLE = (b"host", b"content-length", b"transfer-encoding")  # headers that must not be repeated


class ParsedRequest(NamedTuple):
    """
    A complete request.

    @ivar keep_alive: whether the connection stays open after the response.
    @ivar http10: whether it came with HTTP/1.0.
    @ivar chunked: whether its body came in chunks.
    """

    call: Call
    keep_alive: bool
    http10: bool
    chunked: bool


class BodySink:
    """
    Takes the place of C{RequestParser.body}, for a body that is passed on while it arrives.

    @param add: called with each part.
    @param end: called at the end of the request.
    """

    def __init__(self, add: Callable[[bytes], object], end: Callable[[], object]) -> None:
        self.add, self.end = add, end

    def __len__(self) -> int:
        """Return the bytes of memory that it takes here."""
        return 0

    def __bool__(self) -> bool:
        return True


class RequestParser:
    """
    Parses the requests of one connection.

    @param max_body: maximum size of a body in bytes; C{None} for no limit.
    @param body_limit: returns the maximum for one request, if its body comes in chunks or is longer than
        C{max_body}. It gets a function that makes the call.
    @ivar client: the address of the client, for the calls.
    @ivar base: C{Call.base} of the calls.
    @ivar requests: complete requests; the caller removes them.
    @ivar unfinished: whether a request has begun and is not complete.
    @ivar in_body: whether the head of that request is complete.
    @ivar finished: whether the last request ended the connection, so that all further bytes are ignored.
    @ivar expects_continue: whether the client waits for 100 Continue (RFC 9110, section 10.1.1).
    @ivar call: the admitted call of a request whose body is still to come; set by the caller.
    @ivar body: what has arrived of the body; the caller may replace it by a L{BodySink}.
    """

    client = base = ""
    call: Call | None

    def __init__(
        self,
        max_body: int | None,
        body_limit: Callable[[Callable[[], Call]], int | None] | None = None,
    ) -> None:
        self._max_body, self._body_limit = max_body, body_limit
        self._llhttp: Any = HttpRequestParser(self)
        self._error: HTTPError | None = None
        self.requests: list[ParsedRequest] = []
        self.unfinished = self.finished = False
        self.reset()

    def reset(self) -> None:
        """Forget the request that is being received."""
        self._raw = 0  # bytes of its head, or of its body as transferred; slightly less when pipelined
        self._target = b""
        self._in_line = True  # whether its request line is not complete
        self._quoted = False  # whether non-ASCII bytes of the request line were percent-encoded for llhttp
        self.headers: list[tuple[bytes, bytes]] = []
        self._size = 0  # bytes of its headers
        self.body: bytes | bytearray | BodySink = b""
        self._received = 0  # bytes of its body
        self.in_body = False
        self._offers_upgrade = False  # whether it has a body and offers to upgrade
        self.expects_continue = False
        self.call = None

    def close(self) -> None:
        """Drop llhttp's parser, which refers to this object."""
        self._llhttp = self._error = None

    @property
    def left(self) -> int | None:
        """Bytes of the body that are still to come; C{None} if that is unknown."""
        return None if self._length is None else self._length - self._received

    @property
    def persistence(self) -> tuple[bool, bool]:
        """C{keep_alive} and C{http10} of the request whose head is complete, as in L{ParsedRequest}."""
        return self._keep_alive, self._http10

    @property
    def memory(self) -> int:
        """Bytes of memory that the unfinished request takes."""
        head = self._size + HEADER_MEMORY * len(self.headers) + (0 if self.in_body else self._raw)
        return head + len(self.body)

    def make_head_call(self) -> Call:
        """
        Make the call of a request whose body is still to come.

        @raise HTTPError: 400 when the request target is malformed.
        """
        return self._make_call(self._llhttp.get_method(), b"")

    def feed(self, data: bytes, begin: int = 0) -> tuple[bytes, int]:
        """
        Parse the next piece of C{data}.

        @param begin: where the piece begins.
        @return: the data and the position where the next piece begins. The data differs if the request
            offered an upgrade, which is ignored (RFC 9110, section 7.8).
        @raise HTTPError: when a request is malformed or too large. Requests that are already in L{requests}
            are valid.
        """
        end = self._end_of_piece(data, begin)
        piece, begin = data[begin:end], end
        self._raw += len(piece)
        begun = self.unfinished
        if not (piece.isascii() or (begun and not self._in_line)):
            piece = self._quote(piece)
        try:
            self._llhttp.feed_data(piece)
        except HttpParserUpgrade as upgrade:
            data, begin = piece[upgrade.args[0] :] + data[end:], 0
            if self._offers_upgrade:
                data = self._head_without_upgrade() + data
        except HttpParserError as error:
            if not self.finished:
                raise (self._error or HTTPError(400, f"invalid HTTP/1.1 request: {error}")) from None
        if self.unfinished:
            self._in_line = b"\n" not in (piece if begun else piece.lstrip(b"\r\n")) and self._in_line
            if begin >= len(data) or not self.in_body:
                self._check_size()
        return data, begin

    def _end_of_piece(self, data: bytes, begin: int) -> int:
        """
        How far to parse: little more than one complete request. A head ends with an empty line, and so does a
        body in chunks. If no other empty line follows, there is no further request, and the rest is parsed at
        once.
        """
        if self.in_body and self._length is not None:
            return min(begin + self._length - self._received, begin + PIECE)
        end = data.find(END_OF_HEAD, begin) + len(END_OF_HEAD)
        if end < len(END_OF_HEAD) or data.find(END_OF_HEAD, end) < 0:
            end = len(data)
        return min(end, begin + PIECE)

    def _quote(self, piece: bytes) -> bytes:
        quoted = quote_line(piece, self.unfinished)
        self._quoted = self._quoted or len(quoted) != len(piece)
        return quoted

    def _head_without_upgrade(self) -> bytes:
        """
        Return the head of a request with a body, without its offer to upgrade. Otherwise llhttp would not
        read the body.
        """
        line = (self._llhttp.get_method(), self._target, self._llhttp.get_http_version().encode())
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        self._llhttp = HttpRequestParser(self)
        self.reset()
        return b"%b %b HTTP/%b\r\n%b\r\n" % (*line, b"".join(fields))

    def _check_size(self) -> None:
        """
        Check what has arrived of a request that is not complete.

        @raise HTTPError: 400 or 431.
        """
        if self.in_body:
            if self._raw - self._received > CHUNK_OVERHEAD + 8 * self._received:
                raise HTTPError(400, "the chunks of the body are nearly empty")
        elif self._raw > MAX_HEAD + len(self._target):
            raise HTTPError(431, f"the headers are longer than {MAX_HEAD} bytes")

    def _fail(self, status: int, detail: str) -> None:
        self._fail_with(HTTPError(status, detail))

    def _fail_with(self, error: HTTPError) -> None:
        self._error = error
        raise error

    def _check(self, check: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function from a callback of llhttp; if it fails, L{feed} raises its error."""
        try:
            return check(*arguments)
        except HTTPError as error:
            self._error = error
            raise

    def _make_call(self, method: bytes, body: bytes) -> Call:
        target = unquote_line(self._target) if self._quoted else self._target
        call: Call = self._check(make_call, method, target, self.headers, body, self.client)
        return replace(call, base=self.base) if self.base else call

    # ---- llhttp's callbacks ----

    def on_message_begin(self) -> None:
        self.unfinished = True

    def on_url(self, part: bytes) -> None:
        self._target += part
        if len(self._target) > MAX_TARGET:
            self._fail(414, f"the path is longer than {MAX_TARGET} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._size += len(name) + len(value) + 4
        if self._size > MAX_HEAD or len(self.headers) >= MAX_HEADERS:
            self._fail(431, f"more than {MAX_HEADERS} headers, or {MAX_HEAD} bytes of them")
        if self.in_body:  # a trailer: ignored, and some fields must not be in it (RFC 9110, section 6.5.1)
            if name in SINGLE:
                self._fail(400, f"{name.decode('latin-1')} in a trailer")
            return
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        fields = dict(self.headers)
        self._check_version(fields)
        if len(fields) != len(self.headers):
            names = [name for name, _ in self.headers]
            for name in SINGLE:
                if names.count(name) > 1:
                    self._fail(400, f"more than one {name.decode()}")
        self._check(check_host, fields.get(b"host"), not self._http10)
        self._length = length = self._check_length(fields)
        self._offers_upgrade = length != 0 and self._llhttp.should_upgrade()
        if self._offers_upgrade:
            if b"upgrade" not in fields:
                self._fail(400, "a request to connect must not have a body")
            return
        self.expects_continue = (
            b"expect" in fields
            and not self._http10
            and fields[b"expect"].lower() == b"100-continue"
            and length != 0
        )
        self.in_body = True
        self._raw = 0

    def _check_version(self, fields: dict[bytes, bytes]) -> None:
        version = "1.1"
        self._keep_alive = self._llhttp.should_keep_alive()
        if not self._keep_alive or b"connection" in fields:
            version = self._llhttp.get_http_version()
            if version not in ("1.0", "1.1"):
                self._fail(505, f"HTTP/{version} is not supported, only HTTP/1.1")
        self._http10 = version == "1.0"

    def _check_length(self, fields: dict[bytes, bytes]) -> int | None:
        """The length of the body; C{None} if it comes in chunks (RFC 9112, section 6.1)."""
        coding = fields.get(b"transfer-encoding")
        if coding is not None:
            if self._http10 or coding.lower() != b"chunked":
                detail = f"unsupported Transfer-Encoding: {coding.decode('latin-1')}"
                self._fail(400 if self._http10 else 501, detail)
            self._limit = self._find_limit()
            return None
        length = int(fields.get(b"content-length", b"0"))
        if self._max_body is not None and length > self._max_body:
            limit = self._find_limit()
            if limit is not None and length > limit:
                self._fail_with(body_too_long(limit, limit != self._max_body))
        return length

    def _find_limit(self) -> int | None:
        """Return how long the body may be, if it comes in chunks or is longer than usual."""
        return self._max_body if self._body_limit is None else self._body_limit(self.make_head_call)

    def on_body(self, data: bytes) -> None:
        self._received += len(data)
        if self._length is None and self._limit is not None and self._received > self._limit:
            self._fail_with(body_too_long(self._limit, self._limit != self._max_body))
        if not self.body:  # most bodies arrive in one part
            self.body = data
        elif isinstance(self.body, bytearray):
            self.body += data
        elif isinstance(self.body, BodySink):
            self.body.add(data)
        else:
            self.body = bytearray(self.body) + data

    def on_message_complete(self) -> None:
        if self._offers_upgrade:
            return
        self.unfinished = False
        call = self.call
        if call is not None and isinstance(self.body, BodySink):
            self.finished, sink = not self._keep_alive, self.body
            self.reset()
            sink.end()
            return
        body = bytes(self.body)  # type: ignore[arg-type]
        method = self._llhttp.get_method()
        call = self._make_call(method, body) if call is None else replace(call, body=body)
        self.requests.append(ParsedRequest(call, self._keep_alive, self._http10, self._length is None))
        self.finished = not self._keep_alive
        self.reset()
