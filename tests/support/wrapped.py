"""
Functions of every kind below C{include(..., wrap=)}, with a context manager that records its calls.

This module is also an application.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, succeed

from twisted_appserver import Call, HTTPError, Reply, Route, current_call, include

SEEN: ContextVar[str] = ContextVar("seen", default="nothing")


def record(text: str) -> None:
    """Append a line to the file whose path is in the header C{x-record}."""
    if path := current_call().headers.get("x-record"):
        with open(path, "a") as file:
            file.write(text + "\n")


@contextmanager
def recorded() -> Iterator[None]:
    call = current_call()
    token = SEEN.set(call.path)
    record("enter")
    try:
        yield
    except KeyError as error:
        raise HTTPError(404, f"no such thing: {error}") from None
    finally:
        SEEN.reset(token)
        record("leave")


def authorized(function: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse a user with a certain name. This decorator does not use functools.wraps."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if current_call().headers.get("x-user") == "mallory":
            raise HTTPError(403, f"{current_call().headers['x-user']} may not call this")
        return function(*args, **kwargs)

    return wrapper


def plain(number: int, *, text: str = "none") -> dict[str, Any]:
    """Return the arguments."""
    record("run")
    return {"seen": SEEN.get(), "number": number, "text": text}


def takes_call(call: Call, number: int) -> dict[str, Any]:
    record("run")
    return {"seen": SEEN.get(), "number": number, "same": call is current_call()}


def positional(number: int, /, call: Call) -> dict[str, Any]:
    record("run")
    return {"seen": SEEN.get(), "number": number, "path": call.path}


async def coroutine(number: int) -> dict[str, Any]:
    await succeed(None)
    record("run")
    return {"seen": SEEN.get(), "number": number}


@inlineCallbacks
def callbacks(number: int):  # type: ignore[no-untyped-def]
    yield succeed(None)
    record("run")
    return {"seen": SEEN.get(), "number": number}


def deferred(number: int) -> Deferred[dict[str, Any]]:
    record("run")
    return succeed({"seen": SEEN.get(), "number": number})


def items(number: int) -> Iterator[dict[str, Any]]:
    for each in range(2):
        record("run")
        yield {"seen": SEEN.get(), "number": number + each}


async def async_items(number: int) -> AsyncIterator[dict[str, Any]]:
    for each in range(2):
        await succeed(None)
        record("run")
        yield {"seen": SEEN.get(), "number": number + each}


def returned_items(number: int) -> Iterator[dict[str, Any]]:
    """Return a generator, and is none itself."""
    return items(number)


def reply_of_items(number: int) -> Reply:
    lines = (json.dumps(item) + "\n" for item in items(number))
    return Reply(lines, headers={"content-type": "application/x-ndjson"})


async def later_reply_of_items(number: int) -> Reply:
    await succeed(None)
    return reply_of_items(number)


def endless_reply(number: int) -> Reply:
    return Reply("x" * 65536 for _ in count())


def endless(number: int) -> Iterator[dict[str, Any]]:
    while True:
        yield {"pid": os.getpid(), "filler": "x" * 65536}


def missing(number: int) -> dict[str, Any]:
    raise KeyError(number)


async def missing_later(number: int) -> dict[str, Any]:
    await succeed(None)
    raise KeyError(number)


def missing_item(number: int) -> Iterator[dict[str, Any]]:
    yield {}[number]


class Methods:
    def method(self, number: int) -> dict[str, Any]:
        record("run")
        return {"seen": SEEN.get(), "number": number}


def text(number: int) -> Reply:
    record("run")
    return Reply(f"{SEEN.get()} {number}")


ONE = (plain, takes_call, positional, coroutine, callbacks, deferred)
SEVERAL = (items, async_items, returned_items, reply_of_items, later_reply_of_items)
MISSING = (missing, missing_later, missing_item)
wrapped = [(rf"{function.__name__}/(?P<number>)/", function) for function in (*ONE, *SEVERAL, *MISSING)]
wrapped += [
    ("method/(?P<number>)/", Methods().method),
    ("text/(?P<number>)/", "tests.support.wrapped:text"),
    ("endless/(?P<number>)/", endless),
    ("endless_reply/(?P<number>)/", endless_reply),
    Route("named/(?P<number>)/", plain, methods=["PUT"], name="other", timeout=5),  # type: ignore[list-item]
]
url_patterns = (include("/", wrapped, wrap=[recorded(), authorized]),)
