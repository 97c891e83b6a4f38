"""A request that a broker passes to its store."""

from __future__ import annotations

from typing import Any


class Request:
    """
    What somebody asks of the store, and what came of it.

    @ivar unserved: whether it cannot succeed yet.
    @ivar answer: else what it gets.
    @ivar over: whether nobody wants the answer any more.
    @ivar waits: whether it may wait, until C{deadline}, in seconds of the reactor; else that is when it came.
    @ivar again: of a get: whether its task had been handed out to its key before.
    @ivar look: of a get or put behind others who wait: whether it is only to be looked up by its key.
    @ivar lease: of a release that holds only if nobody has extended the lease: when that was to end, else 0.
    """

    __slots__ = (
        "again", "answer", "changes", "count", "deadline", "deferred", "delay", "delivery", "key", "lease",
        "look", "name", "number", "over", "seconds", "state", "task", "timer", "unserved", "verb", "waits",
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
    ) -> None:
        self.verb, self.name, self.task, self.key, self.delay = verb, name, task, key, delay
        self.seconds, self.number, self.delivery, self.count = seconds, number, delivery, count
        self.changes, self.state, self.lease = changes or {}, state, lease
        self.answer: Any = None
        self.timer: Any = None
        self.unserved = True
        self.over = self.waits = self.look = self.again = False

    def reply(self, answer: Any) -> None:
        self.unserved, self.answer = False, answer
