"""A server that has a supervisor: it accepts connections from inherited sockets, when it is told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from twisted_appserver.core.router import Router
from twisted_appserver.executors.child_processes import protect
from twisted_appserver.serving.endpoints import Endpoints
from twisted_appserver.serving.reloader import log_notes
from twisted_appserver.serving.servers.figure_reports import FigureReports
from twisted_appserver.serving.servers.inherited_sockets import InheritedSockets
from twisted_appserver.serving.servers.messages import (
    FIRST_SOCKET,
    AcceptFrom,
    AllFigures,
    Order,
    ReadCredentials,
    Report,
    ReportFigures,
    Retire,
    ServerClosed,
    ServerReady,
    ServerStart,
    ShowProblem,
)
from twisted_appserver.serving.service import AppService

IDLE_TIME = 10.0  # seconds for which a replaced server keeps connections on which nothing arrives


def descriptors_of(sizes: list[int]) -> list[list[int]]:
    """Return the descriptors of the sockets of each port, from their numbers of sockets."""
    found, first = [], FIRST_SOCKET
    for size in sizes:
        found.append([*range(first, first + size)])
        first += size
    return found


class ServerService(AppService):
    """
    One of several servers.

    @param start: what the supervisor has sent.
    @param send: sends a message to the supervisor.
    @param end: ends the process in an orderly way.
    """

    def __init__(
        self,
        reactor: Any,
        start: ServerStart,
        router: Router,
        send: Callable[[Report], None],
        end: Callable[[], None],
    ) -> None:
        self._sockets = InheritedSockets(reactor, descriptors_of(start.sockets))
        protect(self._sockets, self._sockets.descriptors)
        self.number, self._end = str(start.number), end
        self._send = send
        self._moving: Deferred[None] | None = None  # fires when the clients of a retired server have moved
        endpoints = Endpoints(self._sockets, start.settings)
        super().__init__(reactor, start.settings, start.application, router, endpoints=endpoints)
        self._reports = FigureReports(self._figures, send)
        self._overviews.collect = self._reports.collect

    def _announce(self) -> None:
        """Log the warnings once for all servers. The supervisor logs where they listen."""
        if self.number == "1":
            log_notes(self.log, self._reactor, self.dispatcher.router, self._settings)

    def line(self) -> str:
        """Return the line of a single server, and how many servers there are."""
        return f"{super().line()} in each of {self._settings.servers} servers"

    def report_ready(self) -> None:
        """Let the supervisor know that calls can be performed, and what it may log about the service."""
        self._send(ServerReady(self._executors.sizes(), self._facts()))
        self._reports.start()

    def obey(self, order: Order) -> None:
        """Do what the supervisor has sent."""
        if isinstance(order, AcceptFrom):
            self._sockets.accept_from(order.owners)
        elif isinstance(order, ReadCredentials):
            self._reloader.reload_credentials()
        elif isinstance(order, ShowProblem):
            self._reloader.problem = order.problem
        elif isinstance(order, ReportFigures):
            Deferred.fromCoroutine(self._reports.obey(order, replaced=self._moving is not None))
        elif isinstance(order, AllFigures):
            self._reports.received(order)
        elif isinstance(order, Retire):
            Deferred.fromCoroutine(self._retire())
        else:
            self._end()

    async def _retire(self) -> None:
        """
        Accept nothing more, and end when the clients have moved to the next server.

        Connections are closed with a response, and not between two requests: a client that has just sent one
        would get no response.
        """
        if self._moving is not None:
            self._moving.cancel()
            return
        self._moving = Deferred()
        await self._endpoints.close()
        self._send(ServerClosed())
        if self._jobs is not None:
            self._jobs.rest()
        self.site.retire().chainDeferred(self._moving)
        await self._moving.addTimeout(IDLE_TIME, self._reactor).addErrback(lambda _: None)
        self.site.finish()
        await self.dispatcher.drained()
        self._end()

    async def _stop(self) -> None:
        await super()._stop()
        self._reports.stop()

    def _stopping_line(self) -> str:
        """Describe only calls. The supervisor logs that it stops, and how to end everything at once."""
        self.signals = None
        return super()._stopping_line() if self.in_flight else ""
