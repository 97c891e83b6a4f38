"""Tests of the places for jobs: while jobs are quick, some are taken before they have a place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.jobs.slots import AHEAD, LONGEST_WAIT, QUICK, Slots


class FakeRun:
    slots: Any = None


class SlotsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.performed: list[Any] = []
        self.returned: list[Any] = []
        self.slots = Slots(self.clock, SimpleNamespace(size=3), self.performed.append, self.put_back)

    def put_back(self, run: Any) -> None:
        self.returned.append(run)
        self.slots.give_back(run)

    def take(self, count: int) -> list[Any]:
        """Take jobs, and begin them if they have a place."""
        reserved = self.slots.reserve(True)
        self.slots.settle(reserved, count)
        runs: list[Any] = [FakeRun() for _ in range(count)]
        for run in runs:
            self.slots.begin(run)
        return runs

    def test_no_job_is_taken_ahead_until_one_was_quick(self) -> None:
        self.assertEqual(self.slots.free(True), 2)
        self.slots.note(QUICK)
        self.assertEqual(self.slots.free(True), 2)
        self.slots.note(QUICK / 2)
        self.assertEqual(self.slots.free(True), 2 + 2 * AHEAD)
        self.assertEqual(self.slots.free(False), 2)

    def test_jobs_that_were_taken_ahead_begin_in_order_when_places_become_free(self) -> None:
        self.slots.note(0.0)
        first, second, third, fourth = self.take(4)
        self.assertEqual(self.performed, [first, second])
        self.slots.give_back(second)
        self.assertEqual(self.performed, [first, second, third])
        self.slots.give_back(first)
        self.assertEqual(self.performed, [first, second, third, fourth])

    def test_jobs_that_do_not_begin_soon_are_put_back(self) -> None:
        self.slots.note(0.0)
        first, second, third = self.take(3)
        self.clock.advance(LONGEST_WAIT)
        self.assertEqual(self.returned, [third])
        self.slots.give_back(second)
        self.assertEqual((self.performed, self.slots.free(True)), ([first, second], 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_jobs_that_began_in_time_are_not_put_back(self) -> None:
        self.slots.note(0.0)
        first, _, _ = self.take(3)
        self.clock.advance(LONGEST_WAIT / 2)
        self.slots.give_back(first)
        (late,) = self.take(1)
        self.clock.advance(LONGEST_WAIT / 2)
        self.assertEqual(self.returned, [])
        self.clock.advance(LONGEST_WAIT)
        self.assertEqual(self.returned, [late])

    def test_at_rest_no_job_is_left_that_has_not_begun(self) -> None:
        self.slots.note(0.0)
        *_, third, fourth = self.take(4)
        self.slots.rest()
        self.assertEqual((self.returned, self.clock.getDelayedCalls()), ([third, fourth], []))

    def test_a_queue_that_takes_nothing_ahead_gets_its_place_before_those_behind_it(self) -> None:
        self.slots.note(0.0)
        first, second, third = self.take(3)
        went: list[str] = []
        for name, ahead in (("limited", False), ("quick", True)):
            Deferred.fromCoroutine(self.slots.wait(ahead)).addCallback(lambda _, name=name: went.append(name))
        self.slots.give_back(first)
        self.assertEqual(went, [])
        self.slots.give_back(second)
        self.assertEqual(went, ["limited"])
        self.slots.give_back(third)
        self.assertEqual(went, ["limited", "quick"])
