"""
The lifespans that a worker of the cluster has entered.

Strategy: the first call, or a server that connects, enters a lifespan. A plugin of the worker leaves all
lifespans when the worker closes. Each lifespan has a thread of its own, because calls run in several threads,
and the thread in which Dask loads the application already runs an event loop.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from threading import Event, Lock, Thread
from typing import Any

from twisted_appserver.core.lifespan import Lifespan, ProcessLifespan
from twisted_appserver.errors import ConfigurationError

LEAVE_TIMEOUT = 2.0  # seconds that a lifespan has to end; soon after that, Dask kills a worker that closes

_entered: dict[Any, _LifespanThread] = {}  # by the locations of their applications
_lock = Lock()  # held while one is entered


class _LifespanThread(Thread):
    """
    Enters a lifespan, waits, and leaves it.

    @ivar error: why it could not be entered.
    """

    def __init__(self, function: Lifespan) -> None:
        super().__init__(name="appserver-lifespan", daemon=True)
        self._lifespan = ProcessLifespan(function)
        self._begun, self._end = Event(), Event()
        self.error: ConfigurationError | None = None

    def run(self) -> None:
        try:
            self._lifespan.enter()
        except ConfigurationError as error:
            self.error = error
            return
        finally:
            self._begun.set()
        self._end.wait()
        try:
            self._lifespan.leave()
        except BaseException:
            print(f"the lifespan failed when it was left\n{traceback.format_exc()}", file=sys.stderr)

    def enter(self) -> None:
        """
        Start the thread, and wait until the lifespan is entered.

        @raise ConfigurationError: when it fails.
        """
        self.start()
        self._begun.wait()
        if self.error is not None:
            raise self.error

    def leave(self) -> None:
        """Leave the lifespan, and wait until it has been left."""
        self._end.set()
        self.join(LEAVE_TIMEOUT)


def enter_lifespan(where: Any, function: Lifespan) -> None:
    """
    Enter the lifespan of an application, unless this process has entered it.

    @param where: the location of the application.
    @raise ConfigurationError: when it fails.
    """
    with _lock:
        if where not in _entered:
            made = _LifespanThread(function)
            made.enter()
            _entered[where] = made


def leave_lifespan(where: Any) -> None:
    """Leave the lifespan of an application, if it is entered."""
    with _lock:
        found = _entered.pop(where, None)
    if found is not None:
        found.leave()


class LeaveLifespans:
    """A plugin of Dask's workers: when a worker closes, it leaves all lifespans."""

    name, idempotent = "twisted-appserver-lifespans", True

    def setup(self, worker: Any) -> None:
        """Do nothing: lifespans are entered when an application is loaded."""

    async def teardown(self, worker: Any) -> None:
        """Leave all lifespans, unless the plugin is only registered again."""
        if "clos" in worker.status.name:
            for where in list(_entered):
                await asyncio.to_thread(leave_lifespan, where)


def make_worker_plugin(dask: Any) -> Any:
    """Return a L{LeaveLifespans} that is also a plugin for C{dask}, the module C{distributed}."""
    return type("LifespanPlugin", (LeaveLifespans, dask.WorkerPlugin), {})()
