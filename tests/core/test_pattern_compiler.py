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

    def notes(self, *entries: Any) -> list[str]:
        return Router(entries).notes

    def test_slow_pattern_is_reported_with_advice(self) -> None:
        """Without RE2, a slow pattern is reported in the words of its table, and used."""
        with patch.dict(sys.modules, {"re2": None}):
            for regex, how_long, advice in (
                (r"/(?P<a>(?:x+)+)/", "for ever", "possessive"),
                (r"/(?P<a>x|xx)+/", "for ever", "instead of (a|b|ab)+"),
                (r"/(?P<a>.+)-(?P<b>.+)-(?P<c>.+)", "for minutes", "separate two repetitions"),
                (r"/(?P<a>.+)-(?P<b>.+)", "for a second", "separate two repetitions"),
            ):
                (message,) = self.notes((regex, function))
                self.assertTrue(message.startswith(f"url_patterns[0] {regex!r}: a path of 8 KiB"), message)
                for expected in (how_long, advice, "[re2]"):
                    self.assertIn(expected, message)
                self.assertNotIn("?:/(?P", message)  # nothing that the user has not written
            self.assertIn("too complex", "".join(self.notes((r"/(?P<a>(?:(?P<b>\w)(?P=b))+)", function))))
            self.assertEqual(self.notes((r"/(?P<a>x+)/", function)), [])

    def test_minutes_are_a_problem_and_a_second_is_a_note(self) -> None:
        with patch.dict(sys.modules, {"re2": None}):
            for regex, problems in ((r"/(?:x+)+/", 1), (r"/.+-.+-.+", 1), (r"/.+-.+", 0)):
                self.assertEqual(len(Router([(regex, function)]).problems), problems, regex)

    def test_advice_leads_to_patterns_that_are_not_reported(self) -> None:
        with patch.dict(sys.modules, {"re2": None}):
            for regex in (r"/[^/-]+-[^/-]+", r"/[ab]+", r"/(?:\w++-?)+"):
                self.assertEqual(self.notes((regex, function)), [], regex)

    def test_prefix_of_an_include_is_part_of_the_pattern(self) -> None:
        with patch.dict(sys.modules, {"re2": None}):
            (note,) = self.notes(include(r"/(?:a|aa)+", [(r"/x", function)]))
        self.assertIn("url_patterns[0][0] '/x': with the prefix of its include: a path", note)

    def test_re2_is_not_suggested_for_what_it_does_not_support(self) -> None:
        """Lookarounds, backreferences, atomic groups and possessive repetitions."""
        for part in (r"(?!y)", r"(?<=/)", r"(?P<b>y)(?P=b)", r"y++"):
            (note,) = self.notes((rf"/{part}(?P<a>(?:x+)+)/", function))
            self.assertIn("for ever", note)
            self.assertNotIn("re2", note)

    def test_re2_matches_in_linear_time_without_a_warning(self) -> None:
        router = Router([(r"/(?P<a>(?:x+)+)/", function)])
        self.assertEqual(router.notes, [])
        self.assertEqual(router.match("GET", "/xxx/")[1], {"a": "xxx"})
        self.assertFalse(isinstance(router.entries[0].match.__self__, re.Pattern))
        self.assertRaises(HTTPError, router.match, "GET", "/" + "x" * 5000)

    def test_python_matches_what_re2_does_not_support(self) -> None:
        router = Router([(r"/(?P<a>(?!y)\w+)/", function)])
        self.assertEqual(router.match("GET", "/xy/")[1], {"a": "xy"})
        self.assertIsInstance(router.entries[0].match.__self__, re.Pattern)
        self.assertEqual(router.notes, [])

    def test_python_matches_all_patterns_that_it_cannot_match_slowly(self) -> None:
        """RE2 would be slower for them."""
        for regex, fast in (
            (r"/(?P<a>)/x(?P<b>\d+)", True),
            (r"/(?P<a>person|company)/(?P<b>[0-9]+)/", True),
            (r"/(?P<a>\w+)(?P<b>\w+)", False),
        ):
            router = Router([(regex, function)])
            self.assertEqual(isinstance(router.entries[0].match.__self__, re.Pattern), fast, regex)

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
