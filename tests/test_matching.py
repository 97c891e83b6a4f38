"""Tests of L{twisted_appserver.matching}: patterns that take for ever, and those that do not."""

from __future__ import annotations

import re
import sys
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests import cases
from twisted_appserver import HTTPError, PatternError, Router
from twisted_appserver.matching import prone
from twisted_appserver.patterns import flatten
from twisted_appserver.tqueue import url_patterns as queues


def function(**groups: Any) -> dict[str, Any]:
    return groups


class ProneTests(SynchronousTestCase):
    def test_prone(self) -> None:
        """What is known to explode is found."""
        for regex in (
            r"(a+)+", r"(a*)*b", r"/(?P<x>([a-z]+)*)/", r"(?:\w+\s?)*$", r"(.*)+", r"(\d|\d\d|[0-9])+x",
            r"(a|a)*", r"([a-zA-Z]+[0-9]*)*", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(?P<a>(x+x+)+)y",
            r"((ab)*)*",
            r"(.|\w)*",
        ):  # fmt: skip
            self.assertTrue(prone(regex), regex)

    def test_not_prone(self) -> None:
        """What is quick is left alone, and with it every table of ours."""
        for regex in (
            r"/(?P<a>[^/]+)/get/(?P<b>\d+)/", r"(?:[a-z]+/)*", r"(?P<path>.*)", r"(?P<a>\w+)-(?P<b>\w+)",
            r"(ab|cd)*", r"(ab|ac)*",
            r"(?P<y>\d{4})/(?P<m>\d{2})", r"(?:/[^/]+)+", r"(?:\d{1,3}\.){3}\d{1,3}", r"(?s:.*)", r"(a+b)+",
            r"a+b*c+",
        ):  # fmt: skip
            self.assertEqual(prone(regex), "", regex)
        for table in (cases.url_patterns, queues(reactor=object())):
            for _, regex, _ in flatten(table):
                self.assertEqual(prone(regex), "", regex)


class TableTests(SynchronousTestCase):
    """Warnings, and RE2, when a table is built."""

    def warned(self, regex: str) -> list[str]:
        Router([(regex, function)])
        return [each["message"] for each in self.flushWarnings()]

    def test_warning(self) -> None:
        """Without RE2, a pattern that is prone is named; it is used nevertheless."""
        with patch.dict(sys.modules, {"re2": None}):
            (message,) = self.warned(r"/(?P<a>(?:x+)+)/")
            self.assertIn("url_patterns[0]", message)
            self.assertIn("(?:x+)+", message)
            self.assertEqual(self.warned(r"/(?P<a>x+)/"), [])

    def test_re2(self) -> None:
        """With RE2, matching takes time in proportion to the path, and there is nothing to warn of."""
        router = Router([(r"/(?P<a>(?:x+)+)/", function)])
        self.assertEqual(self.flushWarnings(), [])
        self.assertEqual(router.match("GET", "/xxx/")[1], {"a": "xxx"})
        self.assertFalse(isinstance(router.entries[0].match.__self__, re.Pattern))
        self.assertRaises(HTTPError, router.match, "GET", "/" + "x" * 5000)

    def test_unknown_to_re2(self) -> None:
        """What RE2 does not know is matched by Python."""
        router = Router([(r"/(?P<a>(?!y)\w+)/", function)])
        self.assertEqual(router.match("GET", "/xy/")[1], {"a": "xy"})
        self.assertIsInstance(router.entries[0].match.__self__, re.Pattern)

    def test_simple(self) -> None:
        """Nor has RE2 any use for the simplest patterns."""
        for regex, simple in ((r"/(?P<a>)/x(?P<b>\d+)", True), (r"/(?P<a>\w+)(?P<b>\w+)", False)):
            router = Router([(regex, function)])
            self.assertEqual(isinstance(router.entries[0].match.__self__, re.Pattern), simple, regex)

    def test_same(self) -> None:
        """Every table of ours matches alike by both."""
        ours = Router(cases.url_patterns)
        with patch.dict(sys.modules, {"re2": None}):
            plain = Router(cases.url_patterns)
        for entry, other in zip(ours.entries, plain.entries, strict=True):
            path = re.sub(r"\(\?P<\w+>[^)]*\)", "1", other.regex)
            one, two = entry.match(path), other.match(path)
            self.assertEqual(one and one.groupdict(), two and two.groupdict(), path)

    def test_malformed(self) -> None:
        self.assertRaises(PatternError, Router, [("(", function)])
