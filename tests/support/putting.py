"""An application whose functions put jobs of other functions."""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import date
from typing import Any

from twisted_appserver import Call, JobError, Route, jobs

RECEIVED: list[dict[str, Any]] = []


def order(item: str, call: Call, count: int = 1, due: date | None = None) -> dict[str, Any]:
    """A job: return what it has received."""
    found = {"item": item, "count": count, "due": due, "user": call.user, "trace": call.trace}
    return found | {"method": call.method, "pid": os.getpid()}


async def order_later(n: int) -> dict[str, Any]:
    RECEIVED.append({"n": n})
    return {"n": n}


def ship(address: str) -> dict[str, Any]:
    return {"address": address}


def puts(item: str, count: int, key: str = "") -> dict[str, Any]:
    """Put a job, and return its address."""
    job = jobs.with_options(key=key).put(order, item=item, count=count, due=date(2026, 1, 2))
    return {"id": job.id, "path": job.path, "pid": os.getpid()}


def puts_in_thread(item: str) -> dict[str, Any]:
    """Put jobs in other threads and on an event loop, all at the same time as in this thread."""
    found: list[str] = []

    def put(number: int) -> None:
        for _ in range(5):
            found.append(jobs.put("order", item=item, count=number).id)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    put(3)
    for thread in threads:
        thread.join()

    async def on_loop() -> str:
        return (await jobs.put_async("order", item=item, count=4)).id

    return {"ids": [*found, asyncio.run(on_loop())]}


def puts_by_parts(n: int) -> Any:
    for number in range(n):
        yield {"id": jobs.put("order", item="part", count=number).id}


def puts_wrong(what: str) -> dict[str, Any]:
    """Return the error of a put."""
    wrong: dict[str, Any] = {
        "function": lambda: jobs.put(os.getcwd), "name": lambda: jobs.put("oder", item="x"),
        "twice": lambda: jobs.put(ship, address="x"), "type": lambda: jobs.put(order, item="x", count="many"),
        "unknown": lambda: jobs.put(order, item="x", number=1), "missing": lambda: jobs.put(order),
        "slash": lambda: jobs.put(order, item="a/b"), "none": lambda: jobs.put(order, item=None),
        "object": lambda: jobs.put(order, item="x", count=object()),
        "key": lambda: (
            jobs.with_options(key="k").put(order, item="a"),
            jobs.with_options(key="k").put(order, item="a", count=2),
        ),
    }  # fmt: skip
    try:
        return {"id": str(wrong[what]())}
    except JobError as error:
        return {"error": str(error)}


async def puts_on_reactor(blocking: bool = False) -> dict[str, Any]:
    if blocking:
        jobs.put(order_later, n=1)
    before = len(RECEIVED)
    job = await jobs.put_async(order_later, n=2)
    return {"id": job.id, "began": len(RECEIVED) > before}


url_patterns = (
    Route(r"/order/(?P<item>)", order, methods=("PUT", "POST")),
    Route(r"/later", order_later, methods=("POST",)),
    (r"/ship/(?P<address>)", ship),
    (r"/send/(?P<address>)", ship),
    (r"/puts/(?P<item>)", puts),
    (r"/puts_in_thread/(?P<item>)", puts_in_thread),
    (r"/puts_by_parts/(?P<n>)", puts_by_parts),
    (r"/puts_wrong/(?P<what>)", puts_wrong),
    (r"/puts_on_reactor", puts_on_reactor),
)
