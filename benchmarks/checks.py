"""Checks that a response is right, and that its function ran in the right thread or process."""

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
    Send one request of the workload.

    @raise ServerFailed: when the response is not exactly the expected JSON.
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
    """Request the place where a function runs, from sixteen clients at once."""
    with ThreadPoolExecutor(16) as clients:
        asked = clients.map(lambda _: running.fetch("/where/")[1], range(16))
        return list(asked)


def right_place(running: Running, answers: Iterable[dict[str, Any]]) -> bool:
    """Return whether the functions ran in the place of the server's entry."""
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
    Request the place where functions run until it is the right one.

    - Threads: several threads, or one, none of them the main thread.
    - Inline: only the main thread of the first process.
    - Processes: several, none of them the first process, which serves HTTP or watches the others.

    @raise ServerFailed: when it never is.
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
    """Check the place, and the response of each workload."""
    check_place(running)
    for workload in workloads:
        check_answer(running, workload)
