"""One running server, on a free port and in its own session, so that all of its processes can be stopped."""

import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks import machine
from benchmarks.environment import BIN, SERVERS
from benchmarks.peers import Server

START_SECONDS = 20.0
STOP_SECONDS = 1.0
KILL_SECONDS = 5.0


class ServerFailed(Exception):
    """Raised when a server does not start, or does not respond as it must."""


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def session(leader: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(entry.name))
    return found


class Running:
    """
    A server as a context manager: inside it responds, afterwards it has ended.

    @ivar port: its port on 127.0.0.1.
    @ivar pid: its first process.
    """

    def __init__(self, server: Server, variables: Mapping[str, str]) -> None:
        self.server = server
        self.port = free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="benchmarks-")
        self.cores, self.load_cores = machine.cores(server.alone)
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "BENCH_PORT": str(self.port),
            "BENCH_THREADS": str(server.threads),
            "BENCH_WORKERS": "2",
            "BENCH_PLACE": server.place,
            **server.environment,
            **variables,
        }

    def command(self) -> list[str]:
        """Return the command line with its placeholders replaced."""
        filled = self.server.command.format(
            bin=BIN,
            port=self.port,
            threads=self.environment["BENCH_THREADS"],
            workers=self.environment["BENCH_WORKERS"],
            folder=self.folder.name,
        )
        return machine.pin(self.cores) + filled.split()

    def __enter__(self) -> Self:
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self.command(),
            cwd=SERVERS,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = self.process.pid
        try:
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def wait(self) -> None:
        """Wait until the server responds."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if self.answers():
                    return
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.05)
        raise ServerFailed(f"{self.server.name} does not answer: {self.tail()}")

    def answers(self) -> bool:
        """Return whether the server responds; for a queue, whether it listens."""
        if self.server.speaker:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        return self.fetch("/person/get/123/")[0] == 200

    def tail(self) -> str:
        """Return the last line of its output."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "it wrote nothing"

    def fetch(self, path: str, body: object = None) -> tuple[int, Any]:
        """Send one request on a new connection; return the status and the decoded JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            if body is None:
                connection.request("GET", path)
            else:
                headers = {"Content-Type": "application/json"}
                connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def memory(self) -> int:
        """Return the resident memory of all its processes, in bytes."""
        pages = 0
        for pid in session(self.pid):
            try:
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:
                continue
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        """Send SIGTERM to the whole session, then SIGKILL, and wait until no process is left."""
        for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
            deadline = time.monotonic() + seconds
            for pid in session(self.pid):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            while self.process.poll() is None or session(self.pid):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)
            else:
                break
        self.log.close()
        self.folder.cleanup()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
