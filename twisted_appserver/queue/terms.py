"""The terms of one task: what applies to it instead of the options of its queue, and its time to live."""

from __future__ import annotations

from math import inf
from typing import Any

import msgspec

from twisted_appserver.core.retry import YEAR, Retry

OVER = "its time to live is over"  # the error of a task that has expired
RETRY = ("first", "factor", "most", "jitter")


class Terms(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """
    Nearly all tasks have none. They are stored as JSON.

    @ivar max_deliveries: instead of the queue's option. The same applies to the next four; C{None} for the
        option of the queue.
    @ivar ttl: seconds for which the task may wait, from its put on; 0.0 for any time.
    @ivar ends: when these seconds are over; 0.0 if there is no C{ttl}, or the task is not stored yet.
    @ivar unique: while a task with this key waits or runs, no other task with it is added; empty for none.
    @ivar unique_for: seconds from the put on for which the key stays taken, also after the end of the task;
        infinite for ever. It is not stored with the task.
    @ivar traceparent: the trace that its put belongs to (W3C Trace Context); empty for none. The same applies
        to C{tracestate}.
    @ivar forgiven: the number of deliveries before the last kick, which do not count any more. The numbers of
        deliveries go on, so that a worker that is late cannot finish a later delivery.
    @ivar group: its group, whose tasks are handed out in order of arrival, see L{queue.groups}; empty for
        none.
    @raise ValueError: when one of these cannot be used.
    """

    max_deliveries: int | None = None
    retry_first: float | None = None
    retry_factor: float | None = None
    retry_most: float | None = None
    retry_jitter: float | None = None
    ttl: float = 0.0
    ends: float = 0.0
    forgiven: int = 0
    group: str = ""
    unique: str = ""
    unique_for: float = 0.0
    traceparent: str = ""
    tracestate: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.ttl <= YEAR:
            raise ValueError(f"ttl must be more than 0 and at most {YEAR:.0f} seconds, not {self.ttl}")
        if not (0 <= self.unique_for <= YEAR or self.unique_for == inf):
            raise ValueError(
                f"unique_for must be more than 0 and at most {YEAR:.0f} seconds, or inf, "
                f"not {self.unique_for}"
            )
        try:
            self.applied_to(Retry(0))
        except ValueError as error:
            name = str(error).partition(" ")[0]
            prefix = "retry_" if name in RETRY else "max_deliveries" if name == "attempts" else ""
            raise ValueError(prefix + str(error).removeprefix("attempts")) from None

    def applied_to(self, retry: Retry) -> Retry:
        """Return the rule for this task, given the rule of its queue."""
        own: dict[str, Any] = {"attempts": self.max_deliveries}
        own |= {name: getattr(self, f"retry_{name}") for name in RETRY}
        return msgspec.structs.replace(
            retry, **{name: value for name, value in own.items() if value is not None}
        )

    def begun(self, now: float) -> Terms:
        """Return the same terms for a task that is put, or kicked, now."""
        if not self.ttl and not self.unique_for:
            return self
        ends = now + self.ttl if self.ttl else 0.0
        return msgspec.structs.replace(self, ends=ends, unique_for=0.0)

    def kicked(self, deliveries: int, now: float) -> Terms:
        """Return the terms of a task that is kicked after so many deliveries."""
        return msgspec.structs.replace(self.begun(now), forgiven=deliveries)

    def shifted(self, seconds: float) -> Terms:
        """Return the same terms with times of another clock."""
        return msgspec.structs.replace(self, ends=self.ends + seconds) if self.ends else self

    def is_over(self, now: float) -> bool:
        """Return whether the time to live is over."""
        return 0 < self.ends <= now


NO_TERMS = Terms()


def pause_after(usual: Retry, deliveries: int, terms: Terms | None) -> float:
    """
    Return the pause of a task that fails in this delivery, in seconds.

    @param usual: the rule of its queue.
    """
    if terms is None:
        return usual.delay(deliveries)
    return terms.applied_to(usual).delay(max(1, deliveries - terms.forgiven))


def encode_terms(terms: Terms) -> str:
    """Return terms as they are stored."""
    if terms.unique_for:
        terms = msgspec.structs.replace(terms, unique_for=0.0)
    return msgspec.json.encode(terms).decode()


def decode_terms(stored: str | dict[str, Any]) -> Terms:
    """Return stored terms: text, or the object that it contains."""
    if isinstance(stored, str):
        return msgspec.json.decode(stored, type=Terms)
    return msgspec.convert(stored, Terms)
