"""Queue operations per second by store and number of servers, beside other queues over PostgreSQL.

C{python -m benchmarks.postgresql} prints a table, and writes it into docs/scaling.md. All stores are durable,
except the one in memory. It takes five minutes. C{--million} measures the effect of a million waiting tasks.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from benchmarks import environment
from benchmarks.environment import BIN, SERVERS
from benchmarks.scaling_page import table, write
from tests.support.postgres import PostgreSQL
from tests.support.queue_server import TWISTD, Server

ROUNDS, SECONDS, CONNECTIONS = 3, 4, 64
MILLION = 1_000_000
OURS = {
    "TQueueSrv, memory": ("memory", 1),
    "TQueueSrv, SQLite": ("sqlite", 1),
    "TQueueSrv, PostgreSQL, one server": ("postgresql", 1),
    "TQueueSrv, PostgreSQL, two servers": ("postgresql", 2),
}
PEERS = ("awa", "pgqueuer", "procrastinate")
BATCHES = {
    "TQueueSrv, PostgreSQL, one server": 1,
    "TQueueSrv, PostgreSQL, two servers": 2,
}
COPY = "awa, COPY and then work"
BEST = "TQueueSrv, PostgreSQL, two servers"


class Servers:
    """Our servers, as a context manager."""

    def __init__(self, store: str, number: int, database: PostgreSQL) -> None:
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        url = {"memory": "memory:", "sqlite": f"sqlite:{folder}/tasks.db"}.get(store) or database.database()
        self._servers = [Server(url, script=TWISTD).start() for _ in range(number)]
        self._ports = ",".join(str(server.port) for server in self._servers)

    def load(self, what: str, seconds: float, limit: int = 0, protocol: str = "http") -> float:
        """Return tasks per second on 64 connections. In a cycle a task is put, got and done."""
        words = [protocol, self._ports, CONNECTIONS, seconds, what, limit]
        command = [str(BIN / "python"), str(SERVERS / "queue_load.py"), *map(str, words)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return float(found["tasks/s"])

    def __enter__(self) -> "Servers":
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.stop()
        self._stack.close()


def ours(store: str, number: int, database: PostgreSQL) -> dict[str, float]:
    with Servers(store, number, database) as servers:
        servers.load("cycle", 1)
        puts = servers.load("put", SECONDS)
    with Servers(store, number, database) as servers:
        servers.load("cycle", 1)
        return {"puts": puts, "cycles": servers.load("cycle", SECONDS)}


def batches(number: int, database: PostgreSQL) -> dict[str, float]:
    with Servers("postgresql", number, database) as servers:
        servers.load("cycle", 1, protocol="http-batches")
        return {"batches": servers.load("cycle", SECONDS, protocol="http-batches")}


def run_peer(name: str, role: str, url: str) -> subprocess.Popen[str]:
    script = str(SERVERS / "postgresql_peer.py")
    return subprocess.Popen(
        [str(BIN / "python"), script, name, role, url, str(SECONDS)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def prepared(name: str, database: PostgreSQL) -> str:
    """Return the URL of a new database with the tables of another package."""
    url = database.database()
    if run_peer(name, "prepare", url).wait():
        raise SystemExit(f"{name} cannot make its tables")
    return url


def peer(name: str, database: PostgreSQL) -> dict[str, float]:
    """Measure another package: one process puts tasks, and one does them."""
    url = prepared(name, database)
    producing, working = run_peer(name, "produce", url), run_peer(name, "work", url)
    said, _ = working.communicate()
    producing.communicate()
    return {"cycles": float(said)}


def copy(database: PostgreSQL) -> dict[str, float]:
    said, _ = run_peer("awa", "copy", prepared("awa", database)).communicate()
    return {"batches": float(said)}


def measure(database: PostgreSQL) -> dict[str, dict[str, float]]:
    """Return the medians of the rounds, which are interleaved."""
    runs: list[tuple[str, Callable[[], dict[str, float]]]] = [
        *((name, partial(ours, *what, database)) for name, what in OURS.items()),
        *((name, partial(peer, name, database)) for name in PEERS),
        *((name, partial(batches, number, database)) for name, number in BATCHES.items()),
        (COPY, partial(copy, database)),
    ]
    found: dict[str, dict[str, list[float]]] = {}
    for number in range(ROUNDS):
        for name, run in runs:
            for what, rate in run().items():
                found.setdefault(name, {}).setdefault(what, []).append(rate)
                print(number + 1, name, what, round(rate), flush=True)
    return {
        name: {what: statistics.median(rates) for what, rates in row.items()} for name, row in found.items()
    }


def singles_table(figures: dict[str, dict[str, float]]) -> str:
    best = figures[BEST]["cycles"]
    rows = []
    for name, row in figures.items():
        if "cycles" in row:
            puts = f"{row['puts']:,.0f}" if "puts" in row else ""
            rows.append([name, puts, f"{row['cycles']:,.0f}", f"{best / row['cycles']:.2f}"])
    head = ["", "puts/s", "put, get and done in turn, per second", "two servers over PostgreSQL / this"]
    return table(head, rows)


def batches_table(figures: dict[str, dict[str, float]]) -> str:
    best = figures[BEST]["batches"]
    rows = [
        [name, f"{row['batches']:,.0f}", f"{best / row['batches']:.2f}"]
        for name, row in figures.items()
        if "batches" in row
    ]
    return table(["", "tasks put, got and done per second", "two servers / this"], rows)


def million(database: PostgreSQL) -> str:
    """Measure the effect of a million waiting tasks on two servers. Return a sentence with the result."""
    found: dict[tuple[str, bool], list[float]] = {}

    def measure(servers: Servers, full: bool) -> None:
        for what in ("cycle", "put"):
            found.setdefault((what, full), []).append(servers.load(what, SECONDS))

    with Servers("postgresql", 2, database) as many:
        began = time.monotonic()
        many.load("put", 1200, MILLION)
        took = time.monotonic() - began
        time.sleep(5)  # until the checkpoint after filling is over
        for _ in range(ROUNDS):
            with Servers("postgresql", 2, database) as few:
                few.load("cycle", 1)
                measure(few, False)
            many.load("cycle", 1)
            measure(many, True)
    middle = {what: statistics.median(each) for what, each in found.items()}
    slower = {what: middle[what, False] / middle[what, True] for what in ("cycle", "put")}
    return (
        f"With a million tasks in the queue (put in {took:.0f} seconds) put, get and done take "
        f"{slower['cycle']:.2f} times as long, puts {slower['put']:.2f} times.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgresql", description=__doc__)
    parser.add_argument(
        "--million",
        action="store_true",
        help="measure the effect of a million waiting tasks; up to 20 minutes",
    )
    given = parser.parse_args()
    environment.install_peers()
    database = PostgreSQL(fsync=True).start()
    try:
        if given.million:
            texts = {"million": million(database)}
        else:
            figures = measure(database)
            texts = {"queues": singles_table(figures), "batches": batches_table(figures)}
    finally:
        database.remove()
    for mark, text in texts.items():
        write(mark, text)


if __name__ == "__main__":
    sys.exit(main())
