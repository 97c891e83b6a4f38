"""A wall clock of other processes that can be set. Their monotonic clock is not changed."""

from __future__ import annotations

import glob
import os
import time

PATH = "FAKETIME_TIMESTAMP_FILE"  # a variable of libfaketime


class FakeClock:
    """
    A wall clock for other processes.

    Servers in C use it by libfaketime (Debian: apt-get install faketime), which Python's C{time.sleep} does
    not bear. So Python calls L{use}.

    @param folder: where its state is kept. All users must be able to read it.
    @ivar environ: variables for the environment of processes in Python.
    @ivar preloaded: variables for the environment of other programs; empty if libfaketime is not installed.
    """

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "clock")
        libraries = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        self.environ = {PATH: self._path}
        self.preloaded = {
            "LD_PRELOAD": libraries[0], "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            **self.environ,
        } if libraries else {}  # fmt: skip
        self.set(0)

    def set(self, seconds: int) -> None:
        """Let the clock differ from the true one by so many seconds."""
        with open(self._path + ".new", "w") as file:
            file.write(f"{seconds:+d}s\n")
        os.chmod(self._path + ".new", 0o644)
        os.replace(self._path + ".new", self._path)


def use() -> None:
    """Use the clock which the environment names, in this process. Call this before other imports."""
    path, true = os.environ[PATH], time.time

    def seconds() -> float:
        with open(path) as file:
            return true() + float(file.read().rstrip("s\n"))

    time.time = seconds
