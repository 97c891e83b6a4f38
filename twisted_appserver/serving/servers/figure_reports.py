"""The figures of one of several servers: it reports them to the supervisor, which has the sums."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import LoopingCall

from twisted_appserver.admin.figures import Figures
from twisted_appserver.admin.increments import Increments
from twisted_appserver.admin.overview import Overview, WantedFigures
from twisted_appserver.admin.present import present
from twisted_appserver.errors import HTTPError
from twisted_appserver.serving.servers.messages import (
    AllFigures,
    FiguresReport,
    FiguresWanted,
    Report,
    ReportFigures,
)

# Seconds between two reports. A server that is killed has not reported the calls after the last one.
INTERVAL = 5.0
MOST_WAITING = 3.0  # seconds that a page waits for the supervisor


class FigureReports:
    """
    Reports the figures of a server, and requests the figures of all servers.

    @param figures: the figures of the server.
    @param send: sends a message to the supervisor.
    """

    def __init__(self, figures: Figures, send: Callable[[Report], None]) -> None:
        self._figures, self._send = figures, send
        self._service = figures.service
        self._reactor = self._service.dispatcher.reactor
        self._increments = Increments(figures.counts)
        self._clock = LoopingCall(self.report)
        self._clock.clock = self._reactor
        self._numbers = count(1)
        self._waiting: dict[int, Deferred[AllFigures]] = {}

    def start(self) -> None:
        """Report every few seconds from now on."""
        self._clock.start(INTERVAL, now=False)

    def stop(self) -> None:
        """Report what has been counted until the end. Nothing is reported any more."""
        if self._clock.running:
            self._clock.stop()
        self.report()

    def report(self) -> None:
        """Report what has been counted since the last report."""
        self._send(FiguresReport(self._increments.next()))

    async def obey(self, order: ReportFigures, replaced: bool) -> None:
        """
        Report the figures, and what the server does.

        @param replaced: whether a successor has taken the place of the server.
        """
        if order.readiness:
            await self._service.check()
        else:
            self._figures.keep_counting()
        now = present(self._figures, replaced)
        self._send(FiguresReport(self._increments.next(), order.collection, now))

    async def collect(self, wanted: WantedFigures) -> Overview:
        """
        Return the figures of all servers.

        @raise HTTPError: 503 if the supervisor does not send them.
        """
        number = next(self._numbers)
        received = self._waiting[number] = Deferred()
        self._send(FiguresWanted(number, wanted))
        received.addTimeout(MOST_WAITING, self._reactor)
        try:
            found = await received
        except TimeoutError:
            raise HTTPError(503, "the supervisor of the servers does not answer") from None
        finally:
            del self._waiting[number]
        return Overview(found.counts, found.servers)

    def received(self, found: AllFigures) -> None:
        """Pass on figures that were requested."""
        if waiting := self._waiting.get(found.request):
            waiting.callback(found)
