"""Starts a real TQueueSrv in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from tests.support.forks import ROOT, ForkedServer

TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")


class Server:
    """
    A TQueueSrv in a process of its own.

    @param store: the value of C{--store}.
    @param port: its port; 0 for a free port, which it keeps over restarts.
    @param script: arguments of a new Python, such as L{TWISTD}. Without them the server is forked, which is
        faster.
    @param host: a L{examples.hosts.network.Host} to run on; this machine if C{None}.
    @param environ: variables that are added to its environment.
    """

    def __init__(
        self,
        store: str = "memory:",
        port: int = 0,
        options: Sequence[str] = (),
        script: Sequence[str] | None = None,
        host: Any = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._host, self._environ = host, {**os.environ, "PYTHONPATH": ROOT, **(environ or {})}
        self.store, self.port, self.options = store, port, options
        self._script = script
        self.log: list[str] = []
        self.process: subprocess.Popen[str] | ForkedServer | None = None

    @property
    def url(self) -> str:
        return f"http://{self._host.address if self._host else '127.0.0.1'}:{self.port}"

    def start(self, seconds: float = 60.0) -> Server:
        """Start the server and wait until it listens."""
        arguments = ["-n", "--pidfile=", "tqueuesrv", "--store", self.store, *self._place()]
        arguments += self.options
        if self._script or self._host:
            self.process = subprocess.Popen(
                [
                    *(self._host.prefix if self._host else ()),
                    sys.executable,
                    *(self._script or TWISTD),
                    *arguments,
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=ROOT,
                env=self._environ,
            )
        else:
            self.process = ForkedServer(arguments, self._environ)
        listening: SimpleQueue[bool] = SimpleQueue()
        reader = threading.Thread(target=self._read, args=(self.process, listening), daemon=True)
        reader.start()
        try:
            why = "" if listening.get(timeout=seconds) else "it has ended"
        except Empty:
            why = f"it did not listen within {seconds} seconds"
        if why:
            self.kill()
            raise RuntimeError(f"the server did not start: {why}:\n" + "\n".join(self.log[-30:]))
        return self

    def _place(self) -> list[str]:
        """Return the options that name the endpoint."""
        if self._host is None:
            return ["--port", str(self.port)]
        return ["--insecure", "--allow-host", "*", "--listen", f"tcp:8082:interface={self._host.address}"]

    def _read(self, process: subprocess.Popen[str] | ForkedServer, listening: SimpleQueue[bool]) -> None:
        """Collect the output. Tell whether the server listens, or has ended without."""
        assert process.stdout is not None
        with process.stdout as stream:
            for line in stream:
                self.log.append(line.rstrip())
                found = re.search(r"http://[\w.]+:(\d+)/", line)
                if found:
                    self.port = int(found[1])
                    listening.put(True)
        listening.put(False)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.signal(signal.SIGTERM)
        return self._wait()

    def _wait(self) -> int:
        assert self.process is not None
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def wait_for(condition: object, seconds: float = 20.0) -> None:
    """Wait until C{condition()} is true; fail if that takes too long."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} seconds")
        time.sleep(0.01)
