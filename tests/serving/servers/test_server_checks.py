"""Tests of servers that are replaced one at a time: at a limit, or because they are frozen."""

from __future__ import annotations

from unittest.mock import patch

from tests.serving.servers.service_of_servers import Load, ServersTestCase
from tests.serving.servers.test_supervisor import FakeProcess, SupervisorCase
from tests.support.slow import slow
from twisted_appserver.admin.counts import Counts
from twisted_appserver.executors.processes.pool import MAX_BACKOFF
from twisted_appserver.serving.servers import server_checks
from twisted_appserver.serving.servers.figure_reports import INTERVAL
from twisted_appserver.serving.servers.messages import FiguresReport, Retire, ServerClosed, ServerFailed
from twisted_appserver.serving.servers.server_checks import MOST_SILENT
from twisted_appserver.settings import FORKED_SERVER, Settings


class ChecksTestCase(SupervisorCase):
    def interval(self, *silent: FakeProcess, completed: int = 0) -> None:
        """Let all servers except these report."""
        for each in self.processes:
            if each not in silent and each.protocol.ready:
                each.report(FiguresReport(Counts(completed=completed)))
        self.clock.advance(INTERVAL)


class FrozenTests(ChecksTestCase):
    def test_server_that_does_not_report_for_a_minute_is_killed_and_replaced(self) -> None:
        self.ready()
        frozen = self.processes[1]
        for _ in range(MOST_SILENT):
            self.interval(frozen)
        self.assertEqual(frozen.signals, [])
        self.interval(frozen)
        self.assertEqual([each.signals for each in self.processes], [[], ["KILL"], []])
        frozen.end(9)
        self.clock.advance(MAX_BACKOFF)
        self.assertEqual(self.processes[3].number, 2)

    def test_server_that_reports_is_not_killed(self) -> None:
        self.ready()
        for _ in range(3 * MOST_SILENT):
            self.interval()
        self.assertEqual([each.signals for each in self.processes], [[], [], []])

    def test_machine_that_was_suspended_kills_no_server(self) -> None:
        self.ready()
        self.clock.advance(1000 * INTERVAL)
        self.interval()
        self.assertEqual([each.signals for each in self.processes], [[], [], []])

    def test_server_that_starts_is_not_expected_to_report(self) -> None:
        """Its start has limits of its own."""
        self.ready()
        self.service.reload().addErrback(lambda _: None)
        with patch.object(server_checks, "MOST_SILENT", 2):
            for _ in range(4):
                self.interval()
        self.assertEqual([each.signals for each in self.processes], [[]] * 6)


class ReplaceTests(ChecksTestCase):
    settings = Settings(port=0, servers=3, max_requests=100)

    def reach_the_limit(self, server: FakeProcess) -> None:
        server.report(FiguresReport(Counts(completed=60, failed=40)))
        self.interval()

    def test_successor_takes_over_when_it_is_ready(self) -> None:
        self.ready()
        old = self.processes[1]
        self.reach_the_limit(old)
        (new,) = self.processes[3:]
        self.assertEqual((new.number, old.accepts, new.accepts), (2, [2], []))
        self.ready(new)
        self.assertIsInstance(old.orders[-1], Retire)
        self.assertEqual(new.accepts, [2])
        old.report(ServerClosed())
        old.end()
        self.clock.advance(MAX_BACKOFF)
        self.assertEqual(len(self.processes), 4)

    def test_one_server_at_a_time_is_replaced(self) -> None:
        self.ready()
        for each in self.processes[:3]:
            each.report(FiguresReport(Counts(completed=100)))
        for count in (4, 5, 6):
            self.interval()
            self.interval()
            self.assertEqual(len(self.processes), count)
            self.ready(self.processes[-1])
        self.assertEqual([each.number for each in self.processes[3:]], [1, 2, 3])

    def test_server_goes_on_if_its_successor_cannot_start(self) -> None:
        self.ready()
        self.reach_the_limit(self.processes[0])
        self.processes[3].report(ServerFailed("no such module"))
        self.processes[3].end(status=1)
        self.assertEqual(self.processes[0].accepts, [1])
        self.interval()
        self.assertEqual((len(self.processes), self.processes[4].number), (5, 1))

    def test_reload_replaces_a_successor_that_is_starting(self) -> None:
        self.ready()
        self.reach_the_limit(self.processes[0])
        self.service.reload().addErrback(lambda _: None)
        self.assertEqual(self.processes[3].signals, ["KILL"])
        self.processes[3].end(9)
        self.assertEqual([each.number for each in self.processes[4:]], [1, 2, 3])

    def test_successor_takes_the_place_of_a_server_that_died_meanwhile(self) -> None:
        self.ready()
        self.reach_the_limit(self.processes[0])
        self.processes[0].end(9)
        self.ready(self.processes[3])
        self.clock.advance(MAX_BACKOFF)
        self.assertEqual((len(self.processes), self.processes[3].accepts), (4, [1]))


class MemoryTests(ChecksTestCase):
    settings = Settings(port=0, servers=3, max_rss=1000)

    def test_server_that_exceeds_its_memory_is_replaced(self) -> None:
        self.ready()
        large = self.processes[2].pid
        with patch.object(server_checks, "resident_memory", lambda pid: 1001 if pid == large else 1000):
            self.interval()
        self.assertEqual([each.number for each in self.processes[3:]], [3])


class WorkerTests(ChecksTestCase):
    settings = Settings(port=0, servers=3, max_requests=1, max_rss=1, server_type=FORKED_SERVER)

    def test_limits_are_for_worker_processes_if_there_are_any(self) -> None:
        self.ready()
        self.interval(completed=5)
        self.assertEqual(len(self.processes), 3)


@slow
class LimitTests(ServersTestCase):
    async def test_server_that_has_answered_its_calls_is_replaced_without_a_failed_request(self) -> None:
        await self.servers("--max-requests", "20")
        first = self.pids()
        load = Load(self, ("tcp", "unix"), 2, "/version/")
        await self.until(lambda: len(load.answered_by - first) >= 2)
        await load.end()
        self.assertEqual((set(load.responses), load.refused, load.cut_off), ({200}, 0, 0))
        self.assertRegex(self.program.output, r"server [12] \(process \d+\) has answered \d+ calls")
        await self.stopped(self.program)
