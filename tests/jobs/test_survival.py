"""
Jobs in a store survive C{kill -9}: none disappears, and each is repeated only if its route allows it.

The test is small by default. This is the full size::

    JOBS=1000 KILLS=20 SLOW_TESTS=1 trial tests.jobs.test_survival
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.serving.test_command import CommandTestCase
from tests.support.job_service import JobClient
from tests.support.postgres import needs_postgresql, shared
from tests.support.programs import Program
from tests.support.slow import slow
from twisted_appserver.jobs.run import DIED

JOBS, KILLS = int(os.environ.get("JOBS", "200")), int(os.environ.get("KILLS", "3"))
TOGETHER = 20  # requests at the same time
APPLICATION = """
import os, time
from twisted_appserver import Retry, Route

def note(text):
    file = os.open("runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (text + "\\n").encode())
    os.close(file)

def work(n: int):
    note(f"begin {n}")
    time.sleep(0.02 if n < 9000 else 30)
    note(f"end {n}")
    return {"n": n}

url_patterns = (
    Route(r"/again/(?P<n>)", work, name="again", retry=Retry(attempts=30, first=0.05)),
    Route(r"/once/(?P<n>)", work, name="once"),
)
"""


class SurvivalTests(CommandTestCase):
    timeout = 120 + KILLS * 15 + JOBS // 4

    async def serve(self, folder: str, store: str) -> tuple[Program, JobClient]:
        options = ("--store", store, "--max-jobs", str(2 * JOBS), "--port", "0", "--app", "application.py")
        program = self.twistd(*options, folder=folder)
        return program, JobClient(await program.port())

    async def in_turn(self, function: Any, items: Any) -> list[Any]:
        """Call a coroutine function for each item, some at a time."""
        items, found = iter(list(items)), dict[Any, Any]()

        async def worker() -> None:
            for item in items:
                found[item] = await function(item)

        await gatherResults([Deferred.fromCoroutine(worker()) for _ in range(TOGETHER)])
        return [found[key] for key in found]

    async def look_at_all(self, client: JobClient, places: list[str]) -> list[dict[str, Any]]:
        return await self.in_turn(client.look, places)

    async def kill_repeatedly(self, folder: str, store: str) -> tuple[JobClient, list[str]]:
        """Put all jobs, and kill the server while it performs them. Return the last client and the jobs."""
        chance, places = random.Random(7), list[str]()
        program, client = await self.serve(folder, store)

        async def put(number: int) -> None:
            places.append(await client.begin(f"/{'again' if number % 2 else 'once'}/{number}"))

        per_life = -(-JOBS // (KILLS + 1))
        for life in range(KILLS + 1):
            if life:
                program.signal("KILL")
                await program.ended
                program, client = await self.serve(folder, store)
            await self.in_turn(put, range(life * per_life, min(JOBS, (life + 1) * per_life)))
            await self.look_at_all(client, chance.sample(places, min(20, len(places))))
            await deferLater(reactor, 0.3 * chance.random())
        return client, places

    def check_runs(self, folder: str, seen: list[dict[str, Any]]) -> None:
        with open(os.path.join(folder, "runs")) as file:
            runs = Counter(file.read().split("\n"))
        failed = [job for job in seen if job["state"] == "failed"]
        self.assertEqual({job["state"] for job in seen}, {"done", "failed"} if failed else {"done"})
        self.assertEqual({job["function"] for job in failed}, {"once"} if failed else set())
        self.assertEqual({job["error"]["status"] for job in failed}, {502} if failed else set())
        attempts = [attempt for job in failed for attempt in job["attempts"]]
        self.assertEqual(
            {(each["reason"], each["error"]) for each in attempts}, {("expired", DIED)} if failed else set()
        )
        done = {job["result"]["n"] for job in seen if job["state"] == "done"}
        self.assertEqual(len(done) + len(failed), JOBS)
        for number in range(JOBS):
            self.assertLessEqual(runs[f"begin {number}"], KILLS + 1 if number % 2 else 1, number)
            if number in done:
                self.assertGreaterEqual(runs[f"end {number}"], 1, number)

    async def check(self, store: str) -> None:
        folder = self.folder_of(application=APPLICATION)
        client, places = await self.kill_repeatedly(folder, store)
        end = monotonic() + 60 + JOBS / 10
        while True:
            seen = await self.look_at_all(client, places)
            if all(job["state"] in ("done", "failed") for job in seen):
                break
            self.assertLess(monotonic(), end, Counter(job["state"] for job in seen))
            await deferLater(reactor, 0.2)
        self.assertEqual(len(set(places)), JOBS)
        self.check_runs(folder, seen)

    @slow
    async def test_every_job_ends_although_the_server_is_killed_again_and_again(self) -> None:
        await self.check("sqlite:jobs.db")

    @slow
    async def test_request_with_a_key_is_performed_once_although_the_server_is_killed(self) -> None:
        """The response is 502 if the route may not be repeated."""
        folder = self.folder_of(application=APPLICATION)
        program, client = await self.serve(folder, "sqlite:jobs.db")
        for path in ("/once/1", "/again/2"):
            self.assertEqual((await client.ask("GET", path, Idempotency_Key=path)).status, 200)
        lost = Deferred.fromCoroutine(client.ask("GET", "/once/9000", Idempotency_Key="/once/9000"))
        lost.addErrback(lambda failure: failure.trap(ConnectionError))
        runs = os.path.join(folder, "runs")
        while "begin 9000" not in Path(runs).read_text():
            await deferLater(reactor, 0.01)
        program.signal("KILL")
        await program.ended
        _, client = await self.serve(folder, "sqlite:jobs.db")
        for path, status in (("/once/1", 200), ("/again/2", 200), ("/once/9000", 502), ("/once/9000", 502)):
            while (answer := await client.ask("GET", path, Idempotency_Key=path)).status == 409:
                await deferLater(reactor, 0.01)
            self.assertEqual(answer.status, status, path)
        lines = Path(runs).read_text().split()
        self.assertEqual(lines.count("begin"), 3)

    @slow
    @needs_postgresql
    async def test_jobs_in_postgresql_survive_too(self) -> None:
        """The next process waits until the leases of the last one have ended, so there is one kill only."""
        folder = self.folder_of(application=APPLICATION)
        store = shared().database()
        program, client = await self.serve(folder, store)
        places = [await client.begin(f"/again/{number}") for number in range(30)]
        program.signal("KILL")
        await program.ended
        _, client = await self.serve(folder, store)
        ended = 0
        for place in places:
            seen = await client.look(place)
            ended += (await client.ended(place) if seen["state"] == "waiting" else seen)["state"] == "done"
        self.assertGreater(ended, 10)
