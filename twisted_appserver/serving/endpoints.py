"""
The endpoints of a server: where it listens.

An endpoint that other machines can reach is refused unless callers must authenticate.
"""

from __future__ import annotations

import os
from contextlib import suppress
from errno import EADDRINUSE
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import TCP6ServerEndpoint, UNIXServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_appserver.access.private_files import check_private
from twisted_appserver.errors import ConfigurationError, OptionError
from twisted_appserver.serving.endpoint_advice import (
    endpoint_problem,
    explain_endpoint_error,
    read_arguments,
    socket_path_problem,
)
from twisted_appserver.settings import Settings

MODE = 660  # the mode of a unix socket; with Twisted's default 666 every user of the machine could call
DEFAULT = "{}:{}:interface={}:backlog=1024"  # the endpoint for --port and --host

log = Logger()


def explain_start_error(error: BaseException | None) -> str:
    """Return why a server did not start, and what to do if its address is in use."""
    if isinstance(error, CannotListenError) and getattr(error.socketError, "errno", 0) == EADDRINUSE:
        if isinstance(error.port, bytes):  # the path of a unix socket
            return f"{os.fsdecode(error.port)} is in use; stop what listens there or choose another path"
        where = error.port if error.interface is None else f"{error.interface}:{error.port}"
        return f"{where} is in use; stop what listens there or choose another port (0 for a free one)"
    return str(error)


class Endpoints:
    """
    Listen on the endpoints from the settings. Nothing is open before L{open} is called.

    @ivar ports: the ports that are listening, as C{IListeningPort}.
    @raise ConfigurationError: when an endpoint cannot be used.
    """

    def __init__(self, reactor: Any, settings: Settings) -> None:
        self._may_be_public = settings.insecure or bool(settings.token_file or settings.auth)
        kind, address = ("tcp6" if ":" in settings.host else "tcp"), settings.host.replace(":", r"\:")
        descriptions = settings.listen or (DEFAULT.format(kind, settings.port, address),)
        self._endpoints: list[Any] = [_make_endpoint(reactor, each) for each in descriptions]
        self.ports: list[Any] = []

    def open(self, site: Any) -> None:
        """
        Listen on all endpoints.

        @param site: the protocol factory.
        @raise CannotListenError: when an address is in use. Nothing stays open then.
        @raise ConfigurationError: when other machines could call without authentication.
        """
        self.check()
        for endpoint in self._endpoints:
            failures: list[Failure] = []
            opened = endpoint.listen(site).addCallback(self._opened)
            if opened.called:  # true for all endpoints of Twisted; later failures are logged
                opened.addErrback(failures.append)
            if failures:
                self.close()
                if failures[0].check(OSError):  # such as a descriptor from systemd that is not a socket
                    raise ConfigurationError(f"cannot listen: {failures[0].getErrorMessage()}")
                failures[0].raiseException()

    def check(self) -> None:
        """
        @raise ConfigurationError: when other machines could call without authentication, or a unix socket
            cannot be made at its path.
        """
        for endpoint in self._endpoints:
            self._check(_interface(endpoint))
            path = getattr(endpoint, "_address", None) if isinstance(endpoint, UNIXServerEndpoint) else None
            if isinstance(path, str) and (problem := socket_path_problem(path)):
                raise ConfigurationError(f"--listen unix:{path}: {problem}")

    def _opened(self, port: Any) -> None:
        try:
            self._check(getattr(port.getHost(), "host", None))
        except ConfigurationError:
            port.stopListening()
            raise
        self.ports.append(port)

    def _check(self, host: str | None) -> None:
        """
        @raise ConfigurationError: when other machines can reach this address and call without authentication.
        """
        if not (self._may_be_public or host is None or ip_address(host).is_loopback):
            raise ConfigurationError(
                f"{host} can be reached from other machines: authenticate callers with --token-file or "
                "--auth, or use --insecure if a proxy in front does this"
            )

    def close(self) -> Deferred[Any]:
        """
        Stop listening.

        @return: a Deferred that fires when all ports are closed.
        """
        closed = DeferredList([maybeDeferred(port.stopListening) for port in self.ports], consumeErrors=True)
        self.ports.clear()
        return closed

    def urls(self) -> list[str]:
        """Return the URLs of the listening ports, and the paths of unix sockets."""
        return [_url(port) for port in self.ports]

    def __str__(self) -> str:
        return " ".join(self.urls())


def _make_endpoint(reactor: Any, text: str) -> Any:
    """
    @raise ConfigurationError: when no endpoint can be made from its description.
    """
    if problem := endpoint_problem(text):
        raise OptionError(f"--listen {text}: {problem}")
    try:
        return serverFromString(reactor, _complete(text))
    except Exception as error:  # OpenSSL is optional and raises its own exceptions
        kind = OptionError if "endpoint type" in str(error) else ConfigurationError
        raise kind(f"--listen {text}: {explain_endpoint_error(text, error)}") from None


def _interface(endpoint: Any) -> str | None:
    """
    Return the IP address on which an endpoint will listen.

    C{None} if it is known only when the endpoint listens, as for a socket from systemd or an interface given
    by name. Twisted has no public attribute for the address.
    """
    while inner := getattr(endpoint, "_wrappedEndpoint", None) or getattr(endpoint, "endpoint", None):
        endpoint = inner  # haproxy: and tls: wrap another endpoint
    interface = getattr(endpoint, "_interface", None)
    if interface == "":
        return "::" if isinstance(endpoint, TCP6ServerEndpoint) else "0.0.0.0"
    try:
        return interface and str(ip_address(interface))
    except ValueError:
        return None


def _complete(text: str) -> str:
    """Add our default mode to the description of a unix socket, and check the private key of C{ssl:}."""
    kind, positional, named = read_arguments(text)
    has_mode = "mode" in named or len(positional) > 1  # the mode may be given by position
    if kind == "unix" and not has_mode:
        return f"{text}:mode={MODE}"
    if kind == "ssl":
        _check_key(named.get("privateKey", "server.pem").replace("\\", ""))
    return text


def _check_key(path: str) -> None:
    """
    Log a warning if other users can read a private key. In a container it does no harm, so it is not an
    error.
    """
    with suppress(OSError):  # Twisted reports it when it reads the key
        try:
            check_private(path, os.stat(path), group_may_read=True)
        except ValueError as error:
            log.warn("private key {error}", error=error)


def _url(port: Any) -> str:
    """Return the URL of a listening port, or the path of a unix socket."""
    address = port.getHost()
    if not hasattr(address, "port"):
        return os.fsdecode(getattr(address, "name", None) or str(address))
    scheme = "https" if getattr(port, "_type", "") == "TLS" else "http"
    host = f"[{address.host}]" if ":" in address.host else address.host.replace("127.0.0.1", "localhost")
    return f"{scheme}://{host}:{address.port}/"
