"""Tests of the backoff: its pauses, its jitter and its limits."""

from __future__ import annotations

import math
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import twisted_appserver
from twisted_appserver.core.retry import Retry


def middle() -> float:
    """Return the random number that changes nothing."""
    return 0.5


class RetryTests(SynchronousTestCase):
    def pauses(self, retry: Retry, *failures: int) -> list[float]:
        return [retry.delay(count, middle) for count in failures]

    def test_pauses_double_up_to_five_minutes(self) -> None:
        pauses = self.pauses(Retry(10), *range(1, 12))
        self.assertEqual(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])

    def test_first_factor_and_most_decide(self) -> None:
        self.assertEqual(self.pauses(Retry(0, 5, 3, 40), 1, 2, 3, 4), [5, 15, 40, 40])
        self.assertEqual(self.pauses(Retry(0, 7, 1), 1, 2, 99), [7, 7, 7])
        self.assertEqual(self.pauses(Retry(0, 100, 2, 40), 1), [40])
        self.assertEqual(self.pauses(Retry(0, 0), 1, 99), [0, 0])

    def test_any_number_of_failures_has_a_pause(self) -> None:
        self.assertEqual(self.pauses(Retry(0, 1, 1000), 10**6, 10**18), [300, 300])
        self.assertEqual(self.pauses(Retry(0, 0, 1000), 10**6), [0])
        self.assertEqual(self.pauses(Retry(0), 0), [1])

    def test_jitter_is_a_share_of_the_pause(self) -> None:
        retry = Retry(10, first=10, jitter=0.2)
        self.assertAlmostEqual(retry.delay(1, lambda: 0.0), 8)
        self.assertAlmostEqual(retry.delay(1, lambda: 0.999999999), 12)
        found = {retry.delay(2) for _ in range(50)}
        self.assertGreater(len(found), 40)
        self.assertTrue(all(16 <= each <= 24 for each in found), found)

    def test_wrong_values_are_refused_with_the_limits(self) -> None:
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            ({"attempts": -1}, "attempts must be 0 to 9223372036854775807, not -1"),
            ({"attempts": 1.5}, "attempts must be a whole number, not 1.5"),
            ({"first": -0.1}, "first must be 0 to 31622400 seconds, not -0.1"),
            ({"first": math.inf}, "first must be 0 to 31622400 seconds, not inf"),
            ({"factor": 0.5}, "factor must be 1 to 1000, not 0.5"),
            ({"most": math.nan}, "most must be 0 to 31622400 seconds, not nan"),
            ({"jitter": 1.1}, "jitter must be 0 to 1, not 1.1"),
            ({"jitter": True}, "jitter must be a number, not True"),
            ({"first": "1"}, "first must be a number, not '1'"),
        )
        for fields, message in cases:
            error = self.assertRaises(ValueError, Retry, **{"attempts": 3, **fields})
            self.assertEqual(str(error), message)

    def test_public_name(self) -> None:
        self.assertIs(twisted_appserver.Retry, Retry)
        error = self.assertRaises(AttributeError, setattr, Retry(3), "first", 2.0)
        self.assertIn("immutable", str(error))
