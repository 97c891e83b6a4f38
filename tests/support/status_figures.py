"""The figures of a service for the picture of the status page. They are the same each time."""

from __future__ import annotations

from datetime import datetime
from math import sin
from random import Random
from typing import Any

SECONDS = 600
PAUSE = range(210, 300)  # seconds in which nobody looked
BURST = range(420, 450)  # seconds in which a function failed
NOW = datetime.now().replace(hour=15, minute=24, second=0, microsecond=0).timestamp()
TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/shop/shop.py", line 131, in place_order
    return Order(number(), lines, to, price(lines, RATES[to.country]))
KeyError: 'mars'
"""


def _history() -> list[list[Any]]:
    random, seconds = Random(5), []
    for second in range(SECONDS):
        if second in PAUSE or second < 30:
            continue
        calls = max(0, round(34 + 14 * sin(second / 60) + random.gauss(0, 4)))
        refused, failed = random.choice((0, 0, 0, 1, 2)), random.choice((3, 5, 8)) if second in BURST else 0
        p50 = 0.004 * random.uniform(0.8, 1.3)
        p99 = p50 * random.uniform(8, 20) * (6 if second in BURST else 1)
        waiting = (second - BURST.start) // 4 if second in BURST else 0
        running = 10 if second in BURST else 2 + second // 40 % 4
        seconds.append([NOW - SECONDS + second, calls, refused, failed, p50, p99, running, waiting])
    return seconds


def _route(calls: int, refused: int, failed: int, p50: float, p99: float, page: str) -> dict[str, Any]:
    return {"calls": calls, "4xx": refused, "5xx": failed, "p50": p50, "p99": p99, "page": page}


def _call(function: str, number: int, seconds: float) -> dict[str, Any]:
    return {
        "function": function,
        "page": function,
        "id": f"eb3f3c71-{number}",
        "seconds": seconds,
        "wanted": number != 17204,
    }


def _error(function: str, kind: str, count: int, last: float, reason: str) -> dict[str, Any]:
    return {
        "function": function,
        "type": kind,
        "count": count,
        "first": NOW - 3000,
        "last": last,
        "error": reason,
        "id": "eb3f3c71-16871",
    }


FAILURES = [
    _error("place_order", "KeyError", 140, NOW - 152, "KeyError: 'mars'"),
    _error("picture", "MemoryError", 1, NOW - 2900, "MemoryError"),
]
ERRORS = {"tracebacks": True, "errors": [each | {"traceback": TRACEBACK} for each in FAILURES]}
STATUS = {
    "title": "shop",
    "line": "http://localhost:8081/ forked, 2 workers, 10 threads",
    "unready": "",
    "now": NOW,
    "started": NOW - 7467,
    "counted_since": NOW - 3640,
    "not_counted": 390.0,
    "rate": 41.3,
    "running": 3,
    "pending": 0,
    "parked": 0,
    "completed": 96123,
    "failed": 141,
    "restarts": 0,
    "server_restarts": 0,
    "connections": 18,
    "executors": {"threads": {"size": 10, "running": 2, "pending": 0}},
    "at_work": {
        "sleep": {"running": 2, "pending": 0, "page": "sleep"},
        "train": {"running": 1, "pending": 0, "page": "train"},
    },
    "servers": [
        {"server": "", "pid": 4710, "age": 7467.0, "memory": 48_200_000, "calls": 96264, "connections": 18,
         "running": 3, "pending": 0, "state": "ready"},
    ],
    "running_calls": [
        {"place": "thread 4", **_call("sleep", 17204, 41.2)},
        {"place": "thread 1", **_call("sleep", 17398, 0.6)},
    ],
    "workers": [
        {"pid": 4711, "age": 7465.0, "memory": 61_300_000, "calls": 96, "state": "runs",
         "call": _call("train", 17311, 12.4)},
        {"pid": 4712, "age": 7465.0, "memory": 58_800_000, "calls": 101, "state": "waits", "call": None},
    ],
    "routes": {
        "(no function)": _route(211, 211, 0, 0.0002, 0.0004, ""),
        "get_article": _route(58112, 74, 0, 0.0031, 0.021, "get_article"),
        "list_articles": _route(21004, 0, 0, 0.0024, 0.018, "list_articles"),
        "place_order": _route(9120, 312, 140, 0.0120, 0.240, "place_order"),
        "sleep": _route(420, 3, 0, 0.9000, 4.1, "sleep"),
        "train": _route(197, 0, 0, 2.1, 44.0, "train"),
    },
    "errors": FAILURES,
    "history": _history(),
    "jobs": 2,
    "queues": {},
}  # fmt: skip
