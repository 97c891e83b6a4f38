"""Tests of L{twisted_appserver.core.pattern_compiler}: slow patterns are reported, or matched by RE2."""

from __future__ import annotations

import re
import sys
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests.support import cases
from twisted_appserver import HTTPError, PatternError, Router, include


def function(**groups: Any) -> dict[str, Any]:
    return groups


class TableTests(SynchronousTestCase):
    """Patterns are compiled when a table is built."""

    def warned(self, regex: str) -> list[str]:
        Router([(regex, function)])
        return [each["message"] for each in self.flushWarnings()]

    def test_slow_pattern_is_reported_with_advice(self) -> None:
        """Without RE2, a slow pattern is reported with advice, and used."""
        with patch.dict(sys.modules, {"re2": None}):
            for regex, how_long in (
                (r"/(?P<a>(?:x+)+)/", "for ever"),
                (r"/(?P<a>.+)-(?P<b>.+)", "for a second"),
            ):
                (message,) = self.warned(regex)
                for expected in ("url_patterns[0]", repr(regex), how_long, "possessive", "[re2]"):
                    self.assertIn(expected, message)
            self.assertIn("too complex", *self.warned(r"/(?P<a>(?:(\w)\2)+)"))
            self.assertEqual(self.warned(r"/(?P<a>x+)/"), [])

    def test_advice_leads_to_patterns_that_are_not_reported(self) -> None:
        with patch.dict(sys.modules, {"re2": None}):
            for regex in (r"/[^/-]+-[^/-]+", r"/[ab]+", r"/(?:\w++-?)+"):
                self.assertEqual(self.warned(regex), [], regex)

    def test_prefix_of_an_include_is_part_of_the_pattern(self) -> None:
        with patch.dict(sys.modules, {"re2": None}):
            Router([include(r"/(?:a|aa)+", [(r"/x", function)])])
        (warning,) = self.flushWarnings()
        self.assertIn("url_patterns[0][0]", warning["message"])

    def test_re2_matches_in_linear_time_without_a_warning(self) -> None:
        router = Router([(r"/(?P<a>(?:x+)+)/", function)])
        self.assertEqual(self.flushWarnings(), [])
        self.assertEqual(router.match("GET", "/xxx/")[1], {"a": "xxx"})
        self.assertFalse(isinstance(router.entries[0].match.__self__, re.Pattern))
        self.assertRaises(HTTPError, router.match, "GET", "/" + "x" * 5000)

    def test_python_matches_what_re2_does_not_support(self) -> None:
        router = Router([(r"/(?P<a>(?!y)\w+)/", function)])
        self.assertEqual(router.match("GET", "/xy/")[1], {"a": "xy"})
        self.assertIsInstance(router.entries[0].match.__self__, re.Pattern)
        self.assertEqual(self.flushWarnings(), [])
        self.assertIn("for ever", *self.warned(r"/(?P<a>(?!y)(?:x+)+)/"))

    def test_python_matches_the_simplest_patterns(self) -> None:
        """RE2 would be slower for them."""
        for regex, simple in ((r"/(?P<a>)/x(?P<b>\d+)", True), (r"/(?P<a>\w+)(?P<b>\w+)", False)):
            router = Router([(regex, function)])
            self.assertEqual(isinstance(router.entries[0].match.__self__, re.Pattern), simple, regex)

    def test_re2_and_python_match_alike(self) -> None:
        """Every pattern of the table of cases gives the same matches with both."""
        ours = Router(cases.url_patterns)
        with patch.dict(sys.modules, {"re2": None}):
            plain = Router(cases.url_patterns)
        for entry, other in zip(ours.entries, plain.entries, strict=True):
            path = re.sub(r"\(\?P<\w+>[^)]*\)", "1", other.regex)
            one, two = entry.match(path), other.match(path)
            self.assertEqual(one and one.groupdict(), two and two.groupdict(), path)

    def test_malformed_pattern_is_refused(self) -> None:
        self.assertRaises(PatternError, Router, [("(", function)])
