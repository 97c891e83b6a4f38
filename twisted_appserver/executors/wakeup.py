"""What a thread waits at until another one wakes it.

Strategy: who releases a lock or puts into a queue has the interpreter lock meanwhile, so that the thread that
wakes must at once wait again, for that. Who writes to a socket has let it go, and the other begins.
"""

from __future__ import annotations

from socket import socketpair


class Bell:
    """
    Belongs to one thread, and is rung by others.

    @param patience: seconds that L{heard} waits.
    @raise OSError: when no descriptors are left.
    """

    def __init__(self, patience: float) -> None:
        self._rope, self._sound = socketpair()
        self._sound.settimeout(patience)

    def ring(self) -> None:
        """Wake its thread, or the next time that it would wait."""
        self._rope.send(b"!")

    def heard(self) -> bool:
        """Wait. Returns whether it has been rung."""
        try:
            self._sound.recv(1)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Nobody rings or waits any more."""
        self._rope.close()
        self._sound.close()
