"""Requests about many tasks that are performed as one request for each task, in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults

from twisted_appserver.queue.interface import Ended
from twisted_appserver.queue.postgresql.pending_requests import PendingRequests
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.request_keys import key_in_batch


class ManyRequests:
    """
    @param give_back: releases the task of a get whose client is gone.
    """

    def __init__(self, pending: PendingRequests, give_back: Callable[[Request], None]) -> None:
        self._pending, self._give_back = pending, give_back

    async def get(
        self, name: str, count: int, seconds: float | None, key: str, timeout: float, by: str
    ) -> list[QueuedTask] | str:
        """Lease tasks, as L{IBroker.get_many} describes. Only the first get waits."""
        keys = [key_in_batch(key, place) for place in range(count)]
        requests = [Request("get", name, seconds=seconds, key=each, by=by) for each in keys]
        submitted = [self._pending.submit(requests[0], timeout)]
        submitted += [self._pending.submit(request) for request in requests[1:]]
        try:
            more = await self._all(submitted[1:])
            waits = not submitted[0].called
            found = await submitted[0]
            if waits and isinstance(found, QueuedTask):
                requests = [requests[0], *(_again(request) for request in requests[1:])]
                submitted[1:] = [self._pending.submit(request) for request in requests[1:]]
                more = await self._all(submitted[1:])
        except CancelledError:
            for deferred, request in zip(submitted, requests, strict=True):
                if deferred.called:
                    self._give_back(request)
                else:
                    deferred.addErrback(lambda failure: failure.trap(CancelledError))
                    deferred.cancel()
            raise
        tasks = [task for task in (found, *more) if isinstance(task, QueuedTask)]
        return tasks or found

    async def done(self, name: str, tasks: Sequence[Ended], failed: Collection[int]) -> list[bool]:
        """Finish tasks, as L{IBroker.done_many} describes."""
        return await self._succeed(
            Request(
                "done",
                name,
                number=number,
                delivery=delivery,
                body=result,
                state="failed" if number in failed else "",
            )
            for number, delivery, result in tasks
        )

    async def renew(
        self,
        name: str,
        tasks: Sequence[tuple[int, int]],
        seconds: float | None,
        progress: Mapping[int, bytes],
    ) -> list[bool]:
        """Extend leases, as L{IBroker.renew} describes."""
        return await self._succeed(
            Request(
                "extend",
                name,
                number=number,
                delivery=delivery,
                seconds=seconds,
                body=progress.get(number, b""),
            )
            for number, delivery in tasks
        )

    async def _succeed(self, requests: Any) -> list[bool]:
        found = await self._all([self._pending.submit(request) for request in requests])
        return [task is not None for task in found]

    async def _all(self, submitted: Sequence[Deferred[Any]]) -> list[Any]:
        """Wait for all results. Raises the first error."""
        try:
            return await gatherResults(submitted, consumeErrors=True)
        except FirstError as error:
            raise error.subFailure.value from None  # type: ignore[misc]


def _again(request: Request) -> Request:
    """Return the same get, to be submitted once more."""
    return Request("get", request.name, seconds=request.seconds, key=request.key, by=request.by)
