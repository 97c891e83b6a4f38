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
from urllib.parse import quote

from .client.items import RESERVED
from .client.queue import Empty, Full, LeaseLost, Queue, ServerError, ShutDown
from .client.requests import WEEK, checked_key
from .work import Progress, StopSignals, Work, function_named

PATIENCE = 10.0  # seconds, but for work


def _print(document: dict[str, Any], *more: str) -> None:
    for name in {"again", "reason", "delivery"}.difference(more):
        document.pop(name, None)
    print(json.dumps(document, ensure_ascii=False))


def _options(given: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(given, name) for name in names if getattr(given, name) is not None}


def _json(text: str) -> Any:
    """
    @raise ValueError: when it is no JSON; Python takes NaN and Infinity for it, and 1e400 for the latter.
    """
    value = json.loads(text)
    json.dumps(value, allow_nan=False)
    return value


def _text(words: Sequence[str]) -> dict[str, Any]:
    """The fields of a task: C{name=value}, where the value is JSON or else text, or one JSON object."""
    if len(words) == 1 and words[0].startswith("{"):
        return dict(_json(words[0]))
    fields = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"a field is given as name=value, not {word!r}")
        try:
            fields[name] = _json(value)
        except ValueError:
            fields[name] = value
    return fields


def put(queue: Queue, given: argparse.Namespace) -> int:
    if given.key is not None and not given.field:
        raise ValueError("--key names one put: give the task's fields with it, not lines")
    lines: Any = (
        [given.field] if given.field else ([line.rstrip("\r\n")] for line in sys.stdin if line.strip())
    )
    for words in lines:
        fields = _text(words)
        if fields.pop(RESERVED, queue.name) != queue.name:
            raise ValueError(
                f"the name {RESERVED!r} is reserved for the queue's own: name the field otherwise"
            )
        body = json.dumps(fields, ensure_ascii=False).encode()
        key = {"key": queue._key() if given.key is None else checked_key(given.key)}
        answer = queue._ask("put", {**key, **_options(given, "priority", "delay")}, body, given.timeout)
        if not answer["task_id"]:
            raise ShutDown if answer["reason"] == "shutdown" else Full
        _print(answer)
    return 0


def get(queue: Queue, given: argparse.Namespace) -> int:
    query = {"key": queue._key(), **_options(given, "lease")}
    answer = queue._ask("get", query, None, given.timeout)
    if not answer["task_id"]:
        raise ShutDown if answer["reason"] == "shutdown" else Empty
    _print(answer, "delivery")
    return 0


def done(queue: Queue, given: argparse.Namespace) -> int:
    answer = queue._ask(f"done/{quote(given.task_id, safe='')}", _options(given, "delivery"))
    is_done = answer["task_id"] or answer["again"]
    _print(answer)
    return 0 if is_done else 1


def qsize(queue: Queue, given: argparse.Namespace) -> int:
    print(queue.qsize())
    return 0


def stats(queue: Queue, given: argparse.Namespace) -> int:
    _print(queue._ask("stats"))
    return 0


def peek(queue: Queue, given: argparse.Namespace) -> int:
    for task in queue._ask("peek", {"n": given.n, "state": given.state})["tasks"]:
        _print(task)
    return 0


def kick(queue: Queue, given: argparse.Namespace) -> int:
    _print(queue._ask("kick", {"n": given.n, "key": queue._key()}))
    return 0


def watch(queue: Queue, given: argparse.Namespace) -> int:
    before: dict[str, Any] = {}
    try:
        for _ in range(given.times) if given.times else iter(int, 1):
            now = queue._ask("stats")
            rates = {  # after a restart of the server its counts begin at 0
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
    crew = Work(queue, function_named(given.function), given.threads, given.delay)
    StopSignals(crew, sys.stderr)
    crew.start()
    progress = Progress(crew, queue, sys.stderr) if sys.stderr.isatty() else None
    while crew.alive:
        time.sleep(0.1 if progress is None else 0.5)
        if progress is not None:
            progress.show()
    print(f"{'' if progress is None else chr(10)}{crew.done} done, {crew.failed} failed, {crew.lost} lost")
    if crew.error is not None:
        raise crew.error
    return 0


def _at_least(lowest: float, highest: float = math.inf) -> Callable[[str], float]:
    """The type of an option: a number of the type that C{lowest} has."""
    most = f" and at most {highest:.0f}" if highest < math.inf else ""

    def number(text: str) -> float:
        if not lowest <= (value := type(lowest)(text)) <= highest:
            raise argparse.ArgumentTypeError(f"it must be {lowest} or more{most}, not {text}")
        return value

    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tqueue", description="Use the queues of a TQueueSrv.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(function: Callable[[Queue, argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(function.__name__, help=help, description=help)
        sub.set_defaults(function_of=function)
        sub.add_argument("url", metavar="URL", help="of the server, like http://localhost:8082")
        sub.add_argument("name", metavar="NAME", help="of the queue")
        return sub

    sub = verb(put, "Put a task, or one for each line of standard input.")
    sub.add_argument("field", nargs="*", help="name=value, or one JSON object")
    sub.add_argument("--priority", type=float, help="the lowest comes first, in a priority queue")
    sub.add_argument("--delay", type=float, metavar="S", help="seconds until it may be got")
    sub.add_argument("--key", help="a put with the same key adds nothing")
    sub.add_argument("--timeout", type=float, default=0.0, metavar="S", help="seconds to wait for room")
    sub = verb(get, "Get a task, on lease.")
    sub.add_argument("--timeout", type=float, default=0.0, metavar="S", help="seconds to wait for one")
    sub.add_argument("--lease", type=float, metavar="S", help="seconds until somebody else may have it")
    sub = verb(done, "Finish a task.")
    sub.add_argument("task_id", metavar="ID")
    sub.add_argument(
        "--delivery",
        type=int,
        metavar="N",
        help="as get printed it: do nothing if another worker has the task",
    )
    verb(qsize, "Print how many tasks wait.")
    verb(stats, "Print all figures of a queue.")
    sub = verb(peek, "Print the first tasks, without getting them.")
    sub.add_argument("-n", type=int, default=10, help="how many")
    sub.add_argument("--state", default="ready", choices=("ready", "delayed", "leased", "buried"))
    verb(kick, "Bring buried tasks back to life.").add_argument("-n", type=int, default=10, help="how many")
    sub = verb(watch, "Print figures again and again.")
    sub.add_argument(
        "--every", type=_at_least(0.01, WEEK), default=1.0, metavar="S", help="seconds between two lines"
    )
    sub.add_argument("--times", type=int, default=0, help="how many lines; 0 for no end")
    sub = verb(work, "Run a function over the tasks until SIGTERM or Ctrl-C; what is at hand is finished.")
    sub.add_argument("function", metavar="MODULE:FUNCTION", help="is called with each item")
    sub.add_argument("--threads", type=_at_least(1), default=1, metavar="N")
    sub.add_argument(
        "--lease", type=_at_least(0.01, WEEK), default=60.0, metavar="S", help="see get; it is kept alive"
    )
    sub.add_argument(
        "--delay",
        type=_at_least(0.0, 53 * WEEK),
        metavar="S",
        help="until a failed task is tried again; by default 1, 2, 4, ... 300",
    )
    sub.add_argument(
        "--patience",
        type=_at_least(0.0),
        default=math.inf,
        metavar="S",
        help="seconds to wait for a server that cannot be reached; for ever by default",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """
    @return: the exit status: 0, 1 where there was nothing to get or no room, 2 where nothing could be done,
        130 where Ctrl-C ended it.
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
