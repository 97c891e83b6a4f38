"""Replaces single servers: a successor takes over when it is ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from twisted_appserver.serving.servers.supervised_server import SupervisedServer


class Successors:
    """
    The successors of single servers.

    @param spawn: starts a server with a number, and adds it to a dictionary.
    @param succeed: called with a successor that is ready.
    @ivar starting: the successors that are not ready, by number.
    """

    log = Logger(namespace="twisted_appserver")

    def __init__(
        self,
        spawn: Callable[[int, dict[int, SupervisedServer]], Any],
        succeed: Callable[[SupervisedServer], None],
    ) -> None:
        self._spawn, self._succeed = spawn, succeed
        self.starting: dict[int, SupervisedServer] = {}

    def __contains__(self, server: SupervisedServer) -> bool:
        return server in self.starting.values()

    def start(self, number: int) -> None:
        """Start a successor of the server with this number."""
        self._spawn(number, self.starting)

    def ready(self, server: SupervisedServer) -> None:
        """Let a successor take over."""
        del self.starting[server.number]
        self._succeed(server)

    def ended(self, server: SupervisedServer) -> None:
        """Go on with the server that was to be replaced."""
        del self.starting[server.number]
        self.log.error("{how}; the server that it should replace goes on", how=server.ending_line)


def discard(servers: dict[int, SupervisedServer]) -> None:
    """Kill servers that are not used."""
    for server in servers.values():
        server.retired = True
        server.kill()
    servers.clear()
