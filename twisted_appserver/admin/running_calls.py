"""What runs at the moment: the calls of worker processes, threads, the reactor and clusters."""

from __future__ import annotations

import threading
from heapq import nsmallest
from typing import Any

from twisted_appserver.admin.function_names import own_name
from twisted_appserver.executors.interface import PendingCall

MOST_CALLS = 100  # running calls that are listed, the oldest first
ON_REACTOR = ("inline", "resources")  # executors without threads and workers


def described(pending: PendingCall, now: float) -> dict[str, Any]:
    """
    Describe a call that runs: its function and the name of the function on the page of functions, its
    request id, the seconds since it arrived, and whether its reply is still wanted.
    """
    wanted = not pending.called or (pending.stream is not None and not pending.stream.over)
    seconds = max(0.0, now - pending.call.arrived)
    name = pending.call.handler.name
    return {
        "function": name,
        "page": own_name(name),
        "id": pending.call.request_id,
        "seconds": seconds,
        "wanted": wanted,
    }


def running_calls(executors: dict[str, Any], now: float) -> list[dict[str, Any]]:
    """
    Describe the calls that run, except in worker processes. The oldest call comes first.

    @param executors: by their names.
    """
    names = {thread.ident: thread.name.rpartition("-")[2] for thread in threading.enumerate()}
    found: list[tuple[PendingCall, str]] = []
    for name, executor in executors.items():
        threads = getattr(executor, "thread_of", {}).copy()
        for pending in executor.calls()[0] if name != "processes" else ():
            place = "reactor" if name in ON_REACTOR else name
            if pending in threads:
                place = f"thread {names.get(threads[pending], '')}"
            found.append((pending, place))
    oldest = nsmallest(MOST_CALLS, found, key=lambda each: each[0].call.arrived)
    return [{"place": place, **described(pending, now)} for pending, place in oldest]


def active_calls(executors: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the numbers of running and waiting calls of each function, and the name of its form."""
    found: dict[str, dict[str, Any]] = {}
    for executor in executors.values():
        for state, calls in zip(("running", "pending"), executor.calls(), strict=True):
            for pending in calls:
                name = pending.call.handler.name
                counts = found.setdefault(name, {"running": 0, "pending": 0, "page": own_name(name)})
                counts[state] += 1
    return found


def describe_workers(pool: Any, now: float) -> list[dict[str, Any]]:
    """
    Describe the worker processes: id, age in seconds, memory in bytes, finished calls, state, and the call
    that runs.

    @param pool: the L{WorkerPool}; C{None} if there is none.
    """
    return [
        {
            "pid": worker.pid,
            "age": now - worker.started,
            "memory": worker.memory(),
            "calls": worker.assigned.answered,
            "state": worker.state,
            "call": next((described(each, now) for each in worker.running_calls()), None),
        }
        for worker in (pool.workers if pool is not None else ())
    ]
