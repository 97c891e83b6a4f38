"""The verb that puts a single task, or a task for each line of standard input."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from twisted_appserver.errors import AppserverError

from ..client.batches import MOST_TASKS
from ..client.queue import Queue
from ..client.terms import PutTerms
from .error_messages import EXPECTED
from .output import Output
from .task_fields import check_line, read_fields
from .verb import TASKS, Verb, at_least, complain

RETRY_OPTIONS = {
    "first": "seconds of the pause after the task's first failure",
    "factor": "how many times longer each further pause is",
    "most": "seconds of the longest pause",
    "jitter": "the largest random change of a pause, as a share of it",
}


class LineError(AppserverError):
    """Raised when a line of standard input cannot be put, because of another error."""

    def __init__(self, number: int, count: int) -> None:
        super().__init__(f"line {number} of standard input; tasks put before it: {count}")


def put(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    if given.field:
        _put_task(queue, given, output, given.field)
        return 0
    for name in ("key", "unique"):
        if getattr(given, name) is not None:
            raise ValueError(f"--{name} names one put: give the task's fields as arguments, not as lines")
    if sys.stdin is not None and sys.stdin.isatty():
        complain("reading one task from each line, as JSON or name=value; Ctrl-D ends")
    if given.batch == 1:
        for count, (number, line) in enumerate(_lines()):
            try:
                check_line(line)
                _put_task(queue, given, output, [line])
            except EXPECTED as error:
                raise LineError(number, count) from error
    else:
        _put_batches(queue, given, output)
    return 0


def _put_batches(queue: Queue, given: argparse.Namespace, output: Output) -> None:
    """Put the lines of standard input, many with each request."""
    if given.priority is not None:
        raise ValueError("--priority cannot be used with --batch")
    count, first, batch = 0, 0, list[dict[str, Any]]()

    def flush() -> int:
        try:
            ids = queue.put_tasks(batch, given.timeout, **_terms(given))
        except EXPECTED as error:
            raise LineError(first, count) from error
        for task_id in ids:
            output.json({"worker": queue.name, "task_id": task_id})
        batch.clear()
        return len(ids)

    try:
        for number, line in _lines():
            try:
                check_line(line)
                fields = read_fields([line], queue.name)
            except EXPECTED as error:
                count += flush()
                raise LineError(number, count) from error
            if not batch:
                first = number
            batch.append(fields)
            if len(batch) == given.batch:
                count += flush()
    except ValueError:  # a line could not be decoded
        flush()
        raise
    flush()


def _lines() -> Iterator[tuple[int, str]]:
    """Yield the lines of standard input that are not blank, with their numbers."""
    try:
        for number, line in enumerate(sys.stdin or (), 1):
            if line.strip():
                yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input must be {error.encoding}: {error.reason}") from None


def _put_task(queue: Queue, given: argparse.Namespace, output: Output, words: list[str]) -> None:
    fields = read_fields(words, queue.name)
    stored = queue.put_task(
        fields, given.timeout, priority=given.priority, key=given.key,
        unique=given.unique, unique_for=given.unique_for, **_terms(given),
    )  # fmt: skip
    why = {name: True for name in ("repeated", "existing") if stored[name]}
    output.json({"worker": queue.name, "task_id": stored["task_id"], **why})


def _terms(given: argparse.Namespace) -> PutTerms:
    """Return the options for single tasks. For options that are missing, the queue decides."""
    pauses = {name: getattr(given, f"retry_{name}") for name in RETRY_OPTIONS}
    return {
        "delay": given.delay,
        "retry": SimpleNamespace(attempts=given.max_deliveries, **pauses),
        "ttl": given.ttl,
        "group": given.group,
        "traceparent": given.traceparent,
    }


def _put_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "field", metavar="FIELD", nargs="*", default=[], help="name=value, or one JSON object"
    )
    parser.add_argument(
        "--priority", type=float, metavar="N", help="the lowest comes first, if the kind is priority"
    )
    parser.add_argument("--delay", type=float, metavar="S", help="seconds until a worker may get the task")
    parser.add_argument("--key", metavar="TEXT", help="idempotency key: a put with the same key adds nothing")
    parser.add_argument(
        "--unique",
        metavar="KEY",
        help="a put adds nothing while a task with the same unique key waits or runs",
    )
    parser.add_argument(
        "--unique-for", type=float, metavar="S",
        help="seconds for which the unique key stays taken after this put; inf for ever",
    )  # fmt: skip
    parser.add_argument("--timeout", type=float, default=0.0, metavar="S", help="seconds to wait for room")
    parser.add_argument(
        "--batch", type=at_least(1, MOST_TASKS), default=1, metavar="N",
        help="put N lines of standard input with each request: all of them or none",
    )  # fmt: skip
    parser.add_argument(
        "--ttl", type=float, metavar="S", help="seconds for which the task may wait; then it is removed"
    )
    parser.add_argument(
        "--group", metavar="TEXT",
        help="the group of the task: its tasks are handed out in order, as many at once as the queue allows",
    )  # fmt: skip
    parser.add_argument(
        "--max-deliveries", type=int, metavar="N", help="bury the task after N deliveries; 0 for never"
    )
    parser.add_argument(
        "--traceparent", metavar="TEXT", help="trace that the task belongs to (W3C Trace Context)"
    )
    for name, help_text in RETRY_OPTIONS.items():
        parser.add_argument(f"--retry-{name}", type=float, metavar="X", help=help_text)


LINES = """\
Without FIELD, each line of standard input is a task: a JSON object or name=value.
A value that is not JSON is text. A value that begins with {, [ or " must be JSON."""
PUT = Verb(
    "put",
    TASKS,
    "Put a task, or one for each line of standard input.",
    put,
    "painter picture=7 color=red",
    _put_arguments,
    LINES,
)
