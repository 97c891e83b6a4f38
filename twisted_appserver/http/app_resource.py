"""The application as a C{twisted.web} resource, at the root or below any path of any Site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import SEEK_END
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorFDSet
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.http import NO_BODY_CODES
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.request_target import check_host, make_call
from twisted_appserver.core.router import Router
from twisted_appserver.core.statuses import title
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.dispatch.lifespans import Lifespans
from twisted_appserver.dispatch.start_notes import APP_RESOURCE, log_start_notes
from twisted_appserver.errors import ConfigurationError, HTTPError
from twisted_appserver.executors.child_processes import protect
from twisted_appserver.executors.cluster.executor import DaskExecutor
from twisted_appserver.executors.inline import InlineExecutor
from twisted_appserver.executors.interface import Answer, IExecutor
from twisted_appserver.executors.mounted_resources import ResourceExecutor
from twisted_appserver.executors.processes.executor import ProcessExecutor
from twisted_appserver.executors.processes.frames import ready_frame
from twisted_appserver.executors.stream import Stream
from twisted_appserver.executors.threads import ThreadExecutor
from twisted_appserver.http.compression import Compression
from twisted_appserver.http.epoll_reader import EpollReader
from twisted_appserver.http.half_close_in_other_sites import keep_half_closed
from twisted_appserver.http.stored_body import begin_stored, check_length

FLUSH = 0.5  # seconds to wait at the stop until clients have read the last responses
LOOK = 0.01  # seconds between two checks of unsent data
NOSNIFF = (b"x-content-type-options", [b"nosniff"])


@implementer(IResource)
class AppResource(Resource):
    """
    Serves every path below it from a table of patterns.

    @param patterns: C{url_patterns}, a L{Router}, or the dispatcher of a service.
    @param reactor: the reactor; not needed with a dispatcher.
    @param executor: performs the calls, including calls of Routes that name its kind. Start and stop it
        yourself. C{None} for the threads of the reactor's pool.
    @param lifespan: the lifespan of the patterns, entered when the reactor starts and left by L{finish}.
    @param max_body: maximum size of a request body in bytes; a longer one gets 413.
    @param graceful_timeout: seconds to wait, when the reactor is stopped, until all calls are answered. If
        C{patterns} is the dispatcher of a service, the service waits instead, with its own setting.
    @param compress: bytes of the shortest response that is compressed if its client accepts it; 0 for none.
    @param executors: further executors, by the names that Routes give. Start and stop them yourself.
    @raise ConfigurationError: when a Route names an unknown executor, or an executor has another table.
    @ivar compression: compresses replies; C{None} if they are not compressed.
    """

    _log = Logger(namespace="twisted_appserver")
    isLeaf = True
    _stopping = False
    _lifespans: Lifespans | None = None  # a service has its own

    def __init__(
        self,
        patterns: Sequence[Any] | Router | Dispatcher,
        reactor: Any = None,
        executor: IExecutor | None = None,
        max_body: int = 1024 * 1024,
        graceful_timeout: float = 30.0,
        executors: Mapping[str, IExecutor] | None = None,
        lifespan: Any = None,
        compress: int = 0,
    ) -> None:
        super().__init__()
        self._reader = EpollReader(patterns.reactor if isinstance(patterns, Dispatcher) else reactor)
        if not isinstance(patterns, Dispatcher):
            router = patterns if isinstance(patterns, Router) else Router(patterns, lifespan)
            places: dict[str, IExecutor] = {
                "inline": InlineExecutor(reactor),
                "resources": ResourceExecutor(reactor),
                "threads": executor or ThreadExecutor(reactor),
                **_own_names(executor),
                **(executors or {}),
            }
            _check_tables(places, router)
            patterns = Dispatcher(reactor, router, places, "threads")
            protect(reactor, self._reader.descriptors)
            self._lifespans = Lifespans(reactor, patterns)
            if IReactorCore.providedBy(reactor):
                reactor.callWhenRunning(self._start, self._lifespans, patterns)
                reactor.addSystemEventTrigger("before", "shutdown", self.finish)
        self.dispatcher, self._max_body, self._grace = patterns, max_body, graceful_timeout
        self.compression = Compression(patterns.reactor, compress) if compress else None

    def _start(self, lifespans: Lifespans, dispatcher: Dispatcher) -> None:
        log_start_notes(self._log, dispatcher.reactor, dispatcher.router, APP_RESOURCE)
        lifespans.start().addErrback(
            lambda failure: self._log.critical("calls get 503: {why}", why=failure.value)
        )

    def finish(self) -> Deferred[None]:
        """
        Refuse further calls with 503, and let the calls in progress finish. The reactor calls this when it is
        stopped.

        @return: fires when all responses have been sent, or the grace period is over.
        """
        self._stopping = True
        if self._lifespans is not None:
            self._lifespans.stop_entering()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        reactor: Any = self.dispatcher.reactor
        drained = self.dispatcher.drained().addTimeout(self._grace, reactor)
        drained.addErrback(
            lambda _: self._log.warn(
                "{n} calls did not finish within the grace period", n=self.dispatcher.in_flight
            )
        )
        await drained
        end = reactor.seconds() + FLUSH
        able: bool = IReactorFDSet.providedBy(reactor)
        while able and reactor.getWriters() and reactor.seconds() < end:
            await deferLater(reactor, LOOK)
        if self._lifespans is not None:
            await self._lifespans.stop()

    def render(self, request: Any) -> Any:
        try:
            if self._stopping:
                raise HTTPError(503, "the server is stopping")
            size = request.content.seek(0, SEEK_END)
            request.content.seek(0)
            call = self._call(request, request.content.read() if size <= self._max_body else b"")
            if size > self._max_body:
                check_length(self.dispatcher, call, size, self._max_body)
                begin_stored(self.dispatcher, call, request, self._answer(request))
                return NOT_DONE_YET
        except HTTPError as error:
            call = Call("", "", raw_headers=raw_headers(request), client=_client(request))
            self.dispatcher.refuse(error, call, self._answer(request))
            return NOT_DONE_YET
        keep_half_closed(request.channel, self._reader)
        job = self.dispatcher.begin(call, self._answer(request))
        if job is not None and not request.finished:
            request.notifyFinish().addErrback(lambda _: self.dispatcher.cancel(job))
        return NOT_DONE_YET

    def _answer(self, request: Any) -> Answer:
        """Return what sends the response to a request."""
        if self.compression is None:
            return lambda call, reply: _write(request, reply, call)
        return self.compression.around(lambda call, reply: _write_late(request, reply, call))

    def _call(self, request: Any, body: bytes) -> Call:
        """
        Make the call of a C{twisted.web} request. The path of the call is the part of the request's path
        below this resource.

        @raise HTTPError: 400 when the request is malformed.
        """
        headers = raw_headers(request)
        hosts = [value for name, value in headers if name == b"host"]
        check_host(hosts[-1] if hosts else None, request.clientproto == b"HTTP/1.1")
        target = request.uri
        call = make_call(request.method, target, headers, body, _client(request))
        if target[:1] == b"/":
            path = b"/" + b"/".join(request.postpath)
            return replace(call, path=path.decode("utf-8", "surrogateescape"), base=_base(request))
        return call


def _own_names(executor: IExecutor | None) -> dict[str, IExecutor]:
    """Return the executor of an AppResource by the name that a Route gives for its kind."""
    kinds = {ProcessExecutor: "processes", DaskExecutor: "cluster"}
    return {name: executor for kind, name in kinds.items() if executor and isinstance(executor, kind)}


def _check_tables(executors: Mapping[str, IExecutor], router: Router) -> None:
    """
    @raise ConfigurationError: when worker processes have another table: calls would run other functions.
    """
    for name, executor in executors.items():
        if isinstance(executor, ProcessExecutor) and ready_frame(executor.router) != ready_frame(router):
            raise ConfigurationError(
                f"the worker processes of the executor {name!r} import another table; pass the router of "
                "that executor to AppResource"
            )


def raw_headers(request: Any) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of a C{twisted.web} request in the form of C{Call.raw_headers}."""
    return tuple(
        (name.lower(), value)
        for name, values in request.requestHeaders.getAllRawHeaders()
        for value in values
    )


def _base(request: Any) -> str:
    """C{Call.base}: the scheme of a request, and the path above the application."""
    above = "".join("/" + quote(segment, safe="") for segment in request.prepath)
    scheme = "https:" if request.isSecure() else "http:"
    return "" if scheme + above == "http:" else scheme + above


def _client(request: Any) -> str:
    return getattr(request.getClientAddress(), "host", None) or ""


def _write(request: Any, reply: Reply, call: Call | None = None) -> None:
    request.setResponseCode(reply.status, title(reply.status).encode("ascii"))
    headers = request.responseHeaders
    if call is not None:
        headers.setRawHeaders(b"x-request-id", [call.request_id.encode("ascii")])
    headers.removeHeader(b"content-type")
    for name, value in reply.headers:
        headers.addRawHeader(name.encode("latin-1"), value.encode("latin-1"))
    if not headers.hasHeader(NOSNIFF[0]):
        headers.setRawHeaders(*NOSNIFF)
    if isinstance(reply.body, Stream):
        _write_parts(reply.body, request)
        return
    if reply.body and not headers.hasHeader(b"content-type"):
        headers.setRawHeaders(b"content-type", [b"application/json"])
    if reply.status not in NO_BODY_CODES:
        headers.setRawHeaders(b"content-length", [b"%d" % len(reply.body)])
    request.write(reply.body)
    request.finish()


def _write_late(request: Any, reply: Reply, call: Call) -> None:
    """As L{_write}, but the client may have gone while the reply was compressed."""
    if request.channel is not None:
        _write(request, reply, call)
    elif isinstance(reply.body, Stream):
        reply.body.stopProducing()


def _write_parts(stream: Stream, request: Any) -> None:
    def finish(failure: str) -> None:
        request.unregisterProducer()
        request.loseConnection() if failure else request.finish()

    if stream.length is not None:
        request.responseHeaders.setRawHeaders(b"content-length", [b"%d" % stream.length])
    request.registerProducer(stream, True)
    if request.method == b"HEAD":
        stream.stopProducing()
        request.write(b"")
        finish("")
    else:
        stream.begin(request.write, finish)
