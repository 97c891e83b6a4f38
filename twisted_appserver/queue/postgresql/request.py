"""A request that the broker passes to its store, and its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted_appserver.queue.paging import START, Place


class Request:
    """
    One request of a client, or of the broker itself.

    Only C{verb} and C{name} are set for every request; the other arguments depend on the verb.

    @ivar verb: what to do, such as C{put}.
    @ivar name: the name of the queue.
    @ivar pending: true while the request cannot succeed; it has no result then.
    @ivar result: the value for the caller, or an exception.
    @ivar abandoned: whether the result is no longer wanted.
    @ivar may_wait: whether the request may wait until C{deadline}.
    @ivar deadline: in seconds of the reactor; if the request may not wait, the time of its arrival.
    @ivar lookup_only: true for a put or get that must wait behind other requests. It may only look up what an
        earlier attempt of the same request has done.
    @ivar found_again: for a get: whether its task was leased to the same key before.
    @ivar number: the number of a task; for an ended: how many bytes of each result are returned.
    @ivar body: for a done or a drop: the result; for an extend: the progress of the task; for an edit: the
        new fields of the task.
    @ivar tasks: for a put of many tasks: the tasks; else C{None}.
    @ivar by: for a get: the name of the client.
    @ivar failure: for a fail: the error and the traceback.
    @ivar state: for a peek: the state of the tasks; for a fail: C{buried} to bury the task; for a done:
        C{failed} if the attempt counts as failed.
    @ivar place: for a peek or an ended: only tasks that come after it, or ended before it, are returned.
    @ivar seconds: the length of the lease, C{None} for the option of the queue; for a fail: the pause of the
        task, C{None} for the backoff of the queue.
    @ivar lease: for a release that must have no effect if the lease was extended: when the lease ends, in
        seconds since the epoch; else 0.
    """

    __slots__ = (
        "abandoned", "body", "by", "changes", "count", "deadline", "deferred", "delay", "delivery", "failure",
        "found_again", "key", "lease", "lookup_only", "may_wait", "name", "number", "numbers", "pending",
        "place", "result", "seconds", "state", "task", "tasks", "verb",
    )  # fmt: skip
    deferred: Any
    deadline: float

    def __init__(
        self,
        verb: str,
        name: str,
        task: Any = None,
        key: str = "",
        delay: float = 0.0,
        seconds: float | None = None,
        number: int = 0,
        delivery: int = 0,
        count: int = 0,
        changes: dict[str, Any] | None = None,
        state: str = "ready",
        lease: float = 0.0,
        body: bytes = b"",
        tasks: Any = None,
        by: str = "",
        failure: tuple[str, str] = ("", ""),
        numbers: Sequence[int] = (),
        place: Place = START,
    ) -> None:
        self.verb, self.name, self.task, self.key, self.delay = verb, name, task, key, delay
        self.seconds, self.number, self.delivery, self.count = seconds, number, delivery, count
        self.changes, self.state, self.lease = changes or {}, state, lease
        self.body, self.by, self.failure, self.numbers = body, by, failure, numbers
        self.tasks, self.place = tasks, place
        self.result: Any = None
        self.pending = True
        self.abandoned = self.may_wait = self.lookup_only = self.found_again = False

    @property
    def unique_keys(self) -> list[str]:
        """The unique keys of the tasks of a put, one for each; empty if no task has any."""
        tasks = self.tasks or (() if self.task is None else (self.task,))
        keys = ["" if task.terms is None else task.terms.unique for task in tasks]
        return keys if any(keys) else []

    def resolve(self, result: Any) -> None:
        """Set the result, which may be an exception."""
        self.pending, self.result = False, result
