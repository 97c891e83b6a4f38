"""The verb C{work}."""

from __future__ import annotations

import argparse
import math
import sys
import time

from ..client.queue import Queue
from ..client.requests import WEEK
from ..work import ProgressLine, StopSignals, Work, function_named
from .output import Output
from .task_verbs import YEAR
from .verb import WORKERS, Verb, at_least


def work(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    runner = Work(queue, function_named(given.function), given.threads, given.delay)
    StopSignals(runner, sys.stderr)
    runner.start()
    progress = ProgressLine(runner, queue, sys.stderr) if sys.stderr.isatty() else None
    while runner.alive:
        time.sleep(0.1 if progress is None else 0.5)
        if progress is not None:
            progress.show()
    output.line(
        f"{'' if progress is None else chr(10)}{runner.done} done, {runner.failed} failed, {runner.lost} lost"
    )
    if runner.error is not None:
        raise runner.error
    return 0


def _work_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("function", metavar="MODULE:FUNCTION", help="called with each item")
    parser.add_argument("--threads", type=at_least(1), default=1, metavar="N", help="number of threads")
    parser.add_argument(
        "--lease", type=at_least(0.01, WEEK), default=60.0, metavar="S",
        help="seconds until another worker gets a task if this process dies",
    )  # fmt: skip
    parser.add_argument(
        "--delay", type=at_least(0.0, YEAR), metavar="S",
        help="seconds until a failed task is tried again; by default 1, 2, 4, ... 300",
    )  # fmt: skip


WORK_VERBS = (
    Verb("work", WORKERS, "Call a function for each task, until SIGTERM or Ctrl-C. Tasks at hand are done.",
         work, "painter studio:paint --threads 4", _work_arguments, patience=math.inf),
)  # fmt: skip
