"""Errors as one line, which names the server and gives advice."""

from __future__ import annotations

from ..client.addresses import Address
from ..client.errors import Empty, Full, LeaseLost, ServerError, ShutDown
from ..client.queue import Queue

# Exceptions that any request may raise; all others are defects.
EXPECTED = (Empty, Full, ShutDown, OSError, ServerError, LeaseLost, ValueError, TypeError)
STATES = {Empty: "empty", Full: "full", ShutDown: "shut down"}


def message_for(error: BaseException, address: Address, queue: str) -> str:
    """
    Return what went wrong with a request, as one line.

    @param address: the address of the server.
    @param queue: the name of the queue.
    """
    for kind, state in STATES.items():
        if isinstance(error, kind):
            return f"the queue {queue} is {state}"
    if isinstance(error, OSError):
        return error.strerror or str(error)  # the client explains it
    if isinstance(error, ServerError):
        return _refused(error, address)
    return " ".join(str(error).split()) or type(error).__name__


def not_leased(queue: Queue, task_id: str, delivery: int) -> str:
    """Return why a task cannot be finished."""
    which = f"task {task_id} of {queue.name} is not leased" + (f" in delivery {delivery}" if delivery else "")
    try:
        found = queue.show(task_id)
    except (OSError, ServerError):
        found = {}
    state = found.get("state", "unknown")
    if state == "unknown":
        return f"{which}: it has ended, or there never was such a task"
    if state == "leased":
        return f"{which}: it is leased in delivery {found['deliveries']}"
    return f"{which}: it is {state}"


def _refused(error: ServerError, address: Address) -> str:
    if error.status == 401:
        needed = "the environment variable TQUEUE_TOKEN must have its token"
        wrong = "it refuses this token or password" if address.authorization else needed
        return f"{address.url} requires authentication: {wrong}"
    if error.status == 404 or not error.detail or error.status < 400:
        what = error.detail or "no description"
        return f"{address.url} does not look like a TQueueSrv: {what} (status {error.status})"
    return f"{address.url} refused the request: {error.detail} (status {error.status})"
