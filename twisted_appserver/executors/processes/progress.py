"""The progress of a worker process, in memory that it shares with the server.

Strategy: the calls of one worker are numbered from 1. Before a call, the worker stores its number, and then
checks whether it may begin the call. The server can lower the limit. Once the worker has stood still below
the limit for a while, the calls above it are certain not to begin. So the server knows, even after a worker's
death, which call was running, and can give the calls that were not begun to another worker.

Two more numbers are for generators. The worker stores the number of the call whose generator it is running.
The server stores how many bytes it has sent. So a worker with other work to do can see without a system call
whether there is anything to read.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from array import array
from contextlib import suppress

NO_LIMIT = 2**62
SIZE = 32  # bytes: four numbers of 8 bytes, each of which is written atomically


class Progress:
    """
    Four numbers in a mapped file.

    @param path: the path of the file; C{None} creates one.
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
        """Called by the worker before each call: store its number, and return whether it may begin."""
        self._numbers[0] = number
        return number <= self._numbers[1]

    @property
    def begun(self) -> int:
        """The last call that the worker began, or was not allowed to begin."""
        return self._numbers[0]

    @property
    def limit(self) -> int:
        """The last call that the worker may begin."""
        return self._numbers[1]

    @limit.setter
    def limit(self, number: int) -> None:
        self._numbers[1] = number

    @property
    def sent(self) -> int:
        """How many bytes the server has sent."""
        return self._numbers[2]

    @sent.setter
    def sent(self, number: int) -> None:
        self._numbers[2] = number

    @property
    def generator(self) -> int:
        """The call whose generator is running; 0 if none is."""
        return self._numbers[3]

    @generator.setter
    def generator(self, number: int) -> None:
        self._numbers[3] = number

    def close(self) -> None:
        """Unmap the file after the worker has ended. The numbers can still be read."""
        if isinstance(self._numbers, memoryview):
            numbers, self._numbers = self._numbers, array("q", self._numbers)
            numbers.release()
            self._map.close()

    def remove(self) -> None:
        """Remove the file. Processes that have mapped it keep the memory."""
        with suppress(OSError):  # Windows cannot remove a mapped file before the worker has ended.
            os.unlink(self.path)
