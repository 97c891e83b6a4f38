"""The machine: its cores, its load and its description."""

import fcntl
import os
import platform
import resource
import subprocess
import sys
import time
import timeit
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BUSY = 0.15

CORES: tuple[int, ...] = tuple(sorted(os.sched_getaffinity(0)))

Cores = Sequence[int]


def cores(alone: bool) -> tuple[Cores, Cores]:
    """
    Return the cores for the server and those for the load generator.

    @param alone: whether each gets its own core.  Otherwise, or on a single core, they share all cores.
    """
    if alone and len(CORES) > 1:
        return CORES[:1], CORES[1:2]
    return CORES, CORES


def pin(chosen: Cores) -> list[str]:
    """Return words that precede a command, so that it runs only on these cores."""
    if tuple(chosen) == CORES:
        return []
    return ["taskset", "--cpu-list", ",".join(str(core) for core in chosen)]


def busy(seconds: float = 1.0) -> float:
    """Measure which share of the processors is in use, from 0 to 1."""

    def times() -> tuple[int, int]:
        fields = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    total, idle = times()
    time.sleep(seconds)
    total_after, idle_after = times()
    return 1 - (idle_after - idle) / max(1, total_after - total)


def complaint() -> str | None:
    """Return why the machine is too busy to measure, or C{None}."""
    share = busy()
    load = os.getloadavg()[0]
    if share > BUSY:
        return f"the machine is busy ({share:.0%} of its processors in use, load {load:.2f})"
    return None


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """
    Hold the lock that allows only one run of the benchmark.

    @raise BlockingIOError: when another run holds the lock.
    """
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def raise_limits() -> int:
    """Raise the limit of open files as far as possible, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def empty_calls() -> float:
    """Return how often Python calls an empty function in a second. It shows how well Python was compiled."""
    return 1e6 / min(timeit.repeat("f()", "def f(): pass", number=1_000_000, repeat=5))


def describe() -> dict[str, str]:
    """Return the description of the machine in the report."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    return {
        "processor": f"{model}, {len(CORES)} cores",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_version()}, {platform.python_compiler()}, from {sys.base_prefix}; "
        f"it calls an empty function {empty_calls() / 1e6:.0f} million times per second",
        "wrk": (wrk.stdout + wrk.stderr).split("\n")[0].split(" [")[0],
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
    }
