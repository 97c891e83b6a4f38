"""Tests of the search for the name closest to a misspelt one."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.closest_name import closest


class ClosestTests(SynchronousTestCase):
    def test_closest_word_is_found_with_its_dashes(self) -> None:
        """The most similar word is returned as it is written; dashes alone make no similarity."""
        known = ("--port", "--host", "-p", "--max-rss", "put")
        self.assertEqual(closest("--prot", known), "--port")
        self.assertEqual(closest("pot", known), "--port")
        self.assertEqual(closest("--xyzzy", known), "")
        self.assertEqual(closest("--", known), "")
