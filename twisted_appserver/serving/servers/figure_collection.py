"""
The figures of all servers, in their supervisor.

Strategy: servers report what they have counted since their last report, and the supervisor adds the reports.
So the counts of a server that has ended stay in the sums. A page of a server requests the sums: first all
servers report once more, and what they do at the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from twisted_appserver.admin.counts import Counts
from twisted_appserver.admin.figures import COUNTING_TIME
from twisted_appserver.admin.increments import Sums
from twisted_appserver.admin.present import Present
from twisted_appserver.serving.servers.messages import AllFigures, FiguresReport, FiguresWanted, ReportFigures

MOST_WAITING = 1.0  # seconds that the supervisor waits for the report of a server


class _Collection:
    """
    A request for the figures of all servers, until they have reported.

    @param server: the L{SupervisedServer} that requested them.
    @ivar waiting: the servers that have not reported.
    @ivar found: what the others do.
    """

    def __init__(self, server: Any, request: FiguresWanted, waiting: list[Any]) -> None:
        self.server, self.request, self.waiting = server, request, waiting
        self.found: dict[Any, Present] = {}
        self.timer: Any = None

    def servers(self) -> list[Present]:
        """Return what each server does, in the order of their numbers."""
        late = {
            each: Present(str(each.number), each.pid, unready="it does not answer") for each in self.waiting
        }
        found = self.found | late
        return sorted(found.values(), key=lambda each: (int(each.number), each.started))


class FigureCollection:
    """
    Adds the reports of servers, and sends the sums to servers that request them.

    @param reporting: returns the servers that can report.
    """

    def __init__(self, reactor: Any, reporting: Callable[[], Iterable[Any]]) -> None:
        self._reactor, self._reporting = reactor, reporting
        self._sums = Sums()
        self._numbers = count(1)
        self._collections: dict[int, _Collection] = {}
        self._requested: float | None = None  # when somebody last requested figures

    def server_ready(self, server: Any) -> None:
        """Let a new server count calls if the others do. It has accepted no connection yet."""
        if self._requested is not None and self._reactor.seconds() - self._requested < COUNTING_TIME:
            server.report_figures(ReportFigures(0))

    def wanted(self, server: Any, request: FiguresWanted) -> None:
        """Collect the figures that a server requests."""
        if not request.wanted.readiness:
            self._requested = self._reactor.seconds()
        number, servers = next(self._numbers), [*self._reporting()]
        collection = self._collections[number] = _Collection(server, request, servers)
        collection.timer = self._reactor.callLater(MOST_WAITING, self._finish, number)
        for each in servers:
            each.report_figures(ReportFigures(number, request.wanted.readiness))

    def reported(self, server: Any, report: FiguresReport) -> None:
        """Add a report."""
        self._sums.add(report.counts)
        collection = self._collections.get(report.collection)
        if collection is not None and server in collection.waiting and report.present is not None:
            collection.found[server] = report.present
            self._remove(server, report.collection)

    def ended(self, server: Any, restarted: bool) -> None:
        """
        Do not wait for a server that has ended.

        @param restarted: whether another server takes its place because it has died.
        """
        self._sums.add(Counts(server_restarts=int(restarted)))
        for number, collection in [*self._collections.items()]:
            if server in collection.waiting:
                self._remove(server, number)

    def _remove(self, server: Any, number: int) -> None:
        collection = self._collections[number]
        collection.waiting.remove(server)
        if not collection.waiting:
            collection.timer.cancel()
            self._finish(number)

    def _finish(self, number: int) -> None:
        collection = self._collections.pop(number)
        request, counts = collection.request, Counts()
        if not (wanted := request.wanted).readiness:
            counts = self._sums.counts(self._reactor.seconds(), wanted.since, wanted.tracebacks)
        collection.server.send_figures(AllFigures(request.request, counts, collection.servers()))
