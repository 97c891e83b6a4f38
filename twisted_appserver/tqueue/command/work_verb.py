"""The verb C{work}."""

from __future__ import annotations

import argparse
import math
import os
import sys
import threading
import time
from contextlib import closing, suppress

from twisted_appserver.command_line import INTERRUPTED

from ..client.addresses import read_address
from ..client.errors import ServerError
from ..client.queue import Queue
from ..client.requests import WEEK
from ..progress import ProgressReporter
from ..status_line import status_line
from ..stop_signals import StopSignals
from ..target_function import function_named
from ..work import Work
from .error_messages import message_for
from .output import Output
from .task_verbs import YEAR
from .verb import WORKERS, Verb, at_least, complain, plural

LOOK = 0.05  # seconds between two checks for signals
GIVE_BACK = 2.0  # seconds for which a second Ctrl-C waits for the server


def work(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    with status_line() as line, closing(Queue(0, queue.url, queue.name, patience=0.0)) as asking:
        function = function_named(given.function)  # after the line: its module may keep sys.stderr
        runner = Work(queue, function, given.threads, given.delay, complain)
        runner.max_deliveries = _begin(asking, given)
        signals = StopSignals(runner)
        reporter = ProgressReporter(runner, asking, line, complain)
        runner.start()
        if not given.quiet:
            reporter.start()
        _watch(runner, signals)
        reporter.stop()
    output.line(f"{runner.done} done, {runner.failed} failed, {runner.lost} lost")
    if signals.at_once:
        _end_at_once()
    if not signals.stopping and runner.error is None:
        complain(f"the queue {queue.name} has been shut down")
    if runner.error is not None:
        raise runner.error
    return 0


def _begin(asking: Queue, given: argparse.Namespace) -> int:
    """
    Print what will be done, where, and how to stop it.

    @return: the queue's C{max_deliveries}; 0 if the server cannot be reached now.
    @raise ServerError: when the server refuses the request.
    """
    address = read_address(asking.url)
    problem, stats = "", {}
    try:
        stats = asking.stats()
    except OSError as error:
        problem = message_for(error, address, asking.name)
    if not given.quiet:
        left = f", {plural(stats['unfinished'], 'task')} left" if stats else ""
        lease = given.lease or stats.get("lease")
        leases = f", leases of {plural(lease, 'second')}" if lease else ""
        figures = f"{plural(given.threads, 'thread')}{leases}{left}"
        complain(f"calling {given.function} for each task of the queue {asking.name} at {address.url}")
        complain(f"{figures}; Ctrl-C finishes the running tasks and stops")
    if problem:
        limit = "" if given.patience == math.inf else f" for {plural(given.patience, 'second')}"
        complain(f"{problem} (trying again{limit})")
    return int(stats.get("max_deliveries", 0))


def _watch(runner: Work, signals: StopSignals) -> None:
    """Return when the work is done, or must end at once. Handlers of signals run in this thread."""
    told = False
    while runner.alive and not signals.at_once:
        time.sleep(LOOK)
        if signals.stopping and not told:
            told, tasks = True, plural(runner.running, "running task")
            again = f", finishing {tasks}; press Ctrl-C again to give back what is left and end at once"
            complain(f"stopping{again if runner.running else ''}")
    if signals.at_once:
        _give_back(runner)


def _give_back(runner: Work) -> None:
    """Release the running tasks, if the server answers soon."""
    count, failed = runner.running, []

    def give_back() -> None:
        try:
            runner.give_back()
        except (OSError, ServerError) as error:
            failed.append(error)

    thread = threading.Thread(target=give_back, daemon=True)
    thread.start()
    thread.join(GIVE_BACK)
    if failed or thread.is_alive():
        complain("the server cannot be reached: running tasks return to the queue when their leases end")
    elif count:
        complain(f"gave {plural(count, 'running task')} back to the queue")


def _end_at_once() -> None:
    """End the process, whatever its threads do."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(INTERRUPTED)


def _work_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("function", metavar="MODULE:FUNCTION", help="called with each item")
    parser.add_argument("--threads", type=at_least(1), default=1, metavar="N", help="number of threads")
    parser.add_argument(
        "--lease", type=at_least(0.01, WEEK), metavar="S",
        help="seconds until another worker gets a task if this process dies; by default, the queue's option",
    )  # fmt: skip
    parser.add_argument(
        "--delay", type=at_least(0.0, YEAR), metavar="S",
        help="seconds until a failed task is tried again; by default 1, 2, 4, ... 300",
    )  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="print no banner and no progress")


MORE = """\
The first Ctrl-C or SIGTERM finishes the running tasks. A second Ctrl-C gives them back to the queue and
ends at once. The status is 0 after the first or when the queue has been shut down, 130 after the second,
and 2 if the function cannot be imported or the server refuses a request. Failing tasks do not change it."""

WORK_VERBS = (
    Verb("work", WORKERS, "Call a function for each task, until Ctrl-C or SIGTERM.", work,
         "painter studio:paint --threads 4", _work_arguments, MORE, patience=math.inf),
)  # fmt: skip
