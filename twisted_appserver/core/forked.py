"""A process that a function forks ends where the function ends: it must not go on serving like its parent."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

from twisted_appserver.core.call import CURRENT, Call
from twisted_appserver.core.remedies import shown

child_of: Call | None = None  # the call whose function forked this process


def _in_child() -> None:
    global child_of
    child_of = CURRENT.get()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_child)


def leave(error: BaseException | None = None) -> None:
    """
    End this process: a function, or a step of its generator or coroutine, has ended, and its call is
    L{child_of}.

    @param error: the exception that ended it.
    """
    status: Any = 0 if error is None else shown(error)
    if isinstance(error, SystemExit):
        status = error.code or 0
    with suppress(Exception):  # the function may have closed or replaced them
        if not isinstance(status, int):
            print(status, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status & 0xFF if isinstance(status, int) else 1)
