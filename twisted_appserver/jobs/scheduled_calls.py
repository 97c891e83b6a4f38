"""The next call of each schedule, as a job that waits in a store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, FailureGroup, race
from twisted.internet.task import deferLater

from twisted_appserver.core.call import Call
from twisted_appserver.errors import AppserverError
from twisted_appserver.jobs.job_ends import AGAIN
from twisted_appserver.jobs.performer import WAIT
from twisted_appserver.jobs.stored_call import encode_call
from twisted_appserver.queue.interface import STOPPING, IBroker, ReusedError, StoreError
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.task_result import TaskResult

UNFINISHED = ("leased", "ready", "delayed", "held")


async def _sleep(sleeping: Awaitable[None]) -> None:
    await sleeping


class ScheduledCalls:
    """
    Each host puts the call early, delayed until it is due, with the due time as its key. So the call exists
    once.

    @param wall: returns the seconds since the epoch.
    """

    def __init__(self, reactor: Any, broker: IBroker, wall: Callable[[], float]) -> None:
        self._reactor, self._broker, self._wall = reactor, broker, wall

    async def plan(
        self, queue: str, call: Call, due: float, sleep_until: Callable[[float], Awaitable[None]]
    ) -> tuple[int, float]:
        """
        Let a call wait in a queue until it is due. If an earlier call has not ended, use that call instead.

        @param due: seconds since the epoch.
        @param sleep_until: waits for such a time.
        @return: the number of the task, and when it was due; as soon as it is due or has ended. The call may
            have been due earlier, if no service was up then.
        """
        number, due = await self._put(queue, call, due)
        await self._until_due_or_ended(queue, number, sleep_until(due))
        details = await self._broker.show(queue, number)
        is_waiting = details is not None and details.task is not None and not details.task.deliveries
        if is_waiting and self._wall() >= due:
            await self._broker.kick_task(queue, number)  # The clock was set forward.
        return number, due

    async def end(self, queue: str, number: int) -> TaskResult | None:
        """Wait for the end of a call, and return it; C{None} if the end is unknown."""
        while True:
            found = await self._broker.result(queue, number, WAIT)
            if found is None or isinstance(found, str) or found.state not in UNFINISHED:
                break
        ended = await self._broker.show(queue, number)
        return ended.result if ended is not None and ended.task is None else None

    async def _put(self, queue: str, call: Call, due: float) -> tuple[int, float]:
        """Return the number of the call that is to be performed next, and when it is due."""
        for state in UNFINISHED:
            for task in await self._broker.peek(queue, 1, state):
                # A task that is due later may still be this call, if the clock was set forward. Or that task
                # is the next call, if this one was cancelled.
                if state != "delayed" or task.deliveries or task.due <= due:
                    # The clock of the store may be behind: only a time that is over was missed.
                    return task.number, task.due if task.due <= self._wall() else due
        delay = max(0.0, due - self._wall())
        try:
            found = await self._broker.put(queue, QueuedTask(0, encode_call(call)), f"{due:.3f}", 0.0, delay)
        except ReusedError as error:  # It waits, was cancelled, or another host's clock is ahead.
            return error.number, due
        if not isinstance(found, QueuedTask):
            raise StoreError(f"the queue {queue} is {found}")
        return found.number, due

    async def _until_due_or_ended(self, queue: str, number: int, sleeping: Awaitable[None]) -> None:
        """Wait until a call is due, or was cancelled."""
        both = _sleep(sleeping), self._until_ended(queue, number)
        try:
            await race([Deferred.fromCoroutine(each) for each in both])
        except FailureGroup:  # both were cancelled
            raise CancelledError from None

    async def _until_ended(self, queue: str, number: int) -> None:
        """Wait until a task has ended; repeat the request until the store answers."""
        while True:
            found: TaskResult | str | None = STOPPING
            with suppress(AppserverError):  # An error of the store does not change the due time.
                found = await self._broker.result(queue, number, WAIT)
            if isinstance(found, str):
                await deferLater(self._reactor, AGAIN)
            elif found is None or found.state not in UNFINISHED:
                return
