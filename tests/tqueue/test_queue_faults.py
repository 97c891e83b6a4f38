"""A short run of L{tests.support.queue_faults}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support import queue_faults
from tests.support.slow import slow


class QueueFaultsTests(SynchronousTestCase):
    @slow
    def test_no_task_is_lost_or_delivered_twice_while_processes_are_killed(self) -> None:
        """No client fails either."""
        counts = queue_faults.main(0.15, 7)
        for what in ("acknowledged", "in groups", "with unique keys"):
            self.assertGreater(counts[what], 100, what)
        self.assertGreater(counts["server killed"] + counts["produce killed"] + counts["consume killed"], 0)
