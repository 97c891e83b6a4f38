"""Both clients of queues with the same interface, so that the same cases run over both."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.web.client import Agent, HTTPConnectionPool

from tests.support.faulty_proxy import FaultyProxy
from tests.support.queue_server import Server
from twisted_appserver.tqueue.client import Queue
from twisted_appserver.tqueue.client.async_queue import AsyncQueue


class BlockingAsyncQueue:
    """An AsyncQueue with the methods of Queue, for threads other than the reactor's."""

    def __init__(self, queue: AsyncQueue) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._queue, name)
        if not callable(method):
            return method
        return lambda *args, **options: blockingCallFromThread(reactor, method, *args, **options)  # type: ignore[arg-type]

    @contextmanager
    def block(self, **options: Any) -> Iterator[Any]:
        """Like C{task()}, but C{as} receives the block itself."""
        task = self._queue.task(**options)
        self._wait(task.__aenter__())
        try:
            yield task
        except BaseException as error:
            self._wait(task.__aexit__(type(error), error, None))
            raise
        self._wait(task.__aexit__(None, None, None))

    @property
    def patience(self) -> float:
        return self._queue.patience

    @patience.setter
    def patience(self, seconds: float) -> None:
        self._queue.patience = seconds

    def _wait(self, coroutine: Any) -> Any:
        return blockingCallFromThread(reactor, Deferred.fromCoroutine, coroutine)  # type: ignore[arg-type]


class QueueWithBlocks(Queue):
    @contextmanager
    def block(self, **options: Any) -> Iterator[Any]:
        task = self.task(**options)
        with task:
            yield task


class ClientCase:
    """What a case needs: a server, a proxy in front of it, and a way to make queues."""

    def __init__(self, test: Clients, store: str = "memory:") -> None:
        self.test = test
        self.server = Server(store).start()
        self.proxy = FaultyProxy(self.server.port)
        self.admin = Queue(0, self.server.url, "q")

    def queue(self, **options: Any) -> Any:
        return self.test.make(self.proxy.url, **options)

    def stats(self) -> dict[str, Any]:
        return self.admin.stats()

    def close(self) -> None:
        self.admin._pool.close()
        self.proxy.close()
        self.server.signal(signal.SIGCONT)
        self.server.kill()


class Clients:
    """
    Runs each case in a thread.

    @cvar store: the store of the server.
    """

    store = "memory:"

    def make(self, url: str, **options: Any) -> Any:
        raise NotImplementedError

    def run_case(self, case: Callable[[ClientCase], None]) -> Deferred[None]:
        def run() -> None:
            here = ClientCase(self, self.store)
            try:
                case(here)
            finally:
                here.close()

        return deferToThread(run)  # type: ignore[no-any-return]


class QueueClients(Clients):
    """Makes a L{Queue}."""

    def make(self, url: str, **options: Any) -> Any:
        queue = QueueWithBlocks(0, url, **{"name": "q", **options})
        self.addCleanup(self.stop_renewing, queue)
        return queue

    def stop_renewing(self, queue: Queue) -> None:
        """Stop renewing leases at the end of a test."""
        queue._session.tasks.drop_all()
        queue._session.tasks.unfinished.clear()
        queue._pool.close()


class AsyncQueueClients(Clients):
    """Makes an L{AsyncQueue}, and calls it from the thread of the case."""

    def setUp(self) -> None:
        pool = HTTPConnectionPool(reactor)  # type: ignore[no-untyped-call]
        self.addCleanup(pool.closeCachedConnections)
        self.treq = treq.client.HTTPClient(Agent(reactor, pool=pool))
        self.made: list[AsyncQueue] = []
        self.renewals: list[Deferred[None]] = []
        self.addCleanup(self.stop_renewing)

    def stop_renewing(self) -> Deferred[Any]:
        """Stop renewing leases at the end of a test, and wait for renewals in progress."""
        for queue in self.made:
            queue._session.tasks.drop_all()
            queue._session.tasks.unfinished.clear()
            queue._start_or_stop_renewing()
        return gatherResults(self.renewals)

    def renew(self, queue: AsyncQueue) -> Deferred[None]:
        self.renewals.append(Deferred.fromCoroutine(AsyncQueue._renew(queue)))
        return self.renewals[-1]

    def make(self, url: str, **options: Any) -> Any:
        queue = AsyncQueue(url, **{"name": "q", "treq_client": self.treq, **options})
        self.made.append(queue)
        queue._renew = partial(self.renew, queue)  # type: ignore[method-assign, assignment]
        return BlockingAsyncQueue(queue)
