"""The processes that put, get and finish tasks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from tests.support.forks import ROOT


class LoadFailed(Exception):
    """Raised when a process with clients has ended, because a request of a client failed."""


class Load:
    """
    A process with clients for each server.

    @param urls: the URLs of the servers.
    @param queue: the name of the queue.
    @param kind: what is put, one of L{tests.support.queue_processes.LOADS}.
    @param folder: where the clients record their steps.
    @param patience: seconds for which clients repeat a request.
    """

    def __init__(
        self, urls: Sequence[str], queue: str, kind: str, folder: str, patience: float, seed: int
    ) -> None:
        self._processes = [
            self._start(url, queue, kind, folder, str(number), str(patience), f"{seed}.{number}")
            for number, url in enumerate(urls)
        ]

    @staticmethod
    def _start(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.tqueue.pressure.load_process", *words]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def set_rate(self, rate: float) -> None:
        """Let all producers together put this many tasks per second; see L{pace.Pace}."""
        self._send(f"rate {rate / len(self._processes)}")

    def put_burst(self, tasks: int) -> None:
        """Put this many tasks as fast as possible. Wait until the last puts begin."""
        self._send(f"burst {tasks // len(self._processes)}")
        self._confirm("burst")

    def stop_producers(self) -> None:
        """Stop all producers, and wait until their puts have been answered."""
        self._send("stop")
        self._confirm("stop")

    def end(self) -> None:
        """Stop all consumers, and end the processes."""
        self._send("end")
        self._confirm("end")
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
            if process.wait(60):
                raise LoadFailed("a client failed at the end")

    def check(self) -> None:
        """
        @raise LoadFailed: when a process has ended.
        """
        if any(process.poll() is not None for process in self._processes):
            raise LoadFailed("a client failed; its traceback is above")

    def _send(self, command: str) -> None:
        self.check()
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(command + "\n")
            process.stdin.flush()

    def _confirm(self, command: str) -> None:
        for process in self._processes:
            assert process.stdout is not None
            if process.stdout.readline() != command + "\n":
                raise LoadFailed(f"a client failed before the answer to {command}")

    def kill(self) -> None:
        """End everything at once."""
        for process in self._processes:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                stream.close()
