"""Short runs of L{tests.tqueue.pressure}, and tests of its parts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from tests.support.postgres import folder_of_programs
from tests.support.queue_processes import LOADS
from tests.support.queue_records import Records
from tests.support.slow import slow
from tests.tqueue.pressure.other_work import busy_ticks, own_ticks, ticks_of_processes
from tests.tqueue.pressure.outcome import HEADINGS, Limits, Outcome
from tests.tqueue.pressure.pace import BURST_BATCH, Pace
from tests.tqueue.pressure.rates import Rates
from tests.tqueue.pressure.run import Settings, run
from tests.tqueue.pressure.scenarios import SCENARIOS
from tests.tqueue.pressure.stage import start_database

# The rates of such short runs show only that the work goes on.
SHORT = Settings(
    warm_up=0.5, before=1.0, disturbance=2.0, after=1.0, window=1.0,
    limits=Limits(ratio=0.05, within=60.0, dead_seconds=1e6),
)  # fmt: skip
PRESSURE = ("idle", "sustained", "readers", "burst")


@slow
class PressureTests(SynchronousTestCase):
    timeout = 600
    if folder_of_programs() is None:
        skip = "PostgreSQL is not installed"

    def run_scenarios(self, names: Iterable[str]) -> None:
        database = start_database()
        self.addCleanup(database.remove)
        for name in names:
            outcome, course = run(name, SHORT, database)
            self.assertEqual((outcome.problems, outcome.lost, outcome.unexpected), ([], 0, 0), outcome.line())
            self.assertGreater(outcome.tasks, 10, name)
            assert course is not None
            self.assertGreater(course.end, course.begin, name)

    def test_no_task_is_lost_or_delivered_wrongly_while_connections_and_processes_break(self) -> None:
        self.run_scenarios(SCENARIOS.keys() - set(PRESSURE))

    def test_no_task_is_lost_or_delivered_wrongly_under_pressure(self) -> None:
        self.run_scenarios(PRESSURE)


class PaceTests(SynchronousTestCase):
    def test_puts_follow_each_other_without_a_pause_until_there_is_a_rate(self) -> None:
        pace = Pace()
        self.assertEqual({pace.next_size() > 0 for _ in range(1000)}, {True})

    def test_rate_of_zero_holds_producers_until_they_are_stopped(self) -> None:
        pace, sizes = Pace(), []
        pace.set_rate(0)
        producer = Thread(target=lambda: sizes.append(pace.next_size()))
        producer.start()
        producer.join(0.05)
        self.assertTrue(producer.is_alive())
        pace.stop()
        producer.join(20)
        self.assertEqual(sizes, [0])

    def test_burst_comes_in_large_batches_whatever_the_rate_is(self) -> None:
        pace, sizes = Pace(), []

        def produce() -> None:
            while size := pace.next_size():
                sizes.append(size)

        pace.set_rate(0)
        producer = Thread(target=produce)
        producer.start()
        pace.allow_burst(2 * BURST_BATCH + 1)
        pace.stop()
        producer.join(20)
        self.assertEqual(sizes, [BURST_BATCH, BURST_BATCH, 1])


class RateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.rates = Rates(self.folder)

    def write(self, text: str) -> None:
        with open(os.path.join(self.folder, "consume-0"), "a") as file:
            file.write(text)
        self.rates.read()

    def test_each_complete_line_counts_once(self) -> None:
        self.write("got p.1 1 100.0 100.1 id\ndone p.1 1 100.2\nended p.1 1 100.3 -\nended p.2 1 ")
        self.assertEqual(self.rates.rate(100.0, 101.0), 1.0)
        self.write("100.4 -\n")
        self.assertEqual(self.rates.rate(100.0, 101.0), 2.0)
        self.assertEqual(self.rates.rate(101.0, 102.0), 0.0)

    def test_recovery_begins_when_the_rate_stays_back_for_the_window(self) -> None:
        self.write("".join(f"ended p.1 1 {100 + tenth / 10:.2f}1 -\n" for tenth in range(30, 60)))
        self.assertEqual(self.rates.recovered(100.0, 106.0, 10.0, 2.0), 3.0)
        self.assertIsNone(self.rates.recovered(100.0, 104.0, 10.0, 2.0))
        self.assertIsNone(self.rates.recovered(100.0, 106.0, 11.0, 2.0))


class OtherWorkTests(SynchronousTestCase):
    def test_work_of_descendants_is_own_work(self) -> None:
        """Process 1 is the root, 2 and 3 descend from it, and 4 does not."""
        before = {1: (0, 10), 2: (1, 20), 4: (0, 50)}
        after = {1: (0, 11), 2: (1, 22), 3: (2, 4), 4: (0, 60)}
        self.assertEqual(own_ticks(before, after, 1), 1 + 2 + 4)

    def test_this_process_is_listed_with_its_parent(self) -> None:
        self.assertEqual(ticks_of_processes()[os.getpid()][0], os.getppid())
        self.assertGreater(busy_ticks(), 0)


class OutcomeTests(SynchronousTestCase):
    def judged(self, keeps_rate: bool = False, refuses: bool = True, **figures: float) -> list[str]:
        good = {"before": 100.0, "during": 100.0, "after": 100.0, "recovered": 0.0}
        outcome = Outcome("idle", **{**good, **figures})  # type: ignore[arg-type]
        outcome.judge(Limits(), keeps_rate, refuses)
        return outcome.problems

    def test_scenario_passes_if_the_rate_is_back_in_time(self) -> None:
        self.assertEqual(self.judged(during=0.0, recovered=9.9, refused=3, dead_rows=10_000_000), [])

    def test_scenario_fails_if_the_rate_is_back_late_or_never(self) -> None:
        for recovered in (10.1, None):
            problems = self.judged(recovered=recovered)  # type: ignore[arg-type]
            self.assertEqual(problems, ["below 0.8 of the rate for 10 s"])

    def test_scenario_that_must_keep_the_rate_fails_if_it_does_not(self) -> None:
        self.assertEqual(self.judged(True, during=79.0), ["0.79 of the rate meanwhile"])
        self.assertEqual(self.judged(True, dead_rows=100_001), ["more than 100000 dead rows"])
        self.assertEqual(self.judged(True, during=80.0, dead_rows=100_000), [])

    def test_scenario_without_a_limit_fails_if_puts_are_refused(self) -> None:
        problems = self.judged(refuses=False, refused=1)
        self.assertEqual(problems, ["puts were refused although there is no limit"])

    def count(self, *lines: str) -> Outcome:
        records = Records()
        for line in lines:
            records.enter("c", *line.split())  # type: ignore[call-arg]
        outcome = Outcome("idle", 1.0, 1.0, 1.0, 0.0)
        outcome.count(records, LOADS["plain"], 10.0, 20.0)
        return outcome

    def test_lost_tasks_are_counted(self) -> None:
        outcome = self.count("try p.1 0 - -", "ack p.1 1 id-1")
        self.assertEqual((outcome.tasks, outcome.lost, outcome.unexpected), (1, 1, 0))
        self.assertIn("FAILED: lost p.1", outcome.line())

    def test_puts_that_are_refused_count_if_they_began_in_the_disturbance(self) -> None:
        puts = [
            f"{what} p.{at} {at}{rest}"
            for at in (9, 11, 21)
            for what, rest in (("try", " - -"), ("refused", ""))
        ]
        self.assertEqual(self.count(*puts).refused, 1)

    def test_wrong_deliveries_are_counted(self) -> None:
        put = ("try p.1 0 - -", "ack p.1 1 id-1", "got p.1 1 1 2 id-1", "done p.1 1 3", "ended p.1 1 4 -")
        self.assertEqual(self.count(*put).problems, [])
        again = self.count(*put, "got p.1 2 5 6 id-1")
        self.assertEqual((again.lost, again.unexpected), (0, 1))
        self.assertIn("after its end", again.problems[0])
        unknown = self.count(*put, "got p.2 1 1 2 id-2")
        self.assertEqual((unknown.lost, unknown.unexpected), (0, 1))

    def test_tasks_in_the_wrong_order_are_unexpected(self) -> None:
        puts = [
            f"{what} p.{n} {n} {rest}" for n in (1, 2) for what, rest in (("try", "- -"), ("ack", f"i{n}"))
        ]
        outcome = self.count(*puts, "got p.2 1 3 4 i2", "got p.1 1 5 6 i1")
        self.assertEqual((outcome.lost, outcome.unexpected), (0, 1))

    def test_line_fits_the_headings(self) -> None:
        line = Outcome("idle", 1.0, 2.0, 3.0, None, 4, 5, 6, 7, 8, (0.0, 1.25, 2.0)).line()
        figures = ["idle", "1", "2", "3", "never", "4", "5", "6", "7", "8", "0.0", "1.2", "2.0", "passed"]
        self.assertEqual(line.split(), figures)
        self.assertEqual(line.index("passed"), HEADINGS.index("result"))
