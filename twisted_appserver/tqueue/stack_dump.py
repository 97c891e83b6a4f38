"""
Where a function was when its process was killed.

Strategy: a moment before the time limit, a thread of C{faulthandler} in the process writes all stacks to a
file that the process shares with the worker. This thread does not need the interpreter's lock, which the
function may hold. The worker reads the file once it has killed the process.
"""

from __future__ import annotations

import faulthandler
import os
import re
import tempfile
from contextlib import suppress
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

OWN = str(Path(__file__).parent)
BEFORE = 0.5  # seconds before the time limit at which the stacks are written
FRAME = re.compile(r'  File "(.*)", line (\d+) in (.*)')


class StackFile:
    """
    The file. If it is pickled for a new process, that process gets its descriptor.

    @raise OSError: when there is no room for it.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115

    def __reduce__(self) -> Any:
        return _detach, (DupFd(self._file.fileno()),)

    def read(self) -> str:
        """Return the last stack of the function, in the form of a traceback; empty if there is none."""
        text = ""
        with suppress(OSError):
            self._file.seek(0)
            text = self._file.read().decode("utf-8", "replace")
        for thread in text.split("\n\n"):
            frames = [found.groups() for found in map(FRAME.fullmatch, thread.splitlines()) if found]
            own = next((n for n, frame in enumerate(frames) if frame[0].startswith(OWN)), None)
            if own:  # the innermost frame comes first
                found = [f'  File "{path}", line {line}, in {name}' for path, line, name in frames[:own]]
                return "\n".join(["The function was here:", *reversed(found)])
        return ""

    def close(self) -> None:
        self._file.close()


def _detach(descriptor: Any) -> int:
    return int(descriptor.detach())


def dump_before(limit: float, descriptor: int) -> None:
    """Write the stacks of this process shortly before the limit, unless L{cancel_dump} is called."""
    os.ftruncate(descriptor, 0)  # a function may have returned between the dump and the limit
    faulthandler.dump_traceback_later(max(limit - BEFORE, limit / 2), file=descriptor)


def cancel_dump() -> None:
    """Write nothing."""
    faulthandler.cancel_dump_traceback_later()
