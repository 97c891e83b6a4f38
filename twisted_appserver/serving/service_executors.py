"""
The executors of a service, made when its table needs them.

Strategy: an executor is kept once it has been made, so that its counts continue. A reload first starts the
executors that only the new table needs. Worker processes that no route needs any more are stopped when they
are idle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, TimeoutError, gatherResults

from twisted_appserver.admin.figures import ADMIN
from twisted_appserver.core.application import Application
from twisted_appserver.core.mounted_resource import EXECUTOR as RESOURCES
from twisted_appserver.core.router import Router
from twisted_appserver.errors import ConfigurationError, HTTPError
from twisted_appserver.executors.cluster.executor import DaskExecutor
from twisted_appserver.executors.inline import InlineExecutor
from twisted_appserver.executors.interface import IExecutor, PendingCall
from twisted_appserver.executors.mounted_resources import ResourceExecutor
from twisted_appserver.executors.processes.executor import ProcessExecutor
from twisted_appserver.executors.processes.head_start import HeadStart
from twisted_appserver.executors.processes.pool import RELOAD_TIMEOUT
from twisted_appserver.executors.threads import ThreadExecutor
from twisted_appserver.settings import CLUSTER_SERVER, FORKED_SERVER, THREADED_SERVER, Settings

DEFAULTS = {THREADED_SERVER: "threads", FORKED_SERVER: "processes", CLUSTER_SERVER: "cluster"}
IMPORTING = frozenset(("processes", "cluster"))  # executors whose processes import the application by name
EXECUTORS = ("inline", *DEFAULTS.values(), RESOURCES)  # the names of all executors
UNITS = {"threads": "thread", "processes": "worker", "cluster": "worker"}
IDLE_CHECK_INTERVAL = 1.0  # seconds between two checks of worker processes that no route needs any more


def imports_by_name(settings: Settings, router: Router) -> bool:
    """Return whether other processes will import the application."""
    used = {DEFAULTS[settings.server_type], *(handler.executor for handler in router.handlers)}
    return not IMPORTING.isdisjoint(used)


class ServiceExecutors:
    """
    The executors that the server type and the routes need.

    @param reactor: the reactor, or its L{http.epoll_reader.EpollReader}.
    @param head_start: worker processes that have been started already.
    @ivar by_name: the executors by the names that a Route may give.
    @ivar default: the name of the executor for Routes that give none.
    @raise ConfigurationError: when a route names an unknown executor, or when worker processes cannot import
        the application.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        application: Application,
        router: Router,
        head_start: HeadStart | None,
    ) -> None:
        self._reactor, self._settings, self._application = reactor, settings, application
        self._router, self._head_start = router, head_start
        self._makers: dict[str, Callable[[Router], IExecutor]] = {
            "threads": lambda _: ThreadExecutor(reactor, settings.threads),
            "processes": self._make_pool,
            "cluster": self._make_cluster,
        }
        self.default = DEFAULTS[settings.server_type]
        # The service's own pages have an executor of their own, so that they are not counted as calls.
        self.by_name: dict[str, IExecutor] = {name: InlineExecutor(reactor) for name in ("inline", ADMIN)}
        self.by_name[RESOURCES] = ResourceExecutor(reactor)
        self._running = False
        self._started: set[str] = set()
        self._lock = DeferredLock()  # held while executors are renewed, or worker processes are stopped
        self._timer: Any = None
        self.check(router)
        for name in self.needed(router):
            self._executor(name, router)

    def _make_pool(self, router: Router) -> IExecutor:
        settings, self._head_start, head_start = self._settings, None, self._head_start
        executor = ProcessExecutor(
            self._reactor, self._application, settings.workers, router,
            settings.max_requests, settings.max_rss, head_start,
        )  # fmt: skip
        executor.move = self._move
        return executor

    def _make_cluster(self, router: Router) -> IExecutor:
        settings = self._settings
        return DaskExecutor(
            self._reactor, self._application, router, settings.scheduler, settings.workers, settings.upload
        )

    def _executor(self, name: str, router: Router) -> IExecutor:
        """Return the executor of this name. If it does not run yet, make it, or let it adopt the table."""
        executor = self.by_name.get(name)
        if executor is None:
            if name in IMPORTING:
                self._application.check()
            executor = self.by_name[name] = self._makers[name](router)
        elif isinstance(executor, ProcessExecutor | DaskExecutor):
            executor.adopt(router)
        return executor

    def check(self, router: Router) -> None:
        """
        Check the names of executors in a table.

        @raise ConfigurationError: when a route names an unknown executor.
        """
        router.check_executors(EXECUTORS)

    def needed(self, router: Router) -> list[str]:
        """Return the names of the executors that a table needs, the default first."""
        named = {handler.executor for handler in router.handlers}
        return [self.default, *(each for each in self._makers if each in named and each != self.default)]

    def unready(self) -> str:
        """Return why calls of some route could not begin now; empty if all could."""
        reasons = (self.by_name[name].unready() for name in self.needed(self._router))
        return "; ".join(filter(None, reasons))

    def sizes(self) -> str:
        """Return the number of threads or workers of each executor, for people."""
        found = [(self.by_name[name].size, UNITS[name]) for name in self.needed(self._router)]
        return ", ".join(f"{size} {unit}{'s' * (size != 1)}" for size, unit in found)

    def start(self) -> Deferred[Any]:
        """
        Start all executors.

        @return: fires when calls can be performed; fails with L{ConfigurationError} if they never can.
        """
        self._running, self._started = True, set(self.needed(self._router))
        unused = self._makers.keys() - self._started
        started = [executor.start() for name, executor in self.by_name.items() if name not in unused]
        return gatherResults(started, consumeErrors=True)

    async def stop(self) -> None:
        """Stop all executors, one after the other."""
        self._running = False
        self._started.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for executor in list(self.by_name.values()):
            await executor.stop()

    # ---- reloads ----

    def _move(self, pending: PendingCall) -> bool:
        """
        Give a waiting call that was routed again to the executor of its new route.

        @return: C{False} if that executor already has the call; it must then keep the call.
        """
        executor = self.by_name[pending.call.handler.executor or self.default]
        if executor is pending.executor:
            return False
        pending.executor = executor
        try:
            executor.submit(pending)
        except HTTPError as error:  # The cluster is unavailable.
            pending.errback(error)
        return True

    @contextmanager
    def head_start(self) -> Iterator[None]:
        """Start new worker processes, which import the application while this process imports it too."""
        if "processes" not in self._started:
            yield
            return
        pool: Any = self.by_name["processes"]
        pool.head_start = workers = HeadStart(self._reactor, self._application, pool.size)
        try:
            yield
        finally:
            workers.stop()

    def reload(self, router: Router) -> Deferred[None]:
        """
        Prepare all executors for a new table, and use it.

        @return: fires when calls of the new table can be performed. Fails with L{ConfigurationError} if they
            cannot; then the executors still serve the previous table.
        """
        return self._lock.run(lambda: Deferred.fromCoroutine(self._reload(router)))

    async def _reload(self, router: Router) -> None:
        self.check(router)
        pool_runs, needed = "processes" in self._started, self.needed(router)
        try:
            for name in needed:
                if name not in self._started:
                    await self._start(name, router)
            pool, cluster = self.by_name.get("processes"), self.by_name.get("cluster")
            if pool_runs and "processes" in needed and isinstance(pool, ProcessExecutor):
                await pool.reload(router)
            if isinstance(cluster, DaskExecutor):
                cluster.adopt(router)
            self._router = router
        finally:
            self._stop_pool_later()

    async def _start(self, name: str, router: Router) -> None:
        """
        Start an executor that only the new table needs.

        @raise ConfigurationError: when it cannot start.
        """
        executor = self._executor(name, router)
        if not self._running:
            return
        try:
            await executor.start().addTimeout(RELOAD_TIMEOUT, self._reactor)
        except (ConfigurationError, TimeoutError) as error:
            await executor.stop()
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(f"{name} were not ready after {RELOAD_TIMEOUT:g} seconds") from None
        self._started.add(name)

    def _stop_pool_later(self) -> None:
        """If no route needs the worker processes any more, stop them when they are idle."""
        unneeded = "processes" in self._started and "processes" not in self.needed(self._router)
        if unneeded and self._timer is None:
            self._timer = self._reactor.callLater(IDLE_CHECK_INTERVAL, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._lock.run(lambda: Deferred.fromCoroutine(self._stop_pool()))

    async def _stop_pool(self) -> None:
        pool = self.by_name["processes"]
        unneeded = "processes" in self._started and "processes" not in self.needed(self._router)
        if not unneeded or not isinstance(pool, ProcessExecutor):
            return
        if pool.idle:
            self._started.discard("processes")
            await pool.stop()
            pool.adopt(self._router)  # The previous code can be freed.
        else:
            self._stop_pool_later()
