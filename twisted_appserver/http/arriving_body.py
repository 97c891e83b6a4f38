"""A request whose function reads the body while it arrives, on a L{http.connection.HTTPConnection}."""

from __future__ import annotations

from time import monotonic
from typing import Any

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.dispatch.arriving_calls import begin_arriving
from twisted_appserver.errors import ClientDisconnected, HTTPError
from twisted_appserver.executors.incoming_body import IncomingBody
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.http.current_call import CurrentCall
from twisted_appserver.http.request_parser import BodySink, RequestParser

# Bytes of an unread body that are received and discarded, so that the connection can be used again. If more
# are left, it is cheaper to close the connection. Go's net/http has the same limit.
DISCARDED = 256 * 1024


class ArrivingBody:
    """
    Passes the body on, and the response back.

    @param connection: its C{ends_with_request} is called when no further request can follow.
    @param producer: the C{IPushProducer} of what the client sends.
    """

    _current: CurrentCall

    def __init__(self, connection: Any, parser: RequestParser, producer: Any) -> None:
        self._connection, self._parser = connection, parser
        self._complete = False
        self._arrived_at = monotonic()
        reactor = connection.application.dispatcher.reactor
        self._body = IncomingBody(reactor, producer.pauseProducing, producer.resumeProducing)

    def begin(self, call: Call, current: CurrentCall) -> None:
        """Begin the call, with the part of the body that arrived with the headers."""
        first, self._parser.body = self._parser.body, BodySink(self._body.add, self._end)
        self._body.add(bytes(first))  # type: ignore[arg-type]
        self._current, current.arriving = current, self
        current.begin(call, *self._parser.persistence, begin_admitted=self._begin)

    def _begin(self, dispatcher: Any, call: Call) -> PendingCall | None:
        return begin_arriving(dispatcher, call, self._body, self._answer)

    def _end(self) -> None:
        self._complete, self._current.arriving = True, None
        self._body.end()

    def feed(self, data: bytes) -> bytes:
        """
        Take what belongs to the body, and return the rest.

        @raise HTTPError: when what follows the body is malformed.
        """
        begin, self._arrived_at = 0, monotonic()
        while begin < len(data) and not (self._complete or self._body.error):
            try:
                data, begin = self._parser.feed(data, begin)
            except HTTPError as error:
                if self._complete:
                    raise
                self.fail(error)
        return b"" if self._body.error else data[begin:]

    def fail(self, error: HTTPError) -> None:
        """The rest of the body will not arrive. The function notices when it reads."""
        if not self._complete:
            self._connection.ends_with_request(True)
            self._body.end(error)

    def client_is_gone(self) -> None:
        """The client sends nothing more."""
        self.fail(ClientDisconnected())

    def check_idle(self, seconds: float | None) -> None:
        """Fail if nothing has arrived for some time, although the function waits."""
        if seconds and not self._body.paused and monotonic() - self._arrived_at >= seconds:
            self.fail(HTTPError(408, f"nothing more of the body arrived within {seconds:g} seconds"))

    def _answer(self, call: Call, reply: Reply) -> None:
        """Send the reply. Only a generator may go on reading then."""
        connection, whole, left = self._connection, type(reply.body) is bytes, self._parser.left
        if not self._complete and (not whole or left is None or left > DISCARDED):
            connection.ends_with_request(whole)
        if whole:
            self.drop()
        self._current.answer(call, reply)

    def drop(self) -> None:
        """Discard the rest of the body. The parser still has to find its end."""
        if not self._complete:
            self._parser.body = BodySink(bool, bool)
        self._current.arriving = None
        self._body.drop()
