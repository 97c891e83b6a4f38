"""A terminal for programs: runs them in one, and shows what a person would see."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence

ROWS, COLUMNS = 24, 100
ERASE = "\x1b[K"  # erases the line from the cursor on


def run_in_terminal(
    command: Sequence[str], folder: str, environ: Mapping[str, str], seconds: float = 60.0
) -> tuple[int, str]:
    """
    Run a program whose standard output and error are a terminal.

    @return: its exit status, and all that it has written.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **environ}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        written = b"".join(iter(lambda: _read(ours), b""))
        return process.wait(seconds), written.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # EIO: the program has closed the terminal
        return b""


def screen(text: str) -> list[str]:
    """Return the lines that a terminal shows, without empty ones at the end."""
    lines: list[list[str]] = [[]]
    column = position = 0
    while position < len(text):
        character = text[position]
        if text.startswith(ERASE, position):
            del lines[-1][column:]
            position += len(ERASE)
            continue
        position += 1
        if character == "\r":
            column = 0
        elif character == "\n":
            lines.append([])
            column = 0  # terminals write a carriage return before it
        else:
            lines[-1] += " " * (column - len(lines[-1]))
            lines[-1][column : column + 1] = [character]
            column += 1
    return "\n".join("".join(line) for line in lines).rstrip().split("\n")
