"""
Scheduled calls while services are killed again and again: each is made at most once, and exactly once if its
process survives.

The test is short by default. This is a long one::

    SECONDS=300 SLOW_TESTS=1 trial tests.jobs.test_schedule_faults
"""

from __future__ import annotations

import os
import random
from collections import Counter
from time import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.serving.test_command import CommandTestCase
from tests.support.files import sqlite_store
from tests.support.job_service import JobClient
from tests.support.postgres import needs_postgresql, shared
from tests.support.programs import Program
from tests.support.slow import slow

SECONDS = float(os.environ.get("SECONDS", "12"))
APPLICATION = """
import os, time
from twisted_appserver import Call, Route

def note(text):
    file = os.open("runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (text + "\\n").encode())
    os.close(file)

def tick(call: Call):
    note(f"begin {call.path} {call.request_id}")
    time.sleep(0.2)
    note(f"end {call.path} {call.request_id}")
    return {"request": call.request_id}

url_patterns = (
    Route(r"/once", tick, name="once", every=1),
    Route(r"/again", tick, name="again", every=1, idempotent=True),
)
"""


class ScheduleFaultTests(CommandTestCase):
    timeout = SECONDS * 2 + 150

    async def serve(self, folder: str, store: str) -> tuple[Program, JobClient]:
        options = ("--store", store, "--port", "0", "--max-jobs", "100000", "--app", "application.py")
        program = self.twistd(*options, folder=folder)
        return program, JobClient(await program.port())

    async def ended(self, client: JobClient) -> list[dict[str, Any]]:
        """Return the documents of all jobs that have ended."""
        page = await client.look("/-/jobs?limit=1000")
        listed = page["jobs"]
        while page["next"]:
            page = await client.look(f"/-/jobs?limit=1000&after={page['next']}")
            listed += page["jobs"]
        return [
            await client.look(f"/-/jobs/{each['job']}")
            for each in listed
            if each["state"] in ("done", "failed")
        ]

    async def check(self, store: str, count: int) -> None:
        folder, chance = self.folder_of(application=APPLICATION), random.Random(5)
        began, kills = time(), 0
        services = [await self.serve(folder, store) for _ in range(count)]
        while time() < began + SECONDS:
            await deferLater(reactor, chance.uniform(0.5, 3.0))
            place = chance.randrange(count)
            program, _ = services[place]
            program.signal("KILL")
            await program.ended
            kills += 1
            services[place] = await self.serve(folder, store)
        await deferLater(reactor, 3.0)
        seconds = time() - began
        jobs = await self.ended(services[0][1])
        with open(os.path.join(folder, "runs")) as file:
            runs = Counter(file.read().split("\n"))
        states = Counter((job["function"], job["state"]) for job in jobs)
        print(f"{seconds:.0f} s, {kills} kills: {dict(states)}")
        for function in ("once", "again"):
            self.assertLessEqual(states[function, "done"] + states[function, "failed"], seconds + 2)
            self.assertGreater(states[function, "done"], 0)
        self.assertEqual(states["again", "failed"], 0)
        for job in jobs:
            if job["state"] == "failed":
                self.assertEqual(job["error"]["status"], 502)
            else:
                path, request_id = f"/{job['function']}", job["result"]["request"]
                self.assertGreaterEqual(runs[f"end {path} {request_id}"], 1)
        for line, times in runs.items():
            if line.startswith("begin /once"):
                self.assertEqual(times, 1, line)

    @slow
    async def test_service_with_sqlite(self) -> None:
        await self.check(sqlite_store(self), 1)

    @slow
    @needs_postgresql
    async def test_two_services_with_postgresql(self) -> None:
        """A call whose process was killed occupies its schedule until its lease has ended."""
        await self.check(shared().database(), 2)
