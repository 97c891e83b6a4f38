"""Tests of the figures of all servers, in memory: which servers report, and who gets the sums."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import HTTPError, make_service
from twisted_appserver.admin.counts import Counts
from twisted_appserver.admin.figures import COUNTING_TIME
from twisted_appserver.admin.overview import Overview, WantedFigures
from twisted_appserver.admin.present import Present
from twisted_appserver.serving.servers import figure_reports
from twisted_appserver.serving.servers.figure_collection import MOST_WAITING, FigureCollection
from twisted_appserver.serving.servers.figure_reports import INTERVAL, FigureReports
from twisted_appserver.serving.servers.messages import AllFigures, FiguresReport, FiguresWanted, ReportFigures


class FakeServer:
    """A server, as its supervisor sees it."""

    def __init__(self, number: int) -> None:
        self.number, self.pid = number, 100 + number
        self.orders: list[ReportFigures] = []
        self.figures: list[AllFigures] = []

    def report_figures(self, order: ReportFigures) -> None:
        self.orders.append(order)

    def send_figures(self, figures: AllFigures) -> None:
        self.figures.append(figures)

    def report(self, completed: int = 0) -> FiguresReport:
        """The report that the server was asked for last."""
        present = Present(str(self.number), self.pid, running=1)
        return FiguresReport(Counts(completed=completed), self.orders[-1].collection, present)


class CollectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.servers = [FakeServer(1), FakeServer(2)]
        self.collection = FigureCollection(self.clock, lambda: self.servers)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def test_sums_are_sent_when_all_servers_have_reported(self) -> None:
        one, two = self.servers
        self.collection.wanted(two, FiguresWanted(7, WantedFigures()))
        self.collection.reported(two, two.report(3))
        self.assertEqual(two.figures, [])
        self.collection.reported(one, one.report(4))
        (found,) = two.figures
        self.assertEqual((found.request, found.counts.completed), (7, 7))
        self.assertEqual([(each.number, each.running) for each in found.servers], [("1", 1), ("2", 1)])

    def test_requests_at_the_same_time_get_their_own_answers(self) -> None:
        one, two = self.servers
        for number, server in enumerate((one, two), 1):
            self.collection.wanted(server, FiguresWanted(number, WantedFigures()))
        for server in (one, two):
            for order in server.orders:
                present = Present(str(server.number), server.pid)
                self.collection.reported(server, FiguresReport(Counts(), order.collection, present))
        self.assertEqual([each.request for each in one.figures], [1])
        self.assertEqual([each.request for each in two.figures], [2])

    def test_server_that_does_not_answer_is_named_after_a_second(self) -> None:
        """Its earlier reports stay in the sums. A late report is added too."""
        one, two = self.servers
        self.collection.reported(two, FiguresReport(Counts(completed=5)))
        self.collection.wanted(one, FiguresWanted(1, WantedFigures()))
        self.collection.reported(one, one.report(1))
        self.clock.advance(MOST_WAITING)
        (found,) = one.figures
        self.assertEqual([each.unready for each in found.servers], ["", "it does not answer"])
        self.assertEqual(found.counts.completed, 6)
        self.collection.reported(two, two.report(2))
        self.collection.wanted(one, FiguresWanted(2, WantedFigures()))
        for each in (one, two):
            self.collection.reported(each, each.report())
        self.assertEqual(one.figures[1].counts.completed, 8)

    def test_nobody_waits_for_a_server_that_has_ended(self) -> None:
        """Its counts stay in the sums, and it is counted itself if another one takes its place."""
        one, two = self.servers
        self.collection.wanted(one, FiguresWanted(1, WantedFigures()))
        self.collection.reported(one, one.report(1))
        self.collection.reported(two, FiguresReport(Counts(completed=5)))
        self.collection.ended(two, restarted=True)
        (found,) = one.figures
        self.assertEqual((found.counts.completed, found.counts.server_restarts), (6, 1))
        self.assertEqual([each.number for each in found.servers], ["1"])

    def test_new_server_counts_if_the_others_do(self) -> None:
        """It is told so before it accepts connections."""
        one, two = self.servers
        self.collection.server_ready(two)
        self.assertEqual(two.orders, [])
        self.collection.wanted(one, FiguresWanted(1, WantedFigures()))
        for each in (one, two):
            self.collection.reported(each, each.report())
        three = FakeServer(3)
        self.collection.server_ready(three)
        self.assertEqual(three.orders, [ReportFigures(0)])
        self.clock.advance(COUNTING_TIME)
        self.collection.server_ready(three)
        self.assertEqual(len(three.orders), 1)

    def test_readiness_does_not_start_counting(self) -> None:
        """Probes would let all servers count for ever."""
        one, two = self.servers
        self.collection.wanted(one, FiguresWanted(1, WantedFigures(readiness=True)))
        self.assertTrue(all(each.orders[-1].readiness for each in self.servers))
        for each in (one, two):
            self.collection.reported(each, each.report(9))
        self.assertEqual(one.figures[0].counts, Counts())
        self.collection.server_ready(three := FakeServer(3))
        self.assertEqual(three.orders, [])


class ReportTests(SynchronousTestCase):
    """The reports of a server, which has not been started."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.service = make_service((), port=0, reactor=self.clock)
        self.sent: list[Any] = []
        self.reports = FigureReports(self.service._figures, self.sent.append)

    def test_server_reports_every_few_seconds_and_at_the_end(self) -> None:
        self.reports.start()
        self.clock.advance(INTERVAL)
        self.clock.advance(INTERVAL)
        self.assertEqual(len(self.sent), 2)
        self.reports.stop()
        self.clock.advance(INTERVAL)
        self.assertEqual([type(each) for each in self.sent], [FiguresReport] * 3)
        self.assertEqual(self.service._figures.counted_since, 0.0)  # nobody has requested the figures

    def test_requested_figures_are_returned(self) -> None:
        found = Deferred.fromCoroutine(self.reports.collect(WantedFigures()))
        self.assertEqual(self.sent, [FiguresWanted(1, WantedFigures())])
        self.reports.received(AllFigures(1, Counts(completed=3), []))
        self.assertEqual(self.successResultOf(found), Overview(Counts(completed=3), []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_supervisor_that_hangs_is_named(self) -> None:
        found = Deferred.fromCoroutine(self.reports.collect(WantedFigures()))
        self.clock.advance(figure_reports.MOST_WAITING)
        error = self.failureResultOf(found, HTTPError).value
        self.assertEqual((error.status, error.detail), (503, "the supervisor of the servers does not answer"))
        self.reports.received(AllFigures(1, Counts(), []))

    def test_report_has_what_the_server_does(self) -> None:
        Deferred.fromCoroutine(self.reports.obey(ReportFigures(4), replaced=True))
        (report,) = self.sent
        self.assertEqual((report.collection, report.present.replaced), (4, True))
        self.assertGreater(report.present.memory, 0)
        self.service._figures.stop()


class OverviewTests(SynchronousTestCase):
    def test_service_is_ready_if_one_server_is(self) -> None:
        busy, free = Present("1", 1, unready="too many calls"), Present("2", 2)
        for servers, expected in (
            ([busy, free], ""),
            ([busy], "server 1: too many calls"),
            ([busy, Present("2", 2, replaced=True)], "server 1: too many calls"),
            ([], "no server is ready"),
        ):
            self.assertEqual(Overview(Counts(), servers).unready(), expected)
        self.assertEqual(Overview(Counts(), [busy, free]).problems(), "server 1: too many calls")

    def test_calls_and_threads_of_all_servers_are_added(self) -> None:
        """The threads of a server that is replaced get no new calls."""
        servers = [
            Present(
                number,
                1,
                replaced=number == "3",
                executors={"threads": {"size": 10, "running": 2, "pending": 1}},
                at_work={"f": {"running": 2, "pending": 1, "page": "f"}},
                running_calls=[{"place": "thread 1", "seconds": seconds}],
                workers=[{"pid": int(number)}],
            )
            for number, seconds in (("1", 1.0), ("2", 3.0), ("3", 2.0))
        ]
        overview = Overview(Counts(), servers)
        self.assertEqual(overview.executors(), {"threads": {"size": 20, "running": 6, "pending": 3}})
        self.assertEqual((overview.size, overview.at_work()["f"]["running"]), (20, 6))
        self.assertEqual([each["server"] for each in overview.running_calls()], ["2", "3", "1"])
        self.assertEqual([each["server"] for each in overview.workers()], ["1", "2", "3"])
