"""Tests of the reports of several servers, and of their sums."""

from __future__ import annotations

from random import Random
from typing import Any

from msgspec import structs
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.admin.counts import Counts, Second, counted
from twisted_appserver.admin.faults import FaultGroup, Faults, seen_by
from twisted_appserver.admin.increments import COMPLETE_AFTER, HISTORY, Increments, Sums
from twisted_appserver.core.durations import Durations


class FakeServer:
    """Counts what it is given, as a server does."""

    def __init__(self, started: float = 1000.0, phase: float = 0.0) -> None:
        self.started, self.phase = started, phase
        self.calls: dict[tuple[str, int], Durations] = {}
        self.faults = Faults()
        self.history: list[Second] = []
        self.queues: dict[str, dict[str, int]] = {}
        self.completed = 0
        self.increments = Increments(self.counts)

    def call(self, name: str, status: int, seconds: float) -> None:
        self.calls.setdefault((name, status), Durations()).add(seconds)
        self.completed += 1

    def fail(self, kind: str, when: float, user: str = "") -> None:
        self.faults.add_group(FaultGroup(user, "f", kind, 1, when, when, "why", "id", "traceback"))

    def tick(self, second: int, **numbers: Any) -> None:
        counts = [0] * len(Durations().counts)
        counts[3] = numbers.pop("calls", 1)
        fields = {"refused": 0, "failed": 0, "running": 1, "pending": 0, **numbers}
        self.history.append(Second(second + self.phase, counts=counts, **fields))

    def counts(self) -> Counts:
        return Counts(
            self.started,
            self.started,
            completed=self.completed,
            calls=[counted(name, str(status), each) for (name, status), each in self.calls.items()],
            faults=self.faults.groups,
            history=[*self.history],
            queues={name: dict(each) for name, each in self.queues.items()},
        )


def numbers(counts: Counts) -> Any:
    """What must be equal: calls by route and status, with their durations, and failures."""
    calls = {(each.name, each.kind): (each.counts, round(each.total, 6)) for each in counts.calls}
    return counts.completed, calls, {each.key: each.count for each in counts.faults}, counts.queues


class SumTests(SynchronousTestCase):
    def sums_of(self, *servers: FakeServer) -> Counts:
        sums = Sums()
        for each in servers:
            sums.add(each.increments.next())
        return sums.counts(10**9)

    def test_sum_of_reports_is_what_was_counted(self) -> None:
        """Whenever the servers report, and although one of them ends."""
        for seed in range(20):
            random, sums = Random(seed), Sums()
            servers, everything = [FakeServer(), FakeServer()], FakeServer()
            for step in range(200):
                server = random.choice(servers)
                for each in (server, everything):
                    each.queues.setdefault("q", {"puts": 0})["puts"] += 1
                name, status, seconds = random.choice("abc"), random.choice((200, 404)), random.random()
                server.call(name, status, seconds)
                everything.call(name, status, seconds)
                if random.random() < 0.2:
                    server.fail("KeyError", step)
                    everything.fail("KeyError", step)
                if random.random() < 0.3:
                    sums.add(server.increments.next())
                if step == 100:
                    sums.add(servers[0].increments.next())
                    servers[0] = FakeServer()
            for each in servers:
                sums.add(each.increments.next())
            self.assertEqual(numbers(sums.counts(10**9)), numbers(everything.counts()))

    def test_report_without_news_is_small(self) -> None:
        server = FakeServer()
        server.call("a", 200, 0.1)
        server.fail("KeyError", 5.0)
        server.tick(1001)
        server.increments.next()
        nothing = server.increments.next()
        self.assertEqual(nothing, Counts(server.started, server.started))

    def test_failures_that_were_forgotten_are_counted_again(self) -> None:
        """A server keeps a limited number of groups."""
        server, sums = FakeServer(), Sums()
        for when in (1.0, 2.0, 3.0):
            server.fail("KeyError", when)
        sums.add(server.increments.next())
        server.faults = Faults()
        for when in (4.0, 5.0):
            server.fail("KeyError", when)
        sums.add(server.increments.next())
        (group,) = sums.counts(0).faults
        self.assertEqual((group.count, group.first, group.last), (5, 1.0, 5.0))

    def test_queue_that_was_made_again_counts_from_zero(self) -> None:
        server, sums = FakeServer(), Sums()
        for puts in (7, 2, 3):
            server.queues["q"] = {"puts": puts}
            sums.add(server.increments.next())
        self.assertEqual(sums.counts(0).queues, {"q": {"puts": 10}})

    def test_failures_of_users_stay_apart(self) -> None:
        """The traceback of the last failure is kept, whichever server reports first."""
        one, other = FakeServer(), FakeServer()
        one.fail("KeyError", 9.0, "alice")
        other.fail("KeyError", 5.0, "bob")
        other.fail("KeyError", 4.0, "alice")
        faults = self.sums_of(one, other).faults
        self.assertEqual([(each.count, each.last) for each in seen_by("alice", faults)], [(2, 9.0)])
        self.assertEqual([each.count for each in seen_by("bob", faults)], [1])
        self.assertEqual([(each.count, each.last) for each in seen_by("", faults)], [(3, 9.0)])

    def test_seconds_of_all_servers_are_added(self) -> None:
        """Although their clocks tick at different fractions of a second, and not exactly."""
        one, other = FakeServer(phase=0.02), FakeServer(phase=0.93)
        for second in range(1000, 1010):
            one.tick(second, running=3)
            other.phase = 0.93 + 0.1 * (second % 2)
            other.tick(second - 1, calls=4, refused=1)
        history = self.sums_of(one, other).history
        self.assertEqual({(each.calls, each.running, each.refused) for each in history[1:-1]}, {(5, 4, 1)})
        self.assertEqual(sum(each.calls for each in history), 50)
        times = [each.time for each in history]
        self.assertEqual(times, [*range(int(times[0]), int(times[-1]) + 1)])

    def test_history_is_limited_and_has_only_seconds_that_all_servers_have_reported(self) -> None:
        server, sums = FakeServer(), Sums()
        for second in range(2 * HISTORY):
            server.tick(second)
        sums.add(server.increments.next())
        self.assertEqual(len(sums.counts(10**9).history), HISTORY)
        now = 2 * HISTORY
        self.assertEqual(
            [each.time for each in sums.counts(now, now - 5.0).history], [now - 4, now - 3, now - 2]
        )
        self.assertEqual(COMPLETE_AFTER, 2.0)

    def test_time_without_counting_is_that_of_the_oldest_server(self) -> None:
        sums = Sums()
        sums.add(Counts(100.0, 150.0, 30.0))
        sums.add(Counts(200.0, 200.0))
        sums.add(Counts(50.0))
        found = sums.counts(0)
        self.assertEqual((found.started, found.counted_since, found.not_counted), (50.0, 150.0, 30.0))

    def test_tracebacks_are_left_out_if_nobody_wants_them(self) -> None:
        server, sums = FakeServer(), Sums()
        server.fail("KeyError", 1.0)
        sums.add(server.increments.next())
        self.assertEqual(sums.counts(0, tracebacks=False).faults[0].traceback, "")
        self.assertEqual(sums.counts(0).faults[0].traceback, "traceback")


class SecondTests(SynchronousTestCase):
    def test_row_has_the_succeeded_calls_and_percentiles(self) -> None:
        empty = Second(5.0, 0, 0, 2, 1, [0] * 19)
        self.assertEqual(empty.row(), (5.0, 0, 0, 0, None, None, 2, 1))
        row = structs.replace(empty, refused=1, failed=2, counts=[10] + [0] * 18).row()
        self.assertEqual(row[1:4], (7, 1, 2))
        self.assertTrue(0 < row.p50 < row.p99 < 0.0005)
