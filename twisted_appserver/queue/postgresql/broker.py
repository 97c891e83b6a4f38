"""The broker of a server that shares its queues with other servers through a database.

Strategy: the database holds everything, so every request goes there. A request that cannot succeed yet waits
in L{pending_requests} and is tried again when something has changed: after a request of this server, after a
notification of another server, and once a second for leases and delays that have ended and for notifications
that were lost. Any role of the database can send notifications, so they only cause another try, and a
deletion is looked up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from twisted_appserver.queue.attempt import RetryAfter, TaskDetails
from twisted_appserver.queue.config import Config
from twisted_appserver.queue.interface import NO_PROGRESS, SHUTDOWN, STOPPING, Ended, IBroker, StoreError
from twisted_appserver.queue.paging import NEWEST, START, Place
from twisted_appserver.queue.postgresql.known_deletions import KnownDeletions
from twisted_appserver.queue.postgresql.locked_queue import Effects
from twisted_appserver.queue.postgresql.many_requests import ManyRequests
from twisted_appserver.queue.postgresql.outbox_requests import OutboxRequests
from twisted_appserver.queue.postgresql.pending_requests import AWAY, TIMEOUT_RESULTS, PendingRequests
from twisted_appserver.queue.postgresql.repeated_calls import RepeatedCalls
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.postgresql.request_counts import RequestCounts
from twisted_appserver.queue.postgresql.result_waiters import ResultWaiters
from twisted_appserver.queue.postgresql.session import SPECIAL, PostgreSQLStore
from twisted_appserver.queue.postgresql.snapshots import Snapshots
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.store_health import StoreHealth
from twisted_appserver.queue.task_result import TaskResult

POLL_INTERVAL = 1.0  # seconds
DELETE_INTERVAL = 60.0  # seconds between two deletions of what has expired
CLOSE_TIMEOUT = 10.0  # seconds that the end of the server waits for the database
VERBS = {"getters": "get", "putters": "put", "joiners": "join"}  # the requests that wait, by waiters


@implementer(IBroker)
class PostgreSQLBroker:
    """
    The broker of one server among several. Requests that wait at one server are served in order.

    @param reactor: an C{IReactorTime} and C{IReactorFromThreads}.
    @param max_queues: the maximum number of queues.
    """

    log = Logger()

    def __init__(self, reactor: Any, store: PostgreSQLStore, max_queues: int = 10_000) -> None:
        self._reactor, self.store, self._max_queues = reactor, store, max_queues
        self.pending = PendingRequests(reactor, lambda request: self.store.ask(request), lambda: store.away)
        self._results = ResultWaiters(reactor, self.pending)
        self._outbox = OutboxRequests(self.pending, lambda request: self.store.ask(request))
        self._many = ManyRequests(self.pending, self._give_back)
        self._counts = RequestCounts(reactor.seconds)
        self.durations = self._counts.durations.by_outcome
        self._repeated = RepeatedCalls(reactor)
        self._snapshots = Snapshots(reactor, self._take_snapshot)
        self._deletions = KnownDeletions()
        self._health = StoreHealth(reactor, self._write_nothing)
        self.secret, self.started, self.shared = b"", False, True

    def start(self) -> None:
        if self.started:
            return
        self.secret = self.store.open(self._reactor, self._max_queues, self._answered, self._notified)
        self.started, self.pending.stopping = True, False
        self._repeated.begin(POLL_INTERVAL, self._poll)
        self._repeated.begin(DELETE_INTERVAL, self._delete_expired)

    def unready(self) -> str:
        return AWAY if self.store.away else self._health.trouble

    async def check(self) -> None:
        await self._health.check()

    def _write_nothing(self) -> Deferred[None]:
        request = Request("check", "")
        request.deferred = Deferred()
        self.store.ask(request)
        return request.deferred  # type: ignore[no-any-return]

    def stop_waiting(self) -> None:
        self.pending.stop_waiting()
        self._results.wake_all(STOPPING)

    def stop(self) -> Deferred[None]:
        self.stop_waiting()
        if not self.started:
            return succeed(None)
        self._repeated.stop()
        self.started = False
        closed = self.store.close().addTimeout(CLOSE_TIMEOUT, self._reactor)
        return closed.addErrback(lambda _: self.log.warn("the database does not answer: waiting no longer"))

    # Requests of clients.

    async def put(
        self, name: str, task: QueuedTask, key: str = "", timeout: float = 0.0, delay: float = 0.0
    ) -> QueuedTask | str:
        submitted = self.pending.submit(Request("put", name, task=task, key=key, delay=delay), timeout)
        self.pending.retry(name, "get", 1)  # in the same transaction
        return await submitted  # type: ignore[no-any-return]

    async def put_many(
        self, name: str, tasks: list[QueuedTask], key: str = "", timeout: float = 0.0, delay: float = 0.0
    ) -> list[QueuedTask] | str:
        submitted = self.pending.submit(Request("put", name, tasks=tasks, key=key, delay=delay), timeout)
        self.pending.retry(name, "get", len(tasks))  # in the same transaction
        return await submitted  # type: ignore[no-any-return]

    async def get(
        self, name: str, seconds: float | None = None, key: str = "", timeout: float = 0.0, by: str = ""
    ) -> QueuedTask | str:
        return await self.pending.submit(Request("get", name, seconds=seconds, key=key, by=by), timeout)  # type: ignore[no-any-return]

    async def done(self, name: str, number: int, delivery: int = 0, result: bytes = b"") -> QueuedTask | None:
        return await self.pending.submit(Request("done", name, number=number, delivery=delivery, body=result))  # type: ignore[no-any-return]

    async def get_many(
        self,
        name: str,
        count: int,
        seconds: float | None = None,
        key: str = "",
        timeout: float = 0.0,
        by: str = "",
    ) -> list[QueuedTask] | str:
        return await self._many.get(name, count, seconds, key, timeout, by)

    async def done_many(self, name: str, tasks: Sequence[Ended], failed: Collection[int] = ()) -> list[bool]:
        return await self._many.done(name, tasks, failed)

    async def result(self, name: str, number: int, timeout: float = 0.0) -> TaskResult | str | None:
        return await self._results.result(name, number, timeout)

    async def extend(
        self, name: str, number: int, seconds: float | None = None, delivery: int = 0
    ) -> QueuedTask | None:
        request = Request("extend", name, number=number, delivery=delivery, seconds=seconds)
        return await self.pending.submit(request)  # type: ignore[no-any-return]

    async def renew(
        self,
        name: str,
        tasks: list[tuple[int, int]],
        seconds: float | None = None,
        progress: Mapping[int, bytes] = NO_PROGRESS,
    ) -> list[bool]:
        return await self._many.renew(name, tasks, seconds, progress)

    async def progress(self, name: str, numbers: list[int]) -> dict[int, bytes]:
        return await self.pending.submit(Request("progress", name, numbers=numbers))  # type: ignore[no-any-return]

    async def release(
        self, name: str, number: int, delay: float = 0.0, delivery: int = 0
    ) -> QueuedTask | None:
        request = Request("release", name, number=number, delivery=delivery, delay=delay)
        return await self.pending.submit(request)  # type: ignore[no-any-return]

    async def fail(
        self, name: str, number: int, delivery: int, failure: tuple[str, str], retry: RetryAfter
    ) -> tuple[QueuedTask, float | Literal[False]] | None:
        request = Request("fail", name, number=number, delivery=delivery, failure=failure)
        request.state, request.seconds = ("buried", 0.0) if retry is False else ("ready", retry)
        return await self.pending.submit(request)  # type: ignore[no-any-return]

    async def show(self, name: str, number: int) -> TaskDetails | None:
        return await self.pending.submit(Request("show", name, number=number))  # type: ignore[no-any-return]

    async def errors(self, name: str, numbers: list[int]) -> dict[int, str]:
        return await self.pending.submit(Request("errors", name, numbers=numbers))  # type: ignore[no-any-return]

    async def bury(self, name: str, number: int, delivery: int = 0) -> QueuedTask | None:
        return await self.pending.submit(Request("bury", name, number=number, delivery=delivery))  # type: ignore[no-any-return]

    async def drop(self, name: str, number: int, result: bytes = b"") -> QueuedTask | None:
        return await self.pending.submit(Request("drop", name, number=number, body=result))  # type: ignore[no-any-return]

    async def free(self, name: str, unique: str) -> bool:
        return await self.pending.submit(Request("free", name, key=unique))  # type: ignore[no-any-return]

    async def forget(self, name: str, number: int) -> None:
        await self.pending.submit(Request("forget", name, number=number))

    async def ended(self, name: str, count: int, size: int, before: Place = NEWEST) -> list[TaskResult]:
        return await self.pending.submit(Request("ended", name, count=count, number=size, place=before))  # type: ignore[no-any-return]

    async def kick_task(self, name: str, number: int) -> QueuedTask | None:
        return await self.pending.submit(Request("kick_task", name, number=number))  # type: ignore[no-any-return]

    async def edit(self, name: str, number: int, body: bytes) -> QueuedTask | None:
        return await self.pending.submit(Request("edit", name, number=number, body=body))  # type: ignore[no-any-return]

    async def kick(self, name: str, count: int, key: str = "") -> int:
        return await self.pending.submit(Request("kick", name, count=count, key=key))  # type: ignore[no-any-return]

    async def join(self, name: str, timeout: float = 0.0) -> tuple[int, int]:
        found = await self.pending.submit(Request("join", name), timeout)
        if isinstance(found, tuple) or found == STOPPING:
            return found  # type: ignore[no-any-return]
        stats = await self.stats(name)
        return stats["unfinished"], stats["buried"]

    async def change(self, name: str, changes: dict[str, Any]) -> Config:
        return await self.pending.submit(Request("change", name, changes=changes))  # type: ignore[no-any-return]

    async def purge(self, name: str, key: str = "") -> int:
        return await self.pending.submit(Request("purge", name, key=key))  # type: ignore[no-any-return]

    async def delete(self, name: str) -> None:
        await self.pending.submit(Request("delete", name))

    async def config(self, name: str) -> Config:
        return await self.pending.submit(Request("config", name))  # type: ignore[no-any-return]

    async def peek(self, name: str, count: int, state: str, after: Place = START) -> list[QueuedTask]:
        return await self.pending.submit(Request("peek", name, count=count, state=state, place=after))  # type: ignore[no-any-return]

    async def stats(self, name: str) -> dict[str, Any]:
        found = await self.pending.submit(Request("stats", name))
        waiting = {waiters: self.pending.count(name, verb) for waiters, verb in VERBS.items()}
        return {**found, **self._counts.of(name), **waiting}

    async def qsizes(self, name: str | None = None) -> dict[str, int]:
        return await self.pending.submit(Request("qsizes", name or ""))  # type: ignore[no-any-return]

    def snapshot(self) -> dict[str, dict[str, Any]]:
        return self._snapshots.last(self.started and not self.pending.stopping)

    async def _take_snapshot(self) -> dict[str, dict[str, Any]]:
        return {name: await self.stats(name) for name in await self.qsizes()}

    # Results of the store.

    def _answered(self, requests: Iterable[Request], effects: Effects) -> None:
        served = set()
        for request in requests:
            self.pending.performed(request)
            if request.verb in SPECIAL:
                getattr(self, f"_after_{request.verb}")(request)
            elif request.pending:
                self.pending.still_pending(request)
            elif request.abandoned:
                self._give_back(request)
            else:
                self._note_result(request)
                served.add((request.name, request.verb))
                self.pending.finish(request, request.result)
        self._counts.note_ended(effects.counts)
        self.pending.pause(effects.pauses)
        for name, waiters in effects.changed:
            self._changed(name, waiters)
        for name, verb in served:
            self.pending.retry(name, verb)

    def _note_result(self, request: Request) -> None:
        result = request.result
        if request.verb == "put" and isinstance(result, QueuedTask | StoreError | list):
            self._health.note(result if isinstance(result, StoreError) else "")
        self._counts.note(request)

    def _give_back(self, request: Request) -> None:
        """
        Release the task of a get whose client is gone.

        The get still counts as a delivery, because by now other clients may have got tasks that were put
        later.
        """
        task = request.result
        new = request.verb == "get" and not request.found_again
        if new and isinstance(task, QueuedTask) and not self.pending.stopping:
            number, delivery = task.number, task.deliveries
            back = Request("release", request.name, number=number, delivery=delivery, lease=task.lease)
            self.pending.submit(back).addErrback(
                lambda failure: self.log.warn("a task was not given back: {e}", e=failure.value)
            )

    def _changed(self, name: str, waiters: str) -> None:
        """Try waiting requests again. C{waiters} is as in L{Effects.changed}."""
        if waiters == "outbox":
            return self._outbox.move(name)
        if waiters not in ("getters", "putters"):
            self._results.wake(name)
            if waiters == "results":
                return
        if waiters in VERBS:
            self.pending.retry(name, VERBS[waiters])
            return
        if waiters == "gone":
            self._counts.forget(name)
        for verb in TIMEOUT_RESULTS:
            if waiters == "gone":
                self.pending.finish_all(name, verb, (0, 0) if verb == "join" else SHUTDOWN)
            self.pending.retry(name, verb)

    def _notified(self, notification: tuple[str, str] | None) -> None:
        if notification is None:
            self.pending.retry_all()
            self._results.wake_all()
            return
        waiters, name = notification
        if waiters == "gone":
            self.store.ask(Request("last_deletion", name))
        else:
            self._changed(name, waiters)

    def _after_last_deletion(self, request: Request) -> None:
        """
        Check a notification of a deletion: it is true if the queue was deleted since the last known deletion.
        """
        number, name = request.result or 0, request.name
        if self._deletions.is_new(name, number, self.store.database.last_deletion):
            self._changed(name, "gone")

    def _after_check(self, request: Request) -> None:
        self.pending.finish(request, request.result)

    _after_look_into_outbox = _after_check

    def _after_delete_expired(self, request: Request) -> None:
        """Drop the counts of queues that do not exist any more and have no requests here."""
        if (names := request.result) is not None:
            self._counts.keep(names.union(self.pending.queues()))

    # Timers.

    def _poll(self) -> None:
        if self.store.watchdog.abort_if_late():
            self.log.warn("the database does not answer: the connection was aborted")
        self.pending.fail_late()
        self._outbox.look()
        self.pending.retry_all(1)
        self._results.wake_all()

    def _delete_expired(self) -> None:
        if not self.store.away:
            self.store.ask(Request("delete_expired", ""))
