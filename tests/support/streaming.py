"""An application for tests whose functions send their replies in parts."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from itertools import chain, repeat
from typing import Any

from twisted.internet.defer import succeed

from twisted_appserver import Event, HTTPError, Reply, Route


def _wait(path: str) -> None:
    for _ in range(2000):
        if os.path.exists(path):
            return
        time.sleep(0.01)
    raise TimeoutError(path)


def steps(path: str) -> Iterator[dict[str, Any]]:
    """Wait for a file after each item."""
    for number in range(3):
        yield {"number": number, "pid": os.getpid()}
        _wait(f"{path}.{number}")


def endless(path: str) -> Iterator[dict[str, Any]]:
    """Write the number of items to a file, and create another file when closed."""
    number = 0
    try:
        while True:
            number += 1
            with open(path + ".new", "w") as file:
                file.write(str(number))
            os.replace(path + ".new", path)
            yield {"number": number, "text": "x" * 10_000}
    finally:
        open(path + ".closed", "w").close()


MARK: ContextVar[str] = ContextVar("mark", default="")


def _note(path: str) -> None:
    """Write to a file where a generator is closed: its context's mark, the thread and the process."""
    with open(path + ".new", "w") as file:
        json.dump({"mark": MARK.get(), "thread": threading.get_ident(), "pid": os.getpid()}, file)
    os.replace(path + ".new", path + ".closed")


def pieces(path: str, size: int, n: int = 1_000_000, seconds: float = 0.0) -> Reply:
    """Send C{n} parts of C{size} bytes. Closing takes C{seconds}, and records where it happens."""

    def made() -> Iterator[bytes]:
        MARK.set(path)
        try:
            for _ in range(n):
                yield b"x" * size
        finally:
            time.sleep(seconds)
            _note(path)

    return Reply(made(), headers={"content-type": "application/octet-stream", "x-pid": str(os.getpid())})


def lingers(path: str) -> Iterator[dict[str, Any]]:
    """Keep running after it is closed, until a file exists."""
    try:
        while True:
            yield {"pid": os.getpid(), "text": "x" * 100_000}
    finally:
        _wait(path)


def held(path: str) -> Iterator[dict[str, Any]]:
    """Wait for a file before the second item."""
    yield {"number": 0, "pid": os.getpid()}
    open(path + ".begun", "w").close()
    _wait(path)
    yield {"number": 1, "pid": os.getpid()}


async def spins() -> AsyncIterator[dict[str, Any]]:
    """Yield items without ever waiting."""
    while True:
        yield {}


def spins_here() -> Iterator[dict[str, Any]]:
    while True:
        yield {}


async def spins_text() -> Reply:
    """Yield one part, and then only empty parts."""
    return Reply(chain(["begin"], repeat("")), headers={"content-type": "text/plain"})


def begins(path: str) -> Iterator[dict[str, Any]]:
    """Wait for a file, and then continue like L{endless}."""
    _wait(path + ".go")
    yield from endless(path)


def counts(n: int) -> Iterator[dict[str, Any]]:
    for number in range(n):
        yield {"number": number}


def early() -> Iterator[dict[str, Any]]:
    raise HTTPError(418, "before the first item")
    yield {}


def late() -> Iterator[dict[str, Any]]:
    yield {"number": 0}
    raise ValueError("after the first item")


def refused_late() -> Iterator[dict[str, Any]]:
    yield {"number": 0}
    raise HTTPError(409, "after the first item", {"X-Why": "late"})


def refused_wrongly() -> Iterator[dict[str, Any]]:
    yield {"number": 0}
    raise HTTPError(200, "no error")


def refused_table() -> Reply:
    def made() -> Iterator[str]:
        yield "first"
        raise HTTPError(409, "after the first part")

    return Reply(made())


async def reactor_refused_late() -> AsyncIterator[dict[str, Any]]:
    yield {"number": 0}
    raise HTTPError(409, "after the first item", {"X-Why": "late"})


def yields_reply() -> Iterator[Any]:
    yield {"number": 0}
    yield Reply("x")


def yields_event_inside() -> Iterator[Any]:
    yield {"number": 0}
    yield {"number": Event(1)}


def yields_reply_first() -> Iterator[Any]:
    yield Reply("x")


def bad() -> Iterator[Any]:
    yield {"number": 0}
    yield object()


def stalls(path: str) -> Iterator[dict[str, Any]]:
    """Yield once, and then wait for a file."""
    yield {"number": 0, "pid": os.getpid()}
    _wait(path)


def dies() -> Iterator[dict[str, Any]]:
    yield {"number": 0}
    os._exit(3)


def table() -> Reply:
    return Reply((f"{n},{n * n}\n" for n in range(3)), headers={"content-type": "text/csv"})


async def reactor(n: int) -> AsyncIterator[dict[str, Any]]:
    for number in range(n):
        yield {"number": await succeed(number)}


async def reactor_late() -> AsyncIterator[dict[str, Any]]:
    yield {"number": 0}
    raise ValueError("after the first item")


async def reactor_table() -> Reply:
    return Reply((f"{n},{n * n}\n" for n in range(3)), headers={"content-type": "text/csv"})


async def reactor_counts(n: int) -> Iterator[dict[str, Any]]:
    await succeed(None)
    return counts(n)


def plain(a: int) -> dict[str, Any]:
    return {"a": a}


def pid() -> dict[str, Any]:
    return {"pid": os.getpid()}


FUNCTIONS = (
    steps, endless, begins, counts, early, late, bad, dies, table, reactor, reactor_late, reactor_table,
    reactor_counts, plain, pid, pieces, held, spins, spins_here, spins_text,
    yields_reply, yields_event_inside, yields_reply_first, refused_late, refused_wrongly,
    refused_table, reactor_refused_late,
)  # fmt: skip
url_patterns = (
    *((rf"/{function.__name__}", function) for function in FUNCTIONS),
    Route(r"/stalls", stalls, timeout=0.5),
    Route(r"/hurried", pieces, timeout=0.5),
    Route(r"/lingers", lingers, timeout=0.5),
    Route(r"/late_pid", pid, timeout=0.5),
    Route(r"/inline/spins", spins_here, executor="inline"),
)
