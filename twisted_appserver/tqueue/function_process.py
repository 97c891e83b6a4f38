"""
The worker's end of a process that calls the function.

Strategy: each thread of a worker that needs the function takes a free process, sends the item and waits for
the outcome. So no thread shares a process, and a pipe carries one message at a time. The process is started
with exec and imports the function again, because a fork of a program with threads may hang. A process that
does not answer in time is killed, and a new one is started.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from .client.failures import Failure
from .client.trace import NO_TRACE, Trace
from .function_call import Function, Outcome, WorkerError
from .function_server import STOPS, serve
from .performed_task import CurrentTask
from .stack_dump import StackFile
from .task_progress import Report, Reported
from .thread_time_limits import over_limit

LOOK = 0.5  # seconds between two checks of a process whose end its own children hide
END = 5.0  # seconds for which a process may flush and run its exit handlers

_starting = threading.Lock()  # multiprocessing keeps a set of all processes


def checked_target(target: str | Function) -> str | Function:
    """
    Return a function that other processes can import.

    @raise ValueError: when they cannot import it.
    """
    try:
        pickle.dumps(target)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"worker processes must be able to import the function: {error}") from None
    return target


class FunctionProcess:
    """
    A process that calls the function, and its successors. Used by one thread at a time.

    @param target: the function, or its name.
    @param limit: seconds that the function may take; C{None} for no limit.
    @raise WorkerError: when the process cannot be started.
    """

    def __init__(self, target: str | Function, limit: float | None) -> None:
        self._target, self._limit, self._is_killed = target, limit, False
        try:
            self._stacks = StackFile()
        except OSError as error:
            raise WorkerError(f"cannot make a temporary file: {error.strerror or error}") from error
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection: Connection
        self._connection, theirs = context.Pipe()
        arguments = theirs, self._target, self._limit, self._stacks
        self._process = context.Process(target=serve, args=arguments, name="tqueue-function")
        self._is_ready = False
        # Ctrl-C must not interrupt the start. The process inherits the mask, and unblocks the signals itself.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS) if hasattr(signal, "pthread_sigmask") else None
        try:
            with _starting:
                self._process.start()
        except OSError as error:
            raise WorkerError(f"cannot start a worker process: {error.strerror or error}") from error
        finally:
            theirs.close()
            if mask is not None:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def call(
        self, item: Any, report: Report, trace: Trace = NO_TRACE, current: CurrentTask | None = None
    ) -> Outcome:
        """
        Call the function with an item.

        @param report: receives what the function reports about its task.
        @raise WorkerError: when the process cannot be started, ends before it is ready, or is killed by
            L{kill}.
        """
        self._await_ready()
        try:
            self._connection.send((item, dict(trace), current))
            outcome: Outcome | None = self._receive(self._limit, report)
        except (EOFError, OSError):
            return self._replace(lambda how: Failure(f"the worker process died ({how})"))
        if outcome is not None:
            return outcome
        self._process.kill()
        return self._replace(lambda _: over_limit(self._limit or 0.0, self._stacks.read()))

    def _replace(self, failure: Callable[[str], Failure]) -> Outcome:
        """
        Start another process. Return the failure of the task, which depends on how the last process ended.
        """
        how = self._end()
        if self._is_killed:
            raise WorkerError("the worker process was killed")
        self._start()
        return Outcome(failure=failure(how))

    def _await_ready(self) -> None:
        """Wait until the process can call the function. A process that died while it was idle is replaced."""
        if self._is_ready and self._process.exitcode is not None:
            self._end()
            self._start()
        if self._is_ready:
            return
        try:
            problem = self._receive(None)
        except (EOFError, OSError):
            raise WorkerError(f"a worker process died while it was started ({self._end()})") from None
        if problem:
            raise WorkerError(problem)
        self._is_ready = True

    def _receive(self, seconds: float | None, report: Report | None = None) -> Any:
        """
        Return the next message; C{None} if there is none in time.

        @param report: receives the reports that arrive before the message.
        @raise EOFError: when the process has ended.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            left = LOOK if end is None else min(LOOK, end - time.monotonic())
            has_ended = self._process.exitcode is not None
            if self._connection in wait([self._connection, self._process.sentinel], max(left, 0.0)):
                message = self._connection.recv()
                if not isinstance(message, Reported):
                    return message
                if report is not None:
                    report(message.value)
                continue
            if has_ended:
                raise EOFError
            if end is not None and time.monotonic() >= end:
                return None

    def kill(self) -> None:
        """End the process at once, and start no other one. May be called from any thread."""
        self._is_killed = True
        self._process.kill()

    def _end(self) -> str:
        """Wait for the end of a process that has closed its connection. Return how it ended."""
        self._process.join(END)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._connection.close()
        code = self._process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"status {code}"

    def close(self) -> None:
        """Let the process end, and wait for its end."""
        self._connection.close()
        self._end()
        self._stacks.close()
