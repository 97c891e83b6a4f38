"""An application for tests whose functions yield server-sent events."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
from twisted.internet.defer import succeed

from twisted_appserver import Call, Event, Reply, Route

EVENTS = (
    {"n": 0},
    Event({"n": 1}),
    Event({"n": 2}, event="tick", retry=1500, comment="one\ntwo"),
    Event(event="tock"),
    Event(comment="only"),
    Event(None),
    msgspec.Raw(b'{\n  "n":\r\n 3\r}'),
    "text",
)
SENT = (
    b'data: {"n":0}\n\ndata: {"n":1}\n\n: one\n: two\nevent: tick\nretry: 1500\ndata: {"n":2}\n\n'
    b'event: tock\ndata: null\n\n: only\n\ndata: null\n\ndata: {   "n":  3 }\n\ndata: "text"\n\n'
)
LINES = b'{"n":0}\n{"n":1}\n{"n":2}\nnull\n{   "n":  3 }\n"text"\n'
CLOSED = b"id: end-of-stream\n\n"


def finite() -> Iterator[Any]:
    yield from EVENTS


async def finite_on_reactor() -> AsyncIterator[Any]:
    for each in EVENTS:
        yield await succeed(each)


def numbered(call: Call, n: int = 3) -> Iterator[Any]:
    """Continue after the last event that the client has received."""
    for number in range(int(call.headers.get("last-event-id", -1)) + 1, n):
        yield Event({"n": number}, id=number)


async def numbered_on_reactor(call: Call, n: int = 3) -> AsyncIterator[Any]:
    for number in range(int(call.headers.get("last-event-id", -1)) + 1, n):
        yield await succeed(Event({"n": number}, id=number))


def empty() -> Iterator[Any]:
    yield from ()


async def empty_on_reactor() -> AsyncIterator[Any]:
    for each in ():
        yield each


async def returned() -> Iterator[Any]:
    return finite()


def broken() -> Iterator[Any]:
    yield {"n": 0}
    raise ValueError("said by the function")


def noted(path: str) -> Iterator[Any]:
    """Record in a file each time that the generator begins and is closed."""
    try:
        with open(path, "a") as file:
            file.write("begun ")
        yield {"n": 0}
        yield {"n": 1}
    finally:
        with open(path, "a") as file:
            file.write("closed ")


def slow(path: str) -> Iterator[Any]:
    """Yield one item, and the next one when a file exists."""
    yield {"n": 0}
    for _ in range(2000):
        if os.path.exists(path):
            break
        time.sleep(0.01)
    yield {"n": 1}


def own(path: str) -> Reply:
    """Return events as text, one of them in several pieces."""

    def parts() -> Iterator[str]:
        yield "data: pie"
        yield from (f"{each['n']}" for each in slow(path))
        yield "ces\n\n"

    return Reply(parts(), headers={"content-type": "text/event-stream"})


FUNCTIONS = (
    finite, finite_on_reactor, numbered, numbered_on_reactor, empty, empty_on_reactor, returned, broken,
    noted, slow, own,
)  # fmt: skip
url_patterns = (
    *((rf"/{function.__name__}", function) for function in FUNCTIONS),
    *(
        Route(rf"/inline/{function.__name__}", function, executor="inline")
        for function in (finite, numbered, empty)
    ),
)
