"""Calls performed on a Dask cluster (extra C{cluster}), for functions that outgrow one machine.

Strategy: a call travels as bytes to L{work}, which looks its function up in the application that it imports
by name, as a worker process does; nothing of the user's is pickled. A few calls more than there are threads
are with Dask, the others wait here, where they can be dropped. Dask runs a task again when its worker dies,
also if it had ended and its result was still there, and that is not ours to allow: before a call begins, it
asks L{Once} on the scheduler whether it may, unless its route says that it is idempotent. When the scheduler
is gone, all is made anew as soon as it is back.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any
from uuid import uuid4

import msgspec
from msgspec.structs import force_setattr, replace
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from twisted_appserver.application import Application
from twisted_appserver.calls import Call, Reply
from twisted_appserver.errors import ConfigurationError, HTTPError
from twisted_appserver.executors.interface import IExecutor, Job
from twisted_appserver.parts import Parts
from twisted_appserver.results import perform
from twisted_appserver.routing import Router

ONCE, AGAIN = "appserver-once-", "appserver-again-"  # begin the keys of tasks that may run once, or again
KNOWN = 100_000  # calls that have begun which the scheduler remembers
AHEAD = 4  # calls with Dask for each of its threads
LOOK = 0.5  # seconds between two looks at the connection
CONNECT = 3.0  # seconds that a try to connect may take

_encoder = msgspec.msgpack.Encoder(enc_hook=lambda handler: handler.index)
_decoder = msgspec.msgpack.Decoder(Call)
_replies = msgspec.msgpack.Decoder(Reply)


@lru_cache(8)
def _router(module: str, file: str, name: str) -> Router:
    return Router(Application(module, file, name).load())


def names(where: tuple[str, str, str]) -> list[str]:
    """On a Dask worker: the functions of the application, in the table's order."""
    return [handler.name for handler in _router(*where).handlers]


def work(where: tuple[str, str, str], data: bytes, key: str) -> bytes:
    """On a Dask worker: perform a call. What comes in parts elsewhere is sent as a whole from here."""
    if key.startswith(ONCE) and not _begin(key):
        raise BegunError
    call = _decoder.decode(data)
    force_setattr(call, "handler", _router(*where).handlers[call.handler])
    reply = perform(call)
    if type(reply.body) is Parts:
        parts: list[bytes] = []
        failure = reply.body.pump(lambda: True, parts.append)
        reply = replace(reply, body=b"".join(parts), traceback=failure)
    return _encoder.encode(reply)


class BegunError(Exception):
    """Raised where a call was begun before: by a worker that died, before or after it had the result."""


def _begin(key: str) -> bool:
    """On a Dask worker: ask the scheduler whether a call may begin, which it may once."""
    from distributed import get_worker
    from distributed.utils import sync

    worker = get_worker()
    return bool(sync(worker.loop, worker.scheduler.appserver_begin, key=key))


class Once:
    """A plugin of the scheduler: knows which calls have begun."""

    name = "twisted-appserver-once"

    def start(self, scheduler: Any) -> None:
        self._begun: dict[str, None] = {}
        scheduler.handlers["appserver_begin"] = self.begin

    def begin(self, key: str) -> bool:
        if key in self._begun:
            return False
        self._begun[key] = None
        if len(self._begun) > KNOWN:
            del self._begun[next(iter(self._begun))]
        return True


@implementer(IExecutor)
class DaskExecutor:
    """
    Performs calls on a cluster. Twisted must run on asyncio: C{twistd --reactor=asyncio}.

    @param application: where Dask's workers find the functions.
    @param scheduler: its address, like C{tcp://host:8786}; a cluster on this machine is started if empty.
    @param size: of that: how many worker processes; one for each core if C{None}.
    @param upload: whether the application's file is sent to the workers.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        application: Application,
        router: Router,
        scheduler: str = "",
        size: int | None = None,
        upload: bool = False,
    ) -> None:
        self._reactor, self._application, self._router = reactor, application, router
        self._scheduler, self._upload = scheduler, upload
        self.size = size or os.cpu_count() or 1
        self.completed = self.failed = 0
        self._waiting: deque[Job] = deque()
        self._given: dict[Job, Any] = {}  # and their futures
        self._cluster: Any = None
        self._client: Any = None
        self._why = "the cluster starts"
        self._opening: Any = None
        self._timer: Any = None
        self._stopped = False
        self._threads = 0  # of all workers, at the last look

    @property
    def running(self) -> int:
        return min(len(self._given), self.size)

    @property
    def pending(self) -> int:
        return len(self._waiting) + len(self._given) - self.running

    def start(self) -> Deferred[None]:
        loop = getattr(self._reactor, "_asyncioEventloop", None)
        if loop is None:
            raise ConfigurationError(
                "the cluster needs Twisted's reactor on asyncio: twistd --reactor=asyncio"
            )
        try:
            import distributed
        except ImportError as error:
            raise ConfigurationError(f"{error}: install the extra cluster") from None
        self._dask: Any = distributed
        self._loop, self._stopped = loop, False
        started: Deferred[None] = Deferred.fromFuture(loop.create_task(self._open()))
        return started.addCallback(self._look)

    async def _open(self) -> None:
        """
        Connect, and see that the workers have the application.

        @raise ConfigurationError: when that cannot be.
        """
        if not self._scheduler and self._cluster is None:
            self._cluster = await self._dask.LocalCluster(
                n_workers=self.size, threads_per_worker=1, processes=True, dashboard_address=None,
                asynchronous=True, worker_dashboard_address=None,
            )  # fmt: skip
            self._cluster.adapt(minimum=self.size, maximum=self.size)  # which replaces those that are lost
        try:
            client = await self._dask.Client(
                self._cluster or self._scheduler, asynchronous=True, set_as_default=False, timeout=CONNECT
            )
        except OSError as error:
            raise ConfigurationError(f"the scheduler {self._scheduler} cannot be reached: {error}") from None
        try:
            await self._prepare(client)
        except BaseException:
            await client.close()
            raise
        client._timeout = 0  # when the connection is lost all is made anew, the plugin too
        self._client, self._why = client, ""

    async def _prepare(self, client: Any) -> None:
        await client.register_plugin(_plugin(self._dask), name=Once.name)
        if self._upload and self._application.file:
            await client.upload_file(self._application.file)
        workers = await client.run(names, self._where, on_error="return")
        mine = [handler.name for handler in self._router.handlers]
        for address, found in workers.items():
            if isinstance(found, BaseException):
                raise ConfigurationError(f"the worker {address} cannot import the application: {found}")
            if found != mine:
                raise ConfigurationError(f"the worker {address} has other url_patterns than the server")
        await self._count(client)

    async def _count(self, client: Any) -> None:
        """How many threads there are, for as many calls at the same time."""
        with suppress(OSError):  # the connection is lost, which is noticed
            self._threads = sum((await client.nthreads()).values())
            if self._threads > self.size:
                self.size = self._threads
                self._give()

    @property
    def _where(self) -> tuple[str, str, str]:
        where = self._application
        if self._upload and where.file:  # it was put on the path of the workers
            return (os.path.splitext(os.path.basename(where.file))[0], "", where.name)
        return (where.module, where.file, where.name)

    def _look(self, _: None = None) -> None:
        """See, time after time, that there is a connection; make another when it is lost."""
        if self._stopped:
            return
        self._timer = self._reactor.callLater(LOOK, self._look)
        if self._client is not None and self._client.status != "running":
            self.log.error("the scheduler is gone")
            self._why, self._client = "the scheduler is gone", None
        if self._client is not None:
            self._loop.create_task(self._count(self._client))
        elif self._opening is None:
            self._opening = self._loop.create_task(self._open())
            self._opening.add_done_callback(self._opened)

    def _opened(self, opening: Any) -> None:
        self._opening = None
        if opening.cancelled():
            return
        if (error := opening.exception()) is not None:
            self._why = str(error)
        else:
            self.log.info("connected to the scheduler again")
            self._give()

    def unready(self) -> str:
        if self._client is not None and not self._threads:
            return "the cluster has no workers"
        return self._why

    def jobs(self) -> tuple[Sequence[Job], Sequence[Job]]:
        given = list(self._given)
        return given[: self.size], [*given[self.size :], *self._waiting]

    def submit(self, job: Job) -> None:
        if self._client is None:
            raise HTTPError(503, self._why or "the cluster starts", [("retry-after", "1")])
        self._waiting.append(job)
        self._give()

    def _give(self) -> None:
        while self._client is not None and self._waiting and len(self._given) < AHEAD * self.size:
            job = self._waiting.popleft()
            begins = AGAIN if job.call.handler.idempotent else ONCE
            key = begins + uuid4().hex
            future = self._client.submit(
                work, self._where, _encoder.encode(job.call), key, key=key, pure=False
            )
            self._given[job] = future
            self._loop.create_task(self._await(job, future))

    async def _await(self, job: Job, future: Any) -> None:
        outcome: Reply | HTTPError
        try:
            outcome = _replies.decode(await future)
        except (asyncio.CancelledError, self._dask.client.FutureCancelledError):
            outcome = HTTPError(503, "the call was lost with the scheduler, whether it ran or not")
        except (self._dask.scheduler.KilledWorker, BegunError):
            outcome = HTTPError(502, "the cluster's worker died while it was running the call")
        except Exception as error:
            self.log.error("{route} could not be performed: {why!r}", route=job.call.handler.name, why=error)
            outcome = HTTPError(
                500, f"the cluster could not perform the call: {type(error).__name__}: {error}"
            )
        self._given.pop(job, None)
        if isinstance(outcome, Reply) and outcome.status < 500:
            self.completed += 1
        else:
            self.failed += 1
        job.callback(outcome) if isinstance(outcome, Reply) else job.errback(outcome)
        self._give()

    def cancel(self, job: Job) -> None:
        with suppress(ValueError):
            self._waiting.remove(job)
            return
        if job in self._given and self._client is not None:  # Dask drops it if it has not begun
            self._loop.create_task(self._client.cancel([self._given[job]], force=True))

    def stop(self) -> Deferred[None]:
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._why = "the server is stopping"
        for job in [*self._waiting, *self._given]:
            job.errback(HTTPError(503, "the server is stopping"))
        self._waiting.clear()
        client, self._client = self._client, None
        cluster, self._cluster = self._cluster, None
        if client is None and cluster is None and self._opening is None:
            return succeed(None)
        return Deferred.fromFuture(self._loop.create_task(self._close(client, cluster)))

    async def _close(self, client: Any, cluster: Any) -> None:
        if self._opening is not None:
            self._opening.cancel()
        for each in (client, cluster):
            if each is not None:
                await each.close()


def _plugin(dask: Any) -> Any:
    return type("OncePlugin", (Once, dask.SchedulerPlugin), {})()
