"""Tests of what the product says about common mistakes."""

from __future__ import annotations

import re
from shutil import which

from twisted.trial.unittest import SynchronousTestCase

from tests.mistakes.page import PAGE, page
from tests.support.slow import slow


class MistakesTests(SynchronousTestCase):
    timeout = 400
    if not which("curl"):
        skip = "curl is not installed"

    @slow
    def test_page_shows_what_the_product_says_today(self) -> None:
        """No mistake ends in the output of Python's own error handling, or in a command that runs on."""
        made = page()
        for text in ("Traceback (most recent call last)", "(It runs on.)"):
            for section in re.split(r"\n(?=###? )", made):
                title, _, output = section.partition("\n")
                first = output.partition("\n$ ")[2].partition("\nlog: ")[0]
                self.assertNotIn(text, first, title)
        self.assertMultiLineEqual(PAGE.read_text("utf-8"), made, "run python -m tests.mistakes.page")
