"""The broker of a server that shares its queues with others, by a database.

Strategy: the database is the truth, and is asked for everything. What cannot succeed yet waits in a line
here, and is asked for again when something has changed: by a request of this server, or by one of another,
which the database tells; and once a second, for what the time brings and for tidings that were lost. Any
role of the database can send tidings: they only cause another look, and a deletion is looked up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.logger import Logger
from zope.interface import implementer

from twisted_appserver.queue.interface import EMPTY, FULL, SHUTDOWN, STOPPING, AwayError, IBroker, StoreError
from twisted_appserver.queue.model import Config, Task
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.postgresql.session import SPECIAL, PostgreSQLStore
from twisted_appserver.queue.store_health import Health

GRACE = 5.0  # seconds for which the database may be away before a request that need not wait fails
POLL = 1.0  # seconds
TIDY = 60.0  # seconds
CHUNK = 64  # of those who wait, so many are asked for at once
AWAY = "the database cannot be reached"
DELETED = 10_000  # deletions of queues that are known, so that none is believed twice
LEAVE = 10.0  # seconds for which the end waits for the database
FRESH = 2.0  # seconds for which a snapshot is not taken again
WORDS = {"get": EMPTY, "put": FULL, "join": "late"}
VERBS = {"getters": "get", "putters": "put", "joiners": "join"}  # what waits in each line
COUNTED = {"put": "puts", "get": "gets", "done": "dones"}

_Line = dict[Request, None]  # in the order in which they came


@implementer(IBroker)
class SharedBroker:
    """
    Promises to many clients at once what the database does; those who wait here are served in order.

    @param reactor: an C{IReactorTime} and C{IReactorFromThreads}.
    @param max_queues: how many queues there may be at the same time.
    """

    log = Logger()

    def __init__(self, reactor: Any, store: PostgreSQLStore, max_queues: int = 10_000) -> None:
        self._reactor, self.store, self._max_queues = reactor, store, max_queues
        self._lines: dict[tuple[str, str], _Line] = {}
        self._keys: dict[tuple[str, str, str], Request] = {}
        self._asked: dict[Request, None] = {}  # of the database
        self._looked: set[Request] = set()  # those that are looked up, and whose turn it would be besides
        self._counts: Counter[tuple[str, str]] = Counter()
        self._timers: dict[str, Any] = {}
        self._snapshot: dict[str, dict[str, int]] = {}
        self._taken = float("-inf")
        self._deleted: dict[str, int] = {}  # numbers of deletions that are known, by the names of queues
        self._health = Health(reactor, self._check)
        self.secret = b""
        self.started = self._stopping = False

    def start(self) -> None:
        if self.started:
            return
        self.secret = self.store.open(self._reactor, self._max_queues, self._answered, self._heard)
        self.started, self._stopping = True, False
        self._every(POLL, self._poll)
        self._every(TIDY, self._tidy)

    def unready(self) -> str:
        return AWAY if self.store.away else self._health.trouble

    async def check(self) -> None:
        await self._health.check()

    def _check(self) -> Deferred[None]:
        request = Request("check", "")
        request.deferred = Deferred()
        self.store.ask(request)
        return request.deferred  # type: ignore[no-any-return]

    def _every(self, seconds: float, function: Any) -> None:
        def call() -> None:
            self._timers[function.__name__] = self._reactor.callLater(seconds, call)
            function()

        self._timers[function.__name__] = self._reactor.callLater(seconds, call)

    def stop_waiting(self) -> None:
        self._stopping = True
        for line in list(self._lines.values()):
            for request in [each for each in line if each not in self._asked]:
                self._finish(request, STOPPING)

    def stop(self) -> Deferred[None]:
        self.stop_waiting()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self.started = False
        closed = self.store.close().addTimeout(LEAVE, self._reactor)
        return closed.addErrback(lambda _: self.log.warn("the database does not answer: it is left alone"))

    # What clients ask for.

    async def put(
        self, name: str, task: Task, key: str = "", timeout: float = 0.0, delay: float = 0.0
    ) -> Task | str:
        asked = self._ask(Request("put", name, task=task, key=key, delay=delay), timeout)
        self._serve(name, "get", 1)  # in the same transaction
        return await asked  # type: ignore[no-any-return]

    async def get(
        self, name: str, seconds: float | None = None, key: str = "", timeout: float = 0.0
    ) -> Task | str:
        return await self._ask(Request("get", name, seconds=seconds, key=key), timeout)  # type: ignore[no-any-return]

    async def done(self, name: str, number: int, delivery: int = 0) -> Task | None:
        return await self._ask(Request("done", name, number=number, delivery=delivery))  # type: ignore[no-any-return]

    async def extend(
        self, name: str, number: int, seconds: float | None = None, delivery: int = 0
    ) -> Task | None:
        request = Request("extend", name, number=number, delivery=delivery, seconds=seconds)
        return await self._ask(request)  # type: ignore[no-any-return]

    async def renew(
        self, name: str, tasks: list[tuple[int, int]], seconds: float | None = None
    ) -> list[bool]:
        asked = [
            self._ask(Request("extend", name, number=number, delivery=delivery, seconds=seconds))
            for number, delivery in tasks
        ]
        try:
            answers = await gatherResults(asked, consumeErrors=True)
        except FirstError as error:
            raise error.subFailure.value from None  # type: ignore[misc]
        return [task is not None for task in answers]

    async def release(self, name: str, number: int, delay: float = 0.0, delivery: int = 0) -> Task | None:
        request = Request("release", name, number=number, delivery=delivery, delay=delay)
        return await self._ask(request)  # type: ignore[no-any-return]

    async def bury(self, name: str, number: int, delivery: int = 0) -> Task | None:
        return await self._ask(Request("bury", name, number=number, delivery=delivery))  # type: ignore[no-any-return]

    async def kick(self, name: str, count: int, key: str = "") -> int:
        return await self._ask(Request("kick", name, count=count, key=key))  # type: ignore[no-any-return]

    async def join(self, name: str, timeout: float = 0.0) -> tuple[int, int]:
        found = await self._ask(Request("join", name), timeout)
        if isinstance(found, tuple):
            return found
        if found == STOPPING:
            return found  # type: ignore[no-any-return]
        stats = await self.stats(name)
        return stats["unfinished"], stats["buried"]

    async def change(self, name: str, changes: dict[str, Any]) -> Config:
        return await self._ask(Request("change", name, changes=changes))  # type: ignore[no-any-return]

    async def purge(self, name: str, key: str = "") -> int:
        return await self._ask(Request("purge", name, key=key))  # type: ignore[no-any-return]

    async def delete(self, name: str) -> None:
        await self._ask(Request("delete", name))

    async def config(self, name: str) -> Config:
        return await self._ask(Request("config", name))  # type: ignore[no-any-return]

    async def peek(self, name: str, count: int, state: str) -> list[Task]:
        return await self._ask(Request("peek", name, count=count, state=state))  # type: ignore[no-any-return]

    async def stats(self, name: str) -> dict[str, int]:
        places = await self._ask(Request("stats", name))
        counts = {what: self._counts[name, what] for what in ("puts", "gets", "dones", "returned")}
        waiting = {line: len(self._lines.get((name, verb), ())) for line, verb in VERBS.items()}
        unfinished = sum(places.values()) - places["buried"]
        return {**places, "unfinished": unfinished, **counts, **waiting}

    async def qsizes(self, name: str | None = None) -> dict[str, int]:
        return await self._ask(Request("qsizes", name or ""))  # type: ignore[no-any-return]

    def snapshot(self) -> dict[str, dict[str, int]]:
        now = self._reactor.seconds()
        if self.started and not self._stopping and now > self._taken + FRESH:
            self._taken = now
            Deferred.fromCoroutine(self._take_snapshot()).addErrback(
                lambda failure: self.log.debug("no snapshot: {e}", e=failure.value)
            )
        return self._snapshot

    async def _take_snapshot(self) -> None:
        self._snapshot = {name: await self.stats(name) for name in await self.qsizes()}

    # How.

    def _ask(self, request: Request, timeout: float = 0.0) -> Deferred[Any]:
        """
        @return: fires with what was asked for, or why not.
        """
        request.deferred = Deferred(lambda _: self._leave(request))
        now = self._reactor.seconds()
        request.waits = timeout > 0 and not self._stopping
        request.deadline = now + timeout if request.waits else now
        self._supersede(request)
        line = self._lines.get((request.name, request.verb))
        if line and request.waits:
            self._line_up(request)  # behind those who came before
        if not line or request.key:
            request.look = bool(line)
            self._send(request)
        elif not request.waits:
            self._finish(request, STOPPING if self._stopping else WORDS[request.verb])
        return request.deferred  # type: ignore[no-any-return]

    def _send(self, request: Request) -> None:
        self._asked[request] = None
        self.store.ask(request)

    def _line_up(self, request: Request) -> None:
        line = self._lines.setdefault((request.name, request.verb), {})
        if request not in line:
            line[request] = None
            if request.deadline < float("inf"):
                seconds = max(0.0, request.deadline - self._reactor.seconds())
                request.timer = self._reactor.callLater(seconds, self._late, request)

    def _supersede(self, request: Request) -> None:
        """One that has the key of another, which waits, comes from the same client: it gave the first up."""
        if request.key and request.verb == "get":
            before = self._keys.get((request.verb, request.name, request.key))
            if before is not None:
                self._finish(before, WORDS[before.verb])
            self._keys[request.verb, request.name, request.key] = request

    def _late(self, request: Request) -> None:
        """The time is over; but the answer of the database is waited for, unless it is away."""
        request.timer = None
        if self.store.away:
            self._finish(request, AwayError(AWAY))
        elif request not in self._asked:
            self._finish(request, WORDS[request.verb])

    def _leave(self, request: Request) -> None:
        """Nobody wants the answer any more."""
        request.over = True
        self._asked.pop(request, None)
        self._looked.discard(request)
        if request.timer is not None:
            request.timer.cancel()
            request.timer = None
        whose = (request.verb, request.name, request.key)
        if self._keys.get(whose) is request:
            del self._keys[whose]
        place = (request.name, request.verb)
        line = self._lines.get(place)
        if line is not None and request in line:
            del line[request]
            if not line:
                del self._lines[place]

    def _finish(self, request: Request, answer: Any) -> None:
        self._leave(request)
        if isinstance(answer, Exception):
            request.deferred.errback(answer)
        else:
            request.deferred.callback(answer)

    def _serve(self, name: str, verb: str, count: int = CHUNK) -> None:
        """Ask again for the first of those in a line."""
        for request in list(self._lines.get((name, verb), ()))[:count]:
            if request not in self._asked:
                self._send(request)
            elif request.look:  # that does not serve it
                self._looked.add(request)

    def _answered(
        self, requests: Iterable[Request], signals: set[tuple[str, str]], returned: dict[str, int]
    ) -> None:
        served = set()
        for request in requests:
            self._asked.pop(request, None)
            if request.verb in SPECIAL:
                getattr(self, f"_after_{request.verb}")(request)
                continue
            if request.unserved:
                self._unserved(request)
            elif request.over:
                self._unwanted(request)
            else:
                if request.verb == "put" and isinstance(request.answer, Task | StoreError):
                    self._health.note("" if isinstance(request.answer, Task) else request.answer)
                self._count(request)
                served.add((request.name, request.verb))
                self._finish(request, request.answer)
        for name, number in returned.items():
            self._counts[name, "returned"] += number
        for name, line in signals:
            self._changed(name, line)
        for name, verb in served:
            self._serve(name, verb)

    def _unserved(self, request: Request) -> None:
        if request.over:
            return
        if request.look:
            request.look = False
            if request in self._looked:
                self._looked.discard(request)
                self._send(request)
                return
        if self._stopping or request.deadline <= self._reactor.seconds():
            self._finish(request, STOPPING if self._stopping else WORDS[request.verb])
        else:
            self._line_up(request)

    def _unwanted(self, request: Request) -> None:
        """
        A client that is gone has not had the task that it was to get: the next one may. That was a delivery
        nevertheless, since others may have got meanwhile what was put later.
        """
        task = request.answer
        fresh = request.verb == "get" and not request.again
        if fresh and isinstance(task, Task) and not self._stopping:
            number, delivery = task.number, task.deliveries
            back = Request("release", request.name, number=number, delivery=delivery, lease=task.lease)
            self._ask(back).addErrback(lambda failure: self.log.warn("not given back: {e}", e=failure.value))

    def _count(self, request: Request) -> None:
        repeated = request.verb == "put" and request.answer is not request.task
        if request.verb in COUNTED and isinstance(request.answer, Task) and not repeated:
            self._counts[request.name, COUNTED[request.verb]] += 1

    def _changed(self, name: str, line: str) -> None:
        if line in VERBS:
            self._serve(name, VERBS[line])
            return
        if line == "gone":
            for what in (*COUNTED.values(), "returned"):
                del self._counts[name, what]
        for verb in WORDS:
            if line == "gone":
                for request in list(self._lines.get((name, verb), ())):
                    self._finish(request, (0, 0) if verb == "join" else SHUTDOWN)
            self._serve(name, verb)

    def _heard(self, tidings: tuple[str, str] | None) -> None:
        if tidings is not None:
            line, name = tidings
            if line == "gone":
                self.store.ask(Request("gone", name))
            else:
                self._changed(name, line)
            return
        for name, verb in list(self._lines):
            self._serve(name, verb)

    def _after_gone(self, request: Request) -> None:
        """A queue is said to be deleted: believe it if it was deleted since the last time."""
        number, name = request.answer or 0, request.name
        if number > self._deleted.get(name, self.store.deletions):
            self._deleted[name] = number
            if len(self._deleted) > DELETED:
                del self._deleted[next(iter(self._deleted))]
            self._changed(name, "gone")

    def _after_check(self, request: Request) -> None:
        answer = request.answer
        if isinstance(answer, Exception):
            request.deferred.errback(answer)
        else:
            request.deferred.callback(None)

    def _poll(self) -> None:
        if self.store.watch.cut_if_late():
            self.log.warn("the database does not answer: its connection is cut")
        now = self._reactor.seconds()
        for request in list(self._asked):
            grace = 0.0 if self.store.away and request.waits else GRACE
            if request.deadline + grace < now:
                self._finish(request, AwayError(AWAY))
        for name, verb in list(self._lines):
            self._serve(name, verb, 1)

    def _after_tidy(self, request: Request) -> None:
        """Count no more what happens in queues that are not there any more, and are used by nobody here."""
        names: set[str] | None = request.answer
        if names is not None:
            used = names.union(name for name, _ in self._lines).union(each.name for each in self._asked)
            self._counts = Counter({key: count for key, count in self._counts.items() if key[0] in used})

    def _tidy(self) -> None:
        if not self.store.away:
            self.store.ask(Request("tidy", ""))
