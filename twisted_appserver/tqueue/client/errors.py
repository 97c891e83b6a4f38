"""The exceptions of the clients. Needs the standard library only."""

from __future__ import annotations

import errno
import json
import queue as standard
from queue import Empty, Full

__all__ = [
    "Empty",
    "Full",
    "LeaseLost",
    "NoResult",
    "ResponseError",
    "ResultError",
    "ServerError",
    "ServerUnavailable",
    "ShutDown",
]

if hasattr(standard, "ShutDown"):  # Python 3.13
    ShutDown = standard.ShutDown
else:

    class ShutDown(Exception):  # type: ignore[no-redef]
        """Raised when put or get is called on a queue that was shut down."""


class LeaseLost(Exception):
    """Raised when a task is finished after its lease has run out. Another worker may have got the task."""


class NoResult(Exception):
    """
    Raised when a task has no result.

    @ivar state: C{ready}, C{delayed} or C{leased} if it has not ended in time; C{buried}, C{expired} or
        C{dropped}; C{unknown} if there is no such task, or if nothing is kept of it.
    @ivar error: why its last attempt has failed; empty if it has not failed.
    """

    def __init__(self, task_id: str, state: str, error: str = "") -> None:
        why = "there is no such task, or its result is not kept" if state == "unknown" else f"it is {state}"
        super().__init__(f"task {task_id} has no result: {why}" + (f" ({error})" if error else ""))
        self.task_id, self.state, self.error = task_id, state, error


class ResultError(TypeError):
    """Raised when the result of a task cannot be sent, or the server refuses it. The task has failed."""


class ResponseError(OSError):
    """Raised when a response is not HTTP, or ends too early."""


class ServerError(Exception):
    """
    Raised when the server refuses a request.

    @param advice: replaces the server's reason in the message, if not empty.
    @ivar status: the HTTP status code.
    @ivar detail: the reason, as the server describes it.
    """

    def __init__(self, status: int, detail: str, advice: str = "") -> None:
        super().__init__(f"{status}: {advice or detail}")
        self.status, self.detail = status, detail


class ServerUnavailable(ServerError, OSError):
    """Raised when the server still responds with a temporary error, such as 503, when patience ends."""

    def __init__(self, status: int, body: bytes) -> None:
        number = errno.ENOSPC if status == 507 else errno.EAGAIN
        self.status, self.detail = status, _detail(body)
        OSError.__init__(self, number, f"the server responds with status {status}: {self.detail}")


def _detail(body: bytes) -> str:
    """Return the reason in a problem document (RFC 9457); the beginning of any other body."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, LookupError, TypeError):
        return body[:200].decode("utf-8", "replace")
