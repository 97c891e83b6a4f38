"""Tests of C{--host}: the address on which a server listens, and the Host headers that it accepts."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tests.support.wire import exchange, request
from twisted_appserver import ConfigurationError
from twisted_appserver.serving.banner import describe_hosts
from twisted_appserver.serving.endpoints import Endpoints
from twisted_appserver.serving.service import AppService, make_service
from twisted_appserver.settings import Settings


def hello() -> dict[str, Any]:
    return {"hello": 1}


class HostTests(TestCase):
    timeout = 20

    def serve(self, **options: Any) -> AppService:
        service = make_service([("/", hello)], port=0, **options)
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def test_server_listens_on_the_given_address(self) -> None:
        """IPv4 and IPv6; the URL can be opened. The default is loopback."""
        for options, expected in (
            ({}, "127.0.0.1"),
            ({"host": "127.0.0.2"}, "127.0.0.2"),
            ({"host": "::1"}, "::1"),
        ):
            (port,) = self.serve(**options).ports
            self.assertEqual(port.getHost().host, expected)
        self.assertRegex(self.serve(host="::1").line(), r"^http://\[::1\]:\d+/ threaded")

    def test_address_that_others_can_reach_needs_authentication(self) -> None:
        """As with --listen: without a token, passwords or --insecure the server does not start."""
        for host in ("0.0.0.0", "::", "192.0.2.1"):
            endpoints = Endpoints(reactor, Settings(host=host, port=0))
            error = self.assertRaises(ConfigurationError, endpoints.check)
            self.assertIn(f"{host} can be reached from other machines", str(error))
            Endpoints(reactor, Settings(host=host, port=0, insecure=True)).check()

    async def test_requests_may_name_the_address(self) -> None:
        """The Host header may have the address of --host; other addresses and names get 421."""
        service = self.serve(host="127.0.0.2")
        for host, status in (
            ("127.0.0.2", 200),
            ("localhost", 200),
            ("127.0.0.3", 421),
            ("evil.example", 421),
        ):
            answer = await exchange(
                service.ports[0].getHost().port, request("GET", "/", host=host), "127.0.0.2"
            )
            self.assertEqual(answer.status, status, host)

    def test_wrong_address_gets_one_line(self) -> None:
        """A name, a mask, and an address beside an endpoint."""
        for options, said in (
            ({"host": "localhost"}, "--host must be an IP address, not 'localhost'; write 127.0.0.1"),
            ({"host": ""}, "write 0.0.0.0 for all addresses of this machine"),
            ({"host": "::1", "listen": ("tcp:0",)}, "--host ::1 has no effect on --listen"),
        ):
            self.assertIn(said, str(self.assertRaises(ConfigurationError, Settings, **options)))

    def test_first_lines_name_the_hosts_that_are_accepted(self) -> None:
        """On all addresses, a reader sees why other names get 421."""
        self.assertIn("--allow-host", describe_hosts(Settings(host="0.0.0.0")))
        for settings in (Settings(), Settings(host="0.0.0.0", allow_host=("*",)), Settings(host="127.0.0.2")):
            self.assertEqual(describe_hosts(settings), "")
