"""Where a server listens: its endpoints, and that they are not open to strangers by mistake."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import TCP6ServerEndpoint, serverFromString
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_appserver.access.private_files import check_private
from twisted_appserver.errors import ConfigurationError
from twisted_appserver.settings import Settings

SEPARATOR, EQUALS = re.compile(r"(?<!\\):"), re.compile(r"(?<!\\)=")  # of an endpoint's description
MODE = 660  # of a unix socket; Twisted's own is 666, which lets every user of the machine call
DEFAULT = "tcp:{}:interface=127.0.0.1:backlog=1024"  # the endpoint for a port


log = Logger()


class Listening:
    """
    The endpoints that the settings name. Nothing is open before L{open}.

    @ivar ports: what listens.
    @raise ConfigurationError: when there is no such endpoint.
    """

    def __init__(self, reactor: Any, settings: Settings) -> None:
        self._guarded = settings.insecure or bool(settings.token_file or settings.auth)
        where = settings.listen or (DEFAULT.format(settings.port),)
        try:
            self._endpoints: list[Any] = [serverFromString(reactor, _prepared(each)) for each in where]
        except Exception as error:  # those of OpenSSL, which need not be installed, have no base of ours
            raise ConfigurationError(f"--listen {' '.join(where)}: {error}") from None
        self.ports: list[Any] = []

    def open(self, site: Any) -> None:
        """
        @raise CannotListenError: when an address is taken; nothing is left open then.
        @raise ConfigurationError: when others than this machine could call, and nobody asks who they are.
        """
        for endpoint in self._endpoints:
            self._check(_interface(endpoint))
        for endpoint in self._endpoints:
            failures: list[Failure] = []
            opened = endpoint.listen(site).addCallback(self._opened)
            if opened.called:  # as with all of Twisted's; what goes wrong later is logged
                opened.addErrback(failures.append)
            if failures:
                self.close()
                if failures[0].check(OSError):  # such as a descriptor from systemd that is no socket
                    raise ConfigurationError(f"cannot listen: {failures[0].getErrorMessage()}")
                failures[0].raiseException()

    def _opened(self, port: Any) -> None:
        try:
            self._check(getattr(port.getHost(), "host", None))
        except ConfigurationError:
            port.stopListening()
            raise
        self.ports.append(port)

    def _check(self, host: str | None) -> None:
        """
        @raise ConfigurationError: when other machines can reach this address, and callers need no password.
        """
        if not (self._guarded or host is None or ip_address(host).is_loopback):
            raise ConfigurationError(
                f"{host} can be reached from other machines: authenticate callers with --token-file or "
                "--auth, or give --insecure if a proxy in front does"
            )

    def close(self) -> Deferred[Any]:
        """
        @return: fires when nothing listens any more.
        """
        closed = DeferredList([maybeDeferred(port.stopListening) for port in self.ports], consumeErrors=True)
        self.ports.clear()
        return closed

    def __str__(self) -> str:
        return " ".join(_place(port) for port in self.ports)


def _interface(endpoint: Any) -> str | None:
    """
    The address that an endpoint will listen on; C{None} where that is only known once it listens, as with a
    socket from systemd or an interface that is given by name. Twisted has no public attribute for it.
    """
    while inner := getattr(endpoint, "_wrappedEndpoint", None) or getattr(endpoint, "endpoint", None):
        endpoint = inner  # of haproxy: and tls:
    interface = getattr(endpoint, "_interface", None)
    if interface == "":
        return "::" if isinstance(endpoint, TCP6ServerEndpoint) else "0.0.0.0"
    try:
        return interface and str(ip_address(interface))
    except ValueError:
        return None


def _prepared(text: str) -> str:
    """An endpoint as it is opened: a unix socket is for its user and group unless a C{mode} is given."""
    kind, *words = SEPARATOR.split(text)
    named = dict(word.split("=", 1) for word in words if EQUALS.search(word))
    if kind == "unix" and len(words) - len(named) < 2 and "mode" not in named:
        return f"{text}:mode={MODE}"
    if kind == "ssl":
        _check_key(named.get("privateKey", "server.pem").replace("\\", ""))
    return text


def _check_key(path: str) -> None:
    """Log a warning if other users can read a private key: containers have no others, so that is no error."""
    with suppress(OSError):  # Twisted reports it when it reads the key
        try:
            check_private(path, os.stat(path), group_may_read=True)
        except ValueError as error:
            log.warn("the private key {error}", error=error)


def _place(port: Any) -> str:
    address = port.getHost()
    if not hasattr(address, "port"):
        return str(getattr(address, "name", address))
    scheme = "https" if getattr(port, "_type", "") == "TLS" else "http"
    host = f"[{address.host}]" if ":" in address.host else address.host.replace("127.0.0.1", "localhost")
    return f"{scheme}://{host}:{address.port}/"
