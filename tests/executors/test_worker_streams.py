"""Tests of L{executors.processes.worker_streams}."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.executors.processes.worker_streams import WorkerStreams


class Worker:
    """The progress of a worker that does something new whenever the server looks."""

    def __init__(self, *generators: int) -> None:
        self._generators = iter(generators)

    @property
    def generator(self) -> int:
        return next(self._generators)


class StuckTests(SynchronousTestCase):
    def check(self, *generators: int) -> bool:
        """Drop the first stream, and return whether its generator then counts as stuck."""
        progress: Any = Worker(*generators)
        streams = WorkerStreams(Clock(), progress, lambda frame: None, self.fail)
        pending = PendingCall(Call("GET", "/"), lambda pending, reply: None, lambda call, reply: None)
        streams.begin(1, pending, Reply(None))
        pending.stream.stopProducing()
        return streams.is_stuck(pending)

    def test_generator_that_ends_while_the_server_looks_is_not_stuck(self) -> None:
        """It was parked when it was dropped, runs to be closed, and has ended at a second look."""
        self.assertFalse(self.check(0, 1, 0))

    def test_generator_that_was_running_when_it_was_dropped_is_stuck(self) -> None:
        """It ran before and still runs."""
        self.assertTrue(self.check(1, 1, 1))
