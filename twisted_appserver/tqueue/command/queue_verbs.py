"""The verbs about whole queues."""

from __future__ import annotations

import argparse
import json
import math
import time
from itertools import count
from typing import Any

from twisted_appserver.closest_name import closest

from ..client.checks import WEEK
from ..client.errors import ServerError
from ..client.queue import Queue
from .output import Output
from .task_verbs import for_each_known
from .verb import QUEUES, Verb, at_least, complain, plural

STATES = ("ready", "delayed", "leased", "held", "buried")
TIMES = {"delayed": ("due", "DUE"), "leased": ("lease", "LEASE ENDS")}  # the event that such a task waits for
RATES = ("puts", "gets", "dones")


def queues(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    found = queue.queues()
    if output.as_json:
        output.json(found)
    elif found:
        header = ("QUEUE", *(state.upper() for state in STATES))
        # An older server counts only the tasks that are ready.
        figures = {name: {"ready": each["qsize"], **each} for name, each in sorted(found.items())}
        rows = ((name, *(each.get(state, "?") for state in STATES)) for name, each in figures.items())
        output.table(header, rows)
    else:
        complain("the server has no queues")
    return 0


def _pairs(document: dict[str, Any], queue: Queue, output: Output) -> int:
    if output.as_json:
        output.json({"worker": queue.name, **document})
    else:
        output.table(("NAME", "VALUE"), ((name, _value(value)) for name, value in document.items()))
    return 0


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return str(int(value) if isinstance(value, float) and value.is_integer() else value) or "-"


def stats(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    found = queue.stats()
    if not output.as_json and found.get("oldest") is not None:
        found["oldest"] = f"{found['oldest']:.1f} s"
    return _pairs(found, queue, output)


def config(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    options = {}
    for word in given.option:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"an option of a queue must be name=value, not {word!r}")
        options[name] = value
    try:
        return _pairs(queue.config(**options), queue, output)
    except ServerError as error:
        known = queue.config() if error.status == 422 else options
        for name in options.keys() - known.keys():
            near = closest(name, known)
            advice = f"did you mean {near}?" if near else f"its options are {', '.join(known)}"
            raise ValueError(f"a queue has no option {name}; {advice}") from None
        raise


def qsize(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    output.line(str(queue.qsize()))
    return 0


def peek(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    tasks = queue.peek(given.n, given.state)
    if output.as_json:
        for task in tasks:
            output.json(task)
    elif tasks:
        output.table(*_task_table(tasks, given.state))
    else:
        complain(f"no task of {queue.name} is {given.state}")
    return 0


def _task_table(tasks: list[dict[str, Any]], state: str) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Return the header and the rows of a table of tasks."""
    (at, title), now = TIMES.get(state, ("", "")), time.time()
    progress, error = (any(name in task for task in tasks) for name in ("progress", "error"))
    header = ("ID", "DELIVERIES", "PRIORITY", *((title,) if at else ()))
    header += (*(("PROGRESS",) if progress else ()), "TASK", *(("LAST ERROR",) if error else ()))
    return header, [
        (
            task["task_id"],
            task["deliveries"],
            f"{task['priority']:g}",
            *((f"in {max(task[at] - now, 0):.0f} s",) if at else ()),
            *((_progress(task.get("progress")),) if progress else ()),
            json.dumps(task["task"], ensure_ascii=False),
            *((" ".join(task.get("error", "").split()),) if error else ()),
        )
        for task in tasks
    ]


def _progress(value: Any) -> str:
    """Return what a worker has reported; nothing if it has not."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def watch(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    before: dict[str, Any] = {}
    for number in range(given.times) if given.times else count():
        if number:
            time.sleep(given.every)
        now = queue.stats()
        if output.as_json:
            output.json({"worker": queue.name, **now})
        else:
            # Never negative: after a restart, the server counts from 0.
            rates = ((name, max(0, now[name] - before.get(name, now[name])) / given.every) for name in RATES)
            places = (f"{name} {now[name]}" for name in STATES)
            output.line(", ".join((*places, *(f"{name} {rate:.0f}/s" for name, rate in rates))))
        before = now
    return 0


def kick(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    if given.task:
        return for_each_known(queue, given, output, queue.kick_task)
    output.json({"worker": queue.name, "kicked": queue.kick(given.n)})
    return 0


def purge(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    output.json({"worker": queue.name, "purged": queue.purge()})
    return 0


def forget(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    status = 0
    for unique in given.key:
        if queue.forget(unique):
            output.json({"worker": queue.name, "unique": unique})
        else:
            complain(f"the key {unique} of the queue {queue.name} is not taken beyond the end of a task")
            status = 1
    return status


def delete(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    queue.delete()
    output.json({"worker": queue.name, "deleted": True})
    return 0


def join(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    if queue.join(given.timeout):
        counts = queue.stats()
        output.json({"worker": queue.name, "unfinished": counts["unfinished"], "buried": counts["buried"]})
        return 0
    complain(f"the queue {queue.name} still has {plural(queue.unfinished_tasks, 'unfinished task')}")
    return 1


def pause(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    queue.pause()
    output.json({"worker": queue.name, "paused": True})
    return 0


def resume(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    queue.resume()
    output.json({"worker": queue.name, "paused": False})
    return 0


def shutdown(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    queue.shutdown(given.immediate)
    output.json({"worker": queue.name, "is_shutdown": True})
    return 0


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "option", metavar="OPTION", nargs="*", default=[], help="name=value; without any, nothing changes"
    )


def _kick_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "task", metavar="ID", nargs="*", default=[], help="as printed by peek; buried or delayed"
    )
    _number_argument(parser)


def _peek_arguments(parser: argparse.ArgumentParser) -> None:
    _number_argument(parser)
    parser.add_argument("--state", default="ready", choices=STATES, help="by default, ready")


def _number_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-n", type=at_least(0), default=10, metavar="N", help="number of tasks; by default, 10"
    )


def _watch_arguments(parser: argparse.ArgumentParser) -> None:
    every = at_least(0.01, WEEK)
    parser.add_argument("--every", type=every, default=1.0, metavar="S", help="seconds between two lines")
    parser.add_argument(
        "--times", type=at_least(0), default=0, metavar="N", help="number of lines; 0 for no end"
    )


def _join_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=at_least(0.0), metavar="S", help="seconds to wait; for ever by default"
    )


def _shutdown_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--immediate", action="store_true", help="remove the waiting tasks, so that gets end now"
    )


def _forget_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", nargs="+", help="as given to put --unique")


OPTIONS = """\
The options are kind (fifo, lifo or priority), maxsize, lease, max_deliveries, retry_first, retry_factor,
retry_most, retry_jitter, at_once, rate, remember, keep, keep_count, paused and shutdown.
shutdown= (empty) opens a queue again."""

QUEUE_VERBS = (
    Verb("queues", QUEUES, "List the queues of the server.", queues,
         "--url http://localhost:8082", has_name=False, has_table=True),
    Verb("stats", QUEUES, "Print all figures and options of a queue.", stats, "painter", has_table=True),
    Verb("qsize", QUEUES, "Print the number of tasks that are ready.", qsize, "painter"),
    Verb("peek", QUEUES, "Print the first tasks, without getting them.", peek,
         "painter --state buried -n 3", _peek_arguments, has_table=True),
    Verb("watch", QUEUES, "Print figures again and again, until Ctrl-C.", watch,
         "painter --every 5", _watch_arguments, has_table=True, patience=math.inf),
    Verb("config", QUEUES, "Set options of a queue, and print all.", config,
         "painter maxsize=1000 max_deliveries=5", _config_arguments, OPTIONS, has_table=True),
    Verb("kick", QUEUES, "Make buried tasks ready again: the oldest, or the tasks with these ids.", kick,
         "painter -n 100", _kick_arguments),
    Verb("pause", QUEUES, "Hand out no task, until the queue is resumed.", pause, "painter"),
    Verb("resume", QUEUES, "Hand out the tasks of a paused queue again.", resume, "painter"),
    Verb("join", QUEUES, "Wait until every task is done or buried.", join,
         "painter --timeout 60", _join_arguments, "The status is 1 if tasks are left after the timeout.",
         patience=60.0),
    Verb("shutdown", QUEUES, "Refuse further puts; gets end when the queue is empty.", shutdown,
         "painter", _shutdown_arguments),
    Verb("purge", QUEUES, "Remove all tasks that wait; leased and buried ones stay.", purge, "painter"),
    Verb("forget", QUEUES, "Free unique keys that are taken beyond the end of their tasks.",
         forget, "painter picture-7", _forget_arguments),
    Verb("delete", QUEUES, "Remove a queue with all its tasks and options.", delete, "painter"),
)  # fmt: skip
