"""Tests of what C{--listen} answers to endpoints that cannot be used."""

from __future__ import annotations

import os
import socket
from io import StringIO
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.python import log
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import ConfigurationError
from twisted_appserver.serving.endpoints import Endpoints, explain_start_error
from twisted_appserver.serving.logs import make_observer
from twisted_appserver.settings import Settings

NO_SOCKET = "start the service through its .socket unit"
CASES = (
    ("8080", "write tcp:8080"),
    (":8080", "write tcp:8080"),
    ("localhost:8080", "write tcp:8080:interface=127.0.0.1"),
    ("127.0.0.1:8080", "write tcp:8080:interface=127.0.0.1"),
    ("app.example.org:8080", "write tcp:8080"),
    ("[::1]:8080", "write tcp6:8080:interface=\\:\\:1"),
    ("https://localhost:8443/", "write ssl:8443:interface=127.0.0.1"),
    ("tcpp:8080", "unknown kind of endpoint 'tcpp'; did you mean tcp:?"),
    ("fd:7", "unknown kind of endpoint 'fd'; use tcp:, tcp6:, ssl:, unix:, systemd:"),
    ("tcp", "tcp: needs a port, such as tcp:8080"),
    ("tcp:80x", "the port must be a number, not '80x'"),
    ("haproxy:tcp:80x", "the port must be a number, not '80x'"),
    ("tcp:port=99999", "the port must be at most 65535, not 99999"),
    ("tcp:8080:backlog=many", "the backlog must be a number, not 'many'"),
    ("tcp:8080:interfce=::1", "tcp: has no option 'interfce'; did you mean 'interface'?"),
    ("tcp:8080:mode=660", "tcp: has no option 'mode'; use port, interface, backlog"),
    ("unix:", "unix: needs a path, such as unix:/run/app.sock"),
    ("unix:a.sock:mode=rw", "the mode must be octal, such as 660, not 'rw'"),
    ("unix:nowhere/a.sock", "/nowhere does not exist"),
    (f"unix:{__file__}", f"{__file__} exists and is not a socket"),
    (f"unix:{'a' * 120}", "the path of a unix socket has at most 107 bytes, not 120"),
    ("systemd:domain=INET:index=0", f"systemd has passed no socket with the index 0; {NO_SOCKET}"),
    ("systemd:domain=INET:name=x", f"systemd has passed no socket named 'x'; {NO_SOCKET}"),
    ("systemd:INT:index=0", "the domain must be INET, INET6, UNIX, not 'INT'"),
    ("systemd:domain=INET", "systemd: needs an index or a name"),
    (
        "ssl:8443:interface=127.0.0.1",
        "server.pem: No such file or directory; name the key",
    ),
    ("ssl:8443:interface=127.0.0.1:privateKey=no.pem", "no.pem: No such file or directory"),
)


class AdviceTests(SynchronousTestCase):
    def refused(self, text: str) -> str:
        """Return why an endpoint is refused, before anything listens."""
        settings = Settings(listen=("tcp:0:interface=127.0.0.1", text))
        error = self.assertRaises(ConfigurationError, lambda: Endpoints(reactor, settings).check())
        return str(error)

    def test_every_mistake_gets_advice(self) -> None:
        """The message names the endpoint that is wrong, and no other."""
        with patch.dict(os.environ):
            os.environ.pop("LISTEN_FDS", None)
            for text, advice in CASES:
                found = self.refused(text)
                self.assertTrue(found.startswith(f"--listen {text}: "), found)
                self.assertIn(advice, found)

    def test_suggested_endpoints_can_be_used(self) -> None:
        for _, advice in CASES:
            if advice.startswith("write tcp"):
                Endpoints(reactor, Settings(listen=(advice.removeprefix("write "),), insecure=True)).check()

    def test_unix_socket_in_use_is_named_by_its_path(self) -> None:
        path = os.path.join(os.path.relpath(self.mktemp()))
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(path)
            taken.listen()
            failed = UNIXServerEndpoint(reactor, path).listen(Factory())
            error = self.failureResultOf(failed, CannotListenError).value
        self.assertEqual(
            explain_start_error(error), f"{path} is in use; stop what listens there or choose another path"
        )


class LogTests(SynchronousTestCase):
    def test_line_with_the_name_of_our_factory_is_left_out(self) -> None:
        """The service logs its URL instead. Ports of the application are logged."""
        for log_format in ("text", "json"):
            file = StringIO()
            log.startLoggingWithObserver(observer := make_observer(file, log_format), setStdout=False)
            try:
                log.msg("AppSite starting on 8080")
                log.msg("EchoFactory starting on 7")
            finally:
                log.removeObserver(observer)
            self.assertEqual(file.getvalue().count("starting on"), 1)
            self.assertIn("EchoFactory starting on 7", file.getvalue())
