"""Tests of the supervisor in memory: which server accepts from which socket, and when servers are started."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import ConfigurationError
from twisted_appserver.core.application import Application
from twisted_appserver.executors.processes.pool import MAX_BACKOFF, MAX_KILLED, RELOAD_TIMEOUT
from twisted_appserver.serving.servers import supervised_server
from twisted_appserver.serving.servers.messages import (
    ORDERS,
    REPORTS,
    AcceptFrom,
    MessageLines,
    ReadCredentials,
    Retire,
    ServerClosed,
    ServerFailed,
    ServerReady,
    ServerStart,
    ShowProblem,
    Stop,
    decode_order,
    encode,
)
from twisted_appserver.serving.servers.restart_pauses import STABLE
from twisted_appserver.serving.servers.supervisor import CLOSING_TIME, Supervisor
from twisted_appserver.settings import Settings


class FakeProcess:
    """
    The process of a server.

    @ivar orders: what it has received.
    """

    pipes = (ORDERS, REPORTS)
    count = 0

    def __init__(self, protocol: Any) -> None:
        FakeProcess.count += 1
        self.pid, self.protocol = FakeProcess.count, protocol
        self.orders: list[Any] = []
        self.signals: list[str] = []
        self._lines = MessageLines()

    def writeToChild(self, descriptor: int, data: bytes) -> None:
        self.orders += map(decode_order, self._lines.feed(data))

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)

    def loseConnection(self) -> None:
        """Called when it has ended."""

    def report(self, report: Any) -> None:
        self.protocol.childDataReceived(REPORTS, encode(report))

    def end(self, signal: int | None = None, status: int = 0) -> None:
        error: Any = Exception()
        error.signal, error.exitCode = signal, status
        self.protocol.processExited(type("Failed", (), {"value": error})())
        self.protocol.childConnectionLost(REPORTS)

    @property
    def number(self) -> int:
        return self.orders[0].number  # type: ignore[no-any-return]

    @property
    def accepts(self) -> list[int]:
        """The owners of the sockets from which it accepts."""
        owners: list[int] = []
        for order in self.orders:
            if isinstance(order, AcceptFrom):
                owners = order.owners
            elif isinstance(order, Retire | Stop):
                owners = []
        return owners


class SupervisorCase(SynchronousTestCase):
    """A supervisor of three servers, whose processes do not exist."""

    settings = Settings(port=0, servers=3)

    def setUp(self) -> None:
        self.processes: list[FakeProcess] = []
        spawning = patch.object(supervised_server, "spawn_python", self.spawn)
        spawning.start()
        self.addCleanup(spawning.stop)
        self.clock = Clock()
        self.service = Supervisor(self.clock, self.settings, Application(file="/srv/app.py"), 3)
        self.addCleanup(self.stop)
        self.service.startService()

    def spawn(self, reactor: Any, protocol: Any, module: str, descriptors: Any) -> None:
        process = FakeProcess(protocol)
        self.processes.append(process)
        protocol.transport = process
        protocol.connectionMade()

    def stop(self) -> None:
        if self.service.running:
            stopped = self.service.stopService()
            for process in self.processes:
                if process.protocol in self.service._living:
                    process.end()
            self.successResultOf(stopped)

    def ready(self, *processes: FakeProcess) -> None:
        for each in processes or self.processes[-3:]:
            each.report(ServerReady("10 threads", {}))

    def accepting(self) -> dict[int, list[int]]:
        """From which sockets the servers of each number accept."""
        return {each.number: each.accepts for each in self.processes if each.accepts}


class SupervisorTests(SupervisorCase):
    # ---- the start ----

    def test_servers_accept_when_all_are_ready(self) -> None:
        first, second, third = self.processes
        self.ready(first, second)
        self.assertEqual((self.accepting(), self.service.started.called), ({}, False))
        self.ready(third)
        self.successResultOf(self.service.started)
        self.assertEqual(self.accepting(), {1: [1], 2: [2], 3: [3]})

    def test_all_servers_get_the_same_settings_and_a_number(self) -> None:
        starts = [each.orders[0] for each in self.processes]
        self.assertEqual([each.number for each in starts], [1, 2, 3])
        for start in starts:
            self.assertIsInstance(start, ServerStart)
            self.assertEqual((start.settings.servers, start.application.file), (3, "/srv/app.py"))

    def test_start_fails_with_the_reason_of_the_first_server_that_cannot_start(self) -> None:
        first, second, third = self.processes
        second.report(ServerFailed("no such module"))
        second.end(status=1)
        error = self.failureResultOf(self.service.started, ConfigurationError)
        self.assertEqual(error.getErrorMessage(), "no such module")
        self.assertEqual((first.signals, third.signals), (["KILL"], ["KILL"]))
        first.end(9)
        third.end(9)
        self.assertEqual(len(self.processes), 3)

    def test_server_killed_from_outside_during_the_start_is_started_again_a_few_times(self) -> None:
        for _ in range(MAX_KILLED):
            self.processes[-1].end(9)
            self.assertFalse(self.service.started.called)
            self.clock.advance(MAX_BACKOFF)
        self.processes[-1].end(9)
        self.failureResultOf(self.service.started, ConfigurationError)

    # ---- servers that die ----

    def test_another_server_accepts_for_a_dead_one_until_its_successor_is_ready(self) -> None:
        self.ready()
        self.processes[1].end(9)
        accepting = [self.processes[0].accepts, self.processes[2].accepts]
        self.assertEqual(accepting, [[1, 2], [3]])
        self.clock.advance(MAX_BACKOFF)
        self.assertEqual(self.processes[3].number, 2)
        self.ready(self.processes[3])
        living = [self.processes[0], self.processes[3], self.processes[2]]
        self.assertEqual([each.accepts for each in living], [[1], [2], [3]])

    def test_last_server_accepts_for_all(self) -> None:
        self.ready()
        for each in self.processes[:2]:
            each.end(9)
        self.assertEqual(self.processes[2].accepts, [3, 1, 2])

    def test_pauses_grow_while_a_server_dies_early(self) -> None:
        self.ready()
        self.clock.advance(STABLE + 1)
        self.processes[0].end(9)
        self.clock.advance(0)
        self.assertEqual(len(self.processes), 4)  # it was stable: its successor starts at once
        pauses = []
        for _ in range(12):
            count, begun = len(self.processes), self.clock.seconds()
            self.processes[-1].end(status=1)
            while len(self.processes) == count:
                self.clock.advance(0.1)
            pauses.append(round(self.clock.seconds() - begun, 1))
        self.assertEqual(pauses, sorted(pauses))
        self.assertLess(pauses[0], 0.3)
        self.assertTrue(MAX_BACKOFF <= pauses[-1] < MAX_BACKOFF + 0.2, pauses)
        for _ in range(1100):  # 2**1100 would be too large for the range of numbers
            self.processes[-1].end(status=1)
            self.clock.advance(MAX_BACKOFF)
        self.assertEqual(len(self.processes), 4 + 12 + 1100)

    # ---- reloads ----

    def test_new_servers_accept_when_all_are_ready_and_no_old_one_accepts(self) -> None:
        self.ready()
        reloaded = self.service.reload()
        old, new = self.processes[:3], self.processes[3:]
        self.ready(*new[:2])
        self.assertEqual([each.accepts for each in old], [[1], [2], [3]])
        self.ready(new[2])
        self.assertTrue(all(isinstance(each.orders[-1], Retire) for each in old))
        self.assertNoResult(reloaded)
        for each in old:
            self.assertEqual([each.accepts for each in new], [[], [], []])
            each.report(ServerClosed())
        self.successResultOf(reloaded)
        self.assertEqual([each.accepts for each in new], [[1], [2], [3]])
        old[0].end()
        self.assertEqual(len(self.processes), 6)

    def test_new_server_that_dies_before_it_accepts_does_not_make_the_others_accept_early(self) -> None:
        self.ready()
        reloaded = self.service.reload()
        old, new = self.processes[:3], self.processes[3:]
        self.ready()
        new[0].end(9)
        self.assertEqual([each.accepts for each in new[1:]], [[], []])
        for each in old:
            each.report(ServerClosed())
        self.successResultOf(reloaded)
        self.assertEqual([each.accepts for each in new[1:]], [[2], [3, 1]])

    def test_old_server_that_hangs_does_not_keep_the_new_ones_from_accepting(self) -> None:
        self.ready()
        reloaded = self.service.reload()
        self.ready()
        self.clock.advance(CLOSING_TIME)
        self.successResultOf(reloaded)
        self.assertEqual([each.accepts for each in self.processes[3:]], [[1], [2], [3]])

    def test_credentials_are_read_again_at_once(self) -> None:
        """A token that was withdrawn must not work on, although the new code may be broken."""
        self.ready()
        self.service.reload().addErrback(lambda _: None)
        for each in self.processes[:3]:
            self.assertIsInstance(each.orders[-1], ReadCredentials)

    def test_reload_that_fails_leaves_the_old_servers(self) -> None:
        self.ready()
        reloaded = self.service.reload()
        old, new = self.processes[:3], self.processes[3:]
        new[0].report(ServerFailed("no such module"))
        new[0].end(status=1)
        self.assertEqual(str(self.failureResultOf(reloaded, ConfigurationError).value), "no such module")
        self.assertEqual([each.signals for each in new[1:]], [["KILL"], ["KILL"]])
        for each in old:
            self.assertIsInstance(each.orders[-1], ShowProblem)
            self.assertEqual(each.accepts, [each.number])

    def test_reload_fails_if_the_new_servers_are_not_ready_in_time(self) -> None:
        self.ready()
        reloaded = self.service.reload()
        self.clock.advance(RELOAD_TIMEOUT)
        self.assertIn("not ready after 60 seconds", str(self.failureResultOf(reloaded).value))

    def test_new_server_killed_from_outside_is_started_again(self) -> None:
        self.ready()
        reloaded = self.service.reload()
        self.processes[4].end(9)
        new = [self.processes[3], self.processes[5], self.processes[6]]
        self.ready(*new)
        self.clock.advance(CLOSING_TIME)
        self.successResultOf(reloaded)
        self.assertEqual({each.number: each.accepts for each in new}, {1: [1], 2: [2], 3: [3]})

    def test_reloads_during_a_reload_are_one(self) -> None:
        self.ready()
        first, *others = (self.service.reload() for _ in range(5))
        self.ready()
        self.clock.advance(CLOSING_TIME)
        self.successResultOf(first)
        self.assertEqual(len(self.processes), 9)
        self.ready()
        self.clock.advance(CLOSING_TIME)
        for each in others:
            self.successResultOf(each)
        self.assertEqual(len(self.processes), 9)

    def test_reload_during_the_start_begins_when_the_start_has_ended(self) -> None:
        reloaded = self.service.reload()
        self.assertEqual(len(self.processes), 3)
        self.ready()
        self.assertEqual(len(self.processes), 6)
        self.ready()
        self.clock.advance(CLOSING_TIME)
        self.successResultOf(reloaded)

    # ---- the end ----

    def test_stop_ends_servers_that_are_ready_by_an_order_and_others_by_a_signal(self) -> None:
        self.ready()
        self.service.reload().addErrback(lambda _: None)
        self.ready(self.processes[3])
        stopped = self.service.stopService()
        self.assertEqual([type(each.orders[-1]) for each in self.processes[:4]], [Stop] * 4)
        self.assertEqual([each.signals for each in self.processes[4:]], [["TERM"]] * 2)
        for each in self.processes:
            self.assertNoResult(stopped)
            each.end()
        self.successResultOf(stopped)

    def test_server_that_does_not_end_is_killed_after_the_grace_period(self) -> None:
        self.ready()
        stopped = self.service.stopService()
        self.clock.advance(60)
        self.assertEqual([each.signals for each in self.processes], [["KILL"]] * 3)
        for each in self.processes:
            each.end(9)
        self.successResultOf(stopped)
