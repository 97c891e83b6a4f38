"""
Plain functions in the calling thread, for the test client.

Strategy: a function that runs for longer than its time limit cannot be stopped. So the client's clock is
advanced when the function has returned, and the time limit of the dispatcher ends the call as in a server.
"""

from __future__ import annotations

from time import monotonic, time
from typing import Any

from twisted.internet.task import Clock
from zope.interface import implementer

from twisted_appserver.core.private_loop import no_running_loop
from twisted_appserver.executors.inline import InlineExecutor
from twisted_appserver.executors.interface import IExecutor, PendingCall


@implementer(IExecutor)
class CallingThreadExecutor(InlineExecutor):
    """
    Performs every call at once. As in a thread of a server, no event loop runs around the function.

    @param clock: the clock for the time limits of the calls.
    """

    reads_bodies = True
    now: Any = None  # so that every call has a time limit

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._clock = clock

    def submit(self, pending: PendingCall) -> None:
        began = monotonic()
        with no_running_loop():
            outcome = InlineExecutor.now(self, pending.call, time())
        seconds, deadline = monotonic() - began, pending.deadline
        if deadline and self._clock.seconds() + seconds > deadline:
            self._clock.advance(seconds)
        else:
            self._go_on(pending, outcome)
