"""Clients that close their sending side and wait for the response, and clients that are gone."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.support import half_closing, http_cases
from tests.support.slow import slow
from tests.support.wire import read, request
from twisted_appserver import AppResource, Router, make_service
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.executors.inline import InlineExecutor
from twisted_appserver.executors.threads import ThreadExecutor
from twisted_appserver.settings import CHANNELS, FORKED_SERVER, THREADED_SERVER

TYPES = (THREADED_SERVER, FORKED_SERVER)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close resets the connection
Address = Any


def connected(address: Address) -> socket.socket:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    client = socket.socket(family)
    client.settimeout(20)
    client.connect(address)
    return client


def half_closed(address: Address, data: bytes) -> bytes:
    """Send data, close the sending side, and return everything that arrives until the end."""
    with connected(address) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while piece := client.recv(65536):
            received += piece
    return received


class HalfCloseTestCase(TestCase):
    timeout = 100

    async def serve(self, server_type: str, channel: str, **options: Any) -> tuple[Any, Address, str]:
        """Start a service. Return it with its TCP address and the path of its unix socket."""
        folder = tempfile.TemporaryDirectory()  # its path is short enough for a socket
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "socket")
        listen = ("tcp:0:interface=127.0.0.1", f"unix:{path}")
        service = make_service(
            app="tests.support.half_closing", listen=listen, server_type=server_type, channel=channel,
            workers=2, threads=4, **options,
        )  # fmt: skip
        service.startService()
        self.addCleanup(service.stopService)
        await service.started
        return service, ("127.0.0.1", service.ports[0].getHost().port), path

    def embedded(self) -> tuple[Dispatcher, Address]:
        """Mount an AppResource below a path of a stock Site."""
        executor = ThreadExecutor(reactor, 4)
        executors = {"threads": executor, "inline": InlineExecutor()}
        dispatcher = Dispatcher(reactor, Router(half_closing.url_patterns), executors, "threads")
        self.addCleanup(dispatcher.stop)
        root = Resource()
        root.putChild(b"app", AppResource(dispatcher))
        port = reactor.listenTCP(0, Site(root), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        return dispatcher, ("127.0.0.1", port.getHost().port)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await deferLater(reactor, 0.01)

    async def bodies(self, address: Address, *requests: bytes) -> list[Any]:
        """Return the status and body of each response that a half-closed client receives."""
        data, found = await deferToThread(half_closed, address, b"".join(requests)), []
        while data and (one := read(data)):
            answer, data = one
            found.append((answer.status, answer.body))
        self.assertEqual(data, b"", requests)
        return found


ONE = (200, b'{"number":0}')
ITEMS = (200, b"".join(b'{"number":%d}\n' % number for number in range(5)))
FORM = (http_cases.FORM,)


class AnsweredTests(HalfCloseTestCase):
    """A client that closes only its sending side receives every response."""

    async def check(self, address: Address, prefix: str = "") -> None:
        def get(target: str) -> bytes:
            return request("GET", f"{prefix}{target}")

        self.assertEqual(await self.bodies(address, get("/slow/")), [ONE])
        self.assertEqual(await self.bodies(address, get("/slow_coroutine/")), [ONE])
        self.assertEqual(await self.bodies(address, get("/items/")), [ITEMS])
        self.assertEqual(await self.bodies(address, get("/items_on_reactor/")), [ITEMS])
        for target in ("/large/", "/large_on_reactor/"):
            ((status, body),) = await self.bodies(address, get(target))
            self.assertEqual((status, len(body)), (200, 3_000_011))
        several = [get(f"/slow/?number={number}") for number in range(3)]
        found = await self.bodies(address, *several, get("/items/"), get("/nowhere/"))
        self.assertEqual(found[:4], [*((200, b'{"number":%d}' % number) for number in range(3)), ITEMS])
        self.assertEqual(found[4][0], 404)
        upload = request("POST", f"{prefix}/size/", b"text=" + b"x" * 300_000, FORM)
        self.assertEqual(await self.bodies(address, get("/slow/"), upload), [ONE, (200, b'{"size":300000}')])

    async def check_service(self, server_type: str, channel: str) -> None:
        service, tcp, unix = await self.serve(server_type, channel)
        for address in (tcp, unix):
            await self.check(address)
            job = request("GET", "/slow/", headers=(("Prefer", "respond-async"),))
            ((status, _),) = await self.bodies(address, job)
            self.assertEqual(status, 202)
            self.assertEqual(await deferToThread(half_closed, address, b""), b"")
            self.assertEqual(await deferToThread(half_closed, address, request("GET", "/slow/")[:-2]), b"")
            refused = request("POST", "/nowhere/", b"text=xyz", FORM)
            ((status, _),) = await self.bodies(address, refused[:-1])
            self.assertEqual(status, 404)
            part = request("POST", "/size/", b"text=xyz", FORM)[:-1]
            self.assertEqual(await self.bodies(address, request("GET", "/slow/"), part), [ONE])
        await self.until(lambda: not (service.site.connections or service.dispatcher.in_flight))

    @slow
    async def test_half_closed_client_still_gets_its_responses_from_threads(self) -> None:
        """Over TCP and a unix socket."""
        await self.check_service(THREADED_SERVER, "llhttp")

    @slow
    async def test_half_closed_client_of_the_twisted_channel_still_gets_its_responses(self) -> None:
        await self.check_service(THREADED_SERVER, "twisted")

    @slow
    async def test_half_closed_client_still_gets_its_responses_from_workers(self) -> None:
        await self.check_service(FORKED_SERVER, "llhttp")

    @slow
    async def test_half_closed_client_of_the_twisted_channel_gets_responses_from_workers(self) -> None:
        await self.check_service(FORKED_SERVER, "twisted")

    @slow
    async def test_half_closed_client_of_another_site_still_gets_its_responses(self) -> None:
        dispatcher, address = self.embedded()
        await self.check(address, "/app")
        self.assertEqual(dispatcher.in_flight, 0)


class GoneTests(HalfCloseTestCase):
    """If a client is certainly gone, its call is cancelled, even after it has closed its sending side."""

    async def begin(self, address: Address, target: str) -> tuple[socket.socket, str]:
        """Start a call of a half-closed client. Return the client, and the file that marks its end."""
        path = os.path.abspath(self.mktemp())
        client = connected(address)
        self.addCleanup(client.close)
        client.sendall(request("GET", f"{target}?path={path}"))
        client.shutdown(socket.SHUT_WR)
        await self.until(lambda: os.path.exists(path))
        return client, path + ".closed"

    async def check(self, in_flight: Callable[[], int], address: Address, prefix: str = "") -> None:
        client, closed = await self.begin(address, f"{prefix}/forever/")
        await deferLater(reactor, 0.2)
        self.assertFalse(os.path.exists(closed))
        if not isinstance(address, str):  # TCP also resets a connection that is closed with unread data
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        await self.until(lambda: os.path.exists(closed))
        client, closed = await self.begin(address, f"{prefix}/endless/")
        client.close()  # The next item is sent to it.
        await self.until(lambda: os.path.exists(closed))
        await self.until(lambda: not in_flight())

    @slow
    async def test_call_of_a_lost_client_is_cancelled_in_every_service(self) -> None:
        """In every type, on both channels, over TCP and a unix socket."""
        for server_type in TYPES:
            for channel in CHANNELS:
                service, tcp, unix = await self.serve(server_type, channel)
                for address in (tcp, unix):
                    await self.check(lambda: service.dispatcher.in_flight, address)  # noqa: B023
                await self.until(lambda: not service.site.connections)  # noqa: B023
                await service.stopService()

    async def test_call_of_a_lost_client_is_cancelled_in_another_site(self) -> None:
        dispatcher, address = self.embedded()
        await self.check(lambda: dispatcher.in_flight, address, "/app")

    async def test_stopping_server_answers_a_half_closed_client(self) -> None:
        service, tcp, _ = await self.serve(THREADED_SERVER, "llhttp")
        answer = ensureDeferred(self.bodies(tcp, request("GET", "/slow/")))
        await self.until(lambda: service.dispatcher.in_flight == 1)
        await service.stopService()
        self.assertEqual(await answer, [ONE])

    async def test_keepalive_probes_find_a_half_closed_client_that_is_gone(self) -> None:
        service, tcp, _ = await self.serve(THREADED_SERVER, "llhttp")
        client, _ = await self.begin(tcp, "/forever/")
        (channel,) = service.site._connections
        server = channel.transport.socket
        await self.until(lambda: bool(server.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        await self.until(lambda: not service.site.connections)
