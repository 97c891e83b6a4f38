"""A run: starts a server, loads it, causes faults, and checks the records."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.fault_injector import FaultInjector, children
from tests.faults.load import TURNED_AWAY, Load
from tests.faults.soak import Memory, Traffic, unfinished

ROOT = Path(__file__).resolve().parent.parent.parent
ALLOWED = {  # statuses besides 200; also 502 if a worker was killed, and 504 if one was frozen
    "raises": {500},
    "hangs": {504},
    "crashes": {502},
}
DESCRIPTORS = 160  # the server's limit, which is lower than a crowd needs
GROWTH = 60_000_000  # bytes by which the memory of the server may grow
SETTLED = 30.0  # seconds after which descriptors and threads must be back at their earlier numbers


class Server:
    """
    A real server whose functions record their runs in a file.

    @param server_type: as for the server, or C{mixed} for threads and worker processes in one server.
    """

    def __init__(self, server_type: str, folder: str) -> None:
        self.runs = os.path.join(folder, "runs")
        self.log = open(os.path.join(folder, "log"), "w+")  # noqa: SIM115 - closed by stop()
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]
        command += ["--reactor=asyncio"] if server_type == "cluster" else []
        command += ["appserver", "--app", "tests.faults.application", "--port", "0"]
        command += ["--type", "threaded" if server_type == "mixed" else server_type]
        command += ["--threads", "20", "--workers", "4", "--timeout", "10", "--header-timeout", "2"]
        command += ["--idle-timeout", "5", "--max-rss", "150000000", "--max-requests", "5000"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "RUNS": self.runs}
        environment |= {"MIXED": "1"} if server_type == "mixed" else {}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=self.log, stderr=subprocess.STDOUT
        )
        while not (found := re.search(r"http://localhost:(\d+)/", self.output())):
            if self.process.poll() is not None:
                raise RuntimeError(self.output())
            time.sleep(0.02)
        self.port, self.pid = int(found[1]), self.process.pid
        while self.status()["unready"]:
            time.sleep(0.02)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

    def output(self) -> str:
        return Path(self.log.name).read_text(errors="replace")

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://localhost:{self.port}/-/status.json", timeout=30) as answer:
            return dict(json.load(answer))

    def figures(self) -> dict[str, int]:
        """Return the figures that must not grow."""
        with open(f"/proc/{self.pid}/status") as file:
            status = dict(line.split(":", 1) for line in file.read().splitlines())
        return {
            "descriptors": len(os.listdir(f"/proc/{self.pid}/fd")),
            "threads": int(status["Threads"]),
            "workers": len(children(self.pid)),
            "memory": int(status["VmRSS"].split()[0]) * 1024,
        }

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.log.close()


def wrong_outcomes(load: Load, kills: bool, queued: bool) -> list[str]:
    """
    Return the outcomes that no fault explains.

    @param queued: whether a call may have to wait behind a hanging one until its own time limit.
    """
    wrong = []
    for name, counts in load.counts().items():
        allowed = {200 if name not in ALLOWED else 0, *ALLOWED.get(name, ())}
        allowed |= {502, TURNED_AWAY} if kills else {TURNED_AWAY}
        allowed |= {504} if queued else set()
        for status, count in counts.items():
            if status not in allowed or status in (0, -1):
                wrong.append(f"{count} of {name} ended with {status}")
    return [*wrong, *load.strange[:10]]


def too_many_failed(load: Load, kills: int, most: int) -> list[str]:
    """Check that each death of a worker failed only the call that it was running; at most C{most} calls."""
    failed = sum(counts[502] for counts in load.counts().values())
    crashes = sum(name == "crashes" for name in load.functions.values())
    return [f"{failed} calls ended with 502, of {kills} kills and {crashes} crashes"] * (
        failed > most * (kills + crashes)
    )


def wrong_runs(load: Load, path: str) -> list[str]:
    """Return calls that ran twice, or that did not run although they had a response."""
    runs = Counter(int(line) for line in Path(path).read_text().split())
    wrong = [f"{number} ran {count} times" for number, count in runs.items() if count > 1]
    for number, status in load.outcomes.items():
        if status in (200, TURNED_AWAY) and runs[number] != (status == 200):
            wrong.append(f"{number} ended with {status} and ran {runs[number]} times")
    return wrong[:20]


def leaks(server: Server, before: dict[str, int], cluster: bool) -> list[str]:
    """
    Return the figures that have grown.

    Dask keeps its internal connections: as many after 35 kills as after 111. It also remembers the names of
    100,000 tasks.
    """
    descriptors, memory = (40, 3 * GROWTH) if cluster else (3, GROWTH)
    end = time.monotonic() + SETTLED
    while True:
        after = server.figures()
        found = [
            f"{name}: {before[name]} before, {after[name]} after"
            for name, spare in (
                ("descriptors", descriptors),
                ("threads", 20),
                ("workers", 0),
                ("memory", memory),
            )
            if after[name] > before[name] + spare
        ]
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.2)


def least_each_second(load: Load, seconds: float) -> int:
    """Wait. Return the number of responses in the worst second, apart from the first one."""
    least, end = 10**9, time.monotonic() + seconds
    time.sleep(1)
    while (left := end - time.monotonic()) > 0:
        before = len(load.outcomes)
        time.sleep(min(left, 1.0))
        if left >= 1:
            least = min(least, len(load.outcomes) - before)
    return least


def run(
    server_type: str,
    seconds: float,
    seed: int,
    clients: int = 12,
    pause: float = 0.15,
    only: str = "",
    soak: bool = False,
) -> dict[str, Any]:
    """
    Test a server of one type.

    @param soak: whether to add traffic of every kind, and to watch the memory.
    @param pause: seconds between two faults, on average.
    @param only: the only kind of fault; empty for all kinds.
    @return: figures, and under C{wrong} everything that breaks a promise.
    """
    forked = server_type != "threaded"
    cluster = server_type == "cluster"
    most = 8 if cluster else 1  # calls that may fail when a worker dies
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        server = Server(server_type, folder)
        try:
            load = Load(server.port, clients, seed, forked)
            before = server.figures()
            injector = FaultInjector(server.pid, server.port, seed, forked, pause, only)
            load.start()
            injector.start()
            traffic, memory = Traffic(server.port, seed, forked), Memory(server.pid)
            beside = (traffic, memory) if soak else ()
            for each in beside:
                each.start()
            least = least_each_second(load, seconds)
            for each in beside:
                each.stop()
            injector.stop()
            load.stop()
            wrong = wrong_outcomes(load, forked, cluster) + too_many_failed(load, injector.done["kill"], most)
            wrong += wrong_runs(load, server.runs) + leaks(server, before, cluster)
            wrong += traffic.unexplained() + memory.wrong()
            wrong += unfinished(f"{server.runs}-streams", forked) if soak else []
            after = server.figures()
        finally:
            status = server.stop()
        if status not in (0, -signal.SIGTERM):
            wrong.append(f"the server ended with {status}")
        counts = {name: dict(found) for name, found in load.counts().items()}
    return {
        "type": server_type,
        "requests": len(load.outcomes),
        "least in a second": least,
        "faults": dict(injector.done),
        "answers": counts,
        "before": before,
        "after": after,
        "traffic": dict(traffic.done),
        "excused": dict(traffic.excused),
        "memory": memory.quarters(),
        "wrong": wrong,
    }
