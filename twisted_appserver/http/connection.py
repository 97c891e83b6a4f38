"""HTTP/1.1 for an application: parses with llhttp, and is several times as fast as Twisted's HTTPChannel.

Strategy: a L{RequestParser} makes L{Call}s from the data that arrives. If the head of a request equals an
earlier one, byte for byte, the request is not parsed at all. One call is performed at a time, so that
responses leave in order. Data that arrives in the meantime is kept unparsed, since a parsed request takes
many times as much memory; beyond a limit, the transport is paused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from twisted.python.failure import Failure

from twisted_appserver.core.call import Call
from twisted_appserver.dispatch.arriving_calls import body_limit, reads_body
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import Answer
from twisted_appserver.http.arriving_body import ArrivingBody
from twisted_appserver.http.base_connection import CONNECTION_DONE, LINGER, BaseConnection
from twisted_appserver.http.current_call import CurrentCall
from twisted_appserver.http.request_parser import END_OF_HEAD, RequestParser
from twisted_appserver.http.response_head import response_heads
from twisted_appserver.http.response_writer import ResponseWriter
from twisted_appserver.http.unsent_data import UnsentData

PROBE = 1.0  # seconds after which a half-closed client is probed


class HTTPConnection(BaseConnection):
    """
    One connection.

    @ivar last_activity: when something arrived or a response was sent, by the clock C{monotonic}.
    @ivar header_timeout: seconds from the first byte of a request to the end of its headers; C{None} if only
        the idle time-out applies.
    """

    last_activity = 0.0
    header_timeout: float | None = None
    _call: CurrentCall
    _parser: RequestParser
    _unsent: UnsentData
    responses: ResponseWriter
    _client: Any = None  # the client's address, once something has arrived: a proxy's header may contain it
    _advancing = False
    _refused = False  # whether a request was refused whose client may still be sending
    _checking = False  # whether credentials are being checked for the request that is arriving
    _closing = False
    _timing_head = False  # whether the timer limits the headers
    _idle: float | None = None  # seconds; timeOut is what the timer was last set to

    def __init__(self) -> None:
        super().__init__()
        self._ready: deque[Callable[[], None]] = deque()  # called when the call has its response

    def connectionMade(self) -> None:
        super().connectionMade()
        self._idle = self.timeOut
        self.responses, self._unsent = ResponseWriter(self), UnsentData(self.transport)
        limit = partial(body_limit, self.application.dispatcher, self.max_body)
        self._parser = RequestParser(self.max_body, limit)
        answer: Answer = partial(self.site.answer, self)  # sends it after all readable sockets were read
        if self.application.compression is not None:
            answer = self.application.compression.around(answer)
        self._call = CurrentCall(self.application, self.site.known_requests, self.responses, answer)

    # ---- what arrives ----

    def dataReceived(self, data: bytes) -> None:
        if self._ignores_input:
            return
        if self._client is None:
            self._client = getattr(self.transport.getPeer(), "host", None) or ""
            self._call.client = self._parser.client = self._client
            self._call.base = self._parser.base = "https:" if self.isSecure() else ""
        if self._handlingRequest or self._ready or self._checking:
            self._keep_for_later(data) if self._call.arriving is None else self._feed_arriving(data)
            return
        if not self._parser.unfinished and self._call.begin_known(data):
            self._handlingRequest = True
            return
        self._feed(data)
        if self._ready:
            self._advance()
        if self._dataBuffer:
            self._limit_waiting_input()

    def _count_unfinished(self) -> None:
        """Count the data of requests that are incomplete or waiting."""
        self._hold(self._parser.memory + sum(map(len, self._dataBuffer)))

    def _parse_kept(self) -> None:
        """Begin or parse the next request in the data that was kept."""
        data, begin = bytes(self._dataBuffer[0]), self._used
        end = -1 if self._parser.unfinished else data.find(END_OF_HEAD, begin)
        known = False
        if end >= 0:
            end += len(END_OF_HEAD)
            self._set_aside(data, end)
            known = self._handlingRequest = self._call.begin_known(data[begin:end])
        if not known:
            self._set_aside(data, len(data))
            self._feed(data, begin)
        if not (self._dataBuffer or self._closing):
            self._networkProducer.resumeProducing()

    def _feed(self, data: bytes, begin: int = 0) -> None:
        """Parse until a request is complete, and keep the rest for later."""
        parser = self._parser
        while begin < len(data) and not self._ignores_input:
            error = None
            try:
                data, begin = parser.feed(data, begin)
            except HTTPError as refused:
                error = refused
            if parser.requests:
                self._take_parsed()
            if error is not None:
                self._refuse(error)
                return
            if self._timing_head and (parser.in_body or self._ready):
                self._timing_head = False
                self.setTimeout(self._idle)
            if parser.unfinished and (begin >= len(data) or not parser.in_body):
                self._check_unfinished()
            if begin < len(data) and (self._ready or self._checking) and not self._ignores_input:
                self._set_aside(data, begin)
                break
        if parser.unfinished or (self._held and not self._dataBuffer):
            self._count_unfinished()

    def _take_parsed(self) -> None:
        """Queue the calls of complete requests."""
        for request in self._parser.requests:
            self._call.learn(request)
            self._ready.append(partial(self._begin, request.call, request.keep_alive, request.http10))
            self._ignores_input = self._ignores_input or not request.keep_alive
        self._parser.requests.clear()

    def _check_unfinished(self) -> None:
        """Check a request that is not complete, and limit the time for its headers."""
        self.last_activity = monotonic()
        self._call.plain = b""
        if self._parser.in_body:
            if self._parser.call is None:
                self._check_parsed_head()
        elif self.header_timeout and not self._timing_head:
            self._timing_head = True
            self.setTimeout(self.header_timeout)

    def _check_parsed_head(self) -> None:
        try:
            call = self._parser.make_head_call()
        except HTTPError as error:
            self._refuse(error)
        else:
            self._check_head(call)

    def _admitted(self, call: Call) -> None:
        self._parser.call = call
        if self._parser.expects_continue and not self._parser.body:
            self._ready.append(self._send100Continue)
        if reads_body(self.application.dispatcher, call.handler):
            self._ready.append(partial(self._begin_arriving, call))

    def _wait_for_credentials(self) -> None:
        self._checking = True

    def _resume(self, call: Call | None) -> None:
        self._checking = False
        if call is not None and not self._ignores_input:
            self._admitted(call)
            self._advance()

    # ---- one call after the other ----

    def _advance(self) -> None:
        """Begin what can begin."""
        if self._advancing:
            return
        self._advancing = True
        while not (self._handlingRequest or self._waitingForTransport or self._closing):
            if self._ready:
                self._ready.popleft()()
            elif self._dataBuffer and not self._checking:
                self._parse_kept()
            else:
                if self._half_closed and not self._checking:
                    self.loseConnection()
                break
        self._advancing = False

    def _begin(self, call: Call, keep_alive: bool, http10: bool) -> None:
        self._handlingRequest = True
        self._call.begin(call, keep_alive, http10)

    def _begin_arriving(self, call: Call) -> None:
        """Begin a call whose body is still arriving."""
        self._handlingRequest = True
        kept = bytes(self._dataBuffer[0])[self._used :] if self._dataBuffer else b""
        self._set_aside(b"", 0)
        ArrivingBody(self, self._parser, self._networkProducer).begin(call, self._call)
        self._feed_arriving(kept)
        if self._half_closed:
            self._call.client_is_gone()

    def _feed_arriving(self, data: bytes) -> None:
        arriving = self._call.arriving
        try:
            rest = data if arriving is None else arriving.feed(data)
        except HTTPError as error:
            self._refuse(error)
            return
        self._take_parsed()
        if rest:
            self._keep_for_later(rest)

    def ends_with_request(self, ignores_rest: bool) -> None:
        """Close the connection after the next response: the body of its request will not be complete."""
        self.responses.keep_alive, self._refused = False, True
        self._ignores_input = self._ignores_input or ignores_rest

    @property
    def ends_after_response(self) -> bool:
        """Whether the connection is closed after the response to the current call."""
        return self.finishing and not (self._ready or self._dataBuffer or self._checking)

    @property
    def congested(self) -> bool:
        """Whether the client is not reading. Then nothing should be written."""
        return bool(self._waitingForTransport)

    def response_sent(self) -> None:
        """Go on after a complete response."""
        self._call.pending = None
        if not self.responses.keep_alive:
            self._closing = True
            if self._refused:
                self._call.drop_body()
                self._close_gently()
            else:
                self.loseConnection()
            return
        self._handlingRequest = False
        if self._ready or self._dataBuffer:
            self._advance()

    def response_broken_off(self) -> None:
        """Close the connection, so that the client notices that a part of the response is missing."""
        self._call.pending = None
        self.loseConnection()
        self.setTimeout(LINGER)

    def _refuse(self, error: BaseException, call: Call | None = None) -> None:
        """Refuse a request after the earlier requests have been answered, and ignore all further data."""
        if self._ignores_input:
            return
        self._ignores_input = True
        self._hold(0)
        if call is None:
            call = Call("", "", raw_headers=tuple(self._parser.headers), client=self._client)
        self._parser.reset()
        self._set_aside(b"", 0)
        self._ready.append(partial(self._send_refusal, error, call))
        if not self._handlingRequest:
            self._advance()

    def _send_refusal(self, error: BaseException, call: Call) -> None:
        response_heads.refresh()
        responses = self.responses
        responses.keep_alive = responses.confirm_keep_alive = responses.http10 = False
        self._refused = True
        self.application.dispatcher.refuse(error, call, responses.send)

    # ---- the connection ----

    @property
    def _busy(self) -> bool:
        waiting = self._ready or self._dataBuffer
        return bool((self._handlingRequest or waiting or self._checking) and not self._closing)

    def loseConnection(self) -> None:
        self._closing = True
        super().loseConnection()

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        self._call.client_is_gone()
        if self._busy:
            self.setTimeout(PROBE)

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._advance()

    def timeoutConnection(self) -> None:
        if self._unsent.is_being_read():
            self.setTimeout(self._idle or LINGER)
        elif self._closing:
            self._unsent.close()
        elif self._timing_head:
            self._refuse(HTTPError(408, f"the headers took longer than {self.header_timeout} seconds"))
        elif self._handlingRequest:
            self._call.probe() if self._half_closed else self._call.check_idle(self._idle)
            self.setTimeout(self._idle)
        elif (left := (self._idle or LINGER) - (monotonic() - self.last_activity)) > 0:
            self.setTimeout(max(left, 0.001))  # a smaller number may be rounded to nothing
        elif self._checking:
            self._refuse(HTTPError(504, "checking the credentials took too long"))
        elif self._parser.unfinished:
            self._refuse(HTTPError(408, f"nothing more of the request arrived within {self._idle} seconds"))
        else:
            self.loseConnection()
            self.setTimeout(LINGER)

    def connectionLost(self, reason: Failure = CONNECTION_DONE) -> None:
        super().connectionLost(reason)
        self._ignores_input = self._closing = True
        self._ready.clear()
        self._parser.close()
        self._call.cancel()
        self.responses.close()
