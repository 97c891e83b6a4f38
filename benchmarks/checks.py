"""Is the answer right, and was it made where the server says that it makes answers?"""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.launcher import Running, ServerFailed
from benchmarks.workloads import Workload

LARGE_ROWS = 1300
SECONDS = 10.0


def check_answer(running: Running, workload: Workload) -> None:
    """
    Ask once for what the workload asks for.

    @raise ServerFailed: when the JSON is not exactly what it must be.
    """
    body = workload.expected if workload.script == "post.lua" else None
    status, answer = running.fetch(workload.path, body)
    if workload.expected is None:
        right = isinstance(answer, dict) and len(answer.get("rows", ())) == LARGE_ROWS
    else:
        right = answer == workload.expected
    if status != 200 or not right:
        name = running.server.name
        raise ServerFailed(f"{name} answers {workload.path} with {status} {str(answer)[:200]}")


def ask_where(running: Running) -> list[dict[str, Any]]:
    """Ask sixteen clients' worth of times, at once, where the function runs."""
    with ThreadPoolExecutor(16) as clients:
        asked = clients.map(lambda _: running.fetch("/where/")[1], range(16))
        return list(asked)


def right_place(running: Running, answers: Iterable[dict[str, Any]]) -> bool:
    """Whether the functions ran where the server's table entry says."""
    place = running.server.place
    pids = {answer["pid"] for answer in answers}
    threads = {answer["thread"] for answer in answers}
    mains = {answer["main"] for answer in answers}
    if place in ("thread", "one-thread"):
        several = len(threads) > 1
        return len(pids) == 1 and several == (place == "thread") and not threads & mains
    if place == "inline":
        return pids == {running.pid} and threads == mains
    return len(pids) > 1 and running.pid not in pids


def check_place(running: Running) -> None:
    """
    Ask where the functions run, until the answers show what they must.

    Threads: several, or one, none of them the main one.  Inline: only the main one, of the first
    process.
    Processes: several, none of them the first process, which does the HTTP or watches the others.

    @raise ServerFailed: when the answers never show it.
    """
    deadline = time.monotonic() + SECONDS
    answers: list[dict[str, Any]] = []
    while time.monotonic() < deadline:
        answers += ask_where(running)
        if right_place(running, answers):
            return
        if running.server.place in ("thread", "one-thread", "inline"):
            break
    name, place = running.server.name, running.server.place
    raise ServerFailed(f"{name} does not run its functions as {place!r}: {answers[:4]}")


def check(running: Running, workloads: Iterable[Workload]) -> None:
    """Check the place, and the answer of each workload."""
    check_place(running)
    for workload in workloads:
        check_answer(running, workload)
