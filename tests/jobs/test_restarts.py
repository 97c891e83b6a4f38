"""Jobs in a store when the service stops, starts again, or shares the store with other services."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.support.files import sqlite_store
from tests.support.job_service import (
    AWAITED,
    GATE,
    RUNS,
    URL_PATTERNS,
    JobTestCase,
    echo,
    held,
    until_begun,
    waits,
)
from tests.support.postgres import needs_postgresql, shared
from tests.support.slow import slow
from twisted_appserver import Route
from twisted_appserver.jobs import performer, slots
from twisted_appserver.jobs.run import DIED
from twisted_appserver.queue.interface import StoreError
from twisted_appserver.queue.queued_task import QueuedTask

PASSWORD = "hunter2"


async def renew_nothing(*_: Any) -> None:
    """Let leases end."""


class RestartTests(JobTestCase):
    """With one store, in a file."""

    def store(self) -> str:
        return sqlite_store(self)

    async def test_waiting_job_is_performed_after_a_restart(self) -> None:
        """Its name stays the same, and what was finished is still shown."""
        store = self.store()
        client = await self.start(store, threads=1)
        finished = await client.begin("/text")
        await client.ended(finished)
        first = await client.begin("/held/1")
        await until_begun("/held/1")
        second = await client.begin("/held/2")
        await client.service.stopService()  # type: ignore[attr-defined]
        GATE.set()
        client = await self.start(store)
        self.assertEqual((await client.until(second, "done"))["result"], {"number": 2})
        self.assertEqual((await client.ask("GET", finished + "/result")).text, "some text")
        seen = await client.until(first, "failed")
        self.assertEqual(seen["error"]["status"], 503)
        self.assertIn("stopped while the job was running", seen["error"]["detail"])
        self.assertEqual(RUNS, ["/held/1", "/held/2"])

    async def test_client_that_waits_gets_the_address_of_its_job_when_the_service_stops(self) -> None:
        client = await self.start(self.store())
        answer = Deferred.fromCoroutine(client.begin("/repeatable", prefer="respond-async, wait=30"))
        await until_begun("/repeatable")
        await client.service.stopService()  # type: ignore[attr-defined]
        self.assertIn("/-/jobs/", await answer)

    async def test_job_that_may_be_repeated_is_repeated_after_a_restart(self) -> None:
        store = self.store()
        client = await self.start(store)
        place = await client.begin("/repeatable")
        await until_begun("/repeatable")
        await client.service.stopService()  # type: ignore[attr-defined]
        client = await self.start(store)
        await until_begun("/repeatable", 2)
        AWAITED[-1].callback({"came": 2})
        self.assertEqual((await client.until(place, "done"))["result"], {"came": 2})

    async def test_jobs_of_a_removed_route_fail(self) -> None:
        """The jobs that have finished stay."""
        store = self.store()
        client = await self.start(store, threads=1)
        finished = await client.begin("/text")
        await client.ended(finished)
        await client.begin("/held/1")
        await until_begun("/held/1")
        waiting = await client.begin("/held/2")
        await client.service.stopService()  # type: ignore[attr-defined]
        client = await self.start(store, [(r"/waits", waits)])
        seen = await client.until(waiting, "failed")
        self.assertEqual(seen["error"]["status"], 410)
        self.assertIn("no route", seen["error"]["detail"])
        self.assertEqual((await client.look(finished))["state"], "done")
        self.assertEqual((await client.look("/-/jobs"))["total"], 3)

    async def test_jobs_whose_method_the_route_no_longer_has_fail(self) -> None:
        store = self.store()
        client = await self.start(store, threads=1)
        await client.begin("/held/1")
        await until_begun("/held/1")
        waiting = await client.begin("/held/2")
        await client.service.stopService()  # type: ignore[attr-defined]
        client = await self.start(store, [Route(r"/held/(?P<number>)", held, methods=("POST",))])
        seen = await client.until(waiting, "failed")
        self.assertEqual(seen["error"]["status"], 410)
        self.assertNotIn("attempts", seen)

    async def test_credentials_are_not_stored(self) -> None:
        """A header Authorization is not part of a stored call. The function does not receive it."""
        store = self.store()
        client = await self.start(store, threads=1)
        headers = {"Connection": "close, X-Hop", "X_Hop": "yes", "Authorization": f"Bearer {PASSWORD}"}
        await client.begin("/held/1", **headers)
        await until_begun("/held/1")
        await client.begin("/held/2", **headers)
        data = Path(store.partition(":")[2] + "-wal").read_bytes().lower()
        self.assertTrue(b"/held/2" in data)
        for text in (PASSWORD, "x-hop", "authorization"):
            self.assertFalse(text.encode() in data, text)
        GATE.set()
        seen = await client.ended(await client.begin("/echo/x/", **headers))
        self.assertNotIn("authorization", seen["result"]["headers"])

    async def test_number_of_jobs_of_a_route_is_limited(self) -> None:
        """Finished jobs do not count. Other routes are not affected."""
        client = await self.start(self.store(), threads=1, max_jobs=2)
        for number in (1, 2, 3):
            await client.begin(f"/held/{number}")
            await until_begun("/held/1")
        answer = await client.ask("GET", "/held/4", Prefer="respond-async")
        self.assertEqual(answer.status, 503)
        other = await client.begin("/echo/x/")
        GATE.set()
        self.assertEqual((await client.ended(other))["state"], "done")

    async def test_jobs_leave_a_thread_to_calls_whose_clients_wait(self) -> None:
        client = await self.start(self.store(), threads=3)
        for number in range(5):
            await client.begin(f"/held/{number}")
        await until_begun("/held/1")
        self.assertEqual((await client.ask("GET", "/echo/x/")).status, 200)
        self.assertEqual(len([path for path in RUNS if "held" in path]), 2)
        self.patch(slots, "ON_REACTOR", 1)
        places = [await client.begin("/waits") for _ in range(2)]
        await until_begun("/waits")
        self.assertEqual((await client.look(places[1]))["state"], "waiting")
        AWAITED[0].callback({})
        await until_begun("/waits", 2)

    async def test_job_that_waits_for_a_place_is_not_leased(self) -> None:
        """So it counts as waiting when the process dies, whatever other routes have jobs."""
        client = await self.start(self.store(), threads=2)
        await client.begin("/held/1")
        await until_begun("/held/1")
        places = [await client.begin(path) for path in ("/echo/x/", "/text", "/counts/2", "/echo/y/")]
        broker = client.service.dispatcher.jobs._broker  # type: ignore[attr-defined]
        for _ in range(2):
            names = await broker.qsizes(None)
            leased = {name: len(await broker.peek(name, 9, "leased")) for name in names}
            self.assertEqual(sum(leased.values()), 1, leased)
            await deferLater(reactor, 0.05)
        GATE.set()
        for place in places:
            self.assertEqual((await client.ended(place))["state"], "done")

    async def test_ends_that_cannot_be_stored_together_are_stored_one_by_one(self) -> None:
        client = await self.start(self.store())
        broker = client.service.dispatcher.jobs.broker  # type: ignore[attr-defined]
        asked: list[Any] = []
        store = broker.done_many

        async def refuse_first(name: str, tasks: list[Any], failed: list[int]) -> Any:
            asked.append(tasks)
            if len(asked) == 1:
                raise StoreError("one of them is too large")
            return await store(name, tasks, failed)

        self.patch(broker, "done_many", refuse_first)
        self.assertEqual((await client.ended(await client.begin("/text")))["state"], "done")
        self.assertEqual(len(asked), 2)

    async def test_job_that_was_taken_ahead_is_put_back_when_no_further_job_begins(self) -> None:
        self.patch(slots, "QUICK", 1000.0)
        self.patch(slots, "LONGEST_WAIT", 1000.0)
        client = await self.start(self.store(), threads=2)
        await client.ended(await client.begin("/text"))
        await client.begin("/held/1")
        await until_begun("/held/1")
        place = await client.begin("/text")
        jobs = client.service.dispatcher.jobs  # type: ignore[attr-defined]
        name = next(name for name in await jobs.broker.qsizes(None) if ".text." in name)
        while not await jobs.broker.peek(name, 9, "leased"):
            await deferLater(reactor, 0.01)
        self.assertEqual((await client.look(place))["state"], "waiting")
        jobs.rest()
        self.assertEqual(await jobs.broker.peek(name, 9, "leased"), [])
        GATE.set()

    async def test_job_that_was_taken_ahead_is_put_back_if_it_does_not_begin_soon(self) -> None:
        """So it is performed after the process dies, although its route allows no repetition."""
        self.patch(slots, "QUICK", 1000.0)
        client = await self.start(self.store(), threads=2)
        await client.ended(await client.begin("/text"))
        await client.begin("/held/1")
        await until_begun("/held/1")
        places = [await client.begin("/text") for _ in range(3)]
        broker = client.service.dispatcher.jobs._broker  # type: ignore[attr-defined]
        name = next(name for name in await broker.qsizes(None) if ".text." in name)
        ready: list[QueuedTask] = []
        while len(ready) < 3 or not any(task.deliveries for task in ready):
            await deferLater(reactor, 0.01)
            ready = await broker.peek(name, 9, "ready")
        self.assertEqual(await broker.peek(name, 9, "leased"), [])
        GATE.set()
        for place in places:
            self.assertEqual((await client.ended(place))["state"], "done")

    @slow
    async def test_number_of_routes_is_not_limited(self) -> None:
        """Each has a queue. TQueueSrv allows 10,000 by default."""
        client = await self.start(self.store())
        broker = client.service.dispatcher.jobs._broker  # type: ignore[attr-defined]
        puts = (broker.put(f"job.f.{number}", QueuedTask(0, b"{}")) for number in range(10_001))
        await gatherResults([Deferred.fromCoroutine(each) for each in puts])
        self.assertEqual((await client.ended(await client.begin("/echo/x/")))["state"], "done")

    async def test_reload_performs_jobs_of_new_routes_and_no_longer_those_of_removed_routes(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        path = os.path.join(os.path.abspath(folder), "reloaded.py")
        table = "from tests.support.job_service import echo, held\nurl_patterns = ({},)\n"

        def write(entry: str) -> None:
            with open(path, "w") as file:
                file.write(table.replace("\n", "\n").format(entry))

        write('(r"/held/(?P<number>)", held)')
        client = await self.start(self.store(), None, app=path, threads=2)
        await client.begin("/held/1")
        await until_begun("/held/1")
        waiting = await client.begin("/held/2")
        write('(r"/echo/(?P<name>)/", echo)')
        await client.service.reload()  # type: ignore[attr-defined]
        GATE.set()
        self.assertEqual((await client.ended(await client.begin("/echo/x/")))["state"], "done")
        self.assertEqual((await client.look(waiting))["state"], "waiting")
        write('(r"/held/(?P<number>)", held)')
        await client.service.reload()  # type: ignore[attr-defined]
        await client.until(waiting, "done")


@needs_postgresql
class SharedStoreTests(JobTestCase):
    """Two services with one database."""

    async def two(self, **options: Any) -> tuple[Any, Any]:
        store = shared().database()
        return await self.start(store, **options), await self.start(store, **options)

    async def test_every_service_performs_and_shows_all_jobs(self) -> None:
        here, there = await self.two(threads=2)
        places = [await here.begin(f"/held/{number}") for number in (1, 2)]
        for number in (1, 2):  # each has one thread for jobs
            await until_begun(f"/held/{number}")
        for client in (here, there):
            for place in places:
                self.assertEqual((await client.look(place))["state"], "running")
            self.assertEqual((await client.look("/-/jobs"))["total"], 2)
        GATE.set()
        for client in (here, there):
            for place in places:
                await client.until(place, "done")

    async def test_job_that_runs_elsewhere_can_be_cancelled(self) -> None:
        self.patch(performer, "LEASE", 1.5)
        here, there = await self.two()
        place = await here.begin("/waits")
        await until_begun("/waits")
        runs_here = here.service.dispatcher.jobs._performer.runs
        answer = await (there if runs_here else here).ask("DELETE", place)
        self.assertEqual(answer.json["state"], "cancelled")
        while not AWAITED[0].called:
            await deferLater(reactor, 0.02)
        for client in (here, there):
            self.assertEqual((await client.look(place))["state"], "cancelled")
        self.assertEqual(len(AWAITED), 1)

    @slow
    async def test_lease_is_renewed_while_a_job_runs(self) -> None:
        self.patch(performer, "LEASE", 1.0)
        here, _ = await self.two()
        place = await here.begin("/waits")
        await until_begun("/waits")
        await deferLater(reactor, 3.0)
        AWAITED[0].callback({"came": 1})
        self.assertEqual((await here.until(place, "done"))["result"], {"came": 1})
        self.assertEqual(RUNS, ["/waits"])

    @slow
    async def test_job_whose_lease_has_ended_is_repeated_only_if_it_may_be(self) -> None:
        """As when its process has died or the database was out of its reach."""
        self.patch(performer, "LEASE", 1.0)
        here, there = await self.two()
        for client in (here, there):
            jobs = client.service.dispatcher.jobs
            self.patch(jobs._performer, "_renew_some", renew_nothing)
        first, second = await here.begin("/waits"), await here.begin("/repeatable")
        await until_begun("/repeatable", 2)
        seen = await there.until(first, "failed")
        self.assertEqual((seen["error"]["status"], len(seen["attempts"])), (502, 1))
        attempt = seen["attempts"][0]
        self.assertEqual((attempt["reason"], attempt["error"]), ("expired", DIED))
        AWAITED[-1].callback({"came": 2})
        self.assertEqual((await there.until(second, "done"))["result"], {"came": 2})
        self.assertEqual(RUNS.count("/waits"), 1)

    async def test_job_waits_for_a_service_that_has_its_route(self) -> None:
        store = shared().database()
        client = await self.start(store, threads=1)
        await client.begin("/held/1")
        await until_begun("/held/1")
        place = await client.begin("/held/2")
        await client.service.stopService()  # type: ignore[attr-defined]
        GATE.set()
        other = await self.start(store, [Route(r"/echo/(?P<name>)/", echo)])
        self.assertEqual((await other.ended(await other.begin("/echo/x/")))["state"], "done")
        self.assertEqual((await other.look(place))["state"], "waiting")
        await self.start(store, URL_PATTERNS)
        await other.until(place, "done")
