"""Functions whose answers come in parts: an application for tests."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from twisted.internet.defer import succeed

from twisted_appserver import HTTPError, Reply, Route


def _wait(path: str) -> None:
    for _ in range(2000):
        if os.path.exists(path):
            return
        time.sleep(0.01)
    raise TimeoutError(path)


def steps(path: str) -> Iterator[dict[str, Any]]:
    """Each item is made when the one before was read by somebody, who makes a file then."""
    for number in range(3):
        yield {"number": number, "pid": os.getpid()}
        _wait(f"{path}.{number}")


def endless(path: str) -> Iterator[dict[str, Any]]:
    """Notes in a file how many were made, and in another that it was closed."""
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


def begins(path: str) -> Iterator[dict[str, Any]]:
    """The same, from when somebody makes a file on."""
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


def bad() -> Iterator[Any]:
    yield {"number": 0}
    yield object()


def stalls(path: str) -> Iterator[dict[str, Any]]:
    """Yields once, and then not for a long time."""
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
    reactor_counts, plain, pid,
)  # fmt: skip
url_patterns = (
    *((rf"/{function.__name__}", function) for function in FUNCTIONS),
    Route(r"/stalls", stalls, timeout=0.5),
)
