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

    def test_part_of_a_longer_name_is_found(self) -> None:
        known = ("--token-file", "--timeout", "--max-pending")
        self.assertEqual(closest("--tokn", known), "--token-file")
        self.assertEqual(closest("pendng", known), "--max-pending")
        self.assertEqual(closest("--xyzzy", known), "")
