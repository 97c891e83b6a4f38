"""Observes how much of the machine processes use that do not belong to this test.

If that changes in the middle of a scenario, the rates cannot be compared.
"""

from __future__ import annotations

import os
import time
from threading import Event, Thread

INTERVAL = 1.0  # seconds
TICKS = os.sysconf("SC_CLK_TCK")  # per second of processor time


def busy_ticks() -> int:
    """Return how long all processors together have been busy since the start of the machine."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, stat.readline().split()[1:])
    return user + nice + system + irq + softirq


def ticks_of_processes() -> dict[int, tuple[int, int]]:
    """Return, by the ids of all processes, the id of the parent, and the processor time used so far."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    words = stat.read().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            found[int(name)] = (int(words[1]), int(words[11]) + int(words[12]))
    return found


def own_ticks(before: dict[int, tuple[int, int]], after: dict[int, tuple[int, int]], root: int) -> int:
    """Return the processor time that a process and its descendants used between two observations."""
    used = 0
    for pid, (_, ticks) in after.items():
        above = pid
        while above != root and above in after:
            above = after[above][0]
        if above == root:
            used += ticks - before.get(pid, (0, 0))[1]
    return used


class OtherWork:
    """The number of processors, on average, that other processes use, at each second."""

    def __init__(self) -> None:
        self._ending = Event()
        self._seen: list[tuple[float, float]] = []
        self._thread = Thread(target=self._observe, daemon=True)
        self._thread.start()

    def _observe(self) -> None:
        at, busy, processes = time.time(), busy_ticks(), ticks_of_processes()
        while not self._ending.wait(INTERVAL):
            earlier, busy_earlier, processes_earlier = at, busy, processes
            at, busy, processes = time.time(), busy_ticks(), ticks_of_processes()
            others = busy - busy_earlier - own_ticks(processes_earlier, processes, os.getpid())
            self._seen.append((at, max(0.0, others / TICKS / (at - earlier))))

    def average(self, begin: float, end: float) -> float:
        """Return the average between two times."""
        found = [number for at, number in self._seen if begin <= at <= end]
        return sum(found) / len(found) if found else 0.0

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
