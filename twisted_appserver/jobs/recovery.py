"""What happens to the jobs in a store when a service starts.

If no other process can use the store, the process that had leases has died. So nobody must wait until the
leases end. In this case, no other process can perform jobs whose route is missing in this table, so these
jobs end.
"""

from __future__ import annotations

from twisted.logger import Logger

from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.errors import HTTPError
from twisted_appserver.jobs.route_queues import PREFIX, RouteQueues
from twisted_appserver.jobs.run import DIED, REMOVED
from twisted_appserver.jobs.stored_call import decode_about, encode_end
from twisted_appserver.queue.interface import IBroker
from twisted_appserver.queue.queued_task import QueuedTask

log = Logger()
ALL = 1_000_000_000  # more tasks than a queue has


async def recover(broker: IBroker, routes: RouteQueues) -> None:
    """Prepare the jobs of earlier processes."""
    names = [name for name in await broker.qsizes(None) if name.startswith(PREFIX)]
    for name in names:
        if not broker.shared:
            leased = await broker.peek(name, ALL, "leased")
            for task in leased:
                await broker.fail(name, task.number, 0, (DIED, ""), 0.0)
            if leased:
                log.info(
                    "{n} jobs of {name} were running when the last process ended", n=len(leased), name=name
                )
        if name not in routes.names:
            await _end_removed(broker, name)


async def _end_removed(broker: IBroker, name: str) -> None:
    """End the jobs of a queue that belongs to no route of the table."""
    waiting = [task for state in ("ready", "delayed", "held") for task in await broker.peek(name, ALL, state)]
    if waiting and broker.shared:
        log.warn("{n} jobs of {name} wait for a process that has their route", n=len(waiting), name=name)
        return
    for task in waiting:
        await broker.drop(name, task.number, _end_of_removed(task))
    if waiting:
        log.warn("{n} jobs of {name} have failed: {why}", n=len(waiting), name=name, why=REMOVED)


def _end_of_removed(task: QueuedTask) -> bytes:
    about = decode_about(task.body, "failed")
    return encode_end(about, problem_reply(HTTPError(410, REMOVED), about.request_id), call=task.body)
