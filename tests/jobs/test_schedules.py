"""Calls that the server itself makes at the times of their routes."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from time import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.files import sqlite_store
from tests.support.job_service import AWAITED, RUNS, JobClient, JobTestCase, until_begun, waits
from tests.support.postgres import needs_postgresql, shared
from tests.support.slow import slow
from twisted_appserver import Call, PatternError, Route
from twisted_appserver.core.router import Router
from twisted_appserver.errors import HTTPError
from twisted_appserver.jobs.scheduled_calls import ScheduledCalls
from twisted_appserver.jobs.scheduler import CHECK, Scheduler
from twisted_appserver.queue.backends import make_broker, open_store


def tick(call: Call) -> dict[str, Any]:
    RUNS.append(call.path)
    return {"method": call.method, "user": call.user}


class FakeDispatcher:
    def __init__(self, reactor: Clock, *patterns: Any) -> None:
        self.reactor, self.router = reactor, Router(patterns)


class LoopTests(SynchronousTestCase):
    """The scheduler alone, with clocks of its own."""

    def setUp(self) -> None:
        self.clock, self.shift = Clock(), 1_000_000.0
        self.begun: list[float] = []
        self.missed: list[float] = []  # when calls were due that the store still has
        self.refusals: list[str] = []
        self.ends: list[Deferred[tuple[str, str]]] = []
        self.dispatcher: Any = FakeDispatcher(self.clock, Route("/tick/", tick, every=60))
        self.scheduler = Scheduler(self.dispatcher, self.perform_at, wall=self.wall)
        self.scheduler.follow_table()
        self.addCleanup(self.scheduler.stop)

    def wall(self) -> float:
        return self.clock.seconds() + self.shift

    async def perform_at(
        self, name: str, call: Call, due: float, sleep_until: Any, begun: Any
    ) -> tuple[str, str]:
        if self.refusals:
            raise HTTPError(503, self.refusals.pop())
        due = self.missed.pop() if self.missed else due
        await sleep_until(due)
        begun("job", due)
        self.begun.append(due)
        self.ends.append(Deferred())
        return await self.ends[-1]

    def run_for(self, seconds: float, end: bool = True) -> None:
        for _ in range(int(seconds)):
            self.clock.advance(1)
            if end and self.ends and not self.ends[-1].called:
                self.ends[-1].callback(("job", "done"))

    def test_call_is_made_once_in_each_period(self) -> None:
        self.run_for(300)
        self.assertEqual(self.begun, [1_000_020.0 + 60 * n for n in range(5)])

    def test_call_that_takes_long_leaves_out_the_times_that_it_overlaps(self) -> None:
        self.run_for(150, end=False)
        self.run_for(60)
        self.assertEqual(self.begun, [1_000_020.0, 1_000_200.0])

    def plan(self) -> tuple[Any, float]:
        """Return what is shown to be running, and the time that is shown to be next."""
        (plan,) = json.loads(self.scheduler.index().body)["schedules"]
        return plan["running"], datetime.fromisoformat(plan["next"]).timestamp()

    def test_regular_call_follows_a_call_that_was_made_up_for(self) -> None:
        self.scheduler.stop()
        self.begun.clear()
        self.ends.clear()
        self.missed.append(999_960.0)
        self.scheduler.follow_table()
        self.run_for(150)
        self.assertEqual(self.begun, [999_960.0, 1_000_020.0, 1_000_080.0, 1_000_140.0])

    def test_call_that_cannot_be_planned_in_time_is_planned_again(self) -> None:
        self.scheduler.stop()
        self.refusals += ["no connection"] * 5
        self.scheduler.follow_table()
        self.run_for(90)
        self.assertEqual(self.begun, [1_000_020.0, 1_000_080.0])

    def test_call_that_runs_is_shown_with_the_next_time(self) -> None:
        self.assertEqual(self.plan(), (None, 1_000_020.0))
        self.run_for(25, end=False)
        self.assertEqual(self.plan(), ("job", 1_000_080.0))
        self.run_for(60, end=False)
        self.assertEqual(self.plan(), ("job", 1_000_140.0))
        self.run_for(1)
        self.assertEqual(self.plan(), (None, 1_000_140.0))

    def test_clock_set_forward_is_noticed_soon(self) -> None:
        self.run_for(25)
        self.shift += 3600
        self.run_for(CHECK)
        self.assertEqual(self.begun, [1_000_020.0, 1_000_080.0])
        self.run_for(60)
        self.assertEqual(len(self.begun), 3)

    def test_clock_set_back_repeats_no_call(self) -> None:
        self.run_for(25, end=False)
        self.shift -= 30
        self.run_for(200)
        self.assertEqual(self.begun, [1_000_020.0, 1_000_080.0, 1_000_140.0])

    def test_schedule_of_a_removed_route_ends(self) -> None:
        self.run_for(25)
        self.dispatcher.router = Router((("/tick/", tick),))
        self.scheduler.follow_table()
        self.run_for(200)
        self.assertEqual(len(self.begun), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_call_that_cannot_be_made_is_logged_and_does_not_end_the_schedule(self) -> None:
        async def refuse(*_: Any) -> tuple[str, str]:
            raise HTTPError(503, "too many jobs are running already")

        self.scheduler.stop()
        schedules = Scheduler(self.dispatcher, refuse, wall=self.wall)
        schedules.follow_table()
        self.addCleanup(schedules.stop)
        self.clock.advance(1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)


class TableTests(SynchronousTestCase):
    def refused(self, regex: str, **options: Any) -> str:
        return str(self.assertRaises(PatternError, Router, (Route(regex, tick, **options),)))

    def test_wrong_schedules_are_refused_with_their_place(self) -> None:
        self.assertIn("url_patterns[0] '/a/': every must be 1 to", self.refused("/a/", every=0))
        self.assertIn("needs cron or every", self.refused("/a/", timezone="Europe/Berlin"))
        named = Route("/(?P<name>)/", lambda name: {}, every=60)
        error = str(self.assertRaises(PatternError, Router, (named,)))
        self.assertIn("a scheduled call needs a pattern that is a fixed path, not '/(?P<name>[^/]+)/'", error)


class ScheduleCases:
    """The table: each method is a case. It receives a test, for assertions, and starts a service."""

    async def scheduled_call_is_shown_as_a_job(self, test: Any, start: Any) -> None:
        client = await start([Route("/tick/", tick, methods=("POST",), every=1)])
        await until_begun("/tick/", 2)
        (plan,) = (await client.look("/-/schedules"))["schedules"]
        test.assertEqual((plan["function"], plan["path"], plan["schedule"]), ("tick", "/tick/", "every 1 s"))
        test.assertEqual(plan["last"]["state"], "done")
        job = await client.look(f"/-/jobs/{plan['last']['job']}")
        test.assertEqual(job["result"], {"method": "POST", "user": ""})

    async def call_does_not_begin_before_the_last_one_has_ended(self, test: Any, start: Any) -> None:
        client = await start([Route("/waits", waits, every=1)])
        await until_begun("/waits")
        await deferLater(reactor, 2.2)
        test.assertEqual(RUNS, ["/waits"])
        (plan,) = (await client.look("/-/schedules"))["schedules"]
        test.assertGreater(datetime.fromisoformat(plan["next"]), datetime.now(UTC))
        job = await client.look(f"/-/jobs/{plan['running']}")
        test.assertEqual((job["function"], job["state"]), ("waits", "running"))
        AWAITED[0].callback({})
        await until_begun("/waits", 2)
        AWAITED[1].callback({})

    async def reload_keeps_the_schedule(self, test: Any, start: Any) -> None:
        """A call that is running when the table is followed again is not made twice."""
        client = await start([Route("/waits", waits, every=1)])
        await until_begun("/waits")
        client.service.dispatcher.jobs.table_changed()
        await deferLater(reactor, 1.2)
        test.assertEqual(RUNS, ["/waits"])
        AWAITED[0].callback({})
        await until_begun("/waits", 2)
        AWAITED[1].callback({})

    async def failure_does_not_end_the_schedule(self, test: Any, start: Any) -> None:
        def fails() -> dict[str, Any]:
            RUNS.append("/fails/")
            raise ValueError("wrong")

        client = await start([Route("/fails/", fails, every=1)])
        await until_begun("/fails/", 2)
        (plan,) = (await client.look("/-/schedules"))["schedules"]
        test.assertEqual(plan["last"]["state"], "failed")
        test.flushLoggedErrors(ValueError)


class ScheduleTests(JobTestCase):
    async def all_cases(self, make_store: Any) -> None:
        for name in [name for name in vars(ScheduleCases) if not name.startswith("_")]:
            AWAITED.clear()
            RUNS.clear()
            clients: list[JobClient] = []

            async def start(patterns: Any, clients: list[JobClient] = clients) -> JobClient:
                clients.append(await self.start(make_store(), patterns))
                return clients[-1]

            await getattr(ScheduleCases(), name)(self, start)
            for client in clients:
                await client.service.stopService()  # type: ignore[attr-defined]

    def file(self) -> str:
        return sqlite_store(self)

    @slow
    async def test_all_cases_in_memory(self) -> None:
        await self.all_cases(lambda: "memory:")

    @slow
    async def test_all_cases_on_sqlite(self) -> None:
        await self.all_cases(self.file)

    async def plan(self, client: JobClient) -> dict[str, Any]:
        (plan,) = (await client.look("/-/schedules"))["schedules"]
        return dict(plan)

    async def check_made_up(self, store: str) -> None:
        """Miss two calls. One call makes up for them, and the next one is made at its regular time."""
        patterns = [Route("/tick/", tick, every=2)]
        client = await self.start(store, patterns)
        await until_begun("/tick/")
        await client.service.stopService()  # type: ignore[attr-defined]
        before = len(RUNS)
        await deferLater(reactor, 5.0)
        started = datetime.now(UTC)
        client = await self.start(store, patterns)
        await until_begun("/tick/", before + 1)
        while datetime.fromisoformat((plan := await self.plan(client))["last"]["ended"]) <= started:
            await deferLater(reactor, 0.01)
        regular = time() // 2 - started.timestamp() // 2  # times; the last may be late
        self.assertIn(len(RUNS) - before, (regular, regular + 1))
        following, ended = (datetime.fromisoformat(each) for each in (plan["next"], plan["last"]["ended"]))
        self.assertLessEqual((following - ended).total_seconds(), 2.0)

    @slow
    async def test_call_that_was_due_while_no_service_was_up_is_made_up_for_once(self) -> None:
        await self.check_made_up(self.file())

    @slow
    @needs_postgresql
    async def test_call_that_was_due_while_no_service_was_up_is_made_up_for_on_postgresql(self) -> None:
        await self.check_made_up(shared().database())

    @slow
    async def test_schedule_goes_on_with_other_methods_after_a_restart(self) -> None:
        """The last call before the restart is still shown."""
        store = self.file()
        client = await self.start(store, [Route("/tick/", tick, every=2)])
        await until_begun("/tick/")
        await client.service.stopService()  # type: ignore[attr-defined]
        before = len(RUNS)
        client = await self.start(store, [Route("/tick/", tick, methods=("POST",), every=2)])
        await deferLater(reactor, 0.2)
        (plan,) = (await client.look("/-/schedules"))["schedules"]
        self.assertEqual(plan["last"]["state"], "done")
        await until_begun("/tick/", before + 2)

    @slow
    @needs_postgresql
    async def test_all_cases_on_postgresql(self) -> None:
        await self.all_cases(lambda: shared().database())

    @slow
    async def test_memory_keeps_only_the_last_call_of_each_schedule(self) -> None:
        """Jobs in memory have one limit together, which frequent schedules would use up."""
        client = await self.start("memory:", [Route("/tick/", tick, every=1)])
        await until_begun("/tick/", 3)
        self.assertEqual((await client.look("/-/jobs"))["total"], 1)

    async def next_call(self, client: JobClient) -> str:
        """Return the path of the job that waits for its time."""
        while not (jobs := (await client.look("/-/jobs"))["jobs"]):
            await deferLater(reactor, 0.01)
        return f"/-/jobs/{jobs[0]['job']}"

    async def check_left_out(self, store: str) -> None:
        """Cancel the next call, and check what is shown: at once, and after a restart. Nothing is logged."""
        patterns = [Route("/tick/", tick, every=30_000_000)]
        client = await self.start(store, patterns)
        place = await self.next_call(client)
        (before,) = (await client.look("/-/schedules"))["schedules"]
        self.assertIsNone(before["last"])
        await client.ask("DELETE", place)
        job = place.rpartition("/")[2]
        with capturedLogs() as logs:
            for _ in range(2):
                while not (plan := (await client.look("/-/schedules"))["schedules"]) or not plan[0]["last"]:
                    await deferLater(reactor, 0.01)
                self.assertEqual((plan[0]["last"]["job"], plan[0]["last"]["state"]), (job, "cancelled"))
                while (await client.look("/-/schedules"))["schedules"][0]["next"] <= before["next"]:
                    await deferLater(reactor, 0.01)
                place = await self.next_call(client)
                await client.service.stopService()  # type: ignore[attr-defined]
                client = await self.start(store, patterns)
        self.assertEqual([event for event in logs if event["log_level"].name not in ("info", "debug")], [])
        self.assertEqual(RUNS, [])

    async def test_call_that_was_cancelled_is_left_out(self) -> None:
        await self.check_left_out(self.file())

    @slow
    @needs_postgresql
    async def test_call_that_was_cancelled_is_left_out_on_postgresql(self) -> None:
        await self.check_left_out(shared().database())

    @slow
    @needs_postgresql
    async def test_several_services_make_each_call_once(self) -> None:
        store, moments = shared().database(), list[int]()

        def note() -> dict[str, Any]:
            moments.append(round(reactor.seconds()))
            return {}

        for _ in range(3):
            await self.start(store, [Route("/note/", note, every=1)])
        await deferLater(reactor, 5.0)
        self.assertGreaterEqual(len(moments), 4)
        self.assertEqual([moment for moment, count in Counter(moments).items() if count > 1], [])


class ClockTests(TestCase):
    async def test_store_whose_clock_is_behind_makes_no_call_early(self) -> None:
        """Each host waits until the call is due by its own clock."""
        broker = make_broker(reactor, open_store("memory:"))
        broker.start()
        self.addCleanup(broker.stop)
        due, begun = time() + 1000.0, list[float]()
        sleeping: list[Deferred[None]] = []

        def sleep_until(moment: float) -> Deferred[None]:
            begun.append(moment)
            sleeping.append(Deferred())
            return sleeping[-1]

        router = Router([Route("/tick/", tick, every=3600)])
        call = Call("GET", "/tick/", handler=router.handlers[0])
        plans = []
        for _ in range(2):
            host = ScheduledCalls(reactor, broker, lambda: time() + 30.0)
            plans.append(Deferred.fromCoroutine(host.plan("q", call, due, sleep_until)))
            while len(begun) < len(plans):
                await deferLater(reactor, 0.01)
        self.assertEqual(begun, [due, due])
        for plan in plans:
            plan.cancel()
            await self.assertFailure(plan, CancelledError)
