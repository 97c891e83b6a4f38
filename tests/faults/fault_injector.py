"""Causes random faults of a server, its workers and its clients."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from tests.faults.repeating_threads import RepeatingThreads


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError), open(f"/proc/{entry}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            with suppress(OSError), open(f"/proc/{entry}/cmdline") as file:
                helps = "resource_tracker" in file.read()  # a helper of multiprocessing
                if int(fields[1]) == pid and fields[0] != "Z" and not helps:
                    found.append(int(entry))
    return found


class FaultInjector(RepeatingThreads):
    """
    Causes one random fault after the other.

    @ivar done: how often each fault was caused.
    """

    def __init__(self, pid: int, port: int, seed: int, forked: bool, pause: float, only: str) -> None:
        super().__init__([self._run])
        self._pid, self._port, self._pause = pid, port, pause
        self._chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self._kinds: list[Callable[[], None]] = [
            self.vanish,
            self.garbage,
            self.trickle,
            self.unread,
            self.hangup,
            self.crowd,
        ]
        if forked:
            self._kinds += [self.kill, self.kill, self.freeze]
        if only:
            self._kinds = [getattr(self, only)]
        self._open: list[socket.socket] = []
        self._last = 0.0  # the time of the last reload

    def stop(self) -> None:
        super().stop()
        for connection in self._open:
            connection.close()

    def _run(self) -> None:
        while not self.stopping.wait(self._chance.uniform(0, 2 * self._pause)):
            kind = self._chance.choice(self._kinds)
            with suppress(ProcessLookupError, ConnectionError):
                kind()
                self.done[kind.__name__] += 1

    def _worker(self) -> int:
        workers = children(self._pid)
        if not workers:
            raise ProcessLookupError
        return self._chance.choice(workers)

    def kill(self) -> None:
        """Kill a worker with SIGKILL."""
        os.kill(self._worker(), signal.SIGKILL)

    def freeze(self) -> None:
        """Freeze a worker for a moment."""
        worker = self._worker()
        os.kill(worker, signal.SIGSTOP)
        time.sleep(self._chance.uniform(0, 0.3))
        os.kill(worker, signal.SIGCONT)

    def hangup(self) -> None:
        """Reload the application with SIGHUP, at most every three seconds."""
        if time.monotonic() - self._last < 3:
            raise ProcessLookupError
        self._last = time.monotonic()
        os.kill(self._pid, signal.SIGHUP)

    def crowd(self) -> None:
        """Open more connections than there are descriptors, for a moment."""
        crowd = []
        for _ in range(200):
            with suppress(OSError):
                crowd.append(self._connect())
        time.sleep(self._chance.uniform(0, 0.3))
        for connection in crowd:
            connection.close()

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=5)

    def vanish(self) -> None:
        """Send a request and disconnect. The numbers of such requests are above all others."""
        with self._connect() as connection:
            number = 10**12 + self._chance.randrange(10**12)
            connection.sendall(b"GET /slow/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)

    def garbage(self) -> None:
        """Send random bytes."""
        with self._connect() as connection:
            connection.sendall(self._chance.randbytes(self._chance.randrange(1, 5000)))

    def trickle(self) -> None:
        """Send a request byte by byte, and never completely."""
        self._keep(b"GET /quick/1 HT")
        for connection in self._open:
            with suppress(OSError):
                connection.sendall(b"T")

    def unread(self) -> None:
        """Request large responses and read nothing."""
        numbers = [10**12 + self._chance.randrange(10**12) for _ in range(3)]
        self._keep(b"".join(b"GET /large/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % n for n in numbers))

    def _keep(self, data: bytes) -> None:
        connection = self._connect()
        connection.sendall(data)
        self._open.append(connection)
        if len(self._open) > 50:
            self._open.pop(0).close()
