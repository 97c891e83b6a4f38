"""Worker processes that import the application while the server imports it, and not only afterwards."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted_appserver.core.application import Application
from twisted_appserver.core.router import Router
from twisted_appserver.executors.processes.worker_process import WorkerProcess

MODULE = "twisted_appserver.executors.processes.worker_main"
STOPS = (signal.SIGINT, signal.SIGTERM)  # the signals that stop the server, and not its workers
ROOT = str(Path(__file__).resolve().parents[3])


def spawn(reactor: Any, worker: WorkerProcess) -> None:
    """
    Start the process of a worker.

    @raise OSError: if no descriptors, memory or processes are left.
    """
    search = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
    # -P keeps Python from searching the current folder yet: a file there may hide a standard module.
    command = [sys.executable, "-P", "-m", MODULE]
    # A signal to the whole process group, such as Ctrl-C, must not interrupt the start of a worker. It
    # inherits the mask, and unblocks the signals when it has set its handlers.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS) if hasattr(signal, "pthread_sigmask") else None
    try:
        reactor.spawnProcess(worker, sys.executable, command, {**os.environ, "PYTHONPATH": search})
    except OSError:
        worker.release()
        raise
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class HeadStart:
    """
    Workers that are started before the application's table is known.

    @param size: how many workers to start. There are fewer if the system refuses to start more.
    """

    def __init__(self, reactor: Any, application: Application, size: int) -> None:
        self._workers: list[WorkerProcess] = []
        atexit.register(self.stop)
        with suppress(OSError):  # The pool starts the missing ones, or reports why it cannot.
            for _ in range(size):
                worker = WorkerProcess(self, reactor, application, None)
                spawn(reactor, worker)
                self._workers.append(worker)

    def take(self, executor: Any, router: Router) -> WorkerProcess | None:
        """Give a worker to an executor; return C{None} if none is left."""
        if not self._workers:
            return None
        worker = self._workers.pop()
        worker.attach(executor, router)
        return worker

    def stop(self) -> None:
        """End the workers that no executor has taken."""
        atexit.unregister(self.stop)
        while self._workers:
            worker = self._workers.pop()
            worker.kill("it is not needed")
            worker.release()

    # ---- a worker reports to this object until an executor takes it ----

    def assign_soon(self) -> None:
        """Do nothing: there are no calls."""

    def worker_ended(self, worker: WorkerProcess, how: str) -> None:
        """Do nothing: it was not needed."""
