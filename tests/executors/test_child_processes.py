"""Tests of processes that functions start: they end as usual, and hold no descriptors of the server."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.serving.test_command import CommandTestCase
from tests.support.programs import Program
from tests.support.slow import slow
from tests.support.wire import connect, fetch, request

TYPES = ("threaded", "forked")
METHODS = ("fork", "spawn", "forkserver")
SQUARES = {"squares": [1, 4, 9]}


class ChildrenTestCase(CommandTestCase):
    timeout = 240

    async def served(self, server_type: str, *words: str) -> tuple[Program, int]:
        """Start a server with four threads or two workers. Return it and its port."""
        words = (
            "--app",
            "tests.support.child_processes",
            "--type",
            server_type,
            "--workers",
            "2",
            "--threads",
            "4",
            *words,
        )
        program = self.twistd("--port", "0", *words)
        port = await program.port()
        while (await fetch(port, "/-/ready")).status != 200:
            await deferLater(reactor, 0.02)
        return program, port

    async def ended(self, program: Program, *but: int) -> None:
        """Stop a server. All processes that it has started must end soon, except C{but}."""
        program.signal("TERM")
        self.assertIn(await program.ended, (0, -signal.SIGTERM), program.output)
        for _ in range(500):
            if not set(program.processes()) - set(but):
                return
            await deferLater(reactor, 0.02)
        self.fail(f"the processes {program.processes()} are left: {program.output}")

    async def answers(self, path: str, expected: dict[str, Any], *types: str) -> None:
        for server_type in types or TYPES:
            program, port = await self.served(server_type)
            answer = await fetch(port, path)
            self.assertEqual((answer.status, answer.json), (200, expected), program.output)
            await self.ended(program)


class PoolTests(ChildrenTestCase):
    async def pools(self, server_type: str) -> None:
        """Open ten pools of each kind one after the other, then four times five at the same time."""
        program, port = await self.served(server_type)
        paths = ["/pool/fork/", "/executor/fork/"] * 10

        async def call(paths: list[str]) -> None:
            for path in paths:
                answer = await fetch(port, path)
                self.assertEqual((answer.status, answer.json), (200, SQUARES), program.output)

        await call(paths)
        await gatherResults([Deferred.fromCoroutine(call(paths[:5])) for _ in range(4)])
        await self.ended(program)

    @slow
    async def test_pools_that_functions_open_in_threads_do_not_hang(self) -> None:
        """One after the other, and several at the same time."""
        await self.pools("threaded")

    @slow
    async def test_pools_that_functions_open_in_workers_do_not_hang(self) -> None:
        await self.pools("forked")

    @slow
    async def test_pools_of_other_start_methods_do_not_hang(self) -> None:
        """The start methods are spawn and forkserver."""
        for server_type in TYPES:
            program, port = await self.served(server_type)
            for method in METHODS[1:]:
                for path in (f"/pool/{method}/", f"/executor/{method}/"):
                    self.assertEqual((await fetch(port, path)).json, SQUARES, program.output)
            await self.ended(program)


class SignalTests(ChildrenTestCase):
    @slow
    async def test_signal_ends_a_child_at_once(self) -> None:
        """However the child was started, and however early the signal arrives."""
        for server_type in TYPES:
            program, port = await self.served(server_type)
            for name in ("SIGTERM", "SIGINT", "SIGHUP"):
                code = {"code": -getattr(signal, name)}
                codes = [code, {"code": 1}] if name == "SIGINT" else [code]  # 1: by a KeyboardInterrupt
                for _ in range(10):
                    answer = await fetch(port, f"/terminated/fork/{name}/")
                    self.assertIn(answer.json, codes, program.output)
                for how in ("plain", "preexec"):
                    self.assertEqual((await fetch(port, f"/sleeper/{how}/{name}/")).json, code, how)
            for method in METHODS[1:]:
                self.assertEqual((await fetch(port, f"/terminated/{method}/SIGTERM/")).json, {"code": -15})
            self.assertEqual((await fetch(port, "/system/?command=kill+-INT+$$")).json, {"code": -2})
            await self.ended(program)

    @slow
    async def test_forked_child_has_default_signal_handlers(self) -> None:
        """It has the handlers of any Python program, and blocks no signal."""
        defaults = {"SIGTERM": "SIG_DFL", "SIGHUP": "SIG_DFL", "SIGCHLD": "SIG_DFL"}
        expected = {"handlers": {**defaults, "SIGINT": "default_int_handler"}, "wakeup": -1, "blocked": []}
        await self.answers("/handlers/", {"here": [], **expected})

    async def test_children_inherit_a_handler_that_the_function_set(self) -> None:
        await self.answers("/own_handler/SIGTERM/", {"code": 42}, "forked")

    async def test_handlers_timers_and_masks_are_reset_before_the_next_call(self) -> None:
        """However the call ended."""
        program, port = await self.served("forked", "--workers", "1")
        for name, handler in (("SIGTERM", "ignore"), ("SIGUSR1", "SIG_DFL"), ("SIGINT", "ignore")):
            found = {"handler": handler, "timer": 0, "blocked": []}
            for how in ("returns", "raises", "yields"):
                self.assertEqual((await fetch(port, f"/sets/{name}/returns/")).json, found)
                await fetch(port, f"/sets/{name}/{how}/")
            self.assertEqual((await fetch(port, f"/sets/{name}/yields/")).json, found)
        await self.ended(program)


class InheritanceTests(ChildrenTestCase):
    """What a child keeps open when the server was killed."""

    async def killed(self, server_type: str, path: str = "/leaves/") -> None:
        program, port = await self.served(server_type)
        mark = Path(self.mktemp()).absolute()
        self.addCleanup(mark.touch)
        busy, idle = await connect(port), await connect(port)
        await busy.send(request("GET", "/pid/"))
        child = (await idle.send(request("GET", f"{path}?path={mark}"))).json["pid"]
        program.signal("KILL")
        for connection in (busy, idle):
            await connection.closed.addTimeout(10, reactor)
        await program.exited  # not before have all of its threads released their descriptors
        while program.processes() != [child]:
            await deferLater(reactor, 0.02)
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))
            again.listen()
        mark.touch()
        while program.processes():
            await deferLater(reactor, 0.02)

    async def test_port_of_a_killed_server_is_free_while_a_child_lives(self) -> None:
        """Its clients notice, too."""
        await self.killed("threaded")

    async def test_port_is_free_while_a_child_forked_on_the_reactor_lives(self) -> None:
        await self.killed("threaded", "/leaves_on_reactor/")

    async def test_port_is_free_while_a_child_of_a_worker_lives(self) -> None:
        await self.killed("forked")

    @slow
    async def test_child_inherits_the_sockets_of_its_function(self) -> None:
        await self.answers("/inherits/", {"said": "said"})

    async def test_child_survives_the_stop_of_the_server(self) -> None:
        """It does not delay the stop either."""
        program, port = await self.served("forked")
        mark = Path(self.mktemp()).absolute()
        self.addCleanup(mark.touch)
        child = (await fetch(port, f"/leaves/?path={mark}")).json["pid"]
        self.assertTrue(os.path.exists(f"/proc/{child}"))
        mark.touch()
        await self.ended(program)
