"""HTTP/1.1 over llhttp: the duties of C{twisted.web.http.HTTPChannel}, several times faster.

Strategy: llhttp parses whatever has arrived, and its callbacks gather one message at a time. A message
for the application becomes a L{Call} and never meets C{twisted.web}'s Request; for any other resource an
ordinary Request is driven, and all that follows from it (producers, headers, C{requestDone}) is inherited.
One message is in the works at a time, so that answers leave in order. What arrives meanwhile is kept
unparsed, since a parsed message takes many times its bytes; beyond a bound the transport is paused. llhttp
leaves some checks to its caller: these stand in L{HTTPChannel.on_headers_complete}, and limits are checked
wherever bytes are counted.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES  # a look into the module itself takes 1.5 us
from twisted.web.iweb import INonQueuedRequestFactory

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.request_target import check_host, make_call, quote_line, unquote_line
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.stream import Stream
from twisted_appserver.http.counted import CONNECTION_DONE, HEADER, LINGER, Counted
from twisted_appserver.http.resource import AppResource
from twisted_appserver.http.response_head import beginnings

# A request line that can be taken as it is, for the application, and most are.
PROBE = 1.0  # seconds after which a client that sends nothing more is probed
PLAIN = re.compile(rb"(GET|POST|HEAD) (/(?!-/)[\w/.~-]*)(?:\?([\w=&.~%+:,;@/-]*))? HTTP/1\.1\r\n")
ONCE = {b"expect", b"prefer", b"x-request-id"}  # headers of messages that must be looked at each time
END = b"\r\n\r\n"  # of a head
UNKNOWN: tuple[Any, int] = (None, -1)
KNOWN = 1024  # header sections that are remembered, and the bytes that each may have
PIECE = 16384  # bytes that llhttp gets at once, at most
OVERHEAD = 65536  # bytes of chunk headers that a body may have, besides 8 for each of its own
CONNECTION = ("Connection: close\r\n", "Connection: keep-alive\r\n")  # whether it is kept
SINGLE = (b"host", b"content-length", b"transfer-encoding")


class _Head:
    """Of a message for another resource."""

    __slots__ = ("headers", "keep", "length", "method", "target", "version")
    method: bytes
    target: bytes

    def __init__(
        self, headers: list[tuple[bytes, bytes]], version: bytes, length: int | None, keep: bool
    ) -> None:
        self.headers, self.version, self.length, self.keep = headers, version, length, keep


class HTTPChannel(Counted):
    """
    One connection.

    @ivar max_path: bytes of a request's target.
    @ivar last: when something arrived or was answered last, by the clock C{monotonic}.
    @ivar header_timeout: seconds from the first byte of a request to the end of its headers; C{None} for
        no limit but the idle one, C{timeOut}.
    """

    application: AppResource | None
    max_path = 8192
    last = 0.0
    header_timeout: float | None = None
    _client: Any = None  # its address, once something has arrived: a proxy's header may tell it
    _answer: Any = None
    _direct = False  # whether an answer can be sent straight to the socket
    _job: Any = None  # the call that is in the works
    _old_call = False  # whether it came with HTTP/1.0
    _tell = False  # whether its answer tells that the connection stays open
    _advancing = False
    _refused = False  # whether the client may still be sending what was refused
    _checking = False  # whether credentials of the message that is arriving are being checked
    _closing = False
    _timing = False  # whether the timer is for the headers
    _idle: float | None = None  # seconds; timeOut is what the timer was set to last
    _unsent = 0  # bytes that the client had not taken at the last look
    _open = False  # whether llhttp has a part of a message
    _plain = b""  # what has arrived, if its message may be one whose headers are worth remembering
    _used = 0  # bytes of C{_dataBuffer[0]} that were parsed already

    def __init__(self) -> None:
        super().__init__()
        self._parser: Any = HttpRequestParser(self)
        self._messages: deque[Callable[[], None]] = deque()  # complete, and not begun
        self._error: HTTPError | None = None
        self._begin()

    def _begin(self) -> None:
        """A new message."""
        self._raw = 0  # bytes of its head, or of its body as it is transferred; a little less when pipelined
        self._target = b""
        self._in_line = True  # whether its request line is not complete
        self._quoted = False  # whether bytes of that have been percent-encoded for llhttp
        self._headers: list[tuple[bytes, bytes]] = []
        self._size = 0  # bytes of its headers
        self._body: bytes | bytearray = b""
        self._received = 0  # bytes of its body
        self._request: Any = None  # for another resource
        self._in_body = False
        self._offered = False  # whether it has a body and offers to upgrade
        self._expects = False  # whether its client waits for 100 Continue
        self._call: Call | None = None  # once it is checked, if its body is still to come

    def connectionMade(self) -> None:
        super().connectionMade()
        self._idle = self.timeOut
        self._direct = isinstance(self.transport, Connection)
        if self.application is not None:
            self._answer = partial(self.site.answer, self)  # sends it at the end of the reactor's turn

    # ---- what arrives ----

    def dataReceived(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._client is None:
            self._client = getattr(self.transport.getPeer(), "host", None) or ""
        if self.application is None and not self._timing:
            self.resetTimeout()
        if self._handlingRequest or self._messages or self._checking:
            self._keep_for_later(data)
            return
        if not self._open and self.application is not None and self._take_known(data, self.application):
            return
        self._feed(data)
        if self._messages:
            self._advance()
        if self._dataBuffer:
            self._restrain()

    def _keep_for_later(self, data: bytes) -> None:
        if self._used:
            self._dataBuffer[0] = self._dataBuffer[0][self._used :]
            self._used = 0
        self._dataBuffer.append(data)
        self._coalesce()
        self._restrain()

    def _restrain(self) -> None:
        """Count what waits for its turn, and read no more while that is much."""
        if len(self._dataBuffer[0]) - self._used > self._optimisticEagerReadSize:
            self._networkProducer.pauseProducing()
        self._account()

    def _account(self) -> None:
        """Count what is kept of messages that are not complete, or wait for their turn."""
        if self.application is not None:
            head = self._size + HEADER * len(self._headers) + (0 if self._in_body else self._raw)
            self._hold(head + len(self._body) + sum(map(len, self._dataBuffer)))

    def _take_known(self, data: bytes, application: AppResource) -> bool:
        """Begin the call if C{data} is one plain request, with a head or headers that were parsed before."""
        dispatcher = application.dispatcher
        head, body = data, b""
        if data[-4:] != END:
            end = data.find(END) + len(END)
            head, body = data[:end], data[end:]
        model, length = self.site.models.get(head, UNKNOWN)
        if model is not None and length == len(body) and dispatcher.knows(model):
            self._handlingRequest = self.persistent = True
            self._tell = self._old_call = False
            self._job = dispatcher.again(model, body, self._client, self._answer)
            return True
        found = PLAIN.match(data)
        if found is None or found.end() > self.max_path:
            return False
        headers, length = self.site.known.get(head[found.end() :], UNKNOWN)
        if length != len(body):
            self._plain = data
            return False
        method, path, query = found.groups(b"")
        call = Call(
            method.decode(),
            path.decode(),
            query.decode(),
            headers,
            body,
            self._client,
        )
        routed = partial(self.site.remember, head, length) if self.site.comes_again(head) else None
        self._begin_call(call, True, False, routed)
        return True

    def _know(self, headers: tuple[tuple[bytes, bytes], ...], length: int) -> None:
        """Remember the headers of the message that has just been parsed, if it came alone and plain."""
        data, self._plain = self._plain, b""
        start, end = data.find(b"\r\n") + 2, data.find(b"\r\n\r\n") + 4
        plain = self._keep and not (self._old or self._length is None or ONCE & dict(headers).keys())
        if (
            plain
            and end + length == len(data)
            and data.count(b"\n", 0, end) == len(headers) + 2
            and end < KNOWN
        ):
            if len(self.site.known) >= KNOWN:
                self.site.known.clear()
            self.site.known[data[start:end]] = (headers, length)

    def _go_on(self, application: AppResource | None) -> None:
        """Begin or parse the next message of what has been kept."""
        data, begin = bytes(self._dataBuffer[0]), self._used
        end = -1 if self._open or application is None else data.find(END, begin)
        known = False
        if application is not None and end >= 0:
            end += len(END)
            self._set_aside(data, end)
            known = self._take_known(data[begin:end], application)
        if not known:
            self._set_aside(data, len(data))
            self._feed(data, begin)
        if not (self._dataBuffer or self._closing):
            self._networkProducer.resumeProducing()

    def _set_aside(self, data: bytes, used: int) -> None:
        """Keep what follows the first bytes for later."""
        rest = used < len(data)
        self._dataBuffer[:] = [data] if rest else []
        self._used = used if rest else 0

    def _end(self, data: bytes, begin: int) -> int:
        """
        How far to parse: little more than one complete message. A head ends with an empty line, and so does a
        body in chunks. What is followed by no such line has no further message, and is parsed at once.
        """
        if self._in_body and self._length is not None:
            return min(begin + self._length - self._received, begin + PIECE)
        end = data.find(END, begin) + len(END)
        if end < len(END) or data.find(END, end) < 0:
            end = len(data)
        return min(end, begin + PIECE)

    def _feed(self, data: bytes, begin: int = 0) -> None:
        while begin < len(data) and not self._deaf:
            end = self._end(data, begin)
            piece, begin = data[begin:end], end
            self._raw += len(piece)
            if not (piece.isascii() or (self._open and not self._in_line)):
                piece = self._quote(piece)
            begun = self._open
            try:
                self._parser.feed_data(piece)
            except HttpParserUpgrade as upgrade:  # which we ignore (RFC 9110, section 7.8)
                data, begin = piece[upgrade.args[0] :] + data[end:], 0
                if self._offered:
                    data = self._without_upgrade() + data
            except HttpParserError as error:
                if not self._deaf:
                    self._refuse(self._error or HTTPError(400, f"this is no HTTP/1.1 request: {error}"))
                return
            if self._open:
                self._in_line = b"\n" not in (piece if begun else piece.lstrip(b"\r\n")) and self._in_line
                if begin >= len(data) or not self._in_body:
                    self._unfinished()
            if begin < len(data) and (self._messages or self._checking) and not self._deaf:
                self._set_aside(data, begin)
                break
        if self._open or (self._held and not self._dataBuffer):
            self._account()

    def _quote(self, piece: bytes) -> bytes:
        quoted = quote_line(piece, self._open)
        self._quoted = self._quoted or len(quoted) != len(piece)
        return quoted

    def _without_upgrade(self) -> bytes:
        """The head of a message with a body, anew: its offer would keep llhttp from reading the body."""
        words = (self._parser.get_method(), self._target, self._parser.get_http_version().encode())
        fields = [b"%b: %b\r\n" % field for field in self._headers if field[0] != b"upgrade"]
        self._parser = HttpRequestParser(self)
        self._begin()
        return b"%b %b HTTP/%b\r\n%b\r\n" % (*words, b"".join(fields))

    def _unfinished(self) -> None:
        """Check what has arrived of a message that is not complete."""
        self.last = monotonic()
        self._plain = b""
        if self._in_body:
            if self._raw - self._received > OVERHEAD + 8 * self._received:
                self._refuse(HTTPError(400, "the chunks of the body are nearly empty"))
            elif self._call is None and self.application is not None:
                self._check_head(self.application)
        elif self._raw > self.totalHeadersSize + len(self._target):
            self._refuse(HTTPError(431, f"the headers are longer than {self.totalHeadersSize} bytes"))
        elif self.header_timeout and not self._timing:
            self._timing = True
            self.setTimeout(self.header_timeout)

    def _check_head(self, application: AppResource) -> None:
        """
        Check a message whose body is still to come. A client that is refused cannot make us keep a body, and
        one that waits for 100 Continue gets its answer at once.
        """
        try:
            call = self._make_call(self._parser.get_method(), b"")
        except Exception as error:
            self._refuse(error)
            return
        admitted = application.dispatcher.admit(call, self._refuse)
        if isinstance(admitted, Deferred):
            self._checking = True
            admitted.addCallback(self._resume)
        elif admitted is not None:
            self._admitted(admitted)

    def _admitted(self, call: Call) -> None:
        self._call = call
        if self._expects and not self._body:
            self._messages.append(self._send100Continue)

    def _resume(self, call: Call | None) -> None:
        """Continue reading, unless the credentials were wrong."""
        self._checking = False
        if call is not None and not self._deaf:
            self._admitted(call)
            self._advance()

    def _fail(self, status: int, detail: str) -> None:
        self._error = HTTPError(status, detail)
        raise self._error

    def _check(self, check: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of the parser's callbacks whose error is the answer to the message."""
        try:
            return check(*arguments)
        except HTTPError as error:
            self._error = error
            raise

    def on_url(self, part: bytes) -> None:
        self._target += part
        if len(self._target) > self.max_path:
            self._fail(414, f"the path is longer than {self.max_path} bytes")

    def on_message_begin(self) -> None:
        self._open = True

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._size += len(name) + len(value) + 4
        if self._size > self.totalHeadersSize or len(self._headers) >= self.maxHeaders:
            self._fail(431, f"more than {self.maxHeaders} headers, or {self.totalHeadersSize} bytes of them")
        if self._in_body:  # a trailer: of no use to us, and some must not be there (RFC 9110, section 6.5.1)
            if name in SINGLE:
                self._fail(400, f"{name.decode('latin-1')} in a trailer")
            return
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        fields = dict(self._headers)
        version = "1.1"
        self._keep = self._parser.should_keep_alive()
        if not self._keep or b"connection" in fields:
            version = self._parser.get_http_version()
            if version not in ("1.0", "1.1"):
                self._fail(505, f"HTTP/{version} is not spoken here, only HTTP/1.1")
        self._old = version == "1.0"
        if len(fields) != len(self._headers):
            names = [name for name, _ in self._headers]
            for name in SINGLE:
                if names.count(name) > 1:
                    self._fail(400, f"more than one {name.decode()}")
        if self.application is not None:
            self._check(check_host, fields.get(b"host"), not self._old)
        self._length = length = self._check_length(fields)
        self._offered = length != 0 and self._parser.should_upgrade()
        if self._offered:
            if b"upgrade" not in fields:
                self._fail(400, "a request to connect must not have a body")
            return
        if self.application is None:
            self._head = _Head(self._headers, b"HTTP/" + version.encode(), length, self._keep)
            if not (self._handlingRequest or self._messages):
                self._request = self._make_request(self._head)
        if (
            b"expect" in fields
            and not self._old
            and fields[b"expect"].lower() == b"100-continue"
            and length != 0
        ):
            if self.application is None:
                self._messages.append(self._send100Continue)
            self._expects = True
        self._in_body = True
        self._raw = 0
        if self._timing:
            self._timing = False
            self.setTimeout(self._idle)

    def _check_length(self, fields: dict[bytes, bytes]) -> int | None:
        """The length of the body, C{None} if it comes in chunks. RFC 9112, section 6.1."""
        coding = fields.get(b"transfer-encoding")
        if coding is not None:
            if self._old or coding.lower() != b"chunked":
                self._fail(400 if self._old else 501, f"Transfer-Encoding: {coding.decode('latin-1')}")
            length = None
        else:
            length = int(fields.get(b"content-length", b"0"))
            if self.max_body is not None and length > self.max_body:
                self._fail(413, f"the body is longer than {self.max_body} bytes")
        return length

    def on_body(self, data: bytes) -> None:
        self._received += len(data)
        if self.max_body is not None and self._received > self.max_body:
            self._fail(413, f"the body is longer than {self.max_body} bytes")
        if not self._body:  # mostly all of it
            self._body = data
        elif isinstance(self._body, bytearray):
            self._body += data
        else:
            self._body = bytearray(self._body) + data
        if self.application is None and not (self._handlingRequest or self._messages):
            if self._request is None:
                self._request = self._make_request(self._head)
            self._request.handleContentChunk(bytes(self._body))
            self._body = b""

    def on_message_complete(self) -> None:
        if self._offered:
            return
        method = self._parser.get_method()
        self._open = False
        if self.application is not None:
            body, call = bytes(self._body), self._call
            call = self._make_call(method, body) if call is None else replace(call, body=body)
            if self._plain:
                self._know(call.raw_headers, len(body))
            self._messages.append(partial(self._begin_call, call, self._keep, self._old))
        else:
            self._head.method, self._head.target = method, self._target
            self._messages.append(partial(self._begin_request, self._request, self._head, bytes(self._body)))
        if not self._keep:
            self._deaf = True
        self._begin()

    # ---- one message after the other ----

    def _advance(self) -> None:
        """Begin what can begin."""
        if self._advancing:
            return
        self._advancing = True
        while not (self._handlingRequest or self._waitingForTransport or self._closing):
            if self._messages:
                self._messages.popleft()()
            elif self._dataBuffer and not self._checking:
                self._go_on(self.application)
            else:
                if self._half_closed and not self._checking:
                    self.loseConnection()
                break
        self._advancing = False

    def _make_call(self, method: bytes, body: bytes) -> Call:
        target = unquote_line(self._target) if self._quoted else self._target
        return self._check(make_call, method, target, self._headers, body, self._client)  # type: ignore[no-any-return]

    def _begin_call(
        self, call: Call, keep: bool, old: bool, routed: Callable[[Call], None] | None = None
    ) -> None:
        self._handlingRequest = True
        self.persistent, self._tell, self._old_call = keep, old and keep, old
        assert self.application is not None
        dispatcher = self.application.dispatcher
        if call.handler is None:
            self._job = dispatcher.begin(call, self._answer, routed)
        else:
            self._job = dispatcher.go_on(call, self._answer)

    def send_answer(self, call: Call, reply: Reply) -> None:
        """Send the answer to the call that is in the works, or the beginning of one that comes in parts."""
        body = reply.body
        in_parts = type(body) is Stream
        # HTTP/1.0 knows no end of a body that comes in parts but the connection's.
        if (self._finishing and self._ends) or (in_parts and self._old_call):
            self.persistent = False
        framing = "" if self.persistent and not self._tell else CONNECTION[self.persistent]
        if in_parts:
            framing += "" if self._old_call else "Transfer-Encoding: chunked\r\n"
        elif reply.status not in NO_BODY_CODES:
            framing = f"{framing}Content-Length: {len(body)}\r\n"
        begin = beginnings[reply.status, reply.headers, not body]
        head = f"{begin}X-Request-ID: {call.request_id}\r\n{framing}\r\n".encode("latin-1")
        self._send(head if in_parts or call.method == "HEAD" else head + body)
        if in_parts:
            self._send_parts(call, body)
        else:
            self._answered()

    def _send_parts(self, call: Call, stream: Stream) -> None:
        if call.method == "HEAD":
            stream.stopProducing()
            self._answered()
            return
        self.registerProducer(stream, True)
        if self._waitingForTransport:
            stream.pauseProducing()
        stream.begin(self._send if self._old_call else self._send_chunk, self._end_parts)

    def _send_chunk(self, data: bytes) -> None:
        self._send(b"%x\r\n%b\r\n" % (len(data), data))

    def _end_parts(self, failure: str) -> None:
        self.unregisterProducer()
        if failure:  # the client must see that something is missing
            self._job = None
            self.loseConnection()
            self.setTimeout(LINGER)
            return
        if not self._old_call:
            self._send(b"0\r\n\r\n")
        if self._ends:
            self.persistent = False
        self.last = monotonic()
        self._answered()

    @property
    def _ends(self) -> bool:
        """Whether the answer to what is in the works is the last."""
        return self._finishing and not (self._messages or self._dataBuffer or self._checking)

    def _answered(self) -> None:
        """An answer has been sent to its end."""
        self._job = None
        if not self.persistent:
            self._closing = True
            if self._refused:
                self._close_gently()
            else:
                self.loseConnection()
            return
        self._handlingRequest = False
        if self._messages or self._dataBuffer:
            self._advance()

    def _send(self, data: bytes) -> None:
        """
        Write, straight to the socket where nothing waits to be written: C{transport.write} arms and disarms
        the poller for every answer.
        """
        transport: Any = self.transport
        if self._direct and transport.connected and not (transport.dataBuffer or transport._tempDataBuffer):
            try:
                sent = transport.socket.send(data)
            except OSError:  # what is wrong, if it lasts, transport.write finds out
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        transport.write(data)

    def _refuse(self, error: BaseException, call: Call | None = None) -> None:
        """Answer a message that is not going to be performed, after those before it, and listen no more."""
        if self._deaf:
            return
        self._deaf = True
        if self.application is not None:
            self._hold(0)
        if call is None:
            call = Call("", "", raw_headers=tuple(self._headers), client=self._client)
        self._begin()
        self._set_aside(b"", 0)
        self._messages.append(partial(self._send_refusal, error, call))
        if not self._handlingRequest:
            self._advance()

    def _send_refusal(self, error: BaseException, call: Call) -> None:
        if self.application is None:
            self._closing = True
            self._respondToBadRequestAndDisconnect()
            return
        beginnings.refresh()
        self.persistent = self._tell = self._old_call = False
        self._refused = True
        self.application.dispatcher.refuse(error, call, self.send_answer)

    # ---- other resources ----

    def _make_request(self, head: _Head) -> Any:
        queued = () if INonQueuedRequestFactory.providedBy(self.requestFactory) else (len(self.requests),)
        request = self.requestFactory(self, *queued)
        self.requests.append(request)
        for name, value in head.headers:
            request.requestHeaders.addRawHeader(name, value)
        request.parseCookies()
        self.persistent = self.checkPersistence(request, head.version) and head.keep
        if not head.keep and head.version == b"HTTP/1.1":
            request.responseHeaders.setRawHeaders(b"connection", [b"close"])
        request.gotLength(head.length)
        return request

    def _begin_request(self, request: Any, head: _Head, body: bytes) -> None:
        """Of a message that waited for its turn there is no Request yet, so that only one is at work."""
        if request is None:
            request = self._make_request(head)
        if body:
            request.handleContentChunk(body)
        if self.timeOut:
            self._savedTimeOut = self.setTimeout(None)
        self._handlingRequest = True
        request.requestReceived(head.method, head.target, head.version)

    def requestDone(self, request: Any) -> None:
        if request != self.requests[0]:
            raise TypeError
        del self.requests[0]
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()
        if not self.persistent or self._ends:
            self.loseConnection()
            return
        self._handlingRequest = False
        if self._savedTimeOut:
            self.setTimeout(self._savedTimeOut)
        self._advance()

    # ---- the connection ----

    @property
    def _busy(self) -> bool:
        waiting = self._messages or self._dataBuffer
        return bool((self._handlingRequest or waiting or self._checking) and not self._closing)

    def loseConnection(self) -> None:
        self._closing = True
        super().loseConnection()

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        if self._busy:
            self.setTimeout(PROBE)

    def _probe(self) -> None:
        """
        Send an interim response to a client that sends nothing more, and whose call has no time limit. A
        client that waits must discard it (RFC 9110, section 15.2.1). The system of one that is gone answers
        with a reset, and the call is cancelled: else a queue would give a task to a client that is gone.
        """
        job = self._job
        if job is None or self._requestProducer is not None or self._old_call:
            return
        if job.call.handler is not None and job.call.handler.timeout == 0:
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._advance()

    def timeoutConnection(self) -> None:
        if self.application is None:
            super().timeoutConnection()
        elif self._taken():
            self.setTimeout(self._idle or LINGER)
        elif self._closing:
            self._cut()
        elif self._timing:
            self._refuse(HTTPError(408, f"the headers took longer than {self.header_timeout} seconds"))
        elif self._handlingRequest:
            if self._half_closed:
                self._probe()
            self.setTimeout(self._idle)
        elif (left := (self._idle or LINGER) - (monotonic() - self.last)) > 0:
            self.setTimeout(max(left, 0.001))  # less may round to nothing
        elif self._checking:
            self._refuse(HTTPError(504, "checking the credentials took too long"))
        elif self._open:
            self._refuse(HTTPError(408, f"no more of the request came within {self._idle} seconds"))
        else:
            self.loseConnection()
            self.setTimeout(LINGER)

    def _taken(self) -> bool:
        """Whether the client has taken a part of an answer since the last look."""
        before, transport = self._unsent, self._tcp
        self._unsent = 0
        if transport is not None:
            waiting = sum(map(len, transport._tempDataBuffer))
            self._unsent = len(transport.dataBuffer) - transport.offset + waiting
        return self._unsent > 0 and self._unsent != before

    def _cut(self) -> None:
        """Have an end of what is closing. What is with the system already still arrives, if that is all."""
        if self._direct or self._tcp is None or self._unsent:
            self.transport.abortConnection()
        else:
            self._tcp.loseConnection()

    @property
    def _tcp(self) -> Any:
        """What has the socket, where the transport wraps it like TLS does; C{None} if nothing has."""
        transport: Any = self.transport
        while transport is not None and not isinstance(transport, Connection):
            transport = getattr(transport, "transport", None)
        return transport

    def connectionLost(self, reason: Failure = CONNECTION_DONE) -> None:
        super().connectionLost(reason)
        self._deaf = self._closing = True
        self._messages.clear()
        self._parser = self._answer = self._error = None  # which hold us
        job, self._job = self._job, None
        if job is not None and self.application is not None:
            self.application.dispatcher.cancel(job)
