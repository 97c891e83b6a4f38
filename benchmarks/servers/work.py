"""
What every server of the benchmark is asked to do: the same functions, behind each framework's own
way of naming a URL.

Parameters come from the environment, because a worker process inherits that under every server:
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
    """Answer with what was posted."""
    return variables


def large() -> dict[str, object]:
    """An answer of about 100 KB: a list of rows, as a query would give."""
    return {"rows": ROWS}


def cpu() -> dict[str, object]:
    """Use the processor for a fixed amount of work, holding the interpreter."""
    value = 0
    for number in range(CPU_LOOPS):
        value = (value * 31 + number) & 0xFFFFFFFF
    return {"done": True}


def sleep(milliseconds: str) -> dict[str, object]:
    """Wait, as a function does that asks a database."""
    time.sleep(int(milliseconds) / 1000)
    return {"slept": int(milliseconds)}


def where() -> dict[str, object]:
    """Tell in which process and thread this runs, slowly enough that others get calls too."""
    time.sleep(0.02)
    return {
        "pid": os.getpid(),
        "thread": threading.get_ident(),
        "main": threading.main_thread().ident,
    }
