"""The connection to a Dask scheduler, or to a cluster that is started on this machine.

Strategy: the connection is checked at intervals. When the scheduler is gone, everything is set up again as
soon as it is back: the connection, the plugin, and the comparison of the workers' tables with the server's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from twisted_appserver.core.application import Application
from twisted_appserver.core.router import Router
from twisted_appserver.errors import ConfigurationError, require_package
from twisted_appserver.executors.cluster.run_once import RunOnce, make_plugin
from twisted_appserver.executors.cluster.task import Location, list_functions
from twisted_appserver.executors.cluster.wire import handlers_by_key
from twisted_appserver.executors.cluster.worker_lifespans import LeaveLifespans, make_worker_plugin

CHECK_INTERVAL = 0.5  # seconds between two checks of the connection
CONNECT_TIMEOUT = 3.0  # seconds that an attempt to connect may take
ANSWER_TIMEOUT = 5.0  # seconds after which a scheduler that does not answer counts as hung
# Defaults for Dask in a local cluster without a dashboard. They disable profiles and measurements that take
# 4 % of a machine with two cores, and that are never read.
# U{https://docs.dask.org/en/stable/configuration.html}
DASK_DEFAULTS = {
    "distributed": {
        "worker": {"profile": {"enabled": False}},
        "admin": {"tick": {"interval": "500 ms"}, "system-monitor": {"interval": "5 s"}},
    }
}
LISTENERS = {
    "protocol": ["tcp://", "inproc://"],
    "host": ["127.0.0.1", None],
}  # its workers use the first one, and this process the second


class DaskConnection:
    """
    Connects to a scheduler, and connects again when the connection is lost.

    @param scheduler: the address of the scheduler; a cluster on this machine is started if it is empty.
    @param workers: how many worker processes that cluster has.
    @param upload: whether to send the application's file to the workers.
    @param became_able: called when there is a connection, or the cluster has grown.
    @param lost: called with a reason when the connection is lost.
    @ivar router: the table. Each worker's table is compared with this table when the worker connects.
    @ivar size: how many calls the cluster can run at the same time.
    @ivar client: the Dask client; C{None} without a connection.
    @ivar problem: why there is no connection; empty if there is one.
    """

    log = Logger(namespace="twisted_appserver.executors.cluster")

    def __init__(
        self,
        reactor: Any,
        application: Application,
        router: Router,
        scheduler: str,
        workers: int,
        upload: bool,
        became_able: Callable[[], None],
        lost: Callable[[str], None],
    ) -> None:
        self._reactor, self._application, self.router = reactor, application, router
        self._scheduler, self._upload = scheduler, upload
        self._became_able, self._lost = became_able, lost
        self._workers = self.size = workers
        self._least = 1 if scheduler else workers
        self.client: Any = None
        self.problem = "the cluster starts"
        self.dask: Any = None  # the module distributed
        self.loop: Any = None
        self._cluster: Any = None
        self._opening: Any = None  # the task that connects
        self._counting: Any = None  # the task that counts threads
        self._threads = 0  # the threads of all workers at the last count
        self._silent = False  # whether the scheduler did not answer then
        self._timer: Any = None
        self._stopped = False

    @property
    def is_open(self) -> bool:
        return not self._stopped and self.client is not None and self.client.status == "running"

    @property
    def location(self) -> Location:
        """Where the workers find the application."""
        where = self._application
        if self._upload and where.file:  # Dask has put it on the path of the workers.
            return (os.path.splitext(os.path.basename(where.file))[0], "", where.name, where.lifespan)
        return (where.module, where.file, where.name, where.lifespan)

    def unready(self) -> str:
        """Return why the cluster cannot run calls; empty if it can."""
        if self.client is not None and self._silent:
            return "the scheduler does not answer"
        if self.client is not None and not self._threads:
            return "the cluster has no workers"
        return self.problem

    # ---- connecting ----

    def start(self) -> Deferred[None]:
        """
        Connect.

        @return: fires when there is a connection, or L{stop} was called; fails with L{ConfigurationError} if
            no connection is possible.
        @raise ConfigurationError: if Twisted does not run on asyncio, or Dask is not installed.
        """
        self.loop = getattr(self._reactor, "_asyncioEventloop", None)
        if self.loop is None:
            raise ConfigurationError(
                "the cluster needs Twisted's reactor on asyncio: twistd --reactor=asyncio"
            )
        require_package("distributed", "the cluster", "cluster")
        import distributed

        self.dask, self._stopped = distributed, False
        started: Deferred[None] = Deferred.fromFuture(self._connect())
        started.addErrback(lambda failure: failure.trap(asyncio.CancelledError) and None)
        return started.addCallback(self._check)

    def _connect(self) -> Any:
        self._opening = self.loop.create_task(self._open())
        self._opening.add_done_callback(self._opened)
        return self._opening

    def _opened(self, opening: Any) -> None:
        self._opening = None
        if opening.cancelled():
            return
        if (error := opening.exception()) is not None:
            self.problem = str(error)
        else:
            self.log.info("connected to the scheduler")
            self._became_able()

    async def _open(self) -> None:
        """
        Connect, and prepare the workers.

        @raise ConfigurationError: if the scheduler cannot be reached, or the workers do not have the
            application.
        """
        if not self._scheduler and self._cluster is None:
            await self._start_cluster()
        local = self._cluster and self._cluster.scheduler.listeners[1].contact_address
        client = self.dask.Client(
            local or self._scheduler, asynchronous=True, set_as_default=False, timeout=CONNECT_TIMEOUT
        )
        try:
            await client
            await self._prepare(client)
            client._timeout = 0  # Dask must not connect again by itself: the plugin would be missing.
            self.client, self.problem = client, ""
        except OSError as error:
            raise ConfigurationError(f"the scheduler {self._scheduler} cannot be reached: {error}") from None
        finally:
            if self.client is not client:
                await client.close()

    async def _start_cluster(self) -> None:
        """Start a cluster on this machine. It replaces workers that are lost."""
        import dask.config

        dask.config.update_defaults(DASK_DEFAULTS)
        making = asyncio.ensure_future(self.dask.LocalCluster(
            n_workers=self._workers, threads_per_worker=1, processes=True, dashboard_address=None,
            asynchronous=True, worker_dashboard_address=None, scheduler_kwargs=LISTENERS,
        ))  # fmt: skip
        try:
            await asyncio.shield(making)
        finally:  # Wait even if this is cancelled: workers that are only half started cannot be closed.
            self._cluster = await making
        self._cluster.adapt(minimum=self._workers, maximum=self._workers)

    async def _prepare(self, client: Any) -> None:
        """Install the plugin, send the application, and compare the workers' tables with the server's."""
        await client.register_plugin(make_plugin(self.dask), name=RunOnce.name)
        if self.router.lifespan is not None:
            await client.register_plugin(make_worker_plugin(self.dask), name=LeaveLifespans.name)
        if self._upload and self._application.file:
            await client.upload_file(self._application.file)
        workers = await client.run(list_functions, self.location, self._upload, on_error="return")
        ours = list(handlers_by_key(self.router))
        for address, found in workers.items():
            if isinstance(found, BaseException):
                raise ConfigurationError(f"the worker {address} cannot import the application: {found}")
            if found != ours:
                raise ConfigurationError(f"the worker {address} has other url_patterns than the server")
        await self._count_threads(client)

    # ---- checking ----

    def _check(self, _: None = None) -> None:
        """Check the connection at intervals. Connect again if it is lost."""
        if self._stopped:
            return
        self._timer = self._reactor.callLater(CHECK_INTERVAL, self._check)
        if self.client is not None and not self.is_open:
            self.log.error("the scheduler is gone")
            self.problem, self.client = "the scheduler is gone", None
            self._lost(self.problem)
        if self.client is not None:
            if self._counting is None or self._counting.done():
                self._counting = self.loop.create_task(self._count_threads(self.client))
        elif self._opening is None:
            self._connect()

    async def _count_threads(self, client: Any) -> None:
        """Count the threads of all workers: as many calls can run at the same time."""
        try:
            self._threads = sum((await asyncio.wait_for(client.nthreads(), ANSWER_TIMEOUT)).values())
        except OSError:  # It takes too long, or the connection is lost.
            self._silent = True
            return
        self._silent = False
        before, self.size = self.size, max(self._threads, self._least)
        if self.size > before:
            self._became_able()

    # ---- stopping ----

    def stop(self) -> None:
        """Stop checking. Nothing can be submitted any more."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self.problem = "the server is stopping"

    def close(self) -> Deferred[None]:
        """Close the connection, and stop the cluster on this machine."""
        if self.client is None and self._cluster is None and self._opening is None:
            return succeed(None)
        return Deferred.fromFuture(self.loop.create_task(self._close()))

    async def _close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        client, self.client = self.client, None
        cluster, self._cluster = self._cluster, None
        for each in (client, cluster):
            if each is not None:
                await each.close()
