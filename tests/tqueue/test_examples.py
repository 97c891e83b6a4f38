"""The examples of TQueueSrv run and print the right result."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support.queue_server import ROOT
from tests.support.slow import slow


class ExampleTests(SynchronousTestCase):
    @slow
    def test_primes_are_complete_though_a_worker_is_killed(self) -> None:
        finished = subprocess.run(
            [sys.executable, os.path.join(ROOT, "examples/tqueue_primes.py"), "100000"],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": ROOT},
        )
        self.assertIn("was killed", finished.stdout)
        self.assertIn("there are 9592 primes below 100000", finished.stdout, finished.stderr)
