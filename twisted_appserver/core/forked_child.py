"""
Ends a process that a function has forked, when the function ends there.

Without this, the child would continue to serve requests like its parent.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

from twisted_appserver.core.call import CURRENT, Call
from twisted_appserver.core.error_advice import format_traceback

forked_by: Call | None = None  # the call whose function forked this process


def _remember_call() -> None:
    global forked_by
    forked_by = CURRENT.get()


if hasattr(os, "register_at_fork"):  # missing on Windows
    os.register_at_fork(after_in_child=_remember_call)


def exit_child(error: BaseException | None = None) -> None:
    """
    End this process, because the function of L{forked_by} or a step of its generator has ended.

    @param error: the exception that ended it.
    """
    status: Any = 0 if error is None else format_traceback(error)
    if isinstance(error, SystemExit):
        status = error.code or 0
    with suppress(Exception):  # the function may have closed or replaced the standard streams
        if not isinstance(status, int):
            print(status, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status & 0xFF if isinstance(status, int) else 1)
