"""Tests of SIGINT and SIGTERM: the first stops a server, and a second one ends it at once."""

from __future__ import annotations

import os
import signal
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.error import ProcessExitedAlready, ReactorNotRunning
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.serving.test_command import TWISTD, CommandTestCase
from tests.support.programs import Program
from tests.support.slow import slow
from tests.support.wire import Connection, connect, request
from twisted_appserver.serving import stop_signals
from twisted_appserver.serving.stop_signals import SAME, StopHandlers

HOLDS = """\
import os, time
import twisted_appserver as appserver
from twisted.internet.defer import Deferred

def holds(path):
    open(path, "x").close()
    while True:
        time.sleep(0.01)

async def waits(path):
    open(path, "x").close()
    await Deferred()

url_patterns = ((r"/holds/(?P<path>.*)", holds), (r"/waits/(?P<path>.*)", waits))

if __name__ == "__main__":
    appserver.run_server(port=0, server_type="TYPE")
"""


class StubReactor:
    """Records what the handlers do with a reactor."""

    def __init__(self) -> None:
        self.stops = 0
        self.calls: list[Any] = []

    def callWhenRunning(self, function: Any, handlers: Any) -> None:
        function(handlers)

    def callFromThread(self, function: Any) -> None:
        function()

    def stop(self) -> None:
        self.stops += 1

    def sigInt(self, number: int, frame: Any) -> None:
        raise AssertionError("it was to be replaced")

    sigTerm = sigInt


class HandlerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor, self.time, self.killed = StubReactor(), 100.0, list[int]()
        for name, stub in (
            ("monotonic", lambda: self.time),
            ("os.kill", lambda pid, number: self.killed.append(number)),
            ("os._exit", lambda status: self.killed.append(status)),
        ):
            patcher = patch.object(*self.target(name), stub)
            patcher.start()
            self.addCleanup(patcher.stop)
        for number in (signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.signals = StopHandlers(self.reactor, lambda: self.killed.append(0))

    def target(self, name: str) -> tuple[Any, str]:
        module, _, attribute = name.rpartition(".")
        return (getattr(stop_signals, module) if module else stop_signals), attribute

    def send(self, number: int) -> None:
        handler: Any = signal.getsignal(number)
        handler(number, None)

    def install(self) -> None:
        signal.signal(signal.SIGINT, self.reactor.sigInt)
        signal.signal(signal.SIGTERM, self.reactor.sigTerm)
        self.signals.install()

    def test_second_signal_ends_the_process_at_once(self) -> None:
        """The first signal stops the reactor once. Another one, of either kind, ends the process."""
        self.install()
        self.send(signal.SIGINT)
        self.assertEqual((self.reactor.stops, self.killed), (1, []))
        self.time += SAME + 0.1
        self.send(signal.SIGTERM)
        self.assertEqual(self.reactor.stops, 1)
        self.assertEqual(self.killed, [0, signal.SIGTERM, 128 + signal.SIGTERM])

    def test_signal_that_is_forwarded_too_counts_once(self) -> None:
        """A terminal and a process manager both send a signal: that is one stop."""
        self.install()
        self.send(signal.SIGINT)
        self.time += SAME / 2
        self.send(signal.SIGTERM)
        self.assertEqual((self.reactor.stops, self.killed), (1, []))

    def test_signal_during_a_stop_is_no_error(self) -> None:
        """The reactor stops already for another reason."""
        self.install()
        with patch.object(self.reactor, "stop", side_effect=ReactorNotRunning):
            self.send(signal.SIGINT)
        self.assertEqual(self.killed, [])

    def test_signal_before_the_reactor_runs_stops_it_too(self) -> None:
        """A signal between the first line of the log and the start of the reactor raises nothing."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with patch.object(self.reactor, "callWhenRunning"):
            self.signals.install()
        for number in (signal.SIGINT, signal.SIGTERM):
            self.send(number)
        self.assertEqual((self.reactor.stops, self.killed), (1, []))

    def test_handlers_of_others_stay(self) -> None:
        """A handler that the application or a debugger has set is not replaced."""

        def own(number: int, frame: Any) -> None:
            self.killed.append(-number)

        signal.signal(signal.SIGINT, own)
        self.signals.install()
        self.send(signal.SIGINT)
        self.assertEqual(self.killed, [-signal.SIGINT])


class ProcessTests(CommandTestCase):
    timeout = 120

    async def hold(self, program: Program, name: str) -> Connection:
        """Make a call that never returns, and wait until it runs."""
        path = os.path.abspath(self.mktemp())
        connection = await connect(await program.port())
        connection.send(request("GET", f"/{name}/{path}")).addErrback(lambda _: None)
        while not os.path.exists(path):
            await deferLater(reactor, 0.01)
        return connection

    async def end_at_once(self, program: Program, name: str, temporary: str, freeze: bool = False) -> None:
        """Stop it, and send the signal again until it ends; then nothing of it is left."""
        connections = [await self.hold(program, each) for each in ("holds", "waits")]
        for pid in program.processes() if freeze else ():
            if pid != program.pid:
                os.kill(pid, signal.SIGSTOP)
        program.signal(name)
        again = "press Ctrl-C again" if name == "INT" else "send SIGTERM again"
        await program.line(f"stopping: waiting for 2 calls, at most 30 seconds; to stop at once, {again}")
        while not program.exited.called:
            try:
                program.signal(name)
            except ProcessExitedAlready:
                break
            await deferLater(reactor, 0.05)
        self.assertEqual(await program.ended, -getattr(signal, f"SIG{name}"), program.output)
        self.assertNotIn("Traceback", program.output)
        self.assertEqual(program.output.count("stopped at once; 2 calls were cut off"), 1, program.output)
        while program.processes():
            await deferLater(reactor, 0.02)
        self.assertEqual(os.listdir(temporary), [])
        for connection in connections:
            await connection.close()

    @slow
    async def test_second_signal_ends_a_server_at_once(self) -> None:
        """In each type, under twistd and in a script: no traceback, no worker and no file is left."""
        for server_type in ("threaded", "forked"):
            folder = self.folder_of(app=HOLDS.replace("TYPE", server_type))
            for name in ("INT", "TERM"):
                temporary = self.folder_of()
                options = {"folder": folder, "TMPDIR": temporary}
                program = self.twistd("--port", "0", "--type", server_type, **options)
                await self.end_at_once(program, name, temporary)
                await self.end_at_once(self.python("app.py", **options), name, temporary)

    async def test_second_signal_leaves_no_worker_and_no_pidfile(self) -> None:
        """Worker processes are killed, even if they are frozen, and the pidfile goes."""
        folder = self.folder_of(app=HOLDS)
        temporary = self.folder_of()
        words = ("-n", "--pidfile=here.pid", "appserver", "--port", "0", "--type", "forked", "--workers", "1")
        program = self.python(TWISTD, *words, folder=folder, TMPDIR=temporary)
        await self.end_at_once(program, "TERM", temporary, freeze=True)
        self.assertNotIn("here.pid", os.listdir(folder))

    async def test_idle_server_has_nothing_to_wait_for(self) -> None:
        """Without calls, one line says that the server stops."""
        program = self.twistd("--port", "0", folder=self.folder_of())
        await program.port()
        program.signal("INT")
        await program.ended
        self.assertIn('"message":"stopping"', program.output)
        self.assertNotIn("Traceback", program.output)

    async def test_ctrl_c_during_the_import_prints_no_traceback(self) -> None:
        """Ctrl-C while the application is imported ends the command with status 130."""
        app = "import time\nprint('importing', flush=True)\nwhile True: time.sleep(0.01)\n"
        folder = self.folder_of(app=app)
        for program in (
            self.twistd("--port", "0", folder=folder),
            self.python("-c", "import twisted_appserver as t; t.run_server(app='app')", folder=folder),
        ):
            await program.line("importing")
            program.signal("INT")
            self.assertEqual(await program.ended, 130)
            self.assertNotIn("Traceback", program.output)
