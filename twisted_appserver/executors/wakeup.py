"""
A socket on which an idle thread waits until another thread wakes it.

Strategy: a thread that releases a lock or puts an item into a queue holds the interpreter lock meanwhile, so
the thread that wakes up must wait again at once. A thread that writes to a socket has released the
interpreter lock, and the other thread starts without waiting.
"""

from __future__ import annotations

from socket import socketpair


class Wakeup:
    """
    Belongs to one thread that waits. Other threads wake it.

    @param timeout: seconds that L{wait} waits.
    @raise OSError: if no descriptors are left.
    """

    def __init__(self, timeout: float) -> None:
        self._writer, self._reader = socketpair()
        self._reader.settimeout(timeout)

    def wake(self) -> None:
        """Wake the thread now, or as soon as it waits."""
        self._writer.send(b"!")

    def wait(self) -> bool:
        """Wait for L{wake}. Returns C{False} after the timeout."""
        try:
            self._reader.recv(1)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Close both sockets. Neither L{wait} nor L{wake} may be called afterwards."""
        self._writer.close()
        self._reader.close()
