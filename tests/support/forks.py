"""
Starts servers as forks of one process that has imported their modules already.

A new Python needs half a second for these imports, a fork some milliseconds. Each server is still a process
of its own, with its own state, streams and signals.

Strategy: the tests send a request over a socket to the process with the modules. It forks a keeper, and the
keeper forks the server, waits for its end, and writes its process id and its exit status into a pipe of the
tests.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODULES = (  # What TQueueSrv imports until it listens, except the reactor, which opens files.
    "psycopg",
    "re2",
    "twisted.internet.epollreactor",
    "twisted.scripts.twistd",
    "twisted_appserver.tqueue.tap",
)


class ForkedServer:
    """
    A run of C{twistd} in a fork. Its methods are like those of L{subprocess.Popen}.

    @param arguments: the arguments of C{twistd}.
    @param environ: all of its environment.
    @ivar stdout: standard output and standard error, to be closed by the caller.
    """

    def __init__(self, arguments: Sequence[str], environ: dict[str, str]) -> None:
        reading, output = os.pipe()
        self._status, status = os.pipe()
        request = json.dumps({"arguments": arguments, "environ": environ}).encode()
        socket.send_fds(parent(), [request], [output, status])
        os.close(output)
        os.close(status)
        self.stdout = os.fdopen(reading, encoding="utf-8", errors="replace")
        self.returncode: int | None = None
        self.pid = self._read()

    def _read(self) -> int:
        """Read one number from the keeper."""
        line = os.read(self._status, 12)  # Each is written alone, and at once.
        if not line:
            raise RuntimeError("the process that forks servers has ended")
        return int(line)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            return self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("twistd", timeout or 0.0)
            self.returncode = self._read()
            os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # It has just ended, and its status is not written yet.
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def parent() -> socket.socket:
    """Start the process that forks servers, and return the socket for its requests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": ROOT},
            pass_fds=[theirs.fileno()],
        )
    atexit.register(end, ours, process, os.getpid())
    return ours


def end(ours: socket.socket, process: subprocess.Popen[bytes], pid: int) -> None:
    if os.getpid() == pid:  # and not in a fork of the tests
        ours.close()
        process.wait(20)


def next_server(requests: socket.socket) -> list[str] | None:
    """
    Fork a process for each request, until the tests end.

    @return: the arguments, in each fork, which has its environment and streams; C{None} in this process, at
        the end of the tests.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The end of the tests ends this process.
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 2**17, 2)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG if message else 0)[0]:
                pass  # a keeper that has ended
        if not message:
            return None
        if os.fork() == 0 and keep(*descriptors):
            requests.close()
            request = json.loads(message)
            os.environ.clear()
            os.environ.update(request["environ"])
            arguments: list[str] = request["arguments"]
            return arguments
        for descriptor in descriptors:
            os.close(descriptor)


def keep(output: int, status: int) -> bool:
    """
    Fork once more. Report the end of the new process to C{status}.

    @return: C{True}, in the new process only.
    """
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.close(output)
        os.close(status)
        return True
    os.close(output)
    os.write(status, b"%d\n" % pid)
    _, how = os.waitpid(pid, 0)
    os.write(status, b"%d\n" % os.waitstatus_to_exitcode(how))
    os._exit(0)


def main(descriptor: str) -> None:
    for module in MODULES:
        with suppress(ImportError):  # some are optional
            import_module(module)
    list(getPlugins(IServiceMaker))  # imports each plugin
    gc.collect()
    gc.freeze()
    arguments = next_server(socket.socket(fileno=int(descriptor)))
    if arguments is not None:
        sys.argv = ["twistd", *arguments]
        import_module("twisted.scripts.twistd").run()


if __name__ == "__main__":
    main(sys.argv[1])
