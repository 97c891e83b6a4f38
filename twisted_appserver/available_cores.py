"""How many cores this process may use: what its affinity and the quotas of its control groups allow."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROCESS = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")


def available_cores(process: Path = PROCESS, root: Path = ROOT) -> int:
    """
    Return the number of cores, at least 1. A quota of one and a half cores counts as two.

    @param process: the file that lists the control groups of this process (cgroups(7)).
    @param root: the folder of the control groups.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = float(len(os.sched_getaffinity(0)))
    else:
        cores = float(os.cpu_count() or 1)
    return max(1, math.ceil(min([cores, *_quotas(process, root)])))


def _quotas(process: Path, root: Path) -> Iterator[float]:
    """Yield the quotas of the control groups of this process, in cores."""
    for folder in _folders(process, root):
        with suppress(OSError, ValueError, ZeroDivisionError):  # there is no quota
            if (folder / "cpu.max").exists():  # version 2
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            if quota.strip() != "max" and int(quota) > 0:
                yield int(quota) / int(period)


def _folders(process: Path, root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups that may limit the processor, and of the groups around them."""
    try:
        lines = process.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        group = top / path.lstrip("/")
        # In a container, the path may be the path on the host, and the folder is then at the top.
        yield from [group, *(each for each in group.parents if each.is_relative_to(top))]
