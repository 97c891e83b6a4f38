"""How far a worker process has come, in memory that it shares with the server.

Strategy: calls of one worker are numbered from 1. The worker stores the number of the call that it begins,
and then looks whether it may: the server can lower the limit, and once the worker has been seen to stand
still below it for a while, the calls above are sure not to begin. A third number is that of a call whose
answer, which comes in parts, nobody reads any more. So the server knows, also after a
worker's death, which call was running, and can give those that were not begun to another worker.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from array import array
from contextlib import suppress

NO_LIMIT = 2**62
SIZE = 24  # bytes: three numbers, each written at once


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
    def dropped(self) -> int:
        """The last call whose parts nobody wants."""
        return self._numbers[2]

    @dropped.setter
    def dropped(self, number: int) -> None:
        self._numbers[2] = number

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
