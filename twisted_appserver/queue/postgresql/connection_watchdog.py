"""Aborts a database connection that has stopped answering.

If a database process is stopped, or its host hangs, the connection stays open and no answer arrives. The
thread that waits for the answer cannot end this wait, so another thread shuts the socket down.
"""

from __future__ import annotations

import socket
from threading import Lock
from time import monotonic

SHORT = 3.0  # seconds for statements that take no time; longer than the lock_timeout of a connection
LONG = 65.0  # seconds for all others; longer than the statement_timeout of a connection
NEVER = float("inf")


class ConnectionWatchdog:
    """
    The deadline for the next answer on a connection.

    Any thread may call L{abort_if_late}. Only the thread that uses the connection may call the other methods.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._socket: socket.socket | None = None
        self._deadline = NEVER

    def watch(self, descriptor: int) -> None:
        """
        Start watching a connection.

        @param descriptor: the file descriptor of its socket.
        """
        with self._lock:
            original = socket.socket(fileno=descriptor)
            self._socket = original.dup()  # its number is not reused when the original is closed
            original.detach()
            self._deadline = NEVER

    def stop(self) -> None:
        """Stop watching."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket, self._deadline = None, NEVER

    def expect_within(self, seconds: float = NEVER) -> None:
        """Set the time limit for the next answer, in seconds from now."""
        self._deadline = monotonic() + seconds

    def abort_if_late(self) -> bool:
        """
        Shut the connection down if an answer is late. The waiting thread then gets a connection error.

        @return: whether the connection was shut down.
        """
        with self._lock:
            if self._socket is None or monotonic() < self._deadline:
                return False
            self._deadline = NEVER
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:  # already closed
                return False
            return True
