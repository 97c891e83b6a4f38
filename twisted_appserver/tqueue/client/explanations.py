"""Explains why a server cannot be used, and what to do. Needs the standard library only."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from .errors import ResponseError, ServerUnavailable

PORT = 8082  # the port of a TQueueSrv without options
LOCAL = ("localhost", "127.0.0.1", "::1")


def unreachable(error: Exception, server: str) -> str:
    """
    Return why a request has got no usable response.

    @param error: an error of any transport. Twisted's errors have the same names as Python's.
    @param server: the URL of the server, without name and password.
    """
    if isinstance(error, ServerUnavailable):
        return f"{server} cannot serve the request now: {error.detail} (status {error.status})"
    return f"cannot reach {server}: {_reason(error)}{_advice(error, server)}"


def explain(error: Exception, server: str) -> None:
    """Replace the message of an error with L{unreachable}. The error keeps its type, which callers catch."""
    text = unreachable(error, server)
    if isinstance(error, OSError) and error.errno is not None:
        error.strerror = text
    else:
        error.args = (text,)


def unauthorized(server: str, has_credentials: bool) -> str:
    """Return what to do about the status 401."""
    if has_credentials:
        return f"{server} refuses this token or password"
    return f"{server} requires authentication: pass token=, or set the environment variable TQUEUE_TOKEN"


def _is_refused(error: Exception) -> bool:
    return type(error).__name__ == ConnectionRefusedError.__name__


def _reason(error: Exception) -> str:
    if _is_refused(error):
        return "connection refused"
    if isinstance(error, socket.gaierror):
        return f"host not found ({error.strerror})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate was not accepted: {error.verify_message}"
    if type(error).__name__ == TimeoutError.__name__:
        return "no response in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _advice(error: Exception, server: str) -> str:
    if isinstance(error, ResponseError):
        return "; is it a TQueueSrv?"
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLCertVerificationError):
        return "; does it serve https?"
    if not _is_refused(error):
        return ""
    parts = urlsplit(server)
    if parts.hostname not in LOCAL:
        return "; is TQueueSrv running there?"
    port = "" if parts.port == PORT else f" --port {parts.port or (443 if parts.scheme == 'https' else 80)}"
    return f"; is TQueueSrv running? Start it with: twistd -n --pidfile= tqueuesrv{port}"
