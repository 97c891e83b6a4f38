"""A request that the broker passes to its store, and its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


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
    @ivar deadline: in seconds of the reactor; if it may not wait, the time when it arrived.
    @ivar lookup_only: true for a put or get that must wait behind other requests. It may only look up what an
        earlier attempt of the same request has done.
    @ivar found_again: for a get: whether its task was leased to the same key before.
    @ivar body: for a done: the result.
    @ivar tasks: for a put of many tasks: the tasks; else C{None}.
    @ivar by: for a get: who asks.
    @ivar failure: for a fail: the error and the traceback.
    @ivar state: for a peek: the state of the tasks; for a fail: C{buried} to bury the task.
    @ivar lease: for a release that must have no effect if the lease was extended: when the lease ends, in
        seconds since the epoch; else 0.
    """

    __slots__ = (
        "abandoned", "body", "by", "changes", "count", "deadline", "deferred", "delay", "delivery", "failure",
        "found_again", "key", "lease", "lookup_only", "may_wait", "name", "number", "numbers", "pending",
        "result", "seconds", "state", "task", "tasks", "verb",
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
    ) -> None:
        self.verb, self.name, self.task, self.key, self.delay = verb, name, task, key, delay
        self.seconds, self.number, self.delivery, self.count = seconds, number, delivery, count
        self.changes, self.state, self.lease = changes or {}, state, lease
        self.body, self.by, self.failure, self.numbers = body, by, failure, numbers
        self.tasks = tasks
        self.result: Any = None
        self.pending = True
        self.abandoned = self.may_wait = self.lookup_only = self.found_again = False

    def resolve(self, result: Any) -> None:
        """Set the result, which may be an exception."""
        self.pending, self.result = False, result
