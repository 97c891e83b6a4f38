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
import math
import re
import weakref
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from twisted_appserver.access.credentials import load_credentials
from twisted_appserver.core.lifespan import ProcessLifespan
from twisted_appserver.core.multipart_form import has_files, write_multipart
from twisted_appserver.core.router import Router
from twisted_appserver.errors import AppserverError, ConfigurationError
from twisted_appserver.executors.inline import InlineExecutor
from twisted_appserver.executors.mounted_resources import ResourceExecutor
from twisted_appserver.http.app_resource import AppResource
from twisted_appserver.http.site import AppSite
from twisted_appserver.serving.assembly import make_dispatcher, make_jobs
from twisted_appserver.settings import settings_from_keywords

INTERVAL = 0.005  # seconds between two checks whether the response is complete
NOT_ASCII = re.compile(r"[^\0-\x7f]+")


class NoAnswer(AppserverError):
    """Raised when a function waits for something, such as time to pass, so that there is no response yet."""


class Response(msgspec.Struct, frozen=True):
    """
    The response to a request.

    @ivar status: the HTTP status code.
    @ivar headers: the headers by their names in lower case.
    @ivar body: the body, in bytes.
    """

    status: int
    headers: dict[str, str]
    body: bytes

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
    headers: dict[str, str] = {}
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
    body = b""
    while True:
        size, end, data = data.partition(b"\r\n")
        length = int(size, 16) if end else 0
        if not end or len(data) < length + 2:
            return None
        body += data[:length]
        data = data[length + 2 :]
        if not length:
            return body, data


class Client:
    """
    Send requests to a table of functions. Each function runs at once, in the calling thread. A request waits
    while its function awaits asyncio; C{--timeout} limits that.

    @param url_patterns: the table.
    @param lifespan: the lifespan of the application. It is entered at once. L{close}, or the end of a C{with}
        block, leaves it.
    @param options: options from L{Settings}; those that do not concern requests have no effect.
    @ivar clock: the clock of the reactor; C{client.clock.advance(5)} lets five seconds pass.
    @raise PatternError: when an entry of the table cannot be used.
    @raise ConfigurationError: when an option is wrong, C{auth} names hashed passwords, or the lifespan fails.
    """

    def __init__(self, url_patterns: Sequence[Any], lifespan: Any = None, **options: Any) -> None:
        settings = settings_from_keywords(**options)
        self.clock = Clock()
        executors: dict[str, Any] = dict.fromkeys(
            ("inline", "threads", "processes", "cluster"), InlineExecutor(self.clock)
        )
        executors["resources"] = ResourceExecutor(self.clock)
        if any(each.startswith("hashed:") for each in settings.auth):
            raise ConfigurationError(
                "--auth hashed: needs threads, which this client does not have; use file: instead"
            )
        router = Router(url_patterns, lifespan)
        self.dispatcher, guard = make_dispatcher(self.clock, settings, router, executors, "threads")
        if (credentials := load_credentials(self.clock, settings)) is not None:
            guard.require(credentials)
        if not settings.no_admin:
            self.dispatcher.admin = Router(make_jobs(self.dispatcher, settings).url_patterns())
        resource = AppResource(self.dispatcher, max_body=settings.max_body)
        self._site = AppSite(resource, self.clock, settings)
        self._timeout = settings.timeout or math.inf
        self._runner: asyncio.Runner | None = None
        if router.lifespan is not None or any(handler.awaits for handler in router.handlers):
            self._runner = asyncio.Runner()
            self._close_runner = weakref.finalize(self, self._runner.close)
        self._lifespan = None
        if router.lifespan is not None and self._runner is not None:
            self._lifespan = ProcessLifespan(router.lifespan, self._runner.get_loop())
        if self._lifespan is not None:
            self._lifespan.enter()

    def close(self) -> None:
        """Leave the lifespan, and close the event loop. Raises whatever the lifespan raises."""
        try:
            if self._lifespan is not None:
                self._lifespan.leave()
        finally:
            if self._runner is not None:
                self._close_runner()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Response:
        """Send a GET request. The target is a path, with or without a query string."""
        return self.request("GET", target, headers)

    def post(
        self,
        target: str,
        json: Any = None,
        form: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """
        Send a POST request with a body of JSON or with the fields of a form.

        @param form: the fields by name; a list is a repeated field. With an L{Upload} among them, the form is
            sent as multipart/form-data.
        """
        if form is not None and has_files(form):
            body, kind = write_multipart(form)
        elif form is not None:
            body, kind = urlencode(form, doseq=True).encode(), "application/x-www-form-urlencoded"
        else:
            body, kind = msgspec.json.encode(json if json is not None else {}), "application/json"
        return self.request("POST", target, {"content-type": kind, **_lower(headers)}, body)

    def request(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        """
        Send a request.

        @raise NoAnswer: when the function waits for something other than asyncio, or for too long.
        """
        fields = {
            "host": "localhost",
            **({"content-length": str(len(body))} if body else {}),
            **_lower(headers),
        }
        target = NOT_ASCII.sub(lambda found: quote(found[0]), target)
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        channel = self._site.buildProtocol(None)
        transport = StringTransport(peerAddress=IPv4Address("TCP", "127.0.0.1", 1))
        channel.makeConnection(transport)
        data = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        if self._runner is None or asyncio._get_running_loop() is not None:
            channel.dataReceived(data)
            self._run_clock()
        else:
            self._runner.run(self._send(channel, transport, data, f"{method} {target}"))
        channel.setTimeout(None)
        response = _parse(transport.value(), f"{method} {target}")
        channel.connectionLost(Failure(ConnectionDone()))
        return response

    def _run_clock(self) -> None:
        """Do what is due."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)

    async def _send(self, channel: Any, transport: StringTransport, data: bytes, request: str) -> None:
        """Send a request, and wait for the response while a task of this request awaits asyncio."""
        end, others = monotonic() + self._timeout, asyncio.all_tasks()
        channel.dataReceived(data)
        while True:
            await asyncio.sleep(0)
            self._run_clock()
            tasks = list(filter(_awaits_asyncio, asyncio.all_tasks() - others))
            if not tasks or monotonic() > end or _is_complete(transport.value(), request):
                return
            await asyncio.wait(tasks, timeout=INTERVAL, return_when=asyncio.FIRST_COMPLETED)


def _awaits_asyncio(task: asyncio.Task[Any]) -> bool:
    return not isinstance(getattr(task, "_fut_waiter", None), Deferred)


def _is_complete(data: bytes, request: str) -> bool:
    try:
        return bool(_parse(data, request))
    except NoAnswer:
        return False


def _lower(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (headers or {}).items()}


def _parse(data: bytes, request: str) -> Response:
    found = read_head(data)
    if found is None:
        advice = "advance the clock or use a real server"
        if asyncio._get_running_loop() is not None:
            advice = "an event loop is running here; write await asyncio.to_thread(client.get, ...)"
        raise NoAnswer(f"{request}: the function waits for something; {advice}")
    status, headers, rest = found
    body = read_body({} if request.startswith("HEAD ") else headers, rest)
    if body is None:
        raise NoAnswer(f"{request}: the generator waits for something, or has failed")
    return Response(status, headers, body[0])
