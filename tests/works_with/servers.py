"""
Real servers, one of each type for all tests.

A server starts when a test needs it, and stops with the test run.
"""

from __future__ import annotations

import atexit
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

from tests.support import postgres
from tests.support.programs import ROOT
from tests.works_with.functions import DASK, REACTOR, THREADS, WORKERS

OPTIONS = {
    THREADS: ("--type", "threaded", "--threads", "4"),
    WORKERS: ("--type", "forked", "--workers", "2"),
    DASK: ("--type", "cluster", "--workers", "2"),
}
OPTIONS[REACTOR] = OPTIONS[THREADS]
START, STOP = 90.0, 30.0  # seconds


class Server:
    """
    A server program that serves the functions of this package.

    @param place: where its plain functions run.
    """

    def __init__(self, place: str) -> None:
        descriptor, self._log = tempfile.mkstemp(prefix="works-with-", suffix=".log")
        atexit.register(os.unlink, self._log)
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "WORKS_WITH_URL": page(), **database()}
        command = ("-m", "twisted_appserver", "--app", "tests.works_with.functions", "--port", "0")
        self._program = subprocess.Popen(
            [sys.executable, *command, *OPTIONS[place], "--display-tracebacks"],
            stdout=descriptor,
            stderr=descriptor,
            cwd=ROOT,
            env=environ,
            start_new_session=True,
        )
        os.close(descriptor)
        self.port = self._port()

    @property
    def log(self) -> str:
        """The log so far."""
        return Path(self._log).read_text("utf-8", "replace")

    def _port(self) -> int:
        limit = monotonic() + START
        while monotonic() < limit:
            if (found := re.search(r"http://localhost:(\d+)/", self.log)) and self._ready(int(found[1])):
                return int(found[1])
            if self._program.poll() is not None:
                break
            sleep(0.05)
        raise AssertionError(f"the server did not start: {self.log}")

    def _ready(self, port: int) -> bool:
        return self.get("/-/ready", port)[0] == 200

    def get(self, path: str, port: int = 0) -> tuple[int, bytes]:
        """Send a GET, and return the status and the body of the response."""
        connection = HTTPConnection("localhost", port or self.port, timeout=60)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def stop(self) -> int:
        """Stop the server with SIGTERM, and return its exit status."""
        self._program.send_signal(signal.SIGTERM)
        try:
            return self._program.wait(STOP)
        finally:
            self.kill()

    def running_processes(self) -> list[int]:
        """Return the processes of its session that still run."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # the process has just ended
                fields = path.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self._program.pid and fields[0] != "Z":
                    found.append(int(path.parent.name))
        return found

    def processes_left(self) -> list[int]:
        """Return the processes of its session that do not end soon, such as those that wait for its end."""
        limit = monotonic() + STOP
        while (found := self.running_processes()) and monotonic() < limit:
            sleep(0.02)
        return found

    def kill(self) -> None:
        """Kill all of its processes."""
        for pid in self.running_processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._program.wait()


@cache
def shared(place: str) -> Server:
    """Return the server for all tests of functions that run in this place."""
    if place == REACTOR:
        return shared(THREADS)
    server = Server(place)
    atexit.register(server.kill)
    return server


def database() -> dict[str, str]:
    """Return an environment variable with the URL of a PostgreSQL server; empty if it is not installed."""
    if postgres.folder_of_programs() is None:
        return {}
    return {"WORKS_WITH_DATABASE": postgres.shared().url()}


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Log no requests."""


@cache
def page() -> str:
    """Return the URL of a page for HTTP clients, served by this process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    Thread(target=server.serve_forever, daemon=True).start()
    atexit.register(server.server_close)
    return f"http://127.0.0.1:{server.server_port}/"
