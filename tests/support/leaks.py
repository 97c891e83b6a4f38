"""
Count the objects that finished calls leave behind; and functions whose calls end in many ways.

The garbage collector does not track some objects, such as most Structs. They are counted if tracked objects
refer to them. All objects together are counted as blocks of memory.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.server import Request

from twisted_appserver import Call, HTTPError, Reply, Route
from twisted_appserver.core.router import Router
from twisted_appserver.core.streaming import Parts
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.executors.stream import Stream
from twisted_appserver.http.base_connection import BaseConnection
from twisted_appserver.http.connection import HTTPConnection
from twisted_appserver.http.response_head import response_heads
from twisted_appserver.jobs.job import Job

KINDS = {Call, Reply, Stream, Parts, PendingCall, Job, BaseConnection, HTTPConnection, Request, Router}


def count_objects() -> Counter[str]:
    """Count the objects of each of these classes."""
    objects = gc.get_objects()
    objects += gc.get_referents(*objects)
    found = {id(each): type(each).__name__ for each in objects if type(each) in KINDS}
    return Counter(found.values())


def count_blocks() -> int:
    """Collect all garbage, and count the blocks of memory that are in use."""
    response_heads.clear()
    gc.collect()
    return sys.getallocatedblocks()


def plain(call: Call) -> dict[str, Any]:
    return {"bytes": len(call.body)}


def fails(call: Call) -> dict[str, Any]:
    raise HTTPError(418, "no tea")


def breaks(call: Call) -> dict[str, Any]:
    raise ValueError("a fault")


def hangs(call: Call) -> dict[str, Any]:
    time.sleep(0.05)
    return {}


def counts(call: Call) -> Iterator[dict[str, Any]]:
    for number in range(20):
        yield {"number": number}


def late(call: Call) -> Iterator[dict[str, Any]]:
    yield {"number": 0}
    raise ValueError("after the first item")


def endless(call: Call) -> Iterator[dict[str, Any]]:
    while True:
        yield {"text": "x" * 10_000}


def text(call: Call) -> Reply:
    return Reply(f"{n}\n" for n in range(20))


async def coroutine(call: Call) -> dict[str, Any]:
    await deferLater(reactor, 0)
    return {}


async def waits(call: Call) -> dict[str, Any]:
    await Deferred()
    return {}


async def async_counts(call: Call) -> AsyncIterator[dict[str, Any]]:
    for number in range(20):
        await deferLater(reactor, 0)
        yield {"number": number}


async def async_endless(call: Call) -> AsyncIterator[dict[str, Any]]:
    while True:
        await deferLater(reactor, 0)
        yield {"text": "x" * 10_000}


HERE = (plain, fails, breaks, counts, late, endless, text)
ON_REACTOR = (coroutine, waits, async_counts, async_endless)
url_patterns = (
    *((rf"/{function.__name__}", function) for function in (*HERE, *ON_REACTOR)),
    *(Route(rf"/inline/{function.__name__}", function, executor="inline") for function in HERE),
    Route(r"/hangs", hangs, timeout=0.01),
    Route(r"/late_coroutine", waits, timeout=0.01),
    (r"/pid", lambda: {"pid": os.getpid()}),
)
