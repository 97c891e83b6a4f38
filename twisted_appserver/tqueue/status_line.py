"""A status line on a terminal, below everything that the process prints."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

ERASE = "\r\x1b[K"  # to the beginning of the line, and erase it (ECMA-48, EL)
LONGEST = 8192  # characters of a line that are kept before it is written
NARROW = 20  # columns; a terminal of fewer, or of unknown width, counts as 80


class StatusLine:
    """
    The last line of a terminal. Safe from any thread.

    Output through L{TerminalStream} appears above this line: the line is erased before the output, and drawn
    again once the cursor is at the beginning of a line.

    @param stream: shows the line; standard error, usually.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._text, self._shown, self._at_start = "", False, True
        self._process = os.getpid()

    @property
    def columns(self) -> int:
        """The number of columns that the line may have."""
        with suppress(OSError, ValueError):
            if (columns := os.get_terminal_size(self._stream.fileno()).columns) > NARROW:
                return columns - 1  # some terminals go to the next line after the last column
        return 79

    @property
    def is_forked(self) -> bool:
        """Whether this is a forked process: it has no line, and the lock may never be released in it."""
        return os.getpid() != self._process

    @property
    def is_unicode(self) -> bool:
        """Whether the terminal shows all characters."""
        return (self._stream.encoding or "ascii").lower().replace("-", "") == "utf8"

    def show(self, text: str) -> None:
        """Replace the line by another one; show no line if the new one is empty."""
        if self.is_forked:
            return
        with self._lock, suppress(OSError, ValueError):  # the terminal may be closed
            self._erase()
            self._text = text[: self.columns]
            self._draw()

    def write(self, stream: TextIO, text: str) -> int:
        """Write text to a stream that the terminal shows too."""
        with self._lock:
            with suppress(OSError, ValueError):
                self._erase()
            count = stream.write(text)
            self._at_start = text.endswith("\n") if text else self._at_start
            stream.flush()
            with suppress(OSError, ValueError):
                self._draw()
            return count

    def _erase(self) -> None:
        if self._shown:
            self._stream.write(ERASE)
            self._stream.flush()
            self._shown = False

    def _draw(self) -> None:
        if self._text and self._at_start:
            self._stream.write(self._text)
            self._stream.flush()
            self._shown = True


class TerminalStream:
    """
    A stream that writes above a status line. Everything else is as in the stream itself.

    Each thread's text is written a line at a time, so that lines of several threads do not mix.
    """

    def __init__(self, line: StatusLine, stream: TextIO) -> None:
        self._line, self._stream = line, stream
        self._begun: dict[int, str] = {}  # by thread: the line that it has begun

    def write(self, text: str) -> int:
        if self._line.is_forked:
            return self._stream.write(text)
        thread = threading.get_ident()
        text = str(text)
        lines, newline, begun = (self._begun.pop(thread, "") + text).rpartition("\n")
        if len(begun) > LONGEST:
            lines, newline, begun = f"{lines}{newline}{begun}", "", ""
        if begun:
            self._begun[thread] = begun
        if lines or newline:
            self._line.write(self._stream, lines + newline)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        begun = "" if self._line.is_forked else self._begun.pop(threading.get_ident(), "")
        if begun:
            self._line.write(self._stream, begun)
        self._stream.flush()

    def finish(self) -> None:
        """Write the lines that threads have begun."""
        for thread in list(self._begun):
            self._line.write(self._stream, self._begun.pop(thread))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def status_line() -> Iterator[StatusLine | None]:
    """
    Let C{sys.stdout} and C{sys.stderr} write above a status line, where they are terminals.

    @return: the line; C{None} if standard error is not a terminal that can show one.
    """
    streams = sys.stdout, sys.stderr
    if not _is_terminal(sys.stderr) or os.environ.get("TERM", "dumb") == "dumb":
        yield None
        return
    line = StatusLine(sys.stderr)
    wrapped: list[Any] = [TerminalStream(line, each) if _is_terminal(each) else each for each in streams]
    sys.stdout, sys.stderr = wrapped
    try:
        yield line
    finally:
        line.show("")
        for each in wrapped:
            if isinstance(each, TerminalStream):
                each.finish()
        sys.stdout, sys.stderr = streams


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False
