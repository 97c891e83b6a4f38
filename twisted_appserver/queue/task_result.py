"""What is known of the result of a task."""

from __future__ import annotations

import msgspec


class TaskResult(msgspec.Struct, frozen=True, gc=False):
    """
    The state and the result of one task, which may have ended.

    @ivar state: C{ready}, C{delayed}, C{leased}, C{held} or C{buried} for a task in a queue; C{done},
        C{expired} or C{dropped} for one that has ended.
    @ivar result: any JSON value; empty for none.
    @ivar error: why it failed; empty if it did not fail.
    @ivar ended: when it ended, in seconds since the epoch; 0.0 if it has not ended.
    @ivar until: how long it is kept after its end, in seconds of the reactor.
    """

    number: int
    state: str
    result: bytes = b""
    error: str = ""
    ended: float = 0.0
    until: float = 0.0
