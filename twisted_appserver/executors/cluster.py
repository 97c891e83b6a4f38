"""Calls performed on a Dask cluster (extra C{cluster}), for functions that outgrow one machine.

Strategy: a call travels as bytes to L{work}, which looks its function up in the application that it imports
by name, as a worker process does; nothing of the user's is pickled. The worker's table may be another than
the server's, so a function is known by its pattern, methods and name, not by its place. A task of Dask's
costs some milliseconds, so it carries several calls where they are known to be quick, from what calls of the
same function took before. A few tasks more than there are threads are with Dask, further calls wait here,
where they can be dropped. Dask runs a task again when its worker dies, also if it had ended and its result
was still there, and that is not ours to allow: before one begins, it asks L{Once} on the scheduler whether it
may, unless the routes say that its calls are idempotent. When the scheduler is gone, all is made anew as soon
as it is back.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from time import monotonic
from typing import Any
from uuid import uuid4

import msgspec
from msgspec.structs import replace
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from twisted_appserver.core.application import Application
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.perform import error_reply, perform, problem_reply
from twisted_appserver.core.router import Router
from twisted_appserver.core.streaming import Parts
from twisted_appserver.errors import AppserverError, ConfigurationError, HTTPError
from twisted_appserver.executors.call_costs import CallCosts
from twisted_appserver.executors.interface import IExecutor, PendingCall
from twisted_appserver.executors.processes.frames import Received, Seconds, check

ONCE, AGAIN = "appserver-once-", "appserver-again-"  # begin the keys of tasks that may run once, or again
AHEAD = 2  # tasks with Dask for each of its threads
PARCEL = 8  # calls that a task may carry,
WHOLE = 64 * 1024 * 1024  # bytes of an answer in parts, which is sent as a whole
BUDGET = 0.15  # and the seconds that all of them are expected to take
HOLD = 0.003  # seconds that calls wait for others to share their task, where every thread has one
LOOK = 0.5  # seconds between two looks at the connection
CONNECT = 3.0  # seconds that a try to connect may take
SILENCE = 5.0  # seconds after which a scheduler that does not answer counts as hung
# Defaults for Dask in a cluster of our own, without a dashboard: nobody sees these profiles and measurements,
# which cost 4 % of a machine of two cores. U{https://docs.dask.org/en/stable/configuration.html}
UNSEEN = {
    "distributed": {
        "worker": {"profile": {"enabled": False}},
        "admin": {"tick": {"interval": "500 ms"}, "system-monitor": {"interval": "5 s"}},
    }
}
OTHER = "the call was not run: the cluster's worker has other url_patterns than the server, restart it"
LISTENS = {"protocol": ["tcp://", "inproc://"], "host": ["127.0.0.1", None]}  # for its workers, and for us


def _plain(value: Handler | str) -> str:
    """As C{_sign}; the text of a subclass of C{str}."""
    return str.__str__(value) if isinstance(value, str) else _sign(value)


def _sign(handler: Handler) -> str:
    """What a function is known by here and on the workers, whose table may be older or newer."""
    entry = handler.router.entries[handler.index]
    return f"{handler.name} {entry.regex} {' '.join(sorted(entry.methods))}"


def _signed(router: Router) -> dict[str, Handler]:
    return {_sign(handler): handler for handler in reversed(router.handlers)}  # the first of equals counts


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_decoder = msgspec.msgpack.Decoder(list[Call])
_replies = msgspec.msgpack.Decoder(list[tuple[Received, Seconds]])


@lru_cache(8)
def _table(module: str, file: str, name: str) -> dict[str, Handler]:
    return _signed(Router(Application(module, file, name).load()))


def signs(where: tuple[str, str, str], uploaded: bool) -> list[str]:
    """On a Dask worker: what the functions of the application are known by."""
    if uploaded:  # and imported again
        _table.cache_clear()
    return list(_table(*where))


def work(where: tuple[str, str, str], data: bytes, key: str) -> bytes:
    """On a Dask worker: perform calls, one after the other. Returns the replies, and the seconds of each."""
    if key.startswith(ONCE) and not _begin(key):
        raise BegunError
    table, outcomes = _table(*where), []
    for call in _decoder.decode(data):
        began = monotonic()
        handler = table.get(call.handler)
        if handler is None:
            reply = problem_reply(HTTPError(503, OTHER), call.request_id)
        else:
            call = replace(call, handler=handler)
            reply = _whole(perform(call), call)
        outcomes.append((reply, monotonic() - began))
    return _encoder.encode(outcomes)


def _whole(reply: Reply, call: Call) -> Reply:
    """What comes in parts elsewhere is sent as a whole from here, or not at all."""
    if type(reply.body) is not Parts:
        return reply
    whole = bytearray()
    failure = reply.body.produce(lambda: len(whole) <= WHOLE, whole.extend)
    if failure is None:
        failure = reply.body.close() or f"on a cluster an answer in parts may have {WHOLE} bytes"
    if (error := reply.body.take_error()) is not None:
        reply = error_reply(error, call)
        error = None  # its traceback refers to this frame
        return reply
    if failure:
        why = HTTPError(500, "the function failed; the log says why under this instance")
        return replace(problem_reply(why, call.request_id), traceback=failure)
    return replace(reply, body=bytes(whole))


class BegunError(AppserverError):
    """Raised when a task was begun before: by a worker that died, before or after it had the result."""


def _begin(key: str) -> bool:
    """On a Dask worker: ask the scheduler whether a task may begin, which it may once."""
    from distributed import get_worker
    from distributed.utils import sync

    worker = get_worker()
    return bool(sync(worker.loop, worker.scheduler.appserver_begin, key=key))


class Once:
    """A plugin of the scheduler: knows which of its tasks have begun. What it has forgotten never begins."""

    name, idempotent = "twisted-appserver-once", True  # one for all servers, and when they connect again

    def start(self, scheduler: Any) -> None:
        self._begun: set[str] = set()
        self._tasks = scheduler.tasks
        scheduler.handlers["appserver_begin"] = self.begin

    def begin(self, key: str) -> bool:
        if key in self._begun or key not in self._tasks:
            return False
        self._begun.add(key)
        return True

    def transition(self, key: str, start: str, finish: str, *args: Any, **more: Any) -> None:
        if finish == "forgotten":
            self._begun.discard(key)


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
    parked, now = 0, None  # answers in parts are sent as a whole

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
        self._least = 1 if scheduler else self.size
        self.completed = self.failed = 0
        self._waiting: deque[PendingCall] = deque()
        self._given: dict[PendingCall, Any] = {}  # and the futures of their tasks
        self._tasks: dict[Any, list[PendingCall]] = {}  # what each of these carries
        self._costs = CallCosts()
        self._kicked: Any = None  # the timer that gives calls to Dask
        self._cluster: Any = None
        self._client: Any = None
        self._why = "the cluster starts"
        self._opening: Any = None
        self._timer: Any = None
        self._stopped = False
        self._counting: Any = None
        self._threads = 0  # of all workers, at the last look
        self._silent = False  # whether the scheduler did not answer then

    @property
    def running(self) -> int:
        return min(len(self._tasks), self.size)

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
        started: Deferred[None] = Deferred.fromFuture(self._try())
        started.addErrback(lambda failure: failure.trap(asyncio.CancelledError) and None)  # by stop
        return started.addCallback(self._look)

    def _try(self) -> Any:
        self._opening = self._loop.create_task(self._open())
        self._opening.add_done_callback(self._opened)
        return self._opening

    async def _open(self) -> None:
        """
        Connect, and see that the workers have the application.

        @raise ConfigurationError: when that cannot be.
        """
        if not self._scheduler and self._cluster is None:
            import dask.config

            dask.config.update_defaults(UNSEEN)
            making = asyncio.ensure_future(self._dask.LocalCluster(
                n_workers=self.size, threads_per_worker=1, processes=True, dashboard_address=None,
                asynchronous=True, worker_dashboard_address=None, scheduler_kwargs=LISTENS,
            ))  # fmt: skip
            try:
                await asyncio.shield(making)
            finally:  # also when this is cancelled, since workers that are half made cannot be closed
                self._cluster = await making
            self._cluster.adapt(minimum=self.size, maximum=self.size)  # which replaces those that are lost
        local = self._cluster and self._cluster.scheduler.listeners[1].contact_address
        client = self._dask.Client(
            local or self._scheduler, asynchronous=True, set_as_default=False, timeout=CONNECT
        )
        try:
            await client
            await self._prepare(client)
            client._timeout = 0  # when the connection is lost all is made anew, the plugin too
            self._client, self._why = client, ""
        except OSError as error:
            raise ConfigurationError(f"the scheduler {self._scheduler} cannot be reached: {error}") from None
        finally:
            if self._client is not client:
                await client.close()

    async def _prepare(self, client: Any) -> None:
        await client.register_plugin(_plugin(self._dask), name=Once.name)
        if self._upload and self._application.file:
            await client.upload_file(self._application.file)
        workers = await client.run(signs, self._where, self._upload, on_error="return")
        mine = list(_signed(self._router))
        for address, found in workers.items():
            if isinstance(found, BaseException):
                raise ConfigurationError(f"the worker {address} cannot import the application: {found}")
            if found != mine:
                raise ConfigurationError(f"the worker {address} has other url_patterns than the server")
        await self._count(client)

    async def _count(self, client: Any) -> None:
        """How many threads there are, for as many calls at the same time."""
        try:
            self._threads = sum((await asyncio.wait_for(client.nthreads(), SILENCE)).values())
        except OSError:  # it takes too long, or the connection is lost
            self._silent = True
            return
        self._silent = False
        before, self.size = self.size, max(self._threads, self._least)
        if self.size > before:
            self._kick()

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
        if self._client is not None and not self._connected:
            self.log.error("the scheduler is gone")
            self._why, self._client = "the scheduler is gone", None
            waiting, self._waiting = self._waiting, deque()
            for job in waiting:
                self._ended(job, HTTPError(503, self._why, [("retry-after", "1")]))
        if self._client is not None:
            if self._counting is None or self._counting.done():
                self._counting = self._loop.create_task(self._count(self._client))
        elif self._opening is None:
            self._try()

    def _opened(self, opening: Any) -> None:
        self._opening = None
        if opening.cancelled():
            return
        if (error := opening.exception()) is not None:
            self._why = str(error)
        else:
            self.log.info("connected to the scheduler")
            self._kick()

    def adopt(self, router: Router) -> None:
        """Serve this table from now on. Workers are compared with it when they are connected to again."""
        self._router = router
        self._costs.clear()

    def unready(self) -> str:
        if self._client is not None and self._silent:
            return "the scheduler does not answer"
        if self._client is not None and not self._threads:
            return "the cluster has no workers"
        return self._why

    def calls(self) -> tuple[Sequence[PendingCall], Sequence[PendingCall]]:
        given = list(self._given)
        return given[: self.size], [*given[self.size :], *self._waiting]

    @property
    def _connected(self) -> bool:
        return not self._stopped and self._client is not None and self._client.status == "running"

    def submit(self, job: PendingCall) -> None:
        if not self._connected:
            raise HTTPError(503, self._why or "the scheduler is gone", [("retry-after", "1")])
        self._waiting.append(job)
        self._kick()

    def _kick(self) -> None:
        """Give calls to Dask at the end of this reactor turn, or later if all threads have a task."""
        seconds = HOLD if len(self._tasks) >= self.size else 0
        if self._kicked is None:
            self._kicked = self._reactor.callLater(seconds, self._give)
        elif not seconds:
            self._kicked.reset(0)

    def _give(self) -> None:
        self._kicked = None
        while self._connected and self._waiting and len(self._tasks) < AHEAD * self.size:
            jobs = self._parcel()
            key = (AGAIN if jobs[0].call.handler.idempotent else ONCE) + uuid4().hex
            data = _encoder.encode([job.call for job in jobs])
            future = self._client.submit(work, self._where, data, key, key=key, pure=False)
            self._tasks[future] = jobs
            self._given.update(dict.fromkeys(jobs, future))
            self._loop.create_task(self._await(jobs, future))

    def _parcel(self) -> list[PendingCall]:
        """The calls that go into the next task: at most its share of all that are with Dask or wait."""
        share = -(-(len(self._given) + len(self._waiting)) // (AHEAD * self.size))
        jobs = [self._waiting.popleft()]
        first = jobs[0].call.handler
        seconds = self._costs.expected(first, BUDGET)
        while self._waiting and len(jobs) < min(PARCEL, share):
            handler = self._waiting[0].call.handler
            seconds += self._costs.expected(handler, BUDGET)
            if seconds > BUDGET or handler.idempotent != first.idempotent:
                break
            jobs.append(self._waiting.popleft())
        return jobs

    async def _await(self, jobs: list[PendingCall], future: Any) -> None:
        outcomes: Sequence[Reply | HTTPError] = ()
        try:
            replies = _replies.decode(await future)
            for reply, _ in replies:
                check(reply)
                if reply.body is None:
                    raise ValueError("a reply has no body")
            outcomes = [reply for reply, _ in replies]
            for job, (_, seconds) in zip(jobs, replies, strict=True):
                self._costs.learn(job.call.handler, seconds)
        except (asyncio.CancelledError, self._dask.client.FutureCancelledError):
            error = HTTPError(503, "the call was lost with the scheduler, whether it ran or not")
        except (self._dask.scheduler.KilledWorker, BegunError):
            error = HTTPError(502, "the cluster's worker died while it was running the call")
        except Exception as why:
            self.log.error(
                "{route} could not be performed: {why!r}", route=jobs[0].call.handler.name, why=why
            )
            error = HTTPError(500, f"the cluster could not perform the call: {type(why).__name__}: {why}")
        self._tasks.pop(future, None)
        for job in jobs:
            self._given.pop(job, None)
        for job, outcome in zip(jobs, outcomes or [error] * len(jobs), strict=True):
            self._ended(job, outcome)
        self._kick()

    def _ended(self, job: PendingCall, outcome: Reply | HTTPError) -> None:
        if isinstance(outcome, Reply) and outcome.status < 500:
            self.completed += 1
        else:
            self.failed += 1
        job.callback(outcome) if isinstance(outcome, Reply) else job.errback(outcome)

    def cancel(self, job: PendingCall, kill: bool = False) -> None:
        with suppress(ValueError):
            self._waiting.remove(job)
            return
        future = self._given.get(job)
        if future is None or not self._connected:
            return
        if all(each.called for each in self._tasks[future]):  # Dask drops it if it has not begun
            self._loop.create_task(self._client.cancel([future], force=True))

    def stop(self) -> Deferred[None]:
        self._stopped = True
        for timer in (self._timer, self._kicked):
            if timer is not None and timer.active():
                timer.cancel()
        self._timer = self._kicked = None
        self._why = "the server is stopping"
        for job in [*self._waiting, *self._given]:
            job.errback(HTTPError(503, "the server is stopping"))
        self._waiting.clear()
        if self._client is None and self._cluster is None and self._opening is None:
            return succeed(None)
        return Deferred.fromFuture(self._loop.create_task(self._close()))

    async def _close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        client, self._client = self._client, None
        cluster, self._cluster = self._cluster, None
        for each in (client, cluster):
            if each is not None:
                await each.close()


def _plugin(dask: Any) -> Any:
    return type("OncePlugin", (Once, dask.SchedulerPlugin), {})()
