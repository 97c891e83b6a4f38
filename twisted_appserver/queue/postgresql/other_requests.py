"""Performs all requests except done, put and get: each has statements of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from twisted_appserver.queue.attempt import Attempt, TaskDetails
from twisted_appserver.queue.config import Config
from twisted_appserver.queue.existing_task import ExistingTask
from twisted_appserver.queue.interface import StoreError
from twisted_appserver.queue.postgresql.batch_requests import repeated_batch
from twisted_appserver.queue.postgresql.locked_queue import (
    LockedQueue,
    key_reused,
    repeated_put,
    to_leased_task,
    to_task,
)
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.postgresql.schema import BURIED, READY, STATES
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.request_keys import digest, lane, lane_of
from twisted_appserver.queue.stored_options import read_config, replace
from twisted_appserver.queue.task_result import TaskResult
from twisted_appserver.queue.terms import decode_terms, pause_after

# Requests that make room or make tasks available come first. Requests that delete the queue come last.
ORDER = (
    "look_up", "change", "extend", "release", "fail", "bury", "drop", "free", "forget", "edit", "kick_task",
    "kick", "purge", "join", "config", "peek", "ended", "errors", "progress", "show", "result", "stats",
    "qsizes", "delete",
)  # fmt: skip
# The statements that delete a queue with everything in it.
DELETION = (
    "delete_tasks", "delete_keys", "delete_taken", "delete_attempts", "delete_results", "delete_queue",
)  # fmt: skip


def absent_queue(name: str, requests: Sequence[Request]) -> None:
    """Resolve requests for a queue that does not exist, as if it were empty. A get stays pending."""
    results: dict[str, Any] = {
        "kick": 0, "join": (0, 0), "purge": 0, "config": Config(), "peek": [], "ended": [],
        "errors": {}, "progress": {}, "free": False,
        "qsizes": {name: 0},
        "stats": {**dict.fromkeys((*STATES, "unfinished", "results"), 0), "oldest": None},
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
            row = self._update(request, "extend", seconds=self._lease_of(request))
            if row is not None and request.body:
                self._execute("note_progress", number=request.number, value=request.body)

    def release(self, requests: Sequence[Request]) -> None:
        for request in requests:
            # A task that is given back because the client of its get was gone had no attempt.
            self._release(request, "" if request.lease else "released")

    def fail(self, requests: Sequence[Request]) -> None:
        for request in requests:
            if request.state == "buried":
                self._update(request, "bury", "failed")
                stays = False
            else:
                request.delay = self._pause_of(request) if request.seconds is None else request.seconds
                stays = self._release(request, "failed")
            if request.result is not None:
                request.resolve((request.result, request.delay if stays else False))

    def bury(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self._update(request, "bury", "buried")
            if request.result is None and not request.delivery:
                self._update(request, "bury_waiting")

    def drop(self, requests: Sequence[Request]) -> None:
        for request in requests:
            if request.body and self._config.keep:
                kept = {"result": request.body, "keep": self._config.keep}
                rows = self._execute("drop_and_keep", number=request.number, **kept)
            else:
                rows = self._execute("drop", number=request.number)
            self._fill_places(row[7] for row in rows)
            request.resolve(to_task(rows[0]) if rows else None)
        self._queue.changed("all")

    def forget(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self._execute("forget", number=request.number)
            request.resolve(None)

    def free(self, requests: Sequence[Request]) -> None:
        for request in requests:
            request.resolve(bool(self._execute("free", key=request.key)))

    def kick_task(self, requests: Sequence[Request]) -> None:
        for request in requests:
            rows = self._execute("kick_task", number=request.number, kind=self._config.kind)
            self._queue.bounds.lower()
            self._fill_places(row[7] for row in rows)
            rows = rows or self._execute("task", number=request.number)
            request.resolve(to_task(rows[0]) if rows else None)
        self._queue.changed("all")

    def edit(self, requests: Sequence[Request]) -> None:
        for request in requests:
            if self._execute("set_body", number=request.number, body=request.body):
                self.kick_task([request])
            else:
                request.resolve(None)

    def _pause_of(self, request: Request) -> float:
        """Return the pause of a leased task after this failure, in seconds."""
        backoff = self._config.backoff
        for deliveries, terms in self._execute("deliveries", number=request.number):
            return pause_after(backoff, deliveries, None if terms is None else decode_terms(terms))
        return 0.0

    def _release(self, request: Request, reason: str) -> bool:
        """Give a task back. Return whether a worker may get it again."""
        config = self._config
        row = self._update(
            request, "release", reason, kind=config.kind, max_deliveries=config.max_deliveries,
            delay=request.delay, lease=request.lease,
        )  # fmt: skip
        if row is None or row[7] == BURIED:
            return False
        if is_over := bool(row[8]):
            ((expired,),) = self._execute("end_lifetimes", keep=config.keep)
            self._queue.effects.counts[self._queue.name, "expired"] += expired
            self._queue.changed("all")
        return not is_over

    def _update(self, request: Request, statement: str, reason: str = "", **values: Any) -> Any:
        """
        Change a leased task. The result is C{None} if it is not leased in the delivery of the request.

        @param reason: how its attempt has ended; empty if the attempt goes on, or did not begin.
        @return: its row; C{None} if it is not leased.
        """
        rows = self._execute(statement, number=request.number, delivery=request.delivery, **values)
        state = rows[0][7] if rows else None
        if state in (READY, BURIED):
            self._queue.changed("getters" if state == READY else "all")
        if state == BURIED:
            self._fill_places(row[-1] for row in rows)
        if rows and reason:
            error, traceback = request.failure
            values = {"reason": reason, "error": error, "traceback": traceback}
            self._execute("end_attempt", number=request.number, **values)
        request.resolve(to_task(rows[0]) if rows else None)
        return rows[0] if rows else None

    def _fill_places(self, groups: Iterable[str | None]) -> None:
        """Give the free places of these groups to the tasks that are held; C{None} stands for no group."""
        names = [name for name in groups if name is not None]
        if names:
            self._execute("fill_places", lowest_number=self._queue.bounds.lowest_number, groups=names)

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
                    request.resolve(to_leased_task(rows[0]))
                continue
            statement = "remembered_key" if request.tasks is None else "remembered_batch"
            rows = self._execute(statement, lane=lane(request.key), key=request.key) if request.key else []
            if rows:
                repeated = repeated_put if request.tasks is None else repeated_batch
                request.resolve(repeated(request, *rows[0]))
            elif keys := request.unique_keys:
                self._look_up_unique(request, keys)

    def _look_up_unique(self, request: Request, keys: Sequence[str]) -> None:
        """Resolve a put if all its tasks exist already."""
        found = [number for (number,) in self._execute("find_unique", keys=keys)]
        if all(number is not None and number > 0 for number in found):
            tasks = [ExistingTask(number, b"") for number in found]
            request.resolve(tasks[0] if request.tasks is None else tasks)

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
            groups = [group for (group,) in self._execute("kick", numbers=numbers)]
            self._queue.bounds.lower()
            self._execute("update_positions", kind=self._config.kind)
            self._fill_places(groups)
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
            first, second, third = request.place
            place: dict[str, Any] = {"first": first, "second": second} if request.state == "ready" else {}
            rows = self._execute(f"peek_{request.state}", count=request.count, third=third, **place)
            request.resolve([self._shown(row, request.state) for row in rows])

    def result(self, requests: Sequence[Request]) -> None:
        rows = self._execute("results", numbers=[request.number for request in requests])
        found = {number: TaskResult(number, *row) for number, *row in rows}
        for request in requests:
            request.resolve(found.get(request.number))

    def ended(self, requests: Sequence[Request]) -> None:
        for request in requests:
            end = {"ended": request.place.first, "number": request.place.third}
            rows = self._execute("last_results", count=request.count, size=request.number, **end)
            request.resolve([TaskResult(*row) for row in rows])

    def progress(self, requests: Sequence[Request]) -> None:
        for request in requests:
            request.resolve(dict(self._execute("progress", numbers=list(request.numbers))))

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
        task.due, task.lease = at * (state in ("delayed", "held")), at * (state == "leased")
        task.attempts, task.by, task.began, terms, task.put_at = row[7:12]
        task.terms = None if terms is None else decode_terms(terms)
        return task

    # The whole queue.

    def config(self, requests: Sequence[Request]) -> None:
        for request in requests:
            request.resolve(self._config)

    def change(self, requests: Sequence[Request]) -> None:
        kind, at_once = self._config.kind, self._config.at_once
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
        if self._config.at_once > at_once:
            ((groups,),) = self._execute("groups_with_held_tasks")
            self._fill_places(groups or ())
        self._queue.changed("all")

    def delete(self, requests: Sequence[Request]) -> None:
        for statement in DELETION:
            self._execute(statement)
        self._execute("record_deletion", name=self._queue.name)
        self._queue.changed("gone")
        for request in requests:
            request.resolve(None)

    def stats(self, requests: Sequence[Request]) -> None:
        counts = dict(self._execute("count_by_state"))
        statement = "oldest_in_order" if self._config.kind == "fifo" else "oldest_by_number"
        rows = self._execute(statement, lowest_number=self._queue.bounds.lowest_number)
        oldest = max(0.0, rows[0][0]) if rows and rows[0][0] is not None else None
        more = {"oldest": oldest, "results": self._execute("count_results")[0][0]}
        for request in requests:
            by_state = {name: counts.get(state, 0) for name, state in STATES.items()}
            unfinished = sum(by_state.values()) - by_state["buried"]
            request.resolve({**by_state, "unfinished": unfinished, **more})

    def qsizes(self, requests: Sequence[Request]) -> None:
        (size,) = self._execute("size")[0]
        for request in requests:
            request.resolve({self._queue.name: size})
