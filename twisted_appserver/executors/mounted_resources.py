"""Renders the Twisted resources of a table on the reactor.

Strategy: each call is turned back into a C{twisted.web.server.Request}, whose channel is an object in memory.
If the first write completes the response, it becomes an ordinary reply. Any other response is a L{Stream}:
its credits pause and resume the producer that the resource has registered. So a client that does not read
stops the producer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES
from twisted.web.server import Request, Site
from zope.interface import implementer

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.mounted_resource import MountedResource
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import IExecutor, PendingCall
from twisted_appserver.executors.parked_generator import WINDOW, cost
from twisted_appserver.executors.stream import Stream

SAFE = "/:@!$&'()*+,;=~-._"  # characters of a path that need no percent-encoding (RFC 3986, section 3.3)
# Headers that the server's own connections write, or that apply to one connection only.
NOT_PASSED_ON = {
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "server",
    "transfer-encoding",
    "x-request-id",
}


class MountedRequest(Request):
    """A request for a resource that is an entry of the table."""

    channel: Any

    def process(self) -> None:
        """Render the resource: like the overridden method, but below the path where it is mounted."""
        self.site = self.channel.site
        above, below = self.channel.split()
        self.prepath, self.postpath = above, below
        try:
            self.render(self.site.getResourceFor(self))
        except BaseException:
            self.processingFailed(Failure())

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.channel is not None:
            self.channel.written()


class ResponseChannel:
    """
    Stands in for the C{HTTPChannel} of one request, and makes the reply from the data that the request
    writes.

    @param pending: the call.
    @param site: a Site with the resource at its root.
    @param ended: called at the end, once.
    """

    def __init__(self, pending: PendingCall, site: Site, ended: Any) -> None:
        self.site, self._pending, self._ended = site, pending, ended
        self._call: Call = pending.call
        scheme, _, self._mount = (self._call.base or "http:").partition(":")
        self._secure = scheme == "https"
        self._head: Reply | None = None
        self._length: int | None = None  # as declared by the resource
        self._size = 0  # bytes of the body that were written
        self._parts: list[bytes] = []  # until the reply begins
        self._stream: Stream | None = None
        self._credits = WINDOW
        self._producer: Any = None
        self._streaming = self._paused = self._pulling = False
        self.transport = self
        self.request: Any = MountedRequest(self)

    def render(self) -> None:
        """Render the request."""
        call, request = self._call, self.request
        for name, value in call.raw_headers:
            request.requestHeaders.addRawHeader(name, value)
        request.parseCookies()
        request.gotLength(len(call.body))
        if call.body:
            request.handleContentChunk(call.body)
        path = quote(call.path, safe=SAFE, errors="surrogateescape")
        target = f"{self._mount}{path}{'?' if call.query else ''}{call.query}"
        request.requestReceived(call.method.encode("latin-1"), target.encode("latin-1"), b"HTTP/1.1")

    def split(self) -> tuple[list[bytes], list[bytes]]:
        """C{prepath} and C{postpath} of the request."""
        above, below = self._call.handler.function.split(self._call.path)
        outer = [segment for segment in self._mount.split("/") if segment]
        encoded = [[each.encode("utf-8", "surrogateescape") for each in part] for part in (above, below)]
        return [segment.encode("latin-1") for segment in outer] + encoded[0], encoded[1]

    # ---- what a Request requires of its channel ----

    def isSecure(self) -> bool:
        return self._secure

    def getPeer(self) -> Any:
        client = self._call.client
        if not client:
            return UNIXAddress(None)
        return (IPv6Address if ":" in client else IPv4Address)("TCP", client, 0)

    def getHost(self) -> Any:
        """The address that the client has used. URLs made from it reach this server, even through a proxy."""
        host = dict(self._call.raw_headers).get(b"host", b"").decode("latin-1")
        name, colon, port = host.rpartition(":")
        if not (colon and port.isdigit()):
            name, port = host, "443" if self._secure else "80"
        return IPv4Address("TCP", name, int(port))

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:
        self.request.chunked = 0  # the connection frames the body
        pairs = [
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, values in headers.getAllRawHeaders()
            for value in values
        ]
        lengths = [value for name, value in pairs if name == "content-length"]
        self._length = int(lengths[0]) if lengths else None
        kept = tuple(pair for pair in pairs if pair[0] not in NOT_PASSED_ON)
        if self._length != 0 and int(code) not in NO_BODY_CODES and "content-type" not in dict(kept):
            kept = (("content-type", "application/octet-stream"), *kept)
        self._head = Reply(b"", int(code), kept, "")

    def write(self, data: bytes) -> None:
        if self._stream is None:
            self._parts.append(data)
        else:
            self._send(data)

    def writeSequence(self, parts: Sequence[bytes]) -> None:
        self.write(b"".join(parts))

    def written(self) -> None:
        """Begin a stream, unless the whole response has been written."""
        if self._stream is not None or self._head is None:
            return
        complete = self._length is not None and sum(map(len, self._parts)) >= self._length
        if not (complete or self._call.method == "HEAD" or self._head.status in NO_BODY_CODES):
            self._begin_stream()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer, self._streaming, self._paused = producer, streaming, False
        if not streaming:
            self._pull_soon()
        elif self._credits <= 0:
            self._pause()

    def unregisterProducer(self) -> None:
        self._producer = None

    def requestDone(self, request: Any) -> None:
        """The response is complete."""
        self._finish(self._head.status if self._head is not None else 500)
        if self._stream is None and (self._call.method == "HEAD" or self._head is None):
            self._begin_stream()
        if self._stream is not None:
            short = self._length is not None and self._size < self._length and self._call.method != "HEAD"
            self._stream.end(f"the resource wrote {self._size} of {self._length} bytes" if short else "")
        elif self._head is not None:
            self._pending.callback(Reply(self._body(), self._head.status, self._head.headers, ""))

    def _body(self) -> bytes:
        if self._head is None or self._head.status in NO_BODY_CODES:
            return b""
        return b"".join(self._parts)[: self._length]

    def loseConnection(self) -> None:
        """Cut the response off, as the resource has requested."""
        self.fail(HTTPError(502, "the resource has closed the connection"))

    abortConnection = forceAbortClient = loseConnection

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.fail(HTTPError(400, "the form in the body is malformed"))

    # ---- the reply ----

    def _begin_stream(self) -> None:
        head = self._head or Reply(b"", 500, (), "")
        self._stream = stream = Stream(self._grant, self._dropped)
        stream.length = self._length
        self._pending.begin(Reply(stream, head.status, head.headers, ""))
        parts, self._parts = self._parts, []
        for data in parts:
            self._send(data)

    def _send(self, data: bytes) -> None:
        if self._length is not None:
            data = data[: self._length - self._size]
        if not data or self._stream is None:
            return
        self._size += len(data)
        self._credits -= cost(data)
        self._stream.part(data)
        if self._credits <= 0 and self._streaming and self._producer is not None and not self._paused:
            self._pause()

    def _pause(self) -> None:
        self._paused = True
        self._producer.pauseProducing()

    def _grant(self, credits: int) -> None:
        self._credits += credits
        if self._credits <= 0 or self._producer is None:
            return
        if not self._streaming:
            self._pull_soon()
        elif self._paused:
            self._paused = False
            self._producer.resumeProducing()

    def _pull_soon(self) -> None:
        """Ask a pull producer for one part at a time, so that the reactor does other work in between."""
        if not self._pulling:
            self._pulling = True
            reactor: Any = self.site.reactor
            reactor.callLater(0, self._pull)

    def _pull(self) -> None:
        self._pulling = False
        if self._producer is not None and not self._streaming and self._credits > 0:
            self._producer.resumeProducing()
            self._pull_soon()

    # ---- the end ----

    def _dropped(self) -> None:
        self.notify_lost()

    def fail(self, error: HTTPError) -> None:
        """Reply with an error, or break off a stream."""
        self._pending.errback(error)
        self.notify_lost(500)

    def notify_lost(self, status: int = 499) -> None:
        """Notify the resource that its client is gone."""
        if self._ended is None:
            return
        producer, self._producer = self._producer, None
        self._finish(status)
        if producer is not None:
            producer.stopProducing()
        self.request.connectionLost(Failure(ConnectionDone()))

    def _finish(self, status: int) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(status)


@implementer(IExecutor)
class ResourceExecutor:
    """
    Renders every resource at once, in the reactor's thread.

    @param reactor: the reactor; if C{None}, the reactor of its dispatcher.
    """

    size = pending = 0
    here = True
    reads_bodies = False
    now = None
    kill = None

    def __init__(self, reactor: Any = None) -> None:
        self.reactor = reactor
        self.completed = self.failed = 0
        self._stopped = False
        self._channels: dict[PendingCall, ResponseChannel] = {}
        self._sites: WeakKeyDictionary[MountedResource, Site] = WeakKeyDictionary()

    def start(self) -> Deferred[None]:
        self._stopped = False
        return succeed(None)

    def submit(self, pending: PendingCall) -> None:
        if self._stopped:
            pending.callback(problem_reply(HTTPError(503, "the server is stopping"), pending.call.request_id))
            return
        site = self._site(pending.call.handler.function)
        channel = ResponseChannel(pending, site, partial(self._over, pending))
        self._channels[pending] = channel
        channel.render()

    def _site(self, mounted: MountedResource) -> Site:
        """The Site of a resource, which keeps its sessions. It is dropped with the table."""
        site = self._sites.get(mounted)
        if site is None:
            site = self._sites[mounted] = Site(mounted.resource, reactor=self.reactor)
            site.displayTracebacks = False
        return site

    def _over(self, pending: PendingCall, status: int) -> None:
        self._channels.pop(pending, None)
        if status < 500:
            self.completed += 1
        else:
            self.failed += 1

    @property
    def running(self) -> int:
        return len(self._channels) - self.parked

    @property
    def parked(self) -> int:
        return sum(_parked(pending) for pending in self._channels)

    def calls(self) -> tuple[Sequence[PendingCall], Sequence[PendingCall]]:
        return [pending for pending in self._channels if not _parked(pending)], ()

    def unready(self) -> str:
        return ""

    def cancel(self, pending: PendingCall, kill: bool = False) -> None:
        channel = self._channels.get(pending)
        if channel is not None:
            channel.notify_lost()

    def stop(self) -> Deferred[None]:
        self._stopped = True
        for channel in list(self._channels.values()):
            channel.fail(HTTPError(503, "the server is stopping"))
        for site in self._sites.values():
            for session in list(site.sessions.values()):
                session.expire()
        self._sites.clear()
        return succeed(None)


def _parked(pending: PendingCall) -> bool:
    return pending.stream is not None and bool(pending.stream.parked)
