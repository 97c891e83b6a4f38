"""The verb C{work}."""

from __future__ import annotations

import argparse
import math
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, suppress

from twisted_appserver.command_line import INTERRUPTED
from twisted_appserver.settings import FORKED_SERVER

from ..client.addresses import read_address
from ..client.checks import WEEK, YEAR
from ..client.errors import ServerError
from ..client.queue import Queue
from ..client.requests import Document
from ..function_call import WorkerError
from ..progress import ProgressReporter
from ..status_line import status_line
from ..stop_signals import StopSignals
from ..worker import Worker
from ..worker_arguments import TYPES
from .error_messages import message_for
from .output import Output
from .verb import WORKERS, Verb, at_least, complain, plural

LOOK = 0.05  # seconds between two checks for signals
GIVE_BACK = 2.0  # seconds for which a second Ctrl-C waits for the server


def work(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    is_forked = given.type == FORKED_SERVER
    # Processes write to the terminal directly, so a bar would be mixed with their output.
    with nullcontext() if is_forked else status_line() as line, ExitStack() as stack:
        worker = Worker(  # after the line: the module of the function may keep sys.stderr
            given.name, given.function, given.threads, url=queue.url, lease=given.lease, delay=given.delay,
            patience=given.patience, time_limit=given.time_limit, prefetch=given.prefetch, type=given.type,
            report=complain,
        )  # fmt: skip
        asking = [Queue(0, queue.url, each.name, patience=0.0) for each in worker.queues]
        for each in asking:
            stack.callback(each.close)
        worker.options = _begin(asking, given)
        signals = StopSignals(worker)
        reporter = ProgressReporter(worker, asking, line, complain)
        worker.start()
        if not given.quiet:
            reporter.start()
        _watch(worker, signals)
        reporter.stop()
    output.line(f"{worker.done} done, {worker.failed} failed, {worker.lost} lost")
    if signals.at_once:
        _end_at_once()
    return _end(worker, signals, given)


def _end(worker: Worker, signals: StopSignals, given: argparse.Namespace) -> int:
    """
    Release what the worker holds. Return the exit status.

    @raise Exception: why the work has ended.
    """
    try:
        worker.close()
    except WorkerError as error:
        complain(str(error))
        return 2
    if not signals.stopping:
        several = len(worker.queues) > 1
        complain(f"the queue{'s' * several} {given.name} {'have' if several else 'has'} been shut down")
    return 0


def _begin(asking: Sequence[Queue], given: argparse.Namespace) -> dict[str, Document]:
    """
    Print what will be done, where, and how to stop it.

    @param asking: the queues.
    @return: the figures and options of each queue; none if the server cannot be reached now.
    @raise ServerError: when the server refuses the request.
    """
    address = read_address(asking[0].url)
    problem = ""
    stats: dict[str, Document] = {}
    try:
        stats = {each.name: each.stats() for each in asking}
    except OSError as error:
        problem = message_for(error, address, given.name)
    if not given.quiet:
        left = sum(each["unfinished"] for each in stats.values())
        leases = {given.lease or each["lease"] for each in stats.values()}
        figures = plural(given.threads, "process" if given.type == FORKED_SERVER else "thread")
        figures += f", leases of {plural(leases.pop(), 'second')}" if len(leases) == 1 else ""
        figures += f", {plural(left, 'task')} left" if stats else ""
        queues = f"the queue{'s' * (len(asking) > 1)} {given.name}"
        complain(f"calling {given.function} for each task of {queues} at {address.url}")
        complain(f"{figures}; Ctrl-C finishes the running tasks and stops")
    if problem:
        limit = "" if given.patience == math.inf else f" for {plural(given.patience, 'second')}"
        complain(f"{problem} (trying again{limit})")
    return stats


def _watch(worker: Worker, signals: StopSignals) -> None:
    """Return when the work is done, or must end at once. Handlers of signals run in this thread."""
    told = False
    while worker.alive and not signals.at_once:
        time.sleep(LOOK)
        if signals.stopping and not told:
            told, tasks = True, plural(worker.running, "running task")
            again = f", finishing {tasks}; press Ctrl-C again to give back what is left and end at once"
            complain(f"stopping{again if worker.running else ''}")
    if signals.at_once:
        _give_back(worker)


def _give_back(worker: Worker) -> None:
    """Release the running tasks, if the server answers soon."""
    count, failed = worker.running, []

    def give_back() -> None:
        try:
            worker.give_back()
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
    work_options(parser)
    parser.add_argument(
        "--delay", type=at_least(0.0, YEAR), metavar="S",
        help="seconds until a failed task is tried again; by default, as the queue's options require",
    )  # fmt: skip
    parser.add_argument(
        "--no-retry", action="store_const", const=False, dest="delay", help="bury a task that has failed"
    )


def work_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that do not depend on the function."""
    parser.add_argument("--threads", type=at_least(1), default=1, metavar="N", help="number of threads")
    parser.add_argument(
        "--type", choices=TYPES, default=TYPES[0],
        help="threaded (the default), or forked: each thread calls the function in a process of its own",
    )  # fmt: skip
    parser.add_argument(
        "--time-limit", type=at_least(0.01, WEEK), metavar="S",
        help="seconds that the function may take; then the task has failed, and its process is killed, or "
        "another thread goes on",
    )  # fmt: skip
    parser.add_argument(
        "--prefetch", type=at_least(0), default=0, metavar="N",
        help="number of further tasks to get while all threads are busy; 0 by default",
    )  # fmt: skip
    parser.add_argument(
        "--lease", type=at_least(0.01, WEEK), metavar="S",
        help="seconds until another worker gets a task if this process dies; by default, the queue's option",
    )  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="print no banner and no progress")


MORE = """\
NAME may be several queues: urgent,painter performs the tasks of the first queue that has one, and
urgent:3,painter:1 performs three tasks of urgent for each of painter.

The first Ctrl-C or SIGTERM finishes the running tasks. A second Ctrl-C gives them back to the queue and ends
at once. The status is 0 after the first signal or when the queue has been shut down, 130 after the second
one, and 2 if the function cannot be imported, functions hang, or the server refuses a request. Failed tasks
do not change the status."""

WORK_VERBS = (
    Verb("work", WORKERS, "Call a function for each task, until Ctrl-C or SIGTERM.", work,
         "painter studio:paint --threads 4", _work_arguments, MORE, patience=math.inf),
)  # fmt: skip
