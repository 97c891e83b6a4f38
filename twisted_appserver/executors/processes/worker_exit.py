"""How and when a worker process has ended.

A worker has ended when its process has exited and all its frames have been read. Twisted's C{processEnded}
comes too late for that: it waits until every child that a function left behind has closed standard error.
Such a child may hold the pipe of the frames too, so the server reads that pipe only for a short time after
the exit.
"""

from __future__ import annotations

import signal

from twisted.python.failure import Failure


class WorkerExit:
    """
    The exit of one worker process.

    @ivar stdout_open: whether frames may still come.
    @ivar stderr_open: whether output may still come.
    """

    def __init__(self) -> None:
        self.stdout_open = self.stderr_open = True
        self._failure: Failure | None = None

    def exited(self, failure: Failure) -> None:
        """Store the exit status that Twisted reports."""
        self._failure = failure

    @property
    def has_exited(self) -> bool:
        return self._failure is not None

    def is_complete(self, with_output: bool) -> bool:
        """
        Return whether the worker has ended.

        @param with_output: whether to wait for its output too, as it may show why the start failed.
        """
        return self.has_exited and not self.stdout_open and not (with_output and self.stderr_open)

    @property
    def signal(self) -> int | None:
        """The signal that killed the process, if one did."""
        number: int | None = getattr(self._failure and self._failure.value, "signal", None)
        return number

    def __str__(self) -> str:
        """Return how the process ended, as the end of a sentence that begins with the process."""
        if self.signal:
            return f"was killed by {signal.Signals(self.signal).name}"
        return f"ended with status {getattr(self._failure and self._failure.value, 'exitCode', None)}"
