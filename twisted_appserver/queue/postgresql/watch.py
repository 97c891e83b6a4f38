"""Watches the connection of a thread that waits for a database: one that stands still is cut, from outside.

A database process that is stopped, or a host that hangs, keeps its connection open and does not answer.
"""

from __future__ import annotations

import socket
from threading import Lock
from time import monotonic

PROMPT = 3.0  # seconds for what the database answers at once; more than the lock_timeout of a connection
LONG = 65.0  # seconds for anything else; more than its statement_timeout
NEVER = float("inf")


class Watch:
    """L{cut_if_late} may be called from any thread, everything else from the one that waits."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._socket: socket.socket | None = None
        self._deadline = NEVER

    def begin(self, descriptor: int) -> None:
        """Watch this connection."""
        with self._lock:
            known = socket.socket(fileno=descriptor)
            self._socket = known.dup()  # which cannot become that of another connection
            known.detach()
            self._deadline = NEVER

    def end(self) -> None:
        """Watch it no more."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket, self._deadline = None, NEVER

    def within(self, seconds: float = NEVER) -> None:
        """The next answer must come in this time."""
        self._deadline = monotonic() + seconds

    def cut_if_late(self) -> bool:
        """
        Close the connection if an answer is late. The waiting thread gets the error of a lost connection.

        @return: whether that was so.
        """
        with self._lock:
            if self._socket is None or monotonic() < self._deadline:
                return False
            self._deadline = NEVER
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:  # it is closed already
                return False
            return True
