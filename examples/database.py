"""A pool of database connections: opened at startup and closed at shutdown, in each process.

    appserver --app examples/database.py --port 8081 [--type forked]
    curl localhost:8081/visits/ -d page=home
    curl localhost:8081/visits/

The environment variable VISITS names the file of the database.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from queue import LifoQueue
from typing import Any

from twisted_appserver import Route

DATABASE = os.environ.get("VISITS", "visits.sqlite")
SIZE = 4  # connections of a process; further calls wait for one
pool: LifoQueue[sqlite3.Connection] = LifoQueue()


@contextmanager
def lifespan() -> Iterator[None]:
    """Open the connections before the first call of this process, and close them after the last one."""
    for _ in range(SIZE):
        pool.put(sqlite3.connect(DATABASE, timeout=10, check_same_thread=False))
    with connected() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS visit (page TEXT PRIMARY KEY, times INTEGER NOT NULL)")
    print(f"opened {SIZE} connections")
    yield
    for _ in range(SIZE):
        pool.get().close()
    print(f"closed {SIZE} connections")


@contextmanager
def connected() -> Iterator[sqlite3.Connection]:
    """Take a connection from the pool for one transaction."""
    connection = pool.get()
    try:
        with connection:
            yield connection
    finally:
        pool.put(connection)


def visit(page: str) -> dict[str, Any]:
    """Count a visit."""
    with connected() as connection:
        (times,) = connection.execute(
            "INSERT INTO visit VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times",
            [page],
        ).fetchone()
    return {"page": page, "times": times}


def visits() -> dict[str, Any]:
    """Return the number of visits of each page."""
    with connected() as connection:
        return {"visits": dict(connection.execute("SELECT page, times FROM visit ORDER BY page"))}


url_patterns = [Route(r"/visits/", visit, methods=["POST"]), Route(r"/visits/", visits, methods=["GET"])]
