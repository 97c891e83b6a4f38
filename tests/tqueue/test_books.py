"""The books test, for some seconds; C{python -m tests.support.books} does for minutes what this does."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support import books
from tests.support.slow import slow


class BooksTests(SynchronousTestCase):
    @slow
    def test_no_task_is_lost_or_delivered_twice_while_processes_are_killed(self) -> None:
        """No client fails either."""
        counts = books.main(0.15, 7)
        self.assertGreater(counts["acknowledged"], 100)
        self.assertGreater(counts["server killed"] + counts["produce killed"] + counts["consume killed"], 0)
