"""
Many clients repeat the same request with an C{Idempotency-Key}, while the server is killed.

The test is small by default. This is the full size::

    CLIENTS=100 KEYS=20 SLOW_TESTS=1 trial tests.jobs.test_repeated_requests
"""

from __future__ import annotations

import os
import random
from collections import Counter
from time import monotonic
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater

from tests.serving.test_command import CommandTestCase
from tests.support.job_service import JobClient
from tests.support.programs import Program
from tests.support.slow import slow
from twisted_appserver.testing import Response

CLIENTS, KEYS = int(os.environ.get("CLIENTS", "40")), int(os.environ.get("KEYS", "6"))
PATIENCE = 60.0 + KEYS * 5  # seconds in which a client should have its response
APPLICATION = """
import os, time
from twisted_appserver import Call, Route

def order(call: Call, name: str, count: int):
    file = os.open("runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{name}\\n".encode())
    os.close(file)
    time.sleep(0.1)
    return {"name": name, "count": count, "request": call.request_id}

url_patterns = (Route(r"/order/(?P<name>)", order, methods=["POST"]),)
"""

Seen = tuple[int, str, bytes]


def seen(response: Response) -> Seen:
    """
    Return what the responses to the same request have in common.

    The problem document of a 502 has the id of the request that got it.
    """
    body = response.body if response.status == 200 else response.json["detail"].encode()
    return response.status, response.headers["content-type"], body


class RepeatedRequestTests(CommandTestCase):
    timeout = PATIENCE * 3
    program: Program
    client: JobClient
    reasons: Counter[str]  # why requests were repeated
    chance: random.Random

    async def serve(self, folder: str, store: str) -> None:
        """Start a server; further requests go to it."""
        options = ("--store", store, "--port", "0", "--app", "application.py")
        self.program = self.twistd(*options, folder=folder)
        self.client = JobClient(await self.program.port())

    async def respond(self, key: str) -> Seen:
        """Repeat a request, as a careful client does, until it has a response."""
        end = monotonic() + PATIENCE
        while True:
            try:
                body, headers = b"count=3", {"Content_Type": "application/x-www-form-urlencoded"}
                answer = await self.client.ask("POST", f"/order/{key}", body, Idempotency_Key=key, **headers)
                if answer.status not in (409, 503):
                    return seen(answer)
                self.reasons[answer.json["detail"]] += 1
            except (ConnectError, ConnectionError) as error:
                self.reasons[type(error).__name__] += 1
            self.assertLess(monotonic(), end, (key, self.reasons))
            await deferLater(reactor, 0.05)

    async def kill_repeatedly(self, folder: str, store: str, clients: Deferred[Any]) -> int:
        """Kill the server, at most three times, until all clients have their responses. Return how often."""
        kills = 0
        while kills < 3:
            await deferLater(reactor, 0.25 * self.chance.random())
            if clients.called:
                break
            self.program.signal("KILL")
            await self.program.ended
            kills += 1
            await self.serve(folder, store)
        return kills

    async def check(self, store: str) -> None:
        folder, self.reasons, self.chance = (
            self.folder_of(application=APPLICATION),
            Counter(),
            random.Random(11),
        )
        await self.serve(folder, store)
        statuses, kills = dict[str, int](), 0
        for key in [f"key{number}" for number in range(KEYS)]:
            clients = gatherResults([Deferred.fromCoroutine(self.respond(key)) for _ in range(CLIENTS)])
            kills += await self.kill_repeatedly(folder, store, clients)
            responses = Counter(await clients)
            self.assertEqual(len(responses), 1, responses)
            ((statuses[key], _, _),) = responses
        with open(os.path.join(folder, "runs")) as file:
            runs = Counter(file.read().split())
        for (
            key,
            status,
        ) in statuses.items():  # a process may die after a job has begun, before its function has
            self.assertIn((status, runs[key]), ((200, 1), (502, 1), (502, 0)), key)
        print(f"{kills} kills: {Counter(statuses.values())}, {Counter(runs.values())}; {self.reasons}")

    @slow
    async def test_function_runs_once_per_key_although_the_server_is_killed(self) -> None:
        await self.check("sqlite:jobs.db")
