"""The memory of a process."""

from __future__ import annotations

import os


def resident_memory(pid: int) -> int:
    """Return the bytes of a process's resident memory; 0 on systems without C{/proc}."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0
