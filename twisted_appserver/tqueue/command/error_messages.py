"""Errors as one line, which names the server and gives advice."""

from __future__ import annotations

import socket
import ssl

from ..client.addresses import Address
from ..client.connections import ResponseError
from ..client.errors import Empty, Full, LeaseLost, ServerError, ServerUnavailable, ShutDown

PORT = 8082  # the port of a TQueueSrv without options
LOCAL = ("localhost", "127.0.0.1", "::1")
# Exceptions that any request may raise; all others are defects.
EXPECTED = (Empty, Full, ShutDown, OSError, ServerError, LeaseLost, ValueError, TypeError)
STATES = {Empty: "empty", Full: "full", ShutDown: "shut down"}


def message_for(error: BaseException, address: Address, queue: str) -> str:
    """
    Return what went wrong with a request, as one line.

    @param address: of the server.
    @param queue: the name of the queue.
    """
    for kind, state in STATES.items():
        if isinstance(error, kind):
            return f"the queue {queue} is {state}"
    if isinstance(error, ServerUnavailable):
        return f"{address.url} cannot serve the request now: {error.detail} (status {error.status})"
    if isinstance(error, ServerError):
        return _refused(error, address)
    if isinstance(error, OSError):
        return f"cannot reach {address.url}: {_reason(error)}{_advice(error, address)}"
    return " ".join(str(error).split()) or type(error).__name__


def not_leased(task_id: str, delivery: int, queue: str) -> str:
    """Return why a task cannot be finished."""
    which = f"task {task_id} of {queue} is not leased" + (f" in delivery {delivery}" if delivery else "")
    return f"{which}: it is done already, or its lease has ended, or there never was such a task"


def _refused(error: ServerError, address: Address) -> str:
    if error.status == 401:
        needed = "the environment variable TQUEUE_TOKEN must have its token"
        wrong = "it refuses this token or password" if address.authorization else needed
        return f"{address.url} requires authentication: {wrong}"
    if error.status == 404 or not error.detail or error.status < 400:
        what = error.detail or "no description"
        return f"{address.url} does not look like a TQueueSrv: {what} (status {error.status})"
    return f"{address.url} refused the request: {error.detail} (status {error.status})"


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, socket.gaierror):
        return f"host not found ({error.strerror})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate was not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no response in time"
    return error.strerror or str(error) or type(error).__name__


def _advice(error: OSError, address: Address) -> str:
    if isinstance(error, ResponseError):
        return "; is it a TQueueSrv?"
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLCertVerificationError):
        return "; does it serve https?"
    if not isinstance(error, ConnectionRefusedError):
        return ""
    if address.host not in LOCAL:
        return "; is TQueueSrv running there?"
    port = "" if address.port == PORT else f" --port {address.port}"
    return f"; is TQueueSrv running? Start it with: twistd -n --pidfile= tqueuesrv{port}"
