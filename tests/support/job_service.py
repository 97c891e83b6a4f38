"""Services with background calls on real sockets, and clients that look at the jobs."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from time import monotonic
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql, shared
from tests.support.slow import slow
from tests.support.wire import exchange, request
from twisted_appserver import (
    Call,
    GiveUp,
    HTTPError,
    Reply,
    Retry,
    RetryLater,
    Route,
    make_service,
)
from twisted_appserver.testing import Response

AWAITED: list[Deferred[dict[str, Any]]] = []
RUNS: list[str] = []  # the paths of calls that have begun
GATE = threading.Event()  # opens all functions that are held


async def waits(call: Call) -> dict[str, Any]:
    RUNS.append(call.path)
    AWAITED.append(Deferred())
    return await AWAITED[-1]


def held(call: Call, number: int) -> dict[str, Any]:
    RUNS.append(call.path)
    GATE.wait(20)
    return {"number": number}


def counts(n: int) -> Iterator[dict[str, int]]:
    for number in range(n):
        yield {"number": number}


def echo(name: str, call: Call) -> dict[str, Any]:
    return {
        "method": call.method, "path": call.path, "query": call.query, "body": call.body.decode(),
        "user": call.user, "client": call.client, "headers": call.headers, "id": call.request_id,
    }  # fmt: skip


def text() -> Reply:
    return Reply("some text", 201, {"X-Made": "yes"})


def sold_out() -> None:
    raise HTTPError(409, "sold out", extra={"retry_in": 5})


def breaks() -> None:
    raise ValueError("the password is 123")


def large(size: int) -> Reply:
    return Reply(b"x" * size)


def fails_first(call: Call, times: int) -> dict[str, Any]:
    """Fail so often, and then succeed."""
    RUNS.append(call.path)
    if RUNS.count(call.path) <= times:
        raise ValueError("the password is 123")
    return {"attempts": RUNS.count(call.path)}


def decides(call: Call, what: str) -> dict[str, Any]:
    RUNS.append(call.path)
    if what == "up":
        raise GiveUp("no such customer")
    if what == "refuse":
        raise HTTPError(409, "sold out")
    if what == "later" and RUNS.count(call.path) == 1:
        raise RetryLater(0.1, "the printer is busy")
    if what == "much_later":
        raise RetryLater(1000, "it is night")
    return {"attempts": RUNS.count(call.path)}


async def yields_and_fails(call: Call) -> AsyncIterator[dict[str, Any]]:
    RUNS.append(call.path)
    yield {"number": RUNS.count(call.path)}
    if RUNS.count(call.path) == 1:
        raise ValueError("after an item")


NO_JOBS = {"jobs": [], "total": 0, "functions": [], "next": None}  # the list without jobs
THRICE = Retry(attempts=3, first=0.05)
URL_PATTERNS = (
    Route(r"/fails_first/(?P<times>)", fails_first, retry=THRICE),
    Route(r"/fails_often/(?P<times>)", fails_first, retry=Retry(attempts=22, first=0)),
    Route(r"/retried/(?P<what>)", decides, retry=THRICE),
    Route(r"/not_retried/(?P<what>)", decides),
    Route(r"/yields_and_fails", yields_and_fails, retry=THRICE),
    (r"/waits", waits),
    Route(r"/limited", waits, timeout=0.2),
    Route(r"/repeatable", waits, idempotent=True),
    (r"/held/(?P<number>)", held),
    (r"/counts/(?P<n>)", counts),
    Route(r"/echo/(?P<name>)/", echo, methods=("GET", "POST", "PUT")),
    (r"/text", text),
    (r"/list", lambda: [{"n": 1}]),
    (r"/sold_out", sold_out),
    (r"/breaks", breaks),
    (r"/large/(?P<size>)", large),
)


class JobClient:
    """
    A client of one service.

    @param user: the name and the password, if the service requires one.
    """

    def __init__(self, port: int, user: str = "") -> None:
        self.port = port
        self._headers: tuple[tuple[str, str], ...] = ()
        if user:
            self._headers = (("Authorization", f"Basic {b64encode(user.encode()).decode()}"),)

    async def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Response:
        fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return await exchange(self.port, request(method, target, body, (*self._headers, *fields)))

    async def begin(
        self,
        target: str,
        method: str = "GET",
        body: bytes = b"",
        prefer: str = "respond-async",
        **headers: str,
    ) -> str:
        """Return the path of a new job."""
        answer = await self.ask(method, target, body, Prefer=prefer, **headers)
        if answer.status != 202:
            raise AssertionError(f"{target}: {answer.status} {answer.text}")
        return "/" + answer.headers["location"].replace("../", "")

    async def look(self, place: str) -> dict[str, Any]:
        answer = await self.ask("GET", place)
        if answer.status != 200:
            raise AssertionError(f"{place}: {answer.status} {answer.text}")
        found: dict[str, Any] = msgspec.json.decode(answer.body)
        return found

    async def until(self, place: str, *states: str) -> dict[str, Any]:
        """Wait until a job has one of these states."""
        end = monotonic() + 20
        while (seen := await self.look(place))["state"] not in states:
            if monotonic() > end:
                raise AssertionError(f"{place} stays {seen}")
            await deferLater(reactor, 0.01)
        return seen

    async def ended(self, place: str) -> dict[str, Any]:
        return await self.until(place, "done", "failed", "cancelled")


async def until_begun(path: str, times: int = 1) -> None:
    """Wait until calls of a path have begun."""
    end = monotonic() + 20
    while RUNS.count(path) < times:
        if monotonic() > end:
            raise AssertionError(f"{path} has not begun: {RUNS}")
        await deferLater(reactor, 0.01)


class JobTestCase(TestCase):
    """Tests with services in this process."""

    timeout = 40

    def setUp(self) -> None:
        AWAITED.clear()
        RUNS.clear()
        GATE.clear()
        self.addCleanup(GATE.set)

    async def check_cases(
        self, cases: type, make_store: Callable[[], str], patterns: Any = URL_PATTERNS
    ) -> None:
        """Perform the cases of a table, each with a store of its own."""
        wrong = []
        for name in [name for name in vars(cases) if not name.startswith("_")]:
            self.setUp()
            store, clients = make_store(), list[Any]()

            async def start(store: str = store, clients: list[Any] = clients, **options: Any) -> JobClient:
                clients.append(await self.start(store, patterns, **options))
                return clients[-1]  # type: ignore[no-any-return]

            try:
                case = getattr(cases(), name)(self, start)
                await Deferred.fromCoroutine(case).addTimeout(30, reactor)
            except Exception as error:
                wrong.append(f"{name}: {error!r}")
            GATE.set()
            for client in clients:
                await client.service.stopService()
        self.assertEqual(wrong, [], "\n".join(wrong))

    async def start(self, store: str, patterns: Any = URL_PATTERNS, **options: Any) -> JobClient:
        """Start a service and return a client. It has the service as an attribute."""
        options = {"graceful_timeout": 0.1, "threads": 3, **options}
        service = make_service(patterns, port=0, store=store, **options)
        service.startService()
        self.addCleanup(self.stop, service)
        await service.started
        client = JobClient(service.ports[0].getHost().port)
        client.service = service  # type: ignore[attr-defined]
        return client

    def stop(self, service: Any) -> Any:
        GATE.set()  # A function that is held would keep its thread, and so the service.
        return service.stopService() if service.running else None


class OnEveryStore:
    """Tests that run a table of cases over every store. A mixin of L{JobTestCase}."""

    all_cases: Any  # receives a function that returns the URL of a new store

    @slow
    async def test_all_cases_in_memory(self) -> None:
        await self.all_cases(lambda: "memory:")

    @slow
    async def test_all_cases_on_sqlite(self: Any) -> None:
        await self.all_cases(lambda: sqlite_store(self))

    @slow
    @needs_postgresql
    async def test_all_cases_on_postgresql(self) -> None:
        await self.all_cases(lambda: shared().database())
