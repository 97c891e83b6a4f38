"""Wakes a thread that waits for sockets."""

from __future__ import annotations

import socket
from contextlib import suppress


class WakeupSocket:
    """Readable for a selector after L{wake} was called."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def wake(self) -> None:
        """Make the socket readable. Any thread may call this, also after L{close}."""
        with suppress(OSError):  # it is full, so it is readable, or it was closed meanwhile
            self._writer.send(b"!")

    def clear(self) -> None:
        """Read the bytes that L{wake} has sent. The socket must be readable."""
        self._reader.recv(4096)

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
