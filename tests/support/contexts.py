"""
Functions that change their context, and functions that look for such changes.

This module is also an application.
"""

from __future__ import annotations

import decimal
import sys
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.task import deferLater

from twisted_appserver import Reply, Route

USER: ContextVar[str | None] = ContextVar("user", default=None)
CLEAN = {"user": None, "prec": 28}
if "twisted.trial" not in sys.modules:  # in a worker process, whose calls must not see this
    USER.set("the import")
    decimal.getcontext().prec = 5


def _leave(name: str) -> None:
    USER.set(name)
    decimal.getcontext().prec = 4
    decimal.setcontext(decimal.Context(prec=3))


def _seen() -> dict[str, Any]:
    return {"user": USER.get(), "prec": decimal.getcontext().prec}


def plain(name: str = "") -> dict[str, Any]:
    """Return what the call finds in its context. If there is a name, leave it there."""
    found = _seen()
    if name:
        _leave(name)
    return found


def fails(name: str = "") -> dict[str, Any]:
    _leave(name)
    raise ValueError(name)


def items(name: str = "", n: int = 3) -> Iterator[dict[str, Any]]:
    """Yield what each step finds. Each step leaves a name in the context, and so does closing."""
    try:
        for number in range(n):
            yield _seen()
            _leave(f"{name}{number}")
    finally:
        _leave(name)


def text(name: str = "") -> Reply:
    return Reply((str(item["user"]) for item in items(name)), headers={"content-type": "text/plain"})


async def coroutine(name: str = "") -> dict[str, Any]:
    found = _seen()
    if name:
        _leave(name)
    await deferLater(reactor, 0)
    if name and USER.get() != name:
        raise ValueError("the next step of the call does not see what the call left")
    return found


@inlineCallbacks
def callbacks(name: str = "") -> Any:
    found = _seen()
    if name:
        _leave(name)
    yield deferLater(reactor, 0)
    return found


def deferred(name: str = "") -> Deferred[dict[str, Any]]:
    return succeed(plain(name))


async def async_items(name: str = "", n: int = 3) -> AsyncIterator[dict[str, Any]]:
    for number in range(n):
        yield _seen()
        await deferLater(reactor, 0)
        _leave(f"{name}{number}")


HERE = (plain, fails, items, text)
ON_REACTOR = (coroutine, callbacks, deferred, async_items)
url_patterns = (
    *((rf"/{function.__name__}", function) for function in (*HERE, *ON_REACTOR)),
    *(Route(rf"/inline/{function.__name__}", function, executor="inline") for function in HERE),
)
