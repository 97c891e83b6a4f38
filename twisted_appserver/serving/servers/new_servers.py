"""Makes servers that have the same options and sockets."""

from __future__ import annotations

from typing import Any

from twisted_appserver.core.application import Application
from twisted_appserver.serving.servers.server_start import server_start, settings_of_servers
from twisted_appserver.serving.servers.shared_sockets import SocketOpener
from twisted_appserver.serving.servers.supervised_server import SupervisedServer
from twisted_appserver.settings import Settings


class NewServers:
    """
    Makes servers.

    @param opener: has opened the sockets of all servers.
    @param reactor_module: as in L{ServerStart}; also C{prints_to_log}.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        application: Application,
        opener: SocketOpener,
        reactor_module: str,
        prints_to_log: bool,
    ) -> None:
        self._reactor, self._settings, self._application = reactor, settings, application
        self._opener, self._reactor_module, self._prints_to_log = opener, reactor_module, prints_to_log

    def make(self, supervisor: Any, number: int) -> SupervisedServer:
        """
        Make a server, whose process does not run yet.

        @param supervisor: the L{Supervisor}.
        """
        settings = settings_of_servers(self._settings, self._opener.count)
        sizes = [len(port.sockets) for port in self._opener.opened]
        start = server_start(
            settings, self._application, number, sizes, self._reactor_module, self._prints_to_log
        )
        return SupervisedServer(supervisor, self._reactor, start)

    def descriptors(self) -> list[int]:
        """Return the descriptors of all listening sockets, for L{SupervisedServer.spawn}."""
        return [each.fileno() for port in self._opener.opened for each in port.sockets]
