"""The entry point of the command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

INTERRUPTED = 130  # as in command_line; Ctrl-C may interrupt the import of that module


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command. Ctrl-C ends it quietly, also while its modules are imported.

    @param arguments: the arguments; C{None} for the arguments of the command line.
    @return: the exit status that C{run_verb.run} returns; 130 after Ctrl-C.
    """
    try:
        from .run_verb import run

        return run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
