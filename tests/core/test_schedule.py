"""Tests of L{core.schedule}: when scheduled calls are due."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise
from unittest import skipIf
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.core.schedule import Schedule, only_path

try:
    import cronsim  # noqa: F401
except ImportError:
    MISSING = True
else:
    MISSING = False
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo | None = None, fold: int = 0) -> float:
    """Return seconds since the epoch."""
    return datetime.fromisoformat(text).replace(tzinfo=zone or UTC, fold=fold).timestamp()


class PeriodTests(SynchronousTestCase):
    def test_all_hosts_agree_on_the_times(self) -> None:
        schedule = Schedule(every=600)
        for after in ("2026-01-01T12:00:00", "2026-01-01T12:00:01", "2026-01-01T12:09:59.9"):
            self.assertEqual(schedule.next(at(after)), at("2026-01-01T12:10:00"))

    @given(st.floats(0, 4e9), st.floats(1, 1e7))
    def test_next_is_later_by_at_most_a_period(self, after: float, every: float) -> None:
        due = Schedule(every=every).next(after)
        self.assertLess(after, due)
        self.assertLessEqual(due, (after + every) * (1 + 1e-9))


@skipIf(MISSING, "the package cronsim is missing (pip install cronsim)")
class CronTests(SynchronousTestCase):
    def test_fields_are_those_of_crontab(self) -> None:
        for cron, after, due in (
            ("0 3 * * *", "2026-01-01T03:00:00", "2026-01-02T03:00:00"),
            ("*/15 8-17 * * mon-fri", "2026-01-02T17:50:00", "2026-01-05T08:00:00"),
            ("30 4 1,15 * fri", "2026-01-01T12:00:00", "2026-01-02T04:30:00"),
            ("0 0 L * *", "2026-02-01T00:00:00", "2026-02-28T00:00:00"),
            ("@daily", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ):
            self.assertEqual(Schedule(cron).next(at(after)), at(due), cron)

    def test_time_zone_is_respected(self) -> None:
        schedule = Schedule("0 3 * * *", timezone="Europe/Berlin")
        self.assertEqual(schedule.next(at("2026-07-01T00:00:00")), at("2026-07-01T01:00:00"))

    def test_time_that_the_clock_change_leaves_out_is_due_after_it(self) -> None:
        schedule = Schedule("30 2 * * *", timezone="Europe/Berlin")
        due = schedule.next(at("2026-03-28T12:00:00"))
        self.assertEqual(due, at("2026-03-29T03:00:00", BERLIN))
        self.assertEqual(schedule.next(due), at("2026-03-30T02:30:00", BERLIN))

    def test_time_that_the_clock_change_repeats_is_due_once(self) -> None:
        schedule = Schedule("30 2 * * *", timezone="Europe/Berlin")
        due = schedule.next(at("2026-10-24T12:00:00"))
        self.assertEqual(due, at("2026-10-25T02:30:00", BERLIN))
        self.assertEqual(schedule.next(due), at("2026-10-26T02:30:00", BERLIN))

    def test_hourly_calls_are_due_in_each_hour_of_a_clock_change(self) -> None:
        schedule, due, found = Schedule("0 * * * *", timezone="Europe/Berlin"), at("2026-10-24T22:30:00"), []
        for _ in range(5):
            due = schedule.next(due)
            found.append(due)
        self.assertEqual([after - before for before, after in pairwise(found)], [3600.0] * 4)


class RefusalTests(SynchronousTestCase):
    def refused(self, *arguments: object) -> str:
        return str(self.assertRaises(ValueError, Schedule, *arguments))

    def test_wrong_schedules_are_refused_with_the_reason(self) -> None:
        self.assertIn("needs cron or every", self.refused())
        self.assertIn("and not both", self.refused("* * * * *", 5))
        self.assertIn("every must be 1 to 31622400 seconds, not 0", self.refused(None, 0))
        self.assertIn("must be a number of seconds, not True", self.refused(None, True))
        self.assertIn("not nan", self.refused(None, math.nan))
        self.assertIn("timezone is for cron", self.refused(None, 60, "Europe/Berlin"))
        self.assertIn("no time zone 'Berlin'", self.refused("0 3 * * *", None, "Berlin"))
        self.assertIn("no time zone '../x'", self.refused("0 3 * * *", None, "../x"))
        self.assertIn("five fields", self.refused("0 3 * *"))
        self.assertIn("five fields", self.refused("0 0 3 * * *"))
        self.assertIn("not 5", self.refused(5))

    @skipIf(MISSING, "the package cronsim is missing (pip install cronsim)")
    def test_wrong_field_is_named(self) -> None:
        self.assertEqual(self.refused("0 24 * * *"), "cron '0 24 * * *': bad hour")
        self.assertEqual(self.refused("0 0 31 2 *"), "cron '0 0 31 2 *': bad day-of-month")

    def test_pattern_must_match_one_path(self) -> None:
        for regex, path in (("/clean/", "/clean/"), (r"/a\.b/c-d_e~", "/a.b/c-d_e~"), (r"/a\-b", "/a-b")):
            self.assertEqual(only_path(regex), path)
        for regex in ("/(?P<name>)/", "/a.b", "/a?", r"/\d", "/a|/b", "/[ab]", "/a$"):
            self.assertRaises(ValueError, only_path, regex)
