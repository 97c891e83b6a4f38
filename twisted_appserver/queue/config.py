"""The options of a queue."""

from __future__ import annotations

from typing import Literal

import msgspec

from twisted_appserver.core.rate import seconds_between
from twisted_appserver.core.retry import YEAR, Retry

MOST = 2**63 - 1  # the largest integer that all stores can keep
MOST_AT_ONCE = 10_000  # a limit without effect needs no group


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The options of a queue. They are stored.

    @ivar kind: the order in which tasks are handed out.
    @ivar maxsize: how many tasks may be ready, delayed or held; 0 for no limit.
    @ivar lease: the length of a lease in seconds, unless the request sets it.
    @ivar max_deliveries: a task that comes back after this many deliveries is buried; 0 for never.
    @ivar retry_first: this and the next three options determine the pause after a failure, see
        L{core.retry.Retry}.
    @ivar remember: how long the key of a request is remembered, in seconds.
    @ivar keep: how long results are kept after the end of a task, in seconds; 0 for not at all.
    @ivar keep_count: how many results are kept, at most; the last ones.
    @ivar shutdown: C{""}: not shut down. C{"draining"}: puts are refused, and gets work until the queue is
        empty. C{"immediate"}: puts are refused, and the tasks that waited have been deleted.
    @ivar at_once: how many tasks of one group have a place at the same time. Further tasks of the group are
        held.
    @ivar rate: how many tasks may be handed out in a second, minute, hour or day, see L{core.rate}; empty for
        any number.
    @ivar paused: whether no task is handed out.
    """

    kind: Literal["fifo", "lifo", "priority"] = "fifo"
    maxsize: int = 0
    lease: float = 60.0
    max_deliveries: int = 10
    remember: float = 300.0
    shutdown: Literal["", "draining", "immediate"] = ""
    paused: bool = False
    keep: float = 0.0
    keep_count: int = 10_000
    retry_first: float = 1.0
    retry_factor: float = 2.0
    retry_most: float = 300.0
    retry_jitter: float = 0.1
    at_once: int = 1
    rate: str = ""

    def __post_init__(self) -> None:
        for name in ("lease", "remember"):
            value = getattr(self, name)
            if not 0 < value <= YEAR:
                raise ValueError(f"{name} must be more than 0 and at most {YEAR:.0f} seconds, not {value}")
        if not 0 <= self.keep <= YEAR:
            raise ValueError(f"keep must be 0 to {YEAR:.0f} seconds, not {self.keep}")
        for name, least in (("maxsize", -MOST), ("max_deliveries", 0), ("keep_count", 1)):
            value = getattr(self, name)
            if not least <= value <= MOST:
                raise ValueError(f"{name} must be {least} to {MOST}, not {value}")
        seconds_between(self.rate)
        if not 1 <= self.at_once <= MOST_AT_ONCE:
            raise ValueError(f"at_once must be 1 to {MOST_AT_ONCE}, not {self.at_once}")
        try:
            _ = self.backoff
        except ValueError as error:
            raise ValueError(f"retry_{error}") from None

    @property
    def backoff(self) -> Retry:
        """How often a task is tried, and the pause after each failure."""
        return Retry(
            self.max_deliveries, self.retry_first, self.retry_factor, self.retry_most, self.retry_jitter
        )


DEFAULT = Config()
