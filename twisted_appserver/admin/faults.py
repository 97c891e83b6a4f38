"""Failures of functions, grouped by the function and the type of the exception."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.error_advice import reason_of

MOST_GROUPS = 50  # groups that are kept; the one whose last failure is the oldest makes room
LONGEST_REASON = 500  # characters of a message
LONGEST_TRACEBACK = 20_000  # characters; the end of a longer one is kept, because it names the exception


@dataclass
class FaultGroup:
    """
    The failures of one function with one type of exception, in calls of one user.

    @ivar user: the name of the user; empty if no names are required.
    @ivar function: the name of the route.
    @ivar kind: the name of the exception's class.
    @ivar count: how many calls have failed in this way.
    @ivar first: the time of the first failure, in seconds since the epoch; C{last} is the time of the last.
    @ivar reason: the exception of the last failure with its message.
    @ivar request_id: the call of the last failure.
    @ivar traceback: the traceback of the last failure.
    """

    user: str
    function: str
    kind: str
    count: int
    first: float
    last: float
    reason: str
    request_id: str
    traceback: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What distinguishes it from other groups."""
        return self.user, self.function, self.kind

    def document(self) -> dict[str, Any]:
        """Return what clients may see even if they may not see tracebacks."""
        return {
            "function": self.function,
            "type": self.kind,
            "count": self.count,
            "first": self.first,
            "last": self.last,
            "error": self.reason,
            "id": self.request_id,
        }


class Faults:
    """The failures of a service since its start, separate for each user."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str], FaultGroup] = {}  # in the order of their last failures

    def add(self, call: Call, reply: Reply, when: float) -> None:
        """Add the failure of a call, whose reply has a traceback."""
        reason = reason_of(reply.traceback)
        kind = reason.partition(":")[0][:LONGEST_REASON]
        reason, traceback = reason[:LONGEST_REASON], reply.traceback[-LONGEST_TRACEBACK:]
        added = (call.handler.name, kind, 1, when, when, reason, call.request_id, traceback)
        self.add_group(FaultGroup(call.user, *added))

    def add_group(self, group: FaultGroup) -> None:
        """Add the failures of a group, some of which may be later than the known ones."""
        known = self._groups.pop(group.key, None)
        self._groups[group.key] = group if known is None else _together(known, group)
        if len(self._groups) > MOST_GROUPS:
            del self._groups[next(iter(self._groups))]

    @property
    def groups(self) -> list[FaultGroup]:
        """The groups, in the order of their last failures."""
        return sorted(self._groups.values(), key=lambda group: group.last)


def seen_by(user: str, groups: Iterable[FaultGroup]) -> list[FaultGroup]:
    """
    Return the failures that a user may see. The function that failed last comes first.

    A user sees only the failures of the user's own calls, because the message of an exception may contain
    data of the call. A client without a name sees all failures: the bearer of the token, or any client if no
    names are required.

    @param groups: in the order of their last failures.
    """
    if user:
        return [group for group in reversed([*groups]) if group.user == user]
    merged: dict[tuple[str, str], FaultGroup] = {}
    for group in reversed([*groups]):
        key = group.function, group.kind
        merged[key] = _together(merged[key], group) if key in merged else group
    return list(merged.values())


def _together(one: FaultGroup, other: FaultGroup) -> FaultGroup:
    later = other if other.last >= one.last else one
    return replace(later, count=one.count + other.count, first=min(one.first, other.first))
