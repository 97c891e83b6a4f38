"""Starts a PostgreSQL server for tests, in a temporary folder."""

from __future__ import annotations

import atexit
import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import count
from unittest import skipIf

from tests.support.queue_server import wait_for

DATABASES = count(1)
NO_VARIABLES: Mapping[str, str] = {}


def folder_of_programs() -> str | None:
    """Return the folder with initdb and postgres, if they are installed."""
    found = shutil.which("initdb") or max(glob.glob("/usr/lib/postgresql/*/bin/initdb"), default="")
    return os.path.dirname(os.path.realpath(found)) if found else None


needs_postgresql = skipIf(
    folder_of_programs() is None, "PostgreSQL is not installed (Debian: apt-get install postgresql)"
)


def has_ended(pid: int) -> bool:
    """Return whether a process does not run any more, although its status may not have been read yet."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class PostgreSQL:
    """
    A PostgreSQL server.

    @param address: where it listens, besides a Unix socket.
    @param fsync: whether data survives a loss of power. Tests do not need that, but measurements do.
    @param settings: further settings, such as C{max_connections=100}.
    @param prefix: what precedes the command, to run it in a network namespace.
    @param environ: variables that are added to the environment of the server.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        fsync: bool = False,
        settings: tuple[str, ...] = (),
        prefix: Sequence[str] = (),
        environ: Mapping[str, str] = NO_VARIABLES,
    ) -> None:
        self._environ = environ
        programs = folder_of_programs()
        assert programs is not None, "PostgreSQL is not installed: apt-get install postgresql"
        self._programs, self.address, self._prefix = programs, address, prefix
        self._settings = (f"fsync={'on' if fsync else 'off'}", "max_connections=100", *settings)
        # PostgreSQL refuses to run as root.
        self._user = (
            ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
        )
        self.folder = tempfile.mkdtemp(prefix="postgres-")
        if self._user:
            shutil.chown(self.folder, "nobody", "nogroup")
        self.data = os.path.join(self.folder, "data")
        self._run(
            "initdb",
            "-D",
            self.data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        )
        with open(os.path.join(self.data, "pg_hba.conf"), "a") as file:
            file.write("host all all 0.0.0.0/0 trust\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._user, os.path.join(self._programs, program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, timeout=120)

    def start(self) -> PostgreSQL:
        # Variables are set as the user that PostgreSQL runs as: LD_PRELOAD would affect setpriv too.
        variables = ["env", *(f"{name}={value}" for name, value in self._environ.items())]
        command = [*self._prefix, *self._user, *variables, os.path.join(self._programs, "postgres")]
        command += ["-D", self.data, "-p", str(self.port), "-k", self.folder, "-h", self.address]
        for setting in self._settings:
            command += ["-c", setting]
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        wait_for(self.answers, 60.0)
        return self

    def answers(self) -> bool:
        command = [os.path.join(self._programs, "pg_isready"), "-h", self.folder, "-p", str(self.port)]
        return subprocess.run(command, capture_output=True).returncode == 0

    def stop(self, mode: str = "immediate") -> None:
        """
        @param mode: as for C{pg_ctl}. After C{immediate} the database recovers from its log.
        """
        if self.process is not None:
            self._run("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")
            self.process.wait(60)
            self.process = None

    def crash(self) -> None:
        """Send SIGKILL to the server and to all its processes, and wait for their end."""
        assert self.process is not None
        pid = self.process.pid
        self.process.send_signal(signal.SIGSTOP)  # so that it starts no further processes
        with open(f"/proc/{pid}/task/{pid}/children") as listed:
            children = [int(child) for child in listed.read().split()]
        self.process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self.process.wait(60)
        self.process = None
        wait_for(lambda: all(map(has_ended, children)), 60.0)

    def database(self, owner: str = "postgres") -> str:
        """Create a database and return its URL, with which this role connects."""
        name = f"test{next(DATABASES)}"
        self.ask(f"CREATE DATABASE {name} OWNER {owner}")
        return self.url(name, owner)

    def url(self, name: str = "postgres", role: str = "postgres") -> str:
        return f"postgresql://{role}@{self.address}:{self.port}/{name}"

    def ask(self, *statements: str, database: str = "postgres") -> str:
        command = [
            os.path.join(self._programs, "psql"),
            "-h",
            self.folder,
            "-p",
            str(self.port),
            "-U",
            "postgres",
        ]
        command += ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database]
        for statement in statements:
            command += ["-c", statement]
        finished = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        return finished.stdout.strip()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def shared() -> PostgreSQL:
    """Return the server for all tests that only need a database."""
    server = PostgreSQL().start()
    atexit.register(server.remove)
    return server
