"""The verbs about single tasks."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from ..client.batches import MOST_TASKS
from ..client.checks import WEEK, YEAR
from ..client.errors import Empty, LeaseLost, NoResult, ServerError
from ..client.items import to_result
from ..client.queue import Queue
from ..client.trace import trace_in
from .error_messages import not_leased
from .output import Output
from .put_verb import PUT
from .task_fields import read_value
from .verb import TASKS, Verb, at_least, complain, task_name

TIMES = ("put_at", "due", "lease", "began", "ended", "ends")  # fields in seconds since the epoch
UNSET = (*TIMES, "order")  # fields that the table leaves out if they have no value


def get(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    try:
        if given.n == 1:
            tasks = [queue.get_task(given.timeout, given.lease)]
        else:
            tasks = queue.get_tasks(given.n, given.timeout, given.lease)
    except Empty:
        complain(_no_task(queue))
        return 1
    for task in tasks:
        shown = {name: task[name] for name in ("task_id", "task", "delivery")}
        output.json({"worker": queue.name, **shown, **trace_in(task)})
    return 0


def _no_task(queue: Queue) -> str:
    """Return why there is no task."""
    try:
        figures = queue.stats()
    except (OSError, ServerError):
        figures = {}
    if figures.get("paused"):
        return f"the queue {queue.name} is paused; tqueue resume {queue.name} ends the pause"
    counts = [(figures.get(state, 0), state) for state in ("leased", "delayed", "held", "buried")]
    found = ", ".join(f"{count} {'is' if count == 1 else 'are'} {state}" for count, state in counts if count)
    return (
        f"no task of the queue {queue.name} is ready ({found})"
        if found
        else f"the queue {queue.name} is empty"
    )


def _for_each(
    queue: Queue,
    given: argparse.Namespace,
    output: Output,
    verb: Callable[..., Any],
    member: str = "task",
    **options: Any,
) -> int:
    """
    Apply a verb to the tasks that the command line names.

    @param verb: a method of the queue.
    @param member: the name under which its result is printed, if it has one.
    @return: the exit status: 1 if a task was not leased.
    """
    names, status = given.task, 0
    if given.delivery:
        if len(names) > 1:
            raise ValueError("--delivery is for one task: write ID:DELIVERY for several")
        names = [(names[0][0], given.delivery)]
    for task_id, delivery in names:
        try:
            value = verb(task_id=task_id, delivery=delivery, **options)
        except LeaseLost:
            complain(not_leased(queue, task_id, delivery))
            status = 1
        else:
            found = {} if value is None else {member: value}
            output.json({"worker": queue.name, "task_id": task_id, **found})
    return status


def done(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    result = None if given.result is None else read_value(given.result, "--result")
    return _for_each(queue, given, output, queue.done, result=result)


def result(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    try:
        found = json.loads(to_result(queue.result(given.task, given.timeout)) or b"null")
    except NoResult as error:
        complain(str(error))
        return 1
    output.json({"worker": queue.name, "task_id": given.task, "state": "done", "result": found})
    return 0


def release(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    return _for_each(queue, given, output, queue.release, delay=given.delay)


def fail(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    retry = False if given.give_up else given.retry
    return _for_each(queue, given, output, queue.fail, "retry", error=given.error, retry=retry)


def show(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    found = queue.show(given.task)
    if found["state"] == "unknown":
        complain(
            f"task {given.task} of {queue.name} is unknown: it has ended, or there never was such a task"
        )
        return 1
    if output.as_json:
        output.json({"worker": queue.name, **found})
        return 0
    attempts = found.pop("attempts")
    if found["state"] != "done" and found.get("result") is None:
        found.pop("result", None)  # only a task that is done has a result, which may be null
    rows = [(name, _shown(name, value)) for name, value in found.items() if value or name not in UNSET]
    output.table(("NAME", "VALUE"), rows)
    for each in attempts:
        by = f" by {each['by']}" if each["by"] else ""
        output.line(f"attempt {each['attempt']}{by}: {each['reason']} after {each['seconds']:.1f} s")
        for text in (each.get("error", ""), each.get("traceback", "")):
            for line in text.splitlines():
                output.line(f"    {line}")
    return 0


def _shown(name: str, value: Any) -> str:
    """Return the value of a field as text for people."""
    if name in TIMES and value:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def bury(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    return _for_each(queue, given, output, queue.bury)


def drop(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    return for_each_known(queue, given, output, queue.drop)


def for_each_known(
    queue: Queue, given: argparse.Namespace, output: Output, verb: Callable[[str], bool]
) -> int:
    """
    Apply a verb to the tasks that the command line names, whatever their states.

    @return: the exit status: 1 if a task does not exist, or has ended.
    """
    missing = 0
    for task_id in given.task:
        if verb(task_id):
            output.json({"worker": queue.name, "task_id": task_id})
        else:
            state = queue.show(task_id)["state"]
            complain(
                f"task {task_id} of {queue.name} has ended: it is {state}"
                if state != "unknown"
                else f"the queue {queue.name} has no task {task_id}; it may have ended"
            )
            missing += 1
    return 1 if missing else 0


def extend(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    return _for_each(queue, given, output, queue.extend, lease=given.lease)


def renew(queue: Queue, given: argparse.Namespace, output: Output) -> int:
    lost = set(queue.renew(given.task, given.lease))
    for task_id, delivery in given.task:
        if (task_id, delivery) in lost:
            complain(not_leased(queue, task_id, delivery))
        else:
            output.json({"worker": queue.name, "task_id": task_id})
    return 1 if lost else 0


def _get_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=float, default=0.0, metavar="S", help="seconds to wait for a task; inf for ever"
    )
    parser.add_argument(
        "--lease", type=float, metavar="S",
        help="seconds until another worker may get the task; by default, the queue's option",
    )  # fmt: skip
    parser.add_argument(
        "-n", type=at_least(1, MOST_TASKS), default=1, metavar="N",
        help="get up to N tasks with one request, and print each on a line",
    )  # fmt: skip


def _name_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="ID", nargs="+", type=task_name, help="as printed by get")


def _drop_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="ID", nargs="+", help="as printed by put, get or peek")


def _finish_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "task", metavar="ID", nargs="+", type=task_name,
        help="as printed by get; ID:N means the Nth delivery only",
    )  # fmt: skip
    parser.add_argument(
        "--delivery", type=int, default=0, metavar="N",
        help="as printed by get: do nothing if another worker has got the task since",
    )  # fmt: skip


def _done_arguments(parser: argparse.ArgumentParser) -> None:
    _finish_arguments(parser)
    parser.add_argument(
        "--result", metavar="VALUE",
        help="result of the tasks, JSON or text; kept if the queue has the option keep",
    )  # fmt: skip


def _result_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="ID", help="as printed by put")
    parser.add_argument(
        "--timeout", type=at_least(0.0), default=0.0, metavar="S",
        help="seconds to wait for the end of the task; inf for ever",
    )  # fmt: skip


def _fail_arguments(parser: argparse.ArgumentParser) -> None:
    _finish_arguments(parser)
    parser.add_argument("--error", default="", metavar="TEXT", help="why it failed")
    parser.add_argument(
        "--retry", type=at_least(0.0, YEAR), metavar="S",
        help="seconds until a worker may get the task again; by default, as the queue's options require",
    )  # fmt: skip
    parser.add_argument("--give-up", action="store_true", help="bury the tasks: nobody gets them any more")


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="ID", help="as printed by put")


def _release_arguments(parser: argparse.ArgumentParser) -> None:
    _finish_arguments(parser)
    parser.add_argument(
        "--delay", type=at_least(0.0, YEAR), default=0.0, metavar="S",
        help="seconds until a worker may get the task",
    )  # fmt: skip


def _extend_arguments(parser: argparse.ArgumentParser) -> None:
    _finish_arguments(parser)
    _lease_argument(parser)


def _renew_arguments(parser: argparse.ArgumentParser) -> None:
    _name_arguments(parser)
    _lease_argument(parser)


def _lease_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lease", type=at_least(0.01, WEEK), metavar="S",
        help="seconds from now until the lease ends; by default, the queue's option",
    )  # fmt: skip


LEASED = "The task must be leased, by any client. If it is not, the status is 1."
KEPT = """\
tqueue config NAME keep=3600 keeps the results of the queue for an hour.
The status is 1 if the task has no result."""

TASK_VERBS = (
    PUT,
    Verb("get", TASKS, "Get a task, on lease. Finish it with done.", get,
         "painter --timeout 10", _get_arguments, "The status is 1 if there is no task."),
    Verb("done", TASKS, "Finish tasks, and print their fields.", done,
         "painter 1-6f1ed002ab559585 --result '{\"size\": 7}'", _done_arguments, LEASED),
    Verb("result", TASKS, "Print the result of a task, if its queue keeps results.", result,
         "painter 1-6f1ed002ab559585 --timeout 10", _result_arguments, KEPT),
    Verb("release", TASKS, "Give tasks back, for any worker.", release,
         "painter 1-6f1ed002ab559585 --delay 60", _release_arguments, LEASED),
    Verb("fail", TASKS, "Give back tasks that have failed, with the reason.", fail,
         "painter 1-6f1ed002ab559585 --error 'no color'", _fail_arguments, LEASED),
    Verb("show", TASKS, "Show a task in any state, with its attempts.", show,
         "painter 1-6f1ed002ab559585", _show_arguments, "The status is 1 if there is no such task.",
         has_table=True),
    Verb("bury", TASKS, "Put tasks aside, until they are kicked.", bury,
         "painter 1-6f1ed002ab559585", _finish_arguments, LEASED),
    Verb("drop", TASKS, "Remove tasks, whether they wait, are leased or are buried.", drop,
         "painter 1-6f1ed002ab559585", _drop_arguments, "The status is 1 if there is no such task."),
    Verb("extend", TASKS, "Let the leases of tasks end later.", extend,
         "painter 1-6f1ed002ab559585 --lease 600", _extend_arguments, LEASED),
    Verb("renew", TASKS, "Let many leases end later, in one request.", renew,
         "painter 1-6f1ed002ab559585:1 2-0a6bb1c9d3e86b34:1", _renew_arguments, LEASED),
)  # fmt: skip
