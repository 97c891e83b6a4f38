"""
Shows what is logged while nothing reads Twisted's log.

A program that embeds an application may not start the log, and a test does not. Until the log is started,
Twisted keeps its last entries in memory and prints only critical ones.
"""

from __future__ import annotations

import sys

from twisted.logger import globalLogBeginner


def show_unless_logged(text: str) -> None:
    """Print a log entry on standard error if Twisted's log has not been started."""
    # Twisted has no public attribute for this. Its temporary observer is removed when the log begins.
    if getattr(globalLogBeginner, "_temporaryObserver", None) is not None:
        print(text, file=sys.stderr, flush=True)
