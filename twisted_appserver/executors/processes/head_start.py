"""Worker processes that import the application while the server does so too, and not only after it."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted_appserver.core.application import Application
from twisted_appserver.core.router import Router
from twisted_appserver.executors.processes.worker_process import WorkerProcess

MODULE = "twisted_appserver.executors.processes.worker_main"
ROOT = str(Path(__file__).resolve().parents[3])


def spawn(reactor: Any, worker: WorkerProcess) -> None:
    """
    Start the process of a worker.

    @raise OSError: when no descriptors, memory or processes are left.
    """
    search = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
    # With -P the current folder, where a file may hide a module of the standard library, is not searched yet.
    command = [sys.executable, "-P", "-m", MODULE]
    try:
        reactor.spawnProcess(worker, sys.executable, command, {**os.environ, "PYTHONPATH": search})
    except OSError:
        worker.release()
        raise


class HeadStart:
    """
    Workers that have been started before the table of the application is known; fewer if the system refuses.
    """

    def __init__(self, reactor: Any, application: Application, size: int) -> None:
        self._workers: list[WorkerProcess] = []
        atexit.register(self.stop)
        with suppress(OSError):  # the pool starts those that are missing, and reports why it cannot
            for _ in range(size):
                worker = WorkerProcess(self, reactor, application, None)
                spawn(reactor, worker)
                self._workers.append(worker)

    def take(self, executor: Any, router: Router) -> WorkerProcess | None:
        """One of them, which from now on belongs to a pool; C{None} if none is left."""
        if not self._workers:
            return None
        worker = self._workers.pop()
        worker.attach(executor, router)
        return worker

    def stop(self) -> None:
        """End those that are left."""
        atexit.unregister(self.stop)
        while self._workers:
            worker = self._workers.pop()
            worker.kill("it is not needed")
            worker.release()

    # ---- what a worker asks of its pool ----

    def kick(self) -> None:
        """There are no calls."""

    def worker_ended(self, worker: WorkerProcess, how: str) -> None:
        """It was not needed."""
