"""Performs all requests but done, put and get: each has statements of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from twisted_appserver.queue.attempt import Attempt, TaskDetails
from twisted_appserver.queue.interface import StoreError
from twisted_appserver.queue.model import Config, QueuedTask, read_config, replace
from twisted_appserver.queue.postgresql.batch_requests import repeated_batch
from twisted_appserver.queue.postgresql.locked_queue import LockedQueue, key_reused, repeated_put, to_task
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.postgresql.schema import BURIED, READY, STATES
from twisted_appserver.queue.request_keys import digest, lane, lane_of
from twisted_appserver.queue.task_result import TaskResult

# Requests that make room or make tasks available come first. Requests that delete the queue come last.
ORDER = (
    "look_up", "change", "extend", "release", "fail", "bury", "drop", "kick_task", "kick", "purge", "join",
    "config", "peek", "errors", "show", "result", "stats", "qsizes", "delete",
)  # fmt: skip


def absent_queue(name: str, requests: Sequence[Request]) -> None:
    """Resolve requests for a queue that does not exist, as if it were empty. A get stays pending."""
    results: dict[str, Any] = {
        "kick": 0, "join": (0, 0), "purge": 0, "config": Config(), "peek": [], "errors": {},
        "qsizes": {name: 0}, "stats": dict.fromkeys(STATES, 0),
    }  # fmt: skip
    for request in requests:
        if request.verb != "get":
            request.resolve(results.get(request.verb))


class OtherRequests:
    """
    The requests of one queue. Each method performs the requests of the verb with its name.

    @raise StoreError: when the stored options of the queue cannot be used.
    """

    def __init__(self, queue: LockedQueue) -> None:
        self._queue, self._execute = queue, queue.execute
        (text,) = self._execute("options")[0]
        try:
            self._config = read_config(queue.name, text)
        except ValueError as error:
            raise StoreError(str(error)) from None

    def perform(self, by_verb: Mapping[str, Sequence[Request]]) -> None:
        """Perform requests, given by verb."""
        for verb in sorted(by_verb, key=ORDER.index):
            getattr(self, verb)(by_verb[verb])

    # Leased tasks.

    def extend(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self._update(request, "extend", seconds=self._lease_of(request))

    def release(self, requests: Sequence[Request]) -> None:
        for request in requests:
            # A task that is given back because the client of its get was gone had no attempt.
            self._release(request, "" if request.lease else "released")

    def fail(self, requests: Sequence[Request]) -> None:
        for request in requests:
            if request.state == "buried":
                self._update(request, "bury", "failed")
            else:
                self._release(request, "failed")

    def bury(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self._update(request, "bury", "buried")
            if request.result is None and not request.delivery:
                self._update(request, "bury_waiting")

    def drop(self, requests: Sequence[Request]) -> None:
        for request in requests:
            rows = self._execute("drop", number=request.number)
            request.resolve(to_task(rows[0]) if rows else None)
        self._queue.changed("all")

    def kick_task(self, requests: Sequence[Request]) -> None:
        for request in requests:
            rows = self._execute("kick_task", number=request.number, kind=self._config.kind)
            rows = rows or self._execute("task", number=request.number)
            request.resolve(to_task(rows[0]) if rows else None)
        self._queue.changed("all")

    def _release(self, request: Request, reason: str) -> None:
        config = self._config
        self._update(
            request, "release", reason, kind=config.kind, max_deliveries=config.max_deliveries,
            delay=request.delay, lease=request.lease,
        )  # fmt: skip

    def _update(self, request: Request, statement: str, reason: str = "", **values: Any) -> None:
        """
        Change a leased task. The result is C{None} if it is not leased in the delivery of the request.

        @param reason: how its attempt has ended; empty if it goes on, or did not begin.
        """
        rows = self._execute(statement, number=request.number, delivery=request.delivery, **values)
        state = rows[0][7] if rows else None
        if state in (READY, BURIED):
            self._queue.changed("getters" if state == READY else "all")
        if rows and reason:
            error, traceback = request.failure
            values = {"reason": reason, "error": error, "traceback": traceback}
            self._execute("end_attempt", number=request.number, **values)
        request.resolve(to_task(rows[0]) if rows else None)

    def _lease_of(self, request: Request) -> float:
        """Return the length of the lease, in seconds."""
        return self._config.lease if request.seconds is None else request.seconds

    # Keys.

    def look_up(self, requests: Sequence[Request]) -> None:
        """Resolve puts and gets that were performed before, and leave the others pending."""
        for request in requests:
            if request.verb == "get":
                rows = self._execute("renew_held_task", seconds=self._lease_of(request), holder=request.key)
                if rows:
                    request.found_again = True
                    request.resolve(to_task(rows[0]))
                continue
            if request.tasks is not None:
                rows = self._execute("remembered_batch", lane=lane(request.key), key=request.key)
                if rows:
                    request.resolve(repeated_batch(request, *rows[0]))
                continue
            rows = self._execute("remembered_key", lane=lane(request.key), key=request.key)
            if rows:
                request.resolve(repeated_put(request, *rows[0]))

    def _was_performed(self, request: Request, body: bytes) -> bool:
        """Resolve a request that was performed before with the same key, and return whether it was."""
        if not request.key:
            return False
        rows = self._execute("remembered_key", lane=lane_of(request.verb, request.key), key=request.key)
        for number, first_digest in rows:
            request.resolve(number if first_digest == digest(body) else key_reused(request))
        return bool(rows)

    def _remember(self, request: Request, number: int, body: bytes) -> None:
        """Resolve a request with a number, and remember its key."""
        if request.key:
            self._execute(
                "remember_key", lane=lane_of(request.verb, request.key), key=request.key, number=number,
                seconds=self._config.remember, digest=digest(body),
            )  # fmt: skip
        request.resolve(number)

    # Tasks that wait.

    def kick(self, requests: Sequence[Request]) -> None:
        for request in requests:
            body = b"%d" % request.count
            if self._was_performed(request, body):
                continue
            numbers = [number for (number,) in self._execute("oldest_buried", count=request.count)]
            self._execute("kick", numbers=numbers)
            self._execute("update_positions", kind=self._config.kind)
            self._queue.changed("getters")
            self._remember(request, len(numbers), body)

    def purge(self, requests: Sequence[Request]) -> None:
        for request in requests:
            if not self._was_performed(request, b""):
                self._remember(request, len(self._execute("purge")), b"")
        self._queue.changed("all")

    def join(self, requests: Sequence[Request]) -> None:
        if not self._execute("any_unfinished", lowest_number=self._queue.bounds.lowest_number):
            (buried,) = self._execute("count_buried")[0]
            for request in requests:
                request.resolve((0, buried))

    def peek(self, requests: Sequence[Request]) -> None:
        for request in requests:
            rows = self._execute(f"peek_{request.state}", count=request.count)
            request.resolve([self._shown(row, request.state) for row in rows])

    def result(self, requests: Sequence[Request]) -> None:
        rows = self._execute("results", numbers=[request.number for request in requests])
        found = {number: TaskResult(number, *row) for number, *row in rows}
        for request in requests:
            request.resolve(found.get(request.number))

    def errors(self, requests: Sequence[Request]) -> None:
        for request in requests:
            request.resolve(dict(self._execute("last_errors", numbers=list(request.numbers))))

    def show(self, requests: Sequence[Request]) -> None:
        for request in requests:
            found = [TaskResult(*row) for row in self._execute("results", numbers=[request.number])]
            rows = self._execute("task", number=request.number)
            attempts = [Attempt(*row) for row in self._execute("attempts", number=request.number)]
            task = self._shown(rows[0], found[0].state) if rows else None
            request.resolve(TaskDetails(found[0], task, attempts) if found else None)

    def _shown(self, row: Sequence[Any], state: str) -> QueuedTask:
        """Make a task of a row. One column has the end of a lease or delay."""
        task = to_task(row)
        at = task.lease
        task.due, task.lease = at * (state == "delayed"), at * (state == "leased")
        task.attempts, task.by, task.began = row[7:10]
        return task

    # The whole queue.

    def config(self, requests: Sequence[Request]) -> None:
        for request in requests:
            request.resolve(self._config)

    def change(self, requests: Sequence[Request]) -> None:
        kind = self._config.kind
        for request in requests:
            try:
                self._config = replace(self._config, request.changes)
                request.resolve(self._config)
            except ValueError as error:
                request.resolve(error)
        if self._config.shutdown == "immediate":
            self._execute("purge")
        self._execute("set_options", options=msgspec.json.encode(self._config).decode())
        if self._config.kind != kind:
            self._execute("update_positions", kind=self._config.kind)
        self._queue.changed("all")

    def delete(self, requests: Sequence[Request]) -> None:
        for statement in ("delete_tasks", "delete_keys", "delete_attempts", "delete_results", "delete_queue"):
            self._execute(statement)
        self._execute("record_deletion", name=self._queue.name)
        self._queue.changed("gone")
        for request in requests:
            request.resolve(None)

    def stats(self, requests: Sequence[Request]) -> None:
        counts = dict(self._execute("count_by_state"))
        for request in requests:
            request.resolve({name: counts.get(state, 0) for name, state in STATES.items()})

    def qsizes(self, requests: Sequence[Request]) -> None:
        (size,) = self._execute("size")[0]
        for request in requests:
            request.resolve({self._queue.name: size})
