"""
Tests of several servers that are killed, reloaded and stopped under load, on TCP, TLS and a unix socket.

They are short; C{python -m tests.serving.servers.faults} runs them at full length.
"""

from __future__ import annotations

import os
import random

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.serving.servers.service_of_servers import TRANSPORTS, Load, ServersTestCase
from tests.support.slow import slow

SECONDS = float(os.environ.get("KILL_SECONDS", "3"))
RELOADS = int(os.environ.get("RELOADS", "3"))
STOPS = int(os.environ.get("STOPS", "2"))
SHOWN = "SHOW_FAULTS" in os.environ
CLIENTS = 3  # for each transport
INTERVAL = 0.1  # seconds between two kills
LEAST_KILLS = 3  # on a machine on which servers start slowly


def now() -> float:
    return reactor.seconds()  # type: ignore[attr-defined,no-any-return]


@slow
class FaultTests(ServersTestCase):
    timeout = 1500

    def load(self, path: str = "/version/") -> Load:
        return Load(self, TRANSPORTS, CLIENTS, path)

    def show(self, line: str) -> None:
        if SHOWN:
            print(f"\n    {line}", flush=True)

    async def test_killed_server_fails_only_the_calls_inside_it(self) -> None:
        """
        A random one of the servers that have answered, ten times a second. Other calls wait or go to another
        server. No connection is refused.
        """
        await self.servers()
        load, killed, end = self.load(), set[int](), now() + SECONDS
        while now() < end or len(killed) < LEAST_KILLS:
            if serving := sorted((load.answered_by & self.pids()) - killed):
                victim = random.choice(serving)
                killed.add(victim)
                self.kill(victim)
            await deferLater(reactor, INTERVAL)  # type: ignore[arg-type]
        await load.more()
        await load.end()
        self.show(f"{len(killed)} servers killed: {load}")
        self.assertEqual((set(load.responses), load.refused), ({200}, 0))
        # 0 is a connection on which nothing was answered before.
        self.assertLessEqual(load.cut_off_by, killed | {0})
        # Each client has one call at a time, so each kill fails at most one call of each client.
        self.assertLessEqual(load.cut_off, len(killed) * CLIENTS * len(TRANSPORTS))
        await self.until(lambda: len(self.pids()) == 2)
        self.assertEqual(self.program.output.count("was killed by SIGKILL"), len(killed))
        await self.stopped(self.program)

    async def test_nothing_is_left_when_the_supervisor_is_killed(self) -> None:
        """Under load. Not even a call that runs, or a worker process."""
        for options in ((), ("--type", "forked")):
            await self.servers(*options)
            load = self.load()
            _, connection, answer = await self.hold()
            await load.more(20)
            self.assertGreaterEqual(len(self.pids()), 2)
            begun = now()
            self.kill(self.program.pid)
            await self.all_gone(5)
            self.show(f"all processes gone {now() - begun:.2f} s after the supervisor was killed")
            await self.assertFailure(answer, ConnectionError)
            await load.end()
            self.assertEqual(set(load.responses), {200})
            await connection.close()
            await self.program.ended

    async def test_sighup_under_load_fails_no_request(self) -> None:
        """No connection is served by older code than before."""
        await self.servers()
        load = self.load()
        for version in range(2, RELOADS + 2):
            await load.more()
            self.write(version)
            self.program.signal("HUP")
            await self.until(
                lambda count=version - 1: self.program.output.count("application reloaded") == count
            )
        await load.more()
        await self.until(lambda: len(self.pids()) == 2)
        await load.more()
        await load.end()
        self.show(f"{RELOADS} reloads: {load}")
        self.assertEqual((set(load.responses), load.refused, load.cut_off), ({200}, 0, 0))
        for seen in load.versions:
            self.assertEqual((seen, seen[-1]), (sorted(seen), RELOADS + 1))
        await self.stopped(self.program)

    async def test_sigterm_under_load_answers_every_call_that_began(self) -> None:
        """Each call adds a character to a file. SIGINT does the same."""
        for number in range(STOPS):
            await self.servers()
            path = os.path.abspath(self.mktemp())
            load = self.load(f"/records/{path}")
            await load.more()
            self.program.signal(("TERM", "INT")[number % 2])
            await self.program.ended
            await self.until(lambda load=load: load.refused > 0)
            await load.end()
            self.show(f"stopped: {load}")
            self.assertEqual(load.responses, {200: os.path.getsize(path)})
            self.assertEqual(self.program.processes(), [])
            self.assertFalse(os.path.exists(self.ports["unix"]))
