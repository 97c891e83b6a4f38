"""Queue operations per second by store and number of servers, beside other queues over PostgreSQL.

C{python -m benchmarks.postgresql} prints a table, and writes it into docs/scaling.md. All stores are durable,
except the one in memory. It takes five minutes. C{--million} measures the effect of a million waiting tasks.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import environment
from benchmarks.environment import BIN, SERVERS
from tests.support.postgres import PostgreSQL
from tests.support.queue_server import TWISTD, Server

PAGE = Path(__file__).resolve().parent.parent / "docs" / "scaling.md"
ROUNDS, SECONDS, CONNECTIONS = 3, 4, 64
MILLION = 1_000_000
OURS = {
    "TQueueSrv, memory": ("memory", 1),
    "TQueueSrv, SQLite": ("sqlite", 1),
    "TQueueSrv, PostgreSQL, one server": ("postgresql", 1),
    "TQueueSrv, PostgreSQL, two servers": ("postgresql", 2),
}
PEERS = ("pgqueuer", "procrastinate")


class Servers:
    """Our servers, as a context manager."""

    def __init__(self, store: str, number: int, database: PostgreSQL) -> None:
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        url = {"memory": "memory:", "sqlite": f"sqlite:{folder}/tasks.db"}.get(store) or database.database()
        self._servers = [Server(url, script=TWISTD).start() for _ in range(number)]
        self._ports = ",".join(str(server.port) for server in self._servers)

    def load(self, what: str, seconds: float, limit: int = 0) -> float:
        """Return requests per second on 64 connections."""
        words = [self._ports, CONNECTIONS, seconds, what, limit]
        command = [str(BIN / "python"), str(SERVERS / "queue_load.py"), "http", *map(str, words)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return float(found["requests/s"])

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
        return {"puts": puts, "cycles": servers.load("cycle", SECONDS) / 3}


def peer(name: str, database: PostgreSQL) -> dict[str, float]:
    """Measure another package: one process puts tasks, and one does them."""
    url = database.database()

    def run(role: str) -> subprocess.Popen[str]:
        script = str(SERVERS / "postgresql_peer.py")
        return subprocess.Popen(
            [str(BIN / "python"), script, name, role, url, str(SECONDS)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    if run("prepare").wait():
        raise SystemExit(f"{name} cannot make its tables")
    producing, working = run("produce"), run("work")
    said, _ = working.communicate()
    producing.wait()
    return {"cycles": float(said)}


def measure(database: PostgreSQL) -> dict[str, dict[str, float]]:
    """Return the medians of the rounds, which are interleaved."""
    runs: dict[str, Callable[[], dict[str, float]]] = {
        **{name: lambda what=what: ours(*what, database) for name, what in OURS.items()},  # type: ignore[misc]
        **{name: lambda name=name: peer(name, database) for name in PEERS},  # type: ignore[misc]
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for number in range(ROUNDS):
        for name, run in runs.items():
            found[name].append(run())
            print(number + 1, name, found[name][-1], flush=True)
    return {
        name: {what: statistics.median(each[what] for each in rounds) for what in rounds[0]}
        for name, rounds in found.items()
    }


def table(figures: dict[str, dict[str, float]]) -> str:
    ours = figures["TQueueSrv, PostgreSQL, two servers"]["cycles"]
    rows = [["", "puts/s", "put, get and done in turn, per second", "two servers over PostgreSQL / this"]]
    rows.append(["---"] * 4)
    for name, row in figures.items():
        puts = f"{row['puts']:,.0f}" if "puts" in row else ""
        rows.append([name, puts, f"{row['cycles']:,.0f}", f"{ours / row['cycles']:.2f}"])
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


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


def write(mark: str, text: str) -> None:
    page = PAGE.read_text()
    pattern = rf"(<!-- {mark} -->\n\n)(?:[^<\n].*\n)+"
    PAGE.write_text(re.sub(pattern, lambda found: found[1] + text, page))


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
            text, mark = million(database), "million"
        else:
            text, mark = table(measure(database)), "queues"
    finally:
        database.remove()
    print(text)
    write(mark, text)


if __name__ == "__main__":
    sys.exit(main())
