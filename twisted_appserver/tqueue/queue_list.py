"""Lists the queues of a broker with their figures."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults

from twisted_appserver.queue.interface import IBroker

AT_ONCE = 100  # queues whose tasks are counted at the same time
STATES = ("ready", "delayed", "leased", "held", "buried")


async def list_queues(broker: IBroker, detail: bool) -> dict[str, dict[str, int]]:
    """
    Return the C{qsize} of each queue, by name.

    @param detail: whether to count the tasks in each state, too.
    """
    sizes: dict[str, int] = await broker.qsizes(None)
    found = {name: {"qsize": size} for name, size in sizes.items()}
    names = list(found) if detail else []
    for start in range(0, len(names), AT_ONCE):
        several = names[start : start + AT_ONCE]
        counting = [Deferred.fromCoroutine(broker.stats(name)) for name in several]
        for name, stats in zip(several, await gatherResults(counting, consumeErrors=True), strict=True):
            found[name] = {"qsize": stats["ready"], **{state: stats[state] for state in STATES}}
    return found
