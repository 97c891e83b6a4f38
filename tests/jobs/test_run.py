"""Tests of stored jobs that this process has leased."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.jobs.run import Run
from twisted_appserver.jobs.stored_call import StoredCall
from twisted_appserver.queue.queued_task import QueuedTask


class RunTests(SynchronousTestCase):
    def test_place_is_that_of_the_first_lease_after_the_task_was_leased_again(self) -> None:
        """Otherwise the end of this attempt would be stored as the end of the next one."""
        call = StoredCall("", "f", "id", datetime.now(UTC), "GET", "/", "", "", "", [], b"")
        task = QueuedTask(7, msgspec.json.encode(call))
        task.deliveries = 1
        run = Run("q", task)
        task.deliveries = 2
        self.assertEqual(run.place, ("q", 7, 1))
