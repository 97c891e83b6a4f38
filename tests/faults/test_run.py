"""A short run of L{tests.faults.run}; C{python -m tests.faults} runs for longer."""

from __future__ import annotations

from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.faults.run import run
from tests.support.slow import slow


class RunTests(TestCase):
    timeout = 120

    async def check(self, server_type: str) -> None:
        """Check that no promise was broken, and that faults were caused."""
        result: dict[str, Any] = await deferToThread(run, server_type, 6.0, 1, 8, 0.05)
        self.assertEqual(result["wrong"], [], result)
        self.assertGreater(result["requests"], 100)
        self.assertGreater(sum(result["faults"].values()), 20)

    @slow
    async def test_threaded_server_answers_every_request_under_faults(self) -> None:
        """Each gets its one correct response, and nothing leaks."""
        await self.check("threaded")

    @slow
    async def test_forked_server_answers_every_request_under_faults(self) -> None:
        """Workers are killed and frozen."""
        await self.check("forked")

    @slow
    async def test_mixed_server_answers_every_request_under_faults(self) -> None:
        """Some functions run in threads, and the others in worker processes, which are killed and frozen."""
        await self.check("mixed")
