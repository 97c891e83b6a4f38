"""How far a worker process has come, in memory that it shares with the server.

Strategy: calls of one worker are numbered from 1. The worker stores the number of the call that it begins,
and then looks whether it may: the server can lower the limit, and once the worker has been seen to stand
still below it for a while, the calls above are sure not to begin. So the server knows, also after a
worker's death, which call was running, and can give those that were not begun to another worker.

Two more numbers are for generators. The worker stores the number of the call whose generator it runs at the
moment. The server stores how many bytes it has sent, so that a worker that has other work to do sees whether
there is anything to read, without asking the system.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from array import array
from contextlib import suppress

NO_LIMIT = 2**62
SIZE = 32  # bytes: four numbers, each written at once


class Progress:
    """
    @param path: of the mapped file; C{None} makes one.
    """

    def __init__(self, path: str | None = None) -> None:
        if path is None:
            descriptor, self.path = tempfile.mkstemp(prefix="appserver-")
        else:
            descriptor, self.path = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0)), path
        try:
            if path is None:
                os.write(descriptor, bytes(SIZE))
            self._map = mmap.mmap(descriptor, SIZE)
        except OSError:
            self.remove()
            raise
        finally:
            os.close(descriptor)
        self._numbers: memoryview | array[int] = memoryview(self._map).cast("q")
        if path is None:
            self.limit = NO_LIMIT

    def begin(self, number: int) -> bool:
        """The worker begins this call. Returns whether it may."""
        self._numbers[0] = number
        return number <= self._numbers[1]

    @property
    def begun(self) -> int:
        """The last call that was begun, or not let begin."""
        return self._numbers[0]

    @property
    def limit(self) -> int:
        """The last call that may begin."""
        return self._numbers[1]

    @limit.setter
    def limit(self, number: int) -> None:
        self._numbers[1] = number

    @property
    def sent(self) -> int:
        """The bytes that the server has sent."""
        return self._numbers[2]

    @sent.setter
    def sent(self, number: int) -> None:
        self._numbers[2] = number

    @property
    def generator(self) -> int:
        """The call whose generator runs now; 0 if none does."""
        return self._numbers[3]

    @generator.setter
    def generator(self, number: int) -> None:
        self._numbers[3] = number

    def close(self) -> None:
        """Give the memory back, and keep what stands in it: the worker has ended."""
        if isinstance(self._numbers, memoryview):
            numbers, self._numbers = self._numbers, array("q", self._numbers)
            numbers.release()
            self._map.close()

    def remove(self) -> None:
        """Remove the file. What has it mapped already keeps it, where the system lets it be removed then."""
        with suppress(OSError):  # Windows, while it is mapped: removed when the worker has ended
            os.unlink(self.path)
