"""The command line: C{tqueue VERB URL NAME ...}."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from .client.errors import Empty, Full, LeaseLost, ServerError, ShutDown
from .client.items import RESERVED
from .client.queue import Queue
from .client.requests import WEEK
from .work import ProgressLine, StopSignals, Work, function_named

PATIENCE = 10.0  # seconds; C{work} waits for ever
YEAR = 53 * WEEK  # seconds; the longest delay that a server accepts


def _print(document: dict[str, Any]) -> None:
    print(json.dumps(document, ensure_ascii=False))


def _json(text: str) -> Any:
    """
    Parse strict JSON.

    @raise ValueError: when the text is not JSON. Python alone would accept NaN, and 1e400 as infinity.
    """
    value = json.loads(text)
    json.dumps(value, allow_nan=False)
    return value


def _fields(words: Sequence[str]) -> dict[str, Any]:
    """Parse the fields of a task: C{name=value}, where the value is JSON or else text, or one JSON object."""
    if len(words) == 1 and words[0].startswith("{"):
        return dict(_json(words[0]))
    fields = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"a field must be name=value, not {word!r}")
        try:
            fields[name] = _json(value)
        except ValueError:
            fields[name] = value
    return fields


def put(queue: Queue, given: argparse.Namespace) -> int:
    if given.key is not None and not given.field:
        raise ValueError("--key names one put: give the task's fields as arguments, not as lines")
    lines: Any = (
        [given.field] if given.field else ([line.rstrip("\r\n")] for line in sys.stdin if line.strip())
    )
    for words in lines:
        fields = _fields(words)
        if fields.pop(RESERVED, queue.name) != queue.name:
            raise ValueError(f"the name {RESERVED!r} is reserved for the queue; give the field another name")
        stored = queue.put_task(
            fields, given.timeout, priority=given.priority, delay=given.delay, key=given.key
        )
        repeated = {"repeated": True} if stored["repeated"] else {}
        _print({"worker": queue.name, "task_id": stored["task_id"], **repeated})
    return 0


def get(queue: Queue, given: argparse.Namespace) -> int:
    task = queue.get_task(given.timeout, given.lease)
    names = ("task_id", "task", "delivery")
    _print({"worker": queue.name, **{name: task[name] for name in names}})
    return 0


def done(queue: Queue, given: argparse.Namespace) -> int:
    try:
        fields = queue.done(given.task_id, given.delivery)
    except LeaseLost:
        _print({"worker": queue.name, "task_id": "", "task": {}})
        return 1
    _print({"worker": queue.name, "task_id": given.task_id, "task": fields})
    return 0


def qsize(queue: Queue, given: argparse.Namespace) -> int:
    print(queue.qsize())
    return 0


def stats(queue: Queue, given: argparse.Namespace) -> int:
    _print({"worker": queue.name, **queue.stats()})
    return 0


def peek(queue: Queue, given: argparse.Namespace) -> int:
    for task in queue.peek(given.n, given.state):
        _print(task)
    return 0


def kick(queue: Queue, given: argparse.Namespace) -> int:
    _print({"worker": queue.name, "kicked": queue.kick(given.n)})
    return 0


def watch(queue: Queue, given: argparse.Namespace) -> int:
    before: dict[str, Any] = {}
    try:
        for _ in range(given.times) if given.times else iter(int, 1):
            now = queue.stats()
            rates = {  # never negative: after a restart, the server counts from 0
                name: max(0, now[name] - before.get(name, now[name])) for name in ("puts", "gets", "dones")
            }
            places = {name: now[name] for name in ("ready", "delayed", "leased", "buried")}
            per_second = (f"{name} {count / given.every:.0f}/s" for name, count in rates.items())
            print(
                ", ".join((*(f"{name} {count}" for name, count in places.items()), *per_second)), flush=True
            )
            before = now
            time.sleep(given.every)
    except KeyboardInterrupt:
        pass
    return 0


def work(queue: Queue, given: argparse.Namespace) -> int:
    runner = Work(queue, function_named(given.function), given.threads, given.delay)
    StopSignals(runner, sys.stderr)
    runner.start()
    progress = ProgressLine(runner, queue, sys.stderr) if sys.stderr.isatty() else None
    while runner.alive:
        time.sleep(0.1 if progress is None else 0.5)
        if progress is not None:
            progress.show()
    print(
        f"{'' if progress is None else chr(10)}{runner.done} done, {runner.failed} failed, {runner.lost} lost"
    )
    if runner.error is not None:
        raise runner.error
    return 0


def _at_least(lowest: float, highest: float = math.inf) -> Callable[[str], float]:
    """Return the type of an option: a number of the same type as C{lowest}."""
    most = f" and at most {highest:.0f}" if highest < math.inf else ""

    def number(text: str) -> float:
        if not lowest <= (value := type(lowest)(text)) <= highest:
            raise argparse.ArgumentTypeError(f"must be {lowest} or more{most}, not {text}")
        return value

    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tqueue", description="Use the queues of a TQueueSrv.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(function: Callable[[Queue, argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(function.__name__, help=help, description=help)
        sub.set_defaults(function_of=function)
        sub.add_argument("url", metavar="URL", help="URL of the server, such as http://localhost:8082")
        sub.add_argument("name", metavar="NAME", help="name of the queue")
        return sub

    _add_put(verb(put, "Put a task, or one for each line of standard input."))
    sub = verb(get, "Get a task, on lease.")
    sub.add_argument("--timeout", type=float, default=0.0, metavar="S", help="seconds to wait for a task")
    sub.add_argument("--lease", type=float, metavar="S", help="seconds until another worker may get the task")
    sub = verb(done, "Finish a task.")
    sub.add_argument("task_id", metavar="ID")
    sub.add_argument(
        "--delivery", type=int, default=0, metavar="N",
        help="as printed by get: do nothing if another worker has got the task since",
    )  # fmt: skip
    verb(qsize, "Print the number of tasks that are ready.")
    verb(stats, "Print all figures of a queue.")
    sub = verb(peek, "Print the first tasks, without getting them.")
    sub.add_argument("-n", type=int, default=10, help="number of tasks")
    sub.add_argument("--state", default="ready", choices=("ready", "delayed", "leased", "buried"))
    sub = verb(kick, "Make buried tasks ready again, the oldest first.")
    sub.add_argument("-n", type=int, default=10, help="number of tasks")
    _add_watch(verb(watch, "Print figures again and again."))
    _add_work(verb(work, "Call a function for each task, until SIGTERM or Ctrl-C. Tasks at hand are done."))
    return parser


def _add_put(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("field", nargs="*", help="name=value, or one JSON object")
    sub.add_argument("--priority", type=float, help="the lowest comes first, in a priority queue")
    sub.add_argument("--delay", type=float, metavar="S", help="seconds until a worker may get the task")
    sub.add_argument("--key", help="idempotency key: a put with the same key adds nothing")
    sub.add_argument("--timeout", type=float, default=0.0, metavar="S", help="seconds to wait for room")


def _add_watch(sub: argparse.ArgumentParser) -> None:
    every = _at_least(0.01, WEEK)
    sub.add_argument("--every", type=every, default=1.0, metavar="S", help="seconds between two lines")
    sub.add_argument("--times", type=int, default=0, help="number of lines; 0 for no end")


def _add_work(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("function", metavar="MODULE:FUNCTION", help="called with each item")
    sub.add_argument("--threads", type=_at_least(1), default=1, metavar="N", help="number of threads")
    sub.add_argument(
        "--lease", type=_at_least(0.01, WEEK), default=60.0, metavar="S",
        help="seconds until another worker gets a task if this process dies",
    )  # fmt: skip
    sub.add_argument(
        "--delay", type=_at_least(0.0, YEAR), metavar="S",
        help="seconds until a failed task is tried again; by default 1, 2, 4, ... 300",
    )  # fmt: skip
    sub.add_argument(
        "--patience", type=_at_least(0.0), default=math.inf, metavar="S",
        help="seconds to wait for a server that cannot be reached; for ever by default",
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    @param arguments: those of the command line if C{None}.
    @return: the exit status: 0 for success; 1 if there was nothing to get, no room or no such leased task; 2
        for an error; 130 after Ctrl-C.
    """
    given = _parser().parse_args(arguments)
    try:
        lease, patience = getattr(given, "lease", None) or 60.0, getattr(given, "patience", PATIENCE)
        with closing(Queue(0, given.url, given.name, lease=lease, patience=patience)) as queue:
            return int(given.function_of(queue, given))
    except (Empty, Full, ShutDown) as error:
        print(
            f"tqueue: the queue is {type(error).__name__.lower().replace('shutd', 'shut d')}", file=sys.stderr
        )
        return 1
    except (OSError, ServerError, LeaseLost, ValueError, TypeError) as error:
        print(f"tqueue: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
