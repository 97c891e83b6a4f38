"""What the command prints on standard output: JSON, tables and lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, TextIO

from twisted_appserver.errors import AppserverError

GAP = "  "  # between two columns


class OutputError(AppserverError):
    """
    Raised when standard output cannot be written.

    @ivar closed: whether its reader has gone, such as C{head}.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error.strerror or error}")
        self.closed = isinstance(error, BrokenPipeError)


class Output:
    """
    Standard output.

    @param stream: C{None} if there is no document; then nothing is printed.
    @param as_json: whether to print JSON instead of tables.
    """

    def __init__(self, stream: TextIO | None, as_json: bool = False) -> None:
        self._stream, self.as_json = stream, as_json
        encoding = getattr(stream, "encoding", None) or "ascii"
        self._ascii = encoding.lower().replace("-", "") != "utf8"
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def line(self, text: str) -> None:
        """
        Print a line.

        @raise OutputError: when that is impossible.
        """
        if self._stream is None:
            return
        try:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        except OSError as error:
            self._discard()
            raise OutputError(error) from error

    def json(self, document: Any) -> None:
        """Print a JSON document as one line."""
        self.line(json.dumps(document, ensure_ascii=self._ascii))

    def table(self, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print rows below a header. On a terminal, lines end at its right edge."""
        cells = [[str(cell) for cell in row] for row in (header, *rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        right = self._columns()
        for row in cells:
            padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.line(shortened(GAP.join(padded).rstrip(), right))

    def _columns(self) -> int | None:
        """Return the width of the terminal; C{None} if there is none."""
        with suppress(OSError, ValueError):
            if self._stream is not None and self._stream.isatty():
                return os.get_terminal_size(self._stream.fileno()).columns or None
        return None

    def _discard(self) -> None:
        """Redirect the output that Python writes at its exit to C{/dev/null}, where it cannot fail."""
        with suppress(OSError, ValueError, AttributeError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())  # type: ignore[union-attr]
            os.close(null)


def shortened(text: str, most: int | None) -> str:
    """Return text of at most C{most} characters; all of it if C{None}."""
    return text if most is None or len(text) <= most else f"{text[: max(most - 3, 0)]}..."
