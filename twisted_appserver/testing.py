"""
A client for tests. It processes requests in memory, in the same way as a server.

It needs no port, no thread and no reactor, and works with C{trial}, C{pytest} and C{unittest}. Coroutine
functions run on an event loop of the client::

    client = Client(url_patterns)
    response = client.get("/person/get/123/")
    assert (response.status, response.json["object_id"]) == (200, "123")
"""

from __future__ import annotations

import asyncio
import json
import re
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any, Unpack
from urllib.parse import quote, urlencode

import msgspec
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from twisted_appserver.access.credentials import load_credentials
from twisted_appserver.core.call import CURRENT, Call
from twisted_appserver.core.enqueueing import EnqueuedJob
from twisted_appserver.core.header_dict import HeaderDict
from twisted_appserver.core.lifespan import ProcessLifespan
from twisted_appserver.core.multipart_form import has_files, write_multipart
from twisted_appserver.core.private_loop import PrivateLoop
from twisted_appserver.core.router import Router
from twisted_appserver.errors import AppserverError, ConfigurationError, JobError
from twisted_appserver.executors.calling_thread import CallingThreadExecutor
from twisted_appserver.executors.inline import InlineExecutor
from twisted_appserver.executors.mounted_resources import ResourceExecutor
from twisted_appserver.http.app_resource import AppResource
from twisted_appserver.http.site import AppSite
from twisted_appserver.jobs.interface import job_patterns
from twisted_appserver.jobs.put_jobs import ON_REACTOR, PutJobs
from twisted_appserver.option_values import OptionValues
from twisted_appserver.serving.assembly import make_dispatcher, make_jobs
from twisted_appserver.settings import MEMORY, settings_from_keywords

INTERVAL = 0.005  # seconds between two checks whether the response is complete
AWAITS_DEFERRED = (
    "awaits a Deferred that has not fired, and no reactor runs that could fire it; "
    "let the test fire it before the request, or send the request to a real server"
)
NOT_ASCII = re.compile(r"[^\0-\x7f]+")


class NoAnswer(AppserverError):
    """Raised when there is no complete response: a function awaits a Deferred, which needs a reactor."""


class BrokenStream(NoAnswer):
    """
    Raised when a generator fails after its first item. A client then receives an incomplete response.

    @ivar response: what has arrived: the status, the headers, the items so far, and the function's traceback.
    """

    def __init__(self, request: str, response: Response) -> None:
        super().__init__(
            f"{request}: the stream broke off after {len(response.body)} bytes: {response.traceback}"
        )
        self.response = response


class Response(msgspec.Struct, frozen=True):
    """
    The response to a request.

    @ivar status: the HTTP status code.
    @ivar headers: the headers by their names in lower case. They are looked up without regard to case.
    @ivar body: the body, in bytes.
    @ivar traceback: the traceback of the function, if it has failed, as the log of a server has it.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    traceback: str = ""

    @property
    def json(self) -> Any:
        """The body, decoded from JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body, decoded from UTF-8."""
        return self.body.decode()


def read_head(data: bytes) -> tuple[int, dict[str, str], bytes] | None:
    """
    Parse the head of a response.

    @return: the status, the headers by their names in lower case, and the rest of the data; C{None} while the
        head is incomplete.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = HeaderDict()
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(first.split(" ")[1]), headers, rest


def read_body(headers: Mapping[str, str], data: bytes) -> tuple[bytes, bytes] | None:
    """
    Parse the body of a response with these headers (RFC 9112, section 6).

    @return: the body, and the rest of the data; C{None} while the body is incomplete.
    """
    if headers.get("transfer-encoding") != "chunked":
        length = int(headers.get("content-length", "0"))
        return (data[:length], data[length:]) if len(data) >= length else None
    body, rest = read_chunks(data)
    return None if rest is None else (body, rest)


def read_chunks(data: bytes) -> tuple[bytes, bytes | None]:
    """
    Parse a chunked body (RFC 9112, section 7.1).

    @return: the body, as far as it has arrived, and the rest of the data; C{None} while it is incomplete.
    """
    body = b""
    while True:
        size, end, data = data.partition(b"\r\n")
        length = int(size, 16) if end else 0
        if not end or len(data) < length + 2:
            return body, None
        body += data[:length]
        data = data[length + 2 :]
        if not length:
            return body, data


class _ClientJobs(PutJobs):
    """Takes the jobs of a client. They begin with the next request, or as the clock advances."""

    def take_and_wait(self, call: Call, delay: float) -> EnqueuedJob:
        current = CURRENT.get()
        if current is not None and current.handler.executor == "inline":  # as on a server
            raise JobError(ON_REACTOR)
        jobs: list[EnqueuedJob] = []
        failures: list[Failure] = []
        self.take_soon(call, delay).addCallbacks(jobs.append, failures.append)
        for failure in failures:
            failure.raiseException()
        return jobs[0]

    def take_soon(self, call: Call, delay: float) -> Deferred[EnqueuedJob]:
        return Deferred.fromCoroutine(self.take(call, delay))


class Client:
    """
    Send requests to a table of functions. Each function runs at once, in the calling thread. A request waits
    while its function awaits asyncio, even in a coroutine, whose own event loop stands still meanwhile. Time
    limits apply as in a server, but a plain function is not stopped: its request gets 504 when it returns.

    @param url_patterns: the table.
    @param lifespan: the lifespan of the application. It is entered at once. L{close}, or the end of a C{with}
        block, leaves it.
    @param options: options from L{Settings}; options that do not concern requests have no effect.
    @ivar clock: the clock for time limits and jobs; C{client.clock.advance(5)} lets five seconds pass.
    @raise PatternError: when an entry of the table cannot be used.
    @raise ConfigurationError: when an option is wrong, C{auth} names hashed passwords, or the lifespan fails.
    """

    def __init__(
        self, url_patterns: Sequence[Any], lifespan: Any = None, **options: Unpack[OptionValues]
    ) -> None:
        settings = settings_from_keywords(**options)
        self.clock = Clock()
        executors: dict[str, Any] = dict.fromkeys(
            ("threads", "processes", "cluster"), CallingThreadExecutor(self.clock)
        )
        executors |= {"inline": InlineExecutor(self.clock), "resources": ResourceExecutor(self.clock)}
        if any(each.startswith("hashed:") for each in settings.auth):
            raise ConfigurationError(
                "--auth hashed: needs threads, which this client does not have; use file: instead"
            )
        router = Router(url_patterns, lifespan)
        self.dispatcher, guard = make_dispatcher(self.clock, settings, router, executors, "threads")
        self._tracebacks: list[str] = []
        self.dispatcher.faults.append(lambda call, reply: self._tracebacks.append(reply.traceback))
        if (credentials := load_credentials(self.clock, settings)) is not None:
            guard.require(credentials)
        if not settings.no_admin:
            jobs = make_jobs(self.dispatcher, replace(settings, store=MEMORY))
            self.dispatcher.admin = Router(job_patterns(jobs))
        self._put_jobs = _ClientJobs(self.dispatcher)
        self._put_jobs.open()
        resource = AppResource(self.dispatcher, max_body=settings.max_body, compress=settings.compress)
        self._site = AppSite(resource, self.clock, settings)
        self._loop: PrivateLoop | None = None
        if router.lifespan is not None or any(handler.awaits for handler in router.handlers):
            self._loop = PrivateLoop()
            self._close_loop = weakref.finalize(self, self._loop.close)
        self._lifespan = None
        if router.lifespan is not None and self._loop is not None:
            self._lifespan = ProcessLifespan(router.lifespan, self._loop.loop)
            self._loop.call(self._lifespan.enter)

    def close(self) -> None:
        """Leave the lifespan, and close the event loop. Raises whatever the lifespan raises."""
        self._put_jobs.close()
        try:
            if self._lifespan is not None and self._loop is not None:
                self._loop.call(self._lifespan.leave)
        finally:
            if self._loop is not None:
                self._close_loop()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(
        self,
        target: str,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """
        Send a GET request.

        @param target: a path, with or without a query string.
        @param query: the variables of the query by name; a list is a repeated field.
        """
        if query:
            target += ("&" if "?" in target else "?") + urlencode(query, doseq=True)
        return self.request("GET", target, headers)

    def post(
        self,
        target: str,
        json: Any = None,
        form: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """
        Send a POST request, with the JSON object C{{}} if no body is given. For the parameters, see
        L{request}.
        """
        if json is None and form is None and body is None:
            json = {}
        return self.request("POST", target, headers, b"" if body is None else body, json, form)

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        json: Any = None,
        form: Mapping[str, Any] | None = None,
    ) -> Response:
        """
        Send a request. Its body is one of C{body}, C{json} and C{form}.

        @param body: the bytes to send, without a Content-Type unless the headers have one.
        @param json: a value to send as JSON; C{None} for none.
        @param form: the fields by name; a list is a repeated field. With an L{Upload} among them, the form is
            sent as multipart/form-data.
        @raise TypeError: when more than one body is given, or C{body} is not bytes.
        @raise NoAnswer: when the function waits for something other than asyncio.
        @raise BrokenStream: when a generator fails after its first item.
        @raise ValueError: when the target does not begin with a slash.
        """
        if not target.startswith(("/", "http://", "https://")) and target != "*":
            raise ValueError(f"the path must begin with /, unlike {target!r}")
        self._tracebacks.clear()
        target = NOT_ASCII.sub(lambda found: quote(found[0]), target)
        data = _message(f"{method} {target} HTTP/1.1", headers, *_encode(body, json, form))
        channel = self._site.buildProtocol(None)
        transport = StringTransport(peerAddress=IPv4Address("TCP", "127.0.0.1", 1))
        channel.makeConnection(transport)
        if self._loop is None or asyncio._get_running_loop() is self._loop.loop:
            self._run_clock()
            channel.dataReceived(data)
            self._run_clock()
        else:
            self._loop.run(self._send(channel, transport, data, f"{method} {target}"))
        channel.setTimeout(None)
        response = _parse(transport.value(), f"{method} {target}", "\n".join(self._tracebacks))
        channel.connectionLost(Failure(ConnectionDone()))
        return response

    def _run_clock(self) -> None:
        """Do what is due."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)

    async def _send(self, channel: Any, transport: StringTransport, data: bytes, request: str) -> None:
        """
        Send a request, and wait for the response while a task of this request awaits asyncio. Meanwhile, the
        client's clock follows real time, so that time limits apply.
        """
        self._run_clock()
        others, since = asyncio.all_tasks(), monotonic()
        channel.dataReceived(data)
        while True:
            await asyncio.sleep(0)
            self._run_clock()
            tasks = list(filter(_awaits_asyncio, asyncio.all_tasks() - others))
            if not tasks or _is_complete(transport.value(), request):
                break
            await asyncio.wait(tasks, timeout=INTERVAL, return_when=asyncio.FIRST_COMPLETED)
            since, before = monotonic(), since
            self.clock.advance(since - before)
        await asyncio.sleep(0)  # The coroutine of a call that was cancelled cleans up.


def _awaits_asyncio(task: asyncio.Task[Any]) -> bool:
    return not isinstance(getattr(task, "_fut_waiter", None), Deferred)


def _is_complete(data: bytes, request: str) -> bool:
    try:
        return bool(_parse(data, request))
    except NoAnswer:
        return False


def _encode(body: bytes, json: Any, form: Mapping[str, Any] | None) -> tuple[bytes, str]:
    """
    Return a body and its content type, which is empty for bytes.

    @raise TypeError: see L{Client.request}.
    """
    if not isinstance(body, bytes):
        raise TypeError(f"body must be bytes, not {type(body).__name__}; json= sends JSON, and form= a form")
    if bool(body) + (json is not None) + (form is not None) > 1:
        raise TypeError("a request has one body: give only one of body=, json= and form=")
    if form is not None and has_files(form):
        return write_multipart(form)
    if form is not None:
        return urlencode(form, doseq=True).encode(), "application/x-www-form-urlencoded"
    return (body, "") if json is None else (msgspec.json.encode(json), "application/json")


def _message(line: str, headers: Mapping[str, str] | None, body: bytes, kind: str) -> bytes:
    """Return a request with a body of this content type, as a client sends it."""
    fields = {
        "host": "localhost",
        **({"content-length": str(len(body))} if body else {}),
        **({"content-type": kind} if kind else {}),
        **{name.lower(): value for name, value in (headers or {}).items()},
    }
    lines = [line, *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _parse(data: bytes, request: str, traceback: str = "") -> Response:
    found = read_head(data)
    if found is None:
        raise NoAnswer(f"{request}: the function {AWAITS_DEFERRED}")
    status, headers, rest = found
    body = read_body({} if request.startswith("HEAD ") else headers, rest)
    if body is None and traceback:
        so_far, _ = read_chunks(rest) if "content-length" not in headers else (rest, None)
        raise BrokenStream(request, Response(status, headers, so_far, traceback))
    if body is None:
        raise NoAnswer(f"{request}: the generator {AWAITS_DEFERRED}")
    return Response(status, headers, body[0], traceback)
