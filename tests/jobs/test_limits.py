"""Limits for the jobs of a route: one table of cases for memory and for stores, and mistakes in tables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.static import Data

from tests.support.files import sqlite_store
from tests.support.job_service import AWAITED, RUNS, JobClient, JobTestCase, OnEveryStore, until_begun
from twisted_appserver import Call, Retry, Route
from twisted_appserver.core.router import Router
from twisted_appserver.errors import PatternError
from twisted_appserver.jobs.stored_limits import terms_of

Start = Callable[..., Awaitable[JobClient]]
BEGUN: list[float] = []  # when calls have begun
FAILED = Retry(attempts=2, first=0.3)


class Order(msgspec.Struct):
    customer: int
    count: int = 1


async def serves(customer: str, call: Call, n: int = 0) -> dict[str, Any]:
    RUNS.append(f"{customer} {n}")
    AWAITED.append(Deferred())
    return await AWAITED[-1]


async def ticks() -> dict[str, Any]:
    BEGUN.append(monotonic())
    return {}


async def fails_once(customer: str, n: int) -> dict[str, Any]:
    RUNS.append(f"{customer} {n}")
    if n == 1 and RUNS.count(f"{customer} {n}") == 1:
        raise ValueError("not yet")
    return {}


PATTERNS = (
    Route(r"/for/(?P<customer>)", serves, name="one", key="customer"),
    Route(r"/two/(?P<customer>)", serves, name="two", key="customer", at_once=2),
    Route(r"/whole/(?P<customer>)", serves, name="whole", at_once=1),
    Route(r"/rate", ticks, rate="4/s"),
    Route(r"/again/(?P<customer>)", fails_once, key="customer", retry=FAILED),
)


class LimitCases:
    """The table: each method is a case. It receives a test, for assertions, and starts a service."""

    async def jobs_of_one_key_run_one_after_the_other(self, test: Any, start: Start) -> None:
        client = await start()
        first, second = [await client.begin(f"/for/a?n={n}") for n in (1, 2)]
        await client.begin("/for/b?n=3")
        await until_begun("b 3")
        await client.until(first, "running")
        test.assertEqual((await client.look(second))["state"], "waiting")
        test.assertEqual(sorted(RUNS), ["a 1", "b 3"])
        AWAITED[RUNS.index("a 1")].callback({})
        await until_begun("a 2")
        test.assertEqual((await client.look(first))["state"], "done")

    async def at_once_limits_the_jobs_of_a_key_or_of_the_route(self, test: Any, start: Start) -> None:
        client = await start()
        for n in (1, 2, 3):
            await client.begin(f"/two/a?n={n}")
        await until_begun("a 2")
        for customer in "xy":
            await client.begin(f"/whole/{customer}")
        await until_begun("x 0")
        await deferLater(reactor, 0.05)
        test.assertEqual(sorted(RUNS), ["a 1", "a 2", "x 0"])
        for index in range(3):
            AWAITED[index].callback({})
        await until_begun("a 3")
        await until_begun("y 0")

    async def job_keeps_its_place_between_attempts(self, test: Any, start: Start) -> None:
        client = await start()
        places = [await client.begin(f"/again/a?n={n}") for n in (1, 2)]
        test.assertEqual((await client.until(places[1], "done"))["state"], "done")
        test.assertEqual(RUNS, ["a 1", "a 1", "a 2"])

    async def cancelled_job_gives_its_place_to_the_next(self, test: Any, start: Start) -> None:
        client = await start()
        places = [await client.begin(f"/for/a?n={n}") for n in (1, 2, 3)]
        await client.until(places[0], "running")
        await client.ask("DELETE", places[1])
        await client.ask("DELETE", places[0])
        await until_begun("a 3")
        test.assertEqual(RUNS, ["a 1", "a 3"])

    async def clients_that_wait_or_repeat_are_limited_too(self, test: Any, start: Start) -> None:
        client = await start()
        await client.begin("/for/a?n=1")
        await until_begun("a 1")
        waiting = Deferred.fromCoroutine(client.ask("GET", "/for/a?n=2", Prefer="respond-async, wait=20"))
        await deferLater(reactor, 0.05)
        repeatable = Deferred.fromCoroutine(client.ask("POST", "/for/a?n=3", Idempotency_Key='"k"'))
        await deferLater(reactor, 0.05)
        test.assertEqual(RUNS, ["a 1"])
        for index, answer in ((0, None), (1, waiting), (2, repeatable)):
            await until_begun(f"a {index + 1}")
            AWAITED[index].callback({"index": index})
            if answer is not None:
                test.assertEqual((await answer).json, {"index": index})

    async def rate_keeps_jobs_apart(self, test: Any, start: Start) -> None:
        client = await start()
        BEGUN.clear()
        places = [await client.begin("/rate") for _ in range(3)]
        for place in places:
            await client.until(place, "done")
        test.assertGreater(BEGUN[2] - BEGUN[0], 0.4)

    async def calls_whose_clients_wait_are_not_limited(self, test: Any, start: Start) -> None:
        client = await start()
        BEGUN.clear()
        begun = monotonic()
        for _ in range(8):
            await client.ask("GET", "/rate")
        test.assertEqual(len(BEGUN), 8)
        test.assertLess(BEGUN[-1] - begun, 1.75)


class LimitTests(OnEveryStore, JobTestCase):
    async def all_cases(self, make_store: Callable[[], str]) -> None:
        try:
            await self.check_cases(LimitCases, make_store, PATTERNS)
        finally:
            self.flushLoggedErrors(ValueError)

    async def test_new_limits_apply_to_jobs_that_wait(self) -> None:
        """After a restart with another table."""
        store = sqlite_store(self)
        client = await self.start(
            store, (Route("/for/(?P<customer>)", serves, key="customer", idempotent=True),)
        )
        for n in (1, 2, 3):
            await client.begin(f"/for/a?n={n}")
        await until_begun("a 1")
        await client.service.stopService()  # type: ignore[attr-defined]
        table = (Route("/for/(?P<customer>)", serves, key="customer", at_once=3, idempotent=True),)
        await self.start(store, table)
        await until_begun("a 3")
        self.assertEqual(sorted(RUNS), ["a 1", "a 1", "a 2", "a 3"])


class GroupTests(SynchronousTestCase):
    def group(self, route: Route, target: str, body: bytes = b"") -> Any:
        path, _, query = target.partition("?")
        router = Router((route,))
        found = router.match("POST", path)
        handler, groups = found[0], found[1]
        headers = ((b"content-type", b"application/json"),)
        terms = terms_of(Call("POST", path, query, headers, body, handler=handler, groups=groups))
        return terms and terms.group

    def test_key_is_any_variable(self) -> None:
        def typed(customer: int, n: int = 0) -> None: ...
        def whole(order: Order) -> None: ...
        def anything(variables: dict[str, Any]) -> None: ...
        def more(**variables: Any) -> None: ...

        for function in (typed, whole, anything, more):
            self.assertEqual(self.group(Route("/p", function, key="customer"), "/p", b'{"customer": 7}'), "7")
        path = Route("/(?P<customer>)", typed, key="customer")
        self.assertEqual({self.group(path, each) for each in ("/7", "/07")}, {"7"})
        self.assertEqual(self.group(Route("/p", typed, key="n"), "/p?customer=1&n=5"), "5")
        self.assertEqual(len(self.group(Route("/p", more, key="n"), "/p?n=" + "x" * 900)), 64)

    def test_job_that_cannot_be_performed_has_no_group(self) -> None:
        def typed(customer: int) -> None: ...

        self.assertIsNone(self.group(Route("/p", typed, key="customer"), "/p?customer=x"))

    def test_mistakes_are_named_at_the_start(self) -> None:
        def function(customer: str) -> None: ...

        for options, reason in (
            ({"key": "costumer"}, "function takes no variable 'costumer'; did you mean 'customer'?"),
            ({"key": "x y"}, "key must be the name of a variable such as 'customer', not 'x y'"),
            ({"key": 7}, "key must be the name of a variable such as 'customer', not 7"),
            ({"at_once": 0}, "at_once must be 1 to 10000, not 0"),
            ({"at_once": True}, "at_once must be 1 to 10000, not True"),
            ({"rate": 10}, "rate must be text such as '10/s', not 10"),
            ({"rate": ""}, "rate must be text such as '10/s', not ''"),
            ({"rate": "10/w"}, "rate must be like 10/s, 100/m, 5/h or 1/d"),
        ):  # fmt: skip
            error = self.assertRaises(PatternError, Router, (Route("/p", function, **options),))
            self.assertIn(reason, str(error))
        resource = Route("/r", Data(b"", "text/plain"), at_once=1)
        error = self.assertRaises(PatternError, Router, (resource,))
        self.assertIn("a Twisted resource has no jobs; leave out key, at_once and rate", str(error))
