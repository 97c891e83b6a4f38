"""Lets clients detect that they are in a forked process. Needs the standard library only."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """An object that starts afresh in a forked process."""

    def forked(self) -> None:
        """Leave connections and tasks to the parent. Called in the child before anything else."""


_watched: WeakSet[Any] = WeakSet()


def watch(forkable: Forkable) -> None:
    """Call L{Forkable.forked} in every process that is forked from this one."""
    _watched.add(forkable)


def _in_child() -> None:
    for each in list(_watched):
        each.forked()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_child)


def leave(error: BaseException | None = None) -> None:
    """
    End a forked process whose function has returned or raised, with the exit status of a script.

    The code that called the function in the parent is not run in the child.
    """
    status: Any = 0 if error is None else 1
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    with suppress(Exception):  # the function may have closed or replaced the streams
        if isinstance(error, SystemExit) and not isinstance(error.code, int | None):
            print(error.code, file=sys.stderr)
        elif error is not None and not isinstance(error, SystemExit):
            traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status & 0xFF)
