"""The call that a connection is performing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec.structs import replace

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.executors.interface import Answer, PendingCall
from twisted_appserver.http.app_resource import AppResource
from twisted_appserver.http.known_requests import PLAIN_LINE, UNKNOWN, KnownRequests
from twisted_appserver.http.request_parser import END_OF_HEAD, MAX_TARGET, ParsedRequest
from twisted_appserver.http.response_writer import ResponseWriter


class CurrentCall:
    """
    Begins calls, one at a time.

    @param application: performs them.
    @param known: the site's record of earlier requests.
    @param responses: prepared for the response to each call.
    @param answer: gets each call and its reply.
    @ivar client: the client's address.
    @ivar base: C{Call.base} of the calls.
    @ivar pending: the call, unless it is over.
    @ivar arriving: the L{http.arriving_body.ArrivingBody} of the call, if its function reads it.
    @ivar plain: the received data, if it may be a request whose headers are worth remembering.
    """

    client = base = ""
    plain = b""
    arriving: Any = None

    def __init__(
        self, application: AppResource, known: KnownRequests, responses: ResponseWriter, answer: Answer
    ) -> None:
        self._application, self._known, self._responses, self._answer = application, known, responses, answer
        self.pending: PendingCall | None = None

    def begin_known(self, data: bytes) -> bool:
        """Begin the call if C{data} is one plain request, with a head or headers that were parsed before."""
        dispatcher = self._application.dispatcher
        head, body = data, b""
        if data[-4:] != END_OF_HEAD:
            end = data.find(END_OF_HEAD) + len(END_OF_HEAD)
            head, body = data[:end], data[end:]
        known = self._known
        call, length = known.calls.get(head, UNKNOWN)
        if call is not None and length == len(body) and dispatcher.knows(call):
            responses = self._responses
            responses.keep_alive = True
            responses.confirm_keep_alive = responses.http10 = False
            self.pending = dispatcher.again(call, body, self.client, self._answer)
            return True
        found = PLAIN_LINE.match(data)
        if found is None or found.end() > MAX_TARGET:
            return False
        headers, length = known.headers.get(head[found.end() :], UNKNOWN)
        if length != len(body):
            self.plain = data
            return False
        method, path, query = found.groups(b"")
        call = Call(method.decode(), path.decode(), query.decode(), headers, body, self.client)
        if self.base:
            call = replace(call, base=self.base)
        routed = partial(known.remember_call, head, length) if known.seen_before(head) else None
        self.begin(call, True, False, routed)
        return True

    def learn(self, request: ParsedRequest) -> None:
        """Remember the headers of a request that has been parsed, if it came alone and is plain."""
        if self.plain:
            self._known.remember_headers(self.plain, request)
            self.plain = b""

    def begin(
        self,
        call: Call,
        keep_alive: bool,
        http10: bool,
        routed: Callable[[Call], None] | None = None,
        begin_admitted: Callable[[Any, Call], PendingCall | None] | None = None,
    ) -> None:
        """
        Begin a call.

        @param keep_alive: whether the connection stays open after its response.
        @param http10: whether it came with HTTP/1.0.
        @param routed: see L{dispatch.dispatcher.Dispatcher.begin}.
        @param begin_admitted: begins a call whose body is still arriving; it gets the dispatcher too.
        """
        responses = self._responses
        responses.keep_alive, responses.http10 = keep_alive, http10
        responses.confirm_keep_alive = http10 and keep_alive
        dispatcher = self._application.dispatcher
        if call.handler is None:
            self.pending = dispatcher.begin(call, self._answer, routed)
        elif begin_admitted is None:
            self.pending = dispatcher.go_on(call, self._answer)
        else:
            self.pending = begin_admitted(dispatcher, call)

    def answer(self, call: Call, reply: Reply) -> None:
        """Send the reply."""
        self._answer(call, reply)

    def client_is_gone(self) -> None:
        """The client sends nothing more. If its request is not complete, the function notices."""
        if self.arriving is not None:
            self.arriving.client_is_gone()

    def check_idle(self, seconds: float | None) -> None:
        """Check whether a body that is still arriving has stalled for so long."""
        if self.arriving is not None:
            self.arriving.check_idle(seconds)

    def drop_body(self) -> None:
        """Discard the rest of a body that is still arriving."""
        if self.arriving is not None:
            self.arriving.drop()

    def probe(self) -> None:
        """
        Send an interim response to a half-closed client whose call has no time limit.

        A waiting client must discard this response (RFC 9110, section 15.2.1). If the client is gone, its
        system answers with a reset, and the call is cancelled. Otherwise a queue would hand out a task that
        no client receives.
        """
        pending = self.pending
        if pending is None or pending.stream is not None or self._responses.http10:
            return
        if pending.call.handler is not None and pending.call.handler.timeout == 0:
            self._responses.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def cancel(self) -> None:
        """Cancel the call: the connection is lost. No further call can begin."""
        pending, self.pending = self.pending, None
        self.client_is_gone()
        self.drop_body()
        del self._answer  # it refers to the connection
        if pending is not None:
            self._application.dispatcher.cancel(pending)
