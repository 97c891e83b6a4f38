"""
The functions that every server of the benchmark calls.

Parameters come from the environment, because the worker processes of every server inherit it:
C{BENCH_PORT}, C{BENCH_THREADS}, C{BENCH_WORKERS}, C{BENCH_PLACE} (thread or process),
C{BENCH_PATTERNS} (size of the table of patterns) and C{BENCH_CPU_LOOPS}.
"""

import os
import threading
import time
from typing import Any

PORT = int(os.environ.get("BENCH_PORT", "8081"))
THREADS = int(os.environ.get("BENCH_THREADS", "10"))
WORKERS = int(os.environ.get("BENCH_WORKERS", "2"))
PLACE = os.environ.get("BENCH_PLACE", "thread")
PATTERNS = int(os.environ.get("BENCH_PATTERNS", "0"))
CPU_LOOPS = int(os.environ.get("BENCH_CPU_LOOPS", "20000"))

ROWS = [
    {"id": number, "name": f"person {number}", "email": f"person{number}@example.org", "age": 42}
    for number in range(1300)
]


def get_object(object_type: str, object_id: str) -> dict[str, object]:
    """The function of the README's example."""
    return {"object_type": object_type, "object_id": object_id}


def echo(**variables: Any) -> dict[str, object]:
    """Return the posted object."""
    return variables


def large() -> dict[str, object]:
    """Return about 100 KB: a list of rows, like the result of a query."""
    return {"rows": ROWS}


def cpu() -> dict[str, object]:
    """Do a fixed amount of work that holds the interpreter lock."""
    value = 0
    for number in range(CPU_LOOPS):
        value = (value * 31 + number) & 0xFFFFFFFF
    return {"done": True}


def sleep(milliseconds: str) -> dict[str, object]:
    """Wait, like a function that queries a database."""
    time.sleep(int(milliseconds) / 1000)
    return {"slept": int(milliseconds)}


def where() -> dict[str, object]:
    """Return the process and thread that run this, slowly enough that others receive calls too."""
    time.sleep(0.02)
    return {
        "pid": os.getpid(),
        "thread": threading.get_ident(),
        "main": threading.main_thread().ident,
    }
