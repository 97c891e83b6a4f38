"""An application for tests of clients that close their sending side while they wait."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from twisted_appserver import Route


def slow(number: int = 0) -> dict[str, int]:
    time.sleep(0.3)
    return {"number": number}


async def slow_coroutine() -> dict[str, int]:
    from twisted.internet import reactor

    waiting: Deferred[None] = Deferred()
    reactor.callLater(0.3, waiting.callback, None)  # type: ignore[attr-defined]
    await waiting
    return {"number": 0}


def items(n: int = 5) -> Iterator[dict[str, int]]:
    for number in range(n):
        time.sleep(0.05)
        yield {"number": number}


async def items_on_reactor(n: int = 5) -> AsyncIterator[dict[str, int]]:
    for number in range(n):
        await slow_coroutine()
        yield {"number": number}


def large() -> dict[str, str]:
    return {"text": "x" * 3_000_000}


async def large_on_reactor() -> dict[str, str]:
    return large()


def size(text: str) -> dict[str, int]:
    return {"size": len(text)}


def endless(path: str) -> Iterator[dict[str, int]]:
    """Create a file when the generator is closed."""
    try:
        while True:
            Path(path).write_text("begun")
            time.sleep(0.01)
            yield {"number": 0}
    finally:
        Path(path + ".closed").write_text("closed")


async def forever(path: str) -> dict[str, Any]:
    """Create a file when the call is cancelled."""
    Path(path).write_text("begun")
    with suppress(Exception):
        await Deferred(lambda _: Path(path + ".closed").write_text("closed"))
    return {}


url_patterns = (
    (r"/slow/", slow),
    (r"/slow_coroutine/", slow_coroutine),
    (r"/items/", items),
    (r"/items_on_reactor/", items_on_reactor),
    (r"/large/", large),
    (r"/large_on_reactor/", large_on_reactor),
    Route(r"/size/", size, methods=("POST",)),
    (r"/endless/", endless),
    (r"/forever/", forever),
)
