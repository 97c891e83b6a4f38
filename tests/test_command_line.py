"""Tests of what all commands share."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.command_line import unknown, version_text


class WordTests(SynchronousTestCase):
    def test_message_for_an_unknown_word_names_the_help(self) -> None:
        """With and without a similar word."""
        self.assertEqual(
            unknown("verb", "putt", ["put"], "tqueue"),
            "unknown verb putt; did you mean put? See tqueue --help",
        )
        self.assertEqual(unknown("verb", "x", ["put"], "tqueue"), "unknown verb x; see tqueue --help")


class VersionTests(SynchronousTestCase):
    def test_version_text_has_three_versions(self) -> None:
        """The package, Twisted and Python."""
        self.assertTrue(re.fullmatch(r"twisted_appserver .+, Twisted \d.+, Python 3.+", version_text()))
