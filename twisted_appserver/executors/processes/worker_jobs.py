"""C{jobs.put} in a worker process: its server takes the jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from twisted_appserver.core.call import Call
from twisted_appserver.core.enqueueing import EnqueuedJob
from twisted_appserver.core.router import Router
from twisted_appserver.errors import JobError
from twisted_appserver.executors.processes.frames import PutJob
from twisted_appserver.executors.processes.worker_channel import WorkerChannel


class WorkerJobs:
    """
    Sends jobs to the server.

    @ivar router: the table of this process.
    """

    def __init__(self, channel: WorkerChannel, router: Router) -> None:
        self._channel, self.router = channel, router

    def take_and_wait(self, call: Call, delay: float) -> EnqueuedJob:
        """As L{core.enqueueing.JobTaker.take_and_wait}."""
        answer = self._channel.ask(lambda number: PutJob(number, call, delay))
        if answer.error:
            raise JobError(answer.error)
        return EnqueuedJob(answer.job)

    def take_soon(self, call: Call, delay: float) -> Awaitable[EnqueuedJob]:
        """As L{core.enqueueing.JobTaker.take_soon}, for event loops that functions run."""
        return asyncio.to_thread(self.take_and_wait, call, delay)
