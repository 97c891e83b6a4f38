"""The body of a request, as the function reads it while it arrives. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BufferedIOBase

from twisted_appserver.errors import DISCONNECTED, ClientDisconnected, HTTPError

Take = Callable[[], bytes]  # waits for the next part of a body; empty at its end


class BodyStream(BufferedIOBase):
    """
    A binary file, which can be read once. Iterating over it yields parts of any size as they arrive, not
    lines. C{io.TextIOWrapper}, C{tarfile.open(fileobj=..., mode="r|")} and C{shutil.copyfileobj} can read it.

    @raise ClientDisconnected: from every method, when the client has disconnected before the end.
    @raise HTTPError: from every method, when the body is malformed or too long, or stalls.
    """

    def __init__(self, take: Take) -> None:
        self._take = take
        self._part, self._begin = b"", 0  # the part that was taken last, and how much of it was read
        self._ended = False

    def readable(self) -> bool:
        return True

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if data := self.read1():
            return data
        raise StopIteration

    def read(self, size: int | None = -1, /) -> bytes:
        """
        Wait for C{size} bytes, and return them: fewer only at the end of the body, where they are empty.

        @param size: -1 or C{None} for the whole rest.
        """
        parts, missing = [], -1 if size is None else size
        while missing and (data := self.read1(missing)):
            parts.append(data)
            missing = -1 if missing < 0 else missing - len(data)
        return b"".join(parts)

    def read1(self, size: int = -1, /) -> bytes:
        """Return up to C{size} bytes, and wait only if nothing has arrived. Empty at the end of the body."""
        if self._begin == len(self._part) and not self._ended:
            self._part, self._begin = self._take(), 0
            self._ended = not self._part
        end = len(self._part) if size < 0 else self._begin + size
        data = self._part[self._begin : end]
        self._begin += len(data)
        return data


def body_error(status: int, detail: str) -> HTTPError:
    """
    Return the error for a body whose rest does not arrive. It is made anew each time it is raised, because
    its traceback refers to whatever raised it.
    """
    return ClientDisconnected(detail) if status == DISCONNECTED else HTTPError(status, detail)


def whole_body(body: bytes) -> Take:
    """Return what takes a body that has arrived already."""
    parts = [b"", body]
    return lambda: parts.pop() if parts else b""
