"""The program of a process in which a worker calls its function. It imports no Twisted."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

from twisted_appserver.executors.child_processes import ignore, protect
from twisted_appserver.executors.processes.server_watchdog import watch
from twisted_appserver.executors.processes.signal_state import SignalState

from .client.errors import ResultError
from .client.failures import describe
from .client.items import to_result
from .client.reported_progress import checked_progress
from .function_call import Function, Outcome, call_function
from .stack_dump import cancel_dump, dump_before
from .target_function import function_named
from .task_progress import Reported

STOPS = (signal.SIGINT, signal.SIGTERM)  # the signals that stop the worker, which then ends its processes


def serve(connection: Connection, target: str | Function, limit: float | None, stacks: int) -> None:
    """
    Call a function with each item that arrives, with its trace and its task, and send the L{Outcome}, until
    the connection is closed.

    The first message is empty when the process is ready, or else the reason why it is not. If the worker is
    killed, this process ends, even in the middle of a function.

    @param target: the function, or its name.
    @param limit: seconds after which the worker kills this process; C{None} for never.
    @param stacks: the descriptor of a L{StackFile}.
    """
    for number in STOPS:
        signal.signal(number, ignore)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)  # the worker blocks them while it starts a process
    protect(connection, lambda: [connection.fileno()])
    watch(connection.fileno())
    try:
        function = function_named(target) if isinstance(target, str) else target
    except ValueError as error:
        connection.send(str(error))
        return

    def report(value: object) -> None:
        connection.send(Reported(checked_progress(value)))

    signals = SignalState()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the worker has closed the connection
        connection.send("")
        while True:
            item, trace, current = connection.recv()
            if limit is not None:
                dump_before(limit, stacks)
            outcome = _checked(call_function(function, item, report, trace, current))
            cancel_dump()
            _flush()
            if signals.changed:
                signals.restore()
            connection.send(outcome)


def _checked(outcome: Outcome) -> Outcome:
    """Return the outcome if its result can be sent, or else a failure."""
    try:
        to_result(outcome.result)
    except TypeError as error:
        return Outcome(failure=describe(ResultError(f"the result cannot be sent: {error}")))
    return outcome


def _flush() -> None:
    """Write what the function has printed: the process may be killed later."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # the function may have closed or replaced it
            stream.flush()
