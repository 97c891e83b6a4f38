"""Worker processes that import the application while the server imports it, and not only afterwards."""

from __future__ import annotations

import atexit
from contextlib import suppress
from typing import Any

from twisted_appserver.core.application import Application
from twisted_appserver.core.router import Router
from twisted_appserver.executors.processes.python_process import spawn_python
from twisted_appserver.executors.processes.worker_process import WorkerProcess

MODULE = "twisted_appserver.executors.processes.worker_main"


def spawn(reactor: Any, worker: WorkerProcess) -> None:
    """
    Start the process of a worker.

    @raise OSError: if no descriptors, memory or processes are left.
    """
    try:
        spawn_python(reactor, worker, MODULE)
    except OSError:
        worker.release()
        raise


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
