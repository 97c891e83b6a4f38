"""How many tasks the requests of one server have put, got, finished and lost, by queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping

from twisted_appserver.queue.attempt_durations import AttemptDurations
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.queued_task import QueuedTask

COUNTED = {"put": "puts", "get": "gets", "done": "dones"}
NAMES = (*COUNTED.values(), "returned", "expired")


class RequestCounts:
    """
    Counts since the server has started. The database does not keep them.

    @param seconds: returns the time.
    @ivar durations: the durations of attempts that began and ended at this server.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self.durations = AttemptDurations(seconds)

    def note(self, request: Request) -> None:
        """Count a request that has succeeded."""
        result = request.result
        if request.tasks is not None and isinstance(result, list):
            self._counts[request.name, "puts"] += sum(task.body != b"" for task in result)
        repeated = request.found_again or (request.verb == "put" and result is not request.task)
        if request.verb in COUNTED and isinstance(result, QueuedTask) and not repeated:
            self._counts[request.name, COUNTED[request.verb]] += 1
            if request.verb == "get":
                self.durations.begin(result.number)
            elif request.verb == "done":
                self.durations.end(
                    request.name, result.number, "failed" if request.state == "failed" else "done"
                )
        elif request.verb == "fail" and isinstance(result, tuple):
            self.durations.end(request.name, request.number, "failed")

    def note_ended(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Count what requests do not count, see L{locked_queue.Effects}."""
        if counts:
            self._counts.update(counts)

    def of(self, queue: str) -> dict[str, int]:
        """Return the counts of a queue."""
        return {name: self._counts[queue, name] for name in NAMES}

    def forget(self, queue: str) -> None:
        """Drop the counts of a queue, because it was deleted."""
        for name in NAMES:
            del self._counts[queue, name]
        self.durations.keep(lambda name: name != queue)

    def keep(self, queues: Collection[str]) -> None:
        """Drop the counts of all other queues."""
        self._counts = Counter({key: count for key, count in self._counts.items() if key[0] in queues})
        self.durations.keep(lambda name: name in queues)

    @property
    def queues(self) -> set[str]:
        """The queues that have counts."""
        return {queue for queue, _ in self._counts}
