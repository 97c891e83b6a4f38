"""The table of requests over every transport, with our channel and with the channel of twisted.web."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    UNIXClientEndpoint,
    connectProtocol,
    serverFromString,
    wrapClientTLS,
)
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.trial.unittest import TestCase

from tests.http.test_resource import resource
from tests.support import http_cases
from tests.support.wire import Connection, request
from twisted_appserver import InlineExecutor, Router
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.http.app_resource import AppResource
from twisted_appserver.http.site import AppSite
from twisted_appserver.settings import CHANNELS, Settings
from twisted_appserver.testing import Response

LARGE = b'{"a":"' + b"x" * 90_000 + b'"}'


def over_tls(path: str) -> tuple[str, Callable[[Any], Any]]:
    """Return the endpoint of a TLS server, and a function that wraps the endpoint of its client.

    The certificate is written to C{path}.
    """
    pem = certificate()
    with open(path, "wb") as file:
        file.write(pem)
    options = optionsForClientTLS("localhost", Certificate.loadPEM(pem))
    place = f"ssl:0:interface=127.0.0.1:privateKey={path}:certKey={path}"
    return place, lambda endpoint: wrapClientTLS(options, endpoint)


def certificate() -> bytes:
    """Return a key and a self-signed certificate for localhost, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + made.public_bytes(serialization.Encoding.PEM)


def comparable(answer: Response) -> tuple[Any, ...]:
    """Return the response without what differs between equal requests."""
    body: Any = answer.body
    length = answer.headers.get("content-length", "0")
    if answer.headers.get("content-type") == http_cases.PROBLEM and body:
        length = str(int(length) - len(answer.json["instance"]))  # the ids grow with their number
        body = {**answer.json, "instance": ""}
    return answer.status, body, answer.headers.get("content-type"), length


class TransportTests(TestCase):
    """Both kinds of connection over TCP, TLS and a unix socket."""

    timeout = 60

    async def serve(self, description: str, channel: str) -> Any:
        settings = Settings(channel=channel, max_body=http_cases.MAX_BODY)
        site = AppSite(resource(), reactor, settings)
        port = await serverFromString(reactor, description).listen(site)
        self.addCleanup(port.stopListening)
        return port

    def tcp(self, port: Any) -> Any:
        return TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port, timeout=10)

    async def conversation(self, endpoint: Any) -> list[tuple[str, Any]]:
        """Return the name and response of every case. The connection is reused until the server closes it."""
        connection: Connection | None = None
        heard: list[tuple[str, Any]] = []
        for case in http_cases.CASES:
            if connection is None or connection.closed.called:
                connection = await connectProtocol(endpoint, Connection())
            answer = await connection.send(case.data)
            differences = case.differences(answer)
            heard.append((case.name, differences or comparable(answer)))
            self.assertEqual(differences, [], case.name)
            if answer.headers.get("connection") == "close":
                await connection.closed
        assert connection is not None
        body = await connection.send(request("POST", "/echo/", LARGE, (http_cases.JSON,)))
        self.assertEqual(body.body, LARGE)
        await connection.close()
        return heard

    async def check(self, description: str, endpoint: Any) -> None:
        heard = []
        for channel in CHANNELS:
            port = await self.serve(description, channel)
            heard.append(await self.conversation(endpoint(port)))
            await port.stopListening()
        self.assertEqual(*heard)

    async def test_both_channels_send_the_same_responses_over_tcp(self) -> None:
        await self.check("tcp:0:interface=127.0.0.1", self.tcp)

    async def test_both_channels_send_the_same_responses_over_tls(self) -> None:
        place, wrap = over_tls(self.mktemp())
        await self.check(place, lambda port: wrap(self.tcp(port)))
        for warning in self.flushWarnings():  # Twisted 26.10 causes it with the newest pyOpenSSL.
            self.assertIn("Passing pyOpenSSL", warning["message"])

    async def test_request_that_arrives_while_a_connection_closes_is_not_performed(self) -> None:
        """Over TLS, data still arrives until the client has closed its side too."""
        place, wrap = over_tls(self.mktemp())
        for channel in CHANNELS:
            performed: list[int] = []
            router = Router([(r"/", partial(performed.append, 1))])
            dispatcher = Dispatcher(reactor, router, {"inline": InlineExecutor()}, "inline")
            site = AppSite(AppResource(dispatcher), reactor, Settings(channel=channel))
            port = await serverFromString(reactor, place).listen(site)
            self.addCleanup(port.stopListening)
            connection = await connectProtocol(wrap(self.tcp(port)), Connection())
            await connection.send(request("GET", "/other/"))
            finished = site.finish()
            await self.assertFailure(connection.send(request("GET", "/")), ConnectionError)
            await finished
            self.assertEqual(performed, [], channel)
        self.flushWarnings()  # Twisted 26.10 causes them with the newest pyOpenSSL.

    async def test_both_channels_send_the_same_responses_over_a_unix_socket(self) -> None:
        folder = tempfile.TemporaryDirectory()  # its path is short enough for a socket
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "socket")
        await self.check(f"unix:{path}", lambda _: UNIXClientEndpoint(reactor, path, timeout=10))
