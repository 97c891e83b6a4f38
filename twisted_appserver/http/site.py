"""AppSite: the connections of a server, and what they share."""

from __future__ import annotations

from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.web.server import Site

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.http.connection import KNOWN, HTTPChannel
from twisted_appserver.http.counted import Counted, Unfinished
from twisted_appserver.http.epoll_reader import Hub
from twisted_appserver.http.resource import AppResource
from twisted_appserver.http.response_head import beginnings
from twisted_appserver.http.stock_connection import StockChannel
from twisted_appserver.settings import Settings


class AppSite(Site):
    """
    Serves an application, and knows its connections.

    @param resource: the application, or any other resource.
    @param settings: its limits, and C{channel}: C{"llhttp"} for L{HTTPChannel}, C{"twisted"} for
        C{twisted.web}'s own. A few connections more than its limit may be open, that were accepted at once.
    @ivar ports: what listens for it.
    """

    _log = Logger(namespace="twisted_appserver")
    noisy = False
    displayTracebacks = False

    def __init__(self, resource: Any, reactor: Any, settings: Settings) -> None:
        super().__init__(resource, timeout=settings.idle_timeout or None, reactor=reactor)
        self.protocol: Any = HTTPChannel if settings.channel == "llhttp" else StockChannel
        self._application = resource if isinstance(resource, AppResource) else None
        self._settings = settings
        self._answers = list[tuple[HTTPChannel, Call, Reply]]()
        self._channels: set[Counted] = set()
        self.known: dict[bytes, tuple[tuple[tuple[bytes, bytes], ...], int]] = {}  # headers by their bytes
        self.models: dict[bytes, tuple[Call, int]] = {}  # calls by their heads, and how long their bodies are
        self._seen: set[bytes] = set()  # heads
        self.hub = reactor if isinstance(reactor, Hub) else Hub(reactor)
        self.unfinished = Unfinished(max(settings.max_bodies, settings.max_body))
        self._full = False
        self._finished: Deferred[None] | None = None
        self.ports: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        channel: Any = super().buildProtocol(addr)
        channel.channels = self._channels
        channel.application, channel.max_body = self._application, self._settings.max_body
        if isinstance(channel, HTTPChannel):
            channel.header_timeout = self._settings.header_timeout
        if len(self._channels) + 1 >= self._settings.max_connections and not self._full:
            self._full = True
            for port in self.ports:
                port.stopReading()
        return channel

    def comes_again(self, head: bytes) -> bool:
        """Whether this head of a message was seen before, and is worth remembering: most paths never are."""
        if head in self._seen:
            return True
        if len(head) <= KNOWN:
            if len(self._seen) >= KNOWN:
                self._seen.clear()
            self._seen.add(head)
        return False

    def remember(self, head: bytes, length: int, model: Call) -> None:
        """Have a call begun like this one where the same head comes again, before a body of that length."""
        if len(self.models) >= KNOWN:
            self.models.clear()
        self.models[head] = (model, length)

    def forget(self) -> None:
        """Forget all known requests: they would keep an application in memory that was loaded again."""
        self.known.clear()
        self.models.clear()
        self._seen.clear()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._channels)

    def descriptors(self) -> list[int]:
        """Those of its ports and connections, and all that its reactor watches."""
        transports = [channel.transport for channel in self._channels]
        opened = [each.fileno() for each in (*self.ports, *transports) if hasattr(each, "fileno")]
        return opened + self.hub.descriptors()

    def answer(self, channel: HTTPChannel, call: Call, reply: Reply) -> None:
        """
        Have an answer sent with all others at the end of this reactor turn. A client that is woken by each
        answer alone costs more than the answer.
        """
        if not self._answers:
            self.hub.soon(self._answer)
        self._answers.append((channel, call, reply))

    def _answer(self) -> None:
        answers, self._answers = self._answers, []
        beginnings.refresh()
        now = monotonic()
        for channel, call, reply in answers:
            channel.last = now
            try:
                channel.send_answer(call, reply)
            except Exception:  # each fails alone
                self._log.failure("an answer could not be sent")
                channel.transport.abortConnection()
        if self._application is not None and not self._application.dispatcher.in_flight:
            self.hub.stay_awake()

    def left(self) -> None:
        """A connection has been closed."""
        if self._full and len(self._channels) < self._settings.max_connections:
            self._full = False
            for port in self.ports:
                port.startReading()
        if self._finished is not None and not self._channels:
            finished, self._finished = self._finished, None
            finished.callback(None)

    def finish(self) -> Deferred[None]:
        """
        Close every connection, after the answers to what has been received; nothing listens any more.

        @return: fires when none is left. When cancelled, those that are left are cut.
        """
        self.ports.clear()
        for channel in list(self._channels):
            channel.finish()
        if not self._channels:
            return succeed(None)
        self._finished = Deferred(self._cut)
        return self._finished

    def _cut(self, _: Deferred[None]) -> None:
        self._finished = None
        for channel in list(self._channels):
            channel.transport.abortConnection()

    def log(self, request: Any) -> None:
        """No line for each request."""
