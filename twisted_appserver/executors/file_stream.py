"""A file as the body of a reply, in the reactor's thread.

Strategy: a part is read only when the client has room for it, so a file of any size takes no more memory than
any other stream. A front end that owns a socket lets the system copy the file to the socket instead.
"""

from __future__ import annotations

from collections.abc import Callable
from io import FileIO

from twisted_appserver.executors.parked_generator import UNIT
from twisted_appserver.executors.stream import Stream

BLOCK = UNIT - 1  # bytes that are read at once; they cost one credit
TURN = 1024 * 1024  # bytes that the system copies before other connections get their turn
SHORTER = "the file became shorter while it was sent"

# Sends a part of a file: the descriptor, the position and the number of bytes. Returns the bytes that were
# sent, or None if the socket takes none now. Raises OSError if the file cannot be sent in this way.
SendFile = Callable[[int, int, int], int | None]


class FileStream(Stream):
    """
    A part of a file that is open. The file is closed at the end, or as soon as the client is gone.

    @param begin: the position of the first byte.
    @param length: the number of bytes.
    """

    length: int

    def __init__(self, file: FileIO, begin: int, length: int) -> None:
        super().__init__(self._continue, self.end)
        self._file, self._left, self.length = file, length, length
        self._reading = False
        self._send_file: SendFile | None = None
        file.seek(begin)

    def begin(
        self,
        write: Callable[[bytes], object],
        finish: Callable[[str], object],
        send_file: SendFile | None = None,
    ) -> None:
        """
        Start reading.

        @param send_file: sends the file in place of C{write}, and later has C{resumeProducing} called.
        """
        super().begin(write, finish)
        self._send_file = send_file
        self._continue()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._continue()

    def _end(self, failure: str, error: None = None) -> None:  # type: ignore[override]
        self._file.close()
        super()._end(failure, error)

    def _continue(self, _: int = 0) -> None:
        """Send as much as the client has room for. C{part} may call this again."""
        if self._reading or self._write is None:
            return
        self._reading = True
        try:
            while not (self._paused or self.over or self.dropped) and self._credits > 0:
                if self._send_file is None:
                    self._read()
                elif not self._send(self._send_file):
                    break
        except OSError as error:
            self.end(f"the file could not be read: {error}")
        finally:
            self._reading = False

    def _read(self) -> None:
        data = self._file.read(min(BLOCK, self._left))
        self._left -= len(data)
        if data:
            self.part(data)
        if not (data and self._left):
            self.end(SHORTER if self._left else "")

    def _send(self, send_file: SendFile) -> bool:
        """Let the system copy a part of the file. Return whether to go on at once, by reading."""
        position = self._file.tell()
        try:
            sent = send_file(self._file.fileno(), position, min(TURN, self._left))
        except OSError:  # This file system has no such operation.
            self._send_file = None
            return True
        if sent is not None:
            self._file.seek(position + sent)
            self._left -= sent
            self._size += sent
            self.moved()
            if not (sent and self._left):
                self.end(SHORTER if self._left else "")
        return False
