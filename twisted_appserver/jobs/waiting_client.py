"""A client that waits for the end of a job: for some seconds, or until it ends."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from twisted_appserver.core.call import Reply
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.jobs.documents import accepted, result_of


class WaitingClient:
    """
    The client of a call that became a job. If it leaves, the job goes on.

    @param pending: the call of the client. No executor gets it.
    @ivar wait: for how many seconds it waits (C{Prefer: wait}; RFC 7240, section 4.3); 0 if it waits until
        the end.
    """

    def __init__(self, dispatcher: Dispatcher, pending: PendingCall, wait: int) -> None:
        self._dispatcher, self._pending, self.wait = dispatcher, pending, wait
        self._timer: Any = None
        pending.executor = None
        if pending.limit is not None:  # Only the client itself and the store limit how long it waits.
            pending.limit.calls.pop(pending, None)
            pending.limit = None

    @property
    def waits(self) -> bool:
        """Whether the client is still connected and has no response yet."""
        return not self._pending.called

    def begin(self, name: str) -> None:
        """Send the address of the job if the client still waits after its seconds."""
        if self.waits:
            self._timer = self._dispatcher.reactor.callLater(self.wait, self.accept, name)

    def accept(self, name: str) -> None:
        """Send the address of the job."""
        self._send(accepted(self._pending.call, name))

    def finish(self, reply: Reply) -> bool:
        """Send the reply of the job, and return whether the client still waited for it."""
        reply = result_of(reply)
        applied = (("preference-applied", f"wait={self.wait}"),) if self.wait else ()
        return self._send(replace(reply, headers=(*reply.headers, *applied), traceback=""))

    def refuse(self, error: HTTPError) -> None:
        """Send an error, because there is no job. The error is reported like an error of any other call."""
        self._stop_timer()
        self._pending.callback(problem_reply(error, self._pending.call.request_id))

    def _send(self, reply: Reply) -> bool:
        self._stop_timer()
        if not self.waits:
            return False
        call = self._pending.call
        self._dispatcher.calls.hand_off(self._pending)
        self._pending.answer(call, self._dispatcher.add_cors_headers(call, reply))
        return True

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
