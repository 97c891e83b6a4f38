"""Tests of the lifespan of an application: entered before the first call, left after the last one."""

from __future__ import annotations

import os
from collections import defaultdict

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.serving.test_command import CommandTestCase
from tests.support.programs import Program
from tests.support.slow import slow
from tests.support.wire import Connection, connect, fetch, request
from twisted_appserver.testing import Response

# Every event of the application becomes a line in a file: its name, the version of the code, the process.
APPLICATION = """\
import asyncio, os, time
from contextlib import asynccontextmanager, contextmanager

from twisted_appserver import Route, run_server

FOLDER = os.environ["FOLDER"]
VERSION = "{version}"
POOL = None

def record(event):
    with open(os.path.join(FOLDER, "events"), "a") as file:
        file.write(f"{{event}} {{VERSION}} {{os.getpid()}}\\n")

def begin():
    global POOL
    record("entering")
    {entering}
    POOL = "open"
    record("entered")

def end():
    global POOL
    record("leaving")
    POOL = None
    {leaving}
    record("left")

{lifespan}

def call():
    record("call")
    return {{"pool": POOL, "version": VERSION, "pid": os.getpid()}}

async def coroutine():
    return call()

def hold():
    record("hold")
    while os.path.exists(os.path.join(FOLDER, "hold")):
        time.sleep(0.005)
    return call()

def stream():
    for _ in range(3):
        yield hold()

url_patterns = ((r"/call", call), (r"/coroutine", coroutine), (r"/hold", hold), (r"/stream", stream))

if __name__ == "__main__":
    run_server(port=0, server_type=os.environ["TYPE"], workers=2, {arguments})
"""
SYNC = """\
@contextmanager
def lifespan():
    begin()
    yield
    end()
"""
GENERATOR = SYNC.replace("@contextmanager\n", "")
ASYNC = (
    SYNC.replace("@", "@async")
    .replace("def", "async def")
    .replace("yield", "yield\n    await asyncio.sleep(0)")
)
ASYNC_GENERATOR = ASYNC.replace("@asynccontextmanager\n", "")
UNTIL_OPEN = 'while os.path.exists(os.path.join(FOLDER, "gate")): time.sleep(0.005)'
TYPES = ("threaded", "forked")


class LifespanTestCase(CommandTestCase):
    timeout = 120

    def setUp(self) -> None:
        super().setUp()
        self.events_file = self.folder / "events"
        self.gate = self.folder / "gate"  # while it exists, UNTIL_OPEN waits

    def write(self, version: str = "1", lifespan: str = SYNC, **parts: str) -> None:
        """Write the application. Each version has a time of its own, so that its bytecode differs."""
        parts = {"entering": "pass", "leaving": "pass", "arguments": "", **parts}
        path = self.folder / "app.py"
        later = path.stat().st_mtime + 10 if path.exists() else 10**9
        path.write_text(APPLICATION.format(version=version, lifespan=lifespan, **parts))
        os.utime(path, (later, later))

    def remove_coroutine(self) -> None:
        """Let the application have plain functions only, so that only workers run them."""
        text = (self.folder / "app.py").read_text().replace('(r"/coroutine", coroutine), ', "")
        (self.folder / "app.py").write_text(text)

    def serve(self, server_type: str, *arguments: str) -> Program:
        return self.python(
            "-m", "twisted_appserver", "--app=app.py", "--port=0", "--workers=2", f"--type={server_type}",
            *arguments, FOLDER=str(self.folder),
        )  # fmt: skip

    def events(self) -> list[list[str]]:
        """Return the events as triples: the event, the version, the process."""
        if not self.events_file.exists():
            return []
        return [line.split(" ") for line in self.events_file.read_text().splitlines()]

    def by_process(self) -> dict[str, list[str]]:
        """Return the events of each process."""
        found = defaultdict(list)
        for event, _, pid in self.events():
            found[pid].append(event)
        return found

    async def until_event(self, event: str, version: str = "1", count: int = 1) -> None:
        while [each[:2] for each in self.events()].count([event, version]) < count:
            await deferLater(reactor, 0.01)

    async def call_that_waits(self, program: Program) -> tuple[Connection, Deferred[Response]]:
        """Send a call while the lifespan is being entered. Return its connection and its response."""
        connection = await connect(await program.port())
        response = connection.send(request("GET", "/call"))
        await self.until_event("entering")
        for _ in range(3):  # Then the server has read the request.
            await fetch(await program.port(), "/-/health")
        return connection, response

    def check_order(self, pids: set[int], left: bool = True) -> None:
        """Assert that these processes and no others entered it before all calls, and left it after them."""
        found = self.by_process()
        self.assertEqual({int(pid) for pid in found}, pids)
        for events in found.values():
            calls = [each for each in events if each in ("call", "hold")]
            self.assertEqual(
                events, ["entering", "entered", *calls, *(["leaving", "left"] if left else [])], found
            )


class ServerTests(LifespanTestCase):
    """The lifespan in each type of server."""

    async def check(self, program: Program, server_type: str, paths: tuple[str, ...] = ("/call",)) -> None:
        port = await program.port()
        answers = [(await fetch(port, path)).json for path in paths * 4]
        self.assertEqual({each["pool"] for each in answers}, {"open"})
        here = server_type == "threaded" or "/coroutine" in paths
        await self.until_event("entered", count=here + 2 * (server_type == "forked"))
        pids = {program.pid} if server_type == "threaded" else set(program.processes())
        await self.stopped(program)
        self.check_order(pids if here else pids - {program.pid})

    async def test_lifespan_is_entered_before_the_first_call_and_left_after_the_last(self) -> None:
        """In the server if it runs functions, and in each worker process."""
        for server_type in TYPES:
            self.write()
            await self.check(self.serve(server_type), server_type, ("/call", "/coroutine"))
            self.events_file.unlink()

    async def test_server_that_runs_no_function_itself_does_not_enter_it(self) -> None:
        self.write()
        self.remove_coroutine()
        await self.check(self.serve("forked"), "forked")

    @slow
    async def test_every_form_of_lifespan_works(self) -> None:
        """A plain generator function, and asynchronous ones, which run on the reactor or in an event loop."""
        for lifespan in (GENERATOR, ASYNC, ASYNC_GENERATOR):
            for server_type in TYPES:
                self.write(lifespan=lifespan)
                await self.check(self.serve(server_type), server_type, ("/call", "/coroutine"))
                self.events_file.unlink()

    @slow
    async def test_run_server_uses_the_lifespan_next_to_the_table_or_the_given_one(self) -> None:
        for server_type in TYPES:
            for lifespan, arguments in ((SYNC, ""), (SYNC.replace("lifespan", "life"), "lifespan=life")):
                self.write(lifespan=lifespan, arguments=arguments)
                program = self.python("app.py", FOLDER=str(self.folder), TYPE=server_type)
                await self.check(program, server_type, ("/call", "/coroutine"))
                self.events_file.unlink()

    async def test_calls_wait_until_the_lifespan_is_entered_and_probes_do_not(self) -> None:
        for lifespan in (SYNC, ASYNC):
            self.gate.touch()
            waiting = lifespan.replace("async def lifespan():", "async def lifespan():\n    " + LATER)
            self.write(lifespan=waiting, entering=UNTIL_OPEN)
            program = self.serve("threaded")
            port = await program.port()
            connection = await connect(port)
            answer = connection.send(request("GET", "/call"))
            self.assertEqual((await fetch(port, "/-/health")).status, 200)
            self.assertEqual((await fetch(port, "/-/ready")).status, 503)
            self.assertNoResult(answer)
            self.gate.unlink()
            self.assertEqual((await answer).json["pool"], "open")
            self.assertEqual((await fetch(port, "/-/ready")).status, 200)
            await connection.close()
            await self.stopped(program)
            self.check_order({program.pid})
            self.events_file.unlink()

    @slow
    async def test_lifespan_is_left_after_the_calls_in_flight(self) -> None:
        """Calls and streams that have begun when SIGTERM arrives still find what the lifespan has made."""
        hold = self.folder / "hold"
        for server_type in TYPES:
            for path in ("/hold", "/stream"):
                self.write()
                hold.touch()
                program = self.serve(server_type)
                connection = await connect(await program.port())
                answer = connection.send(request("GET", path))
                await self.until_event("hold")
                program.signal("TERM")
                hold.unlink()
                self.assertIn(b'"pool":"open"', (await answer).body)
                await program.ended
                for events in self.by_process().values():
                    self.assertEqual(events[-2:], ["leaving", "left"])
                self.events_file.unlink()


LATER = """\
from twisted.internet import reactor
    from twisted.internet.task import deferLater
    while os.path.exists(os.path.join(FOLDER, "gate")):
        await deferLater(reactor, 0.01)
"""


class ClusterTests(LifespanTestCase):
    """The lifespan in workers of a Dask cluster."""

    @slow
    async def test_each_worker_of_a_cluster_enters_and_leaves_it(self) -> None:
        for lifespan in (SYNC, ASYNC):
            self.write(lifespan=lifespan)
            program = self.serve("cluster")
            port = await program.port()
            while (await fetch(port, "/-/ready")).status != 200:
                await deferLater(reactor, 0.1)
            for _ in range(4):
                self.assertEqual((await fetch(port, "/call")).json["pool"], "open")
            self.assertEqual((await fetch(port, "/coroutine")).json["pool"], "open")
            program.signal("TERM")  # Dask may log a traceback of a connection that it closes.
            self.assertIn(await program.ended, (0, -15), program.output)
            found = self.by_process()
            self.assertEqual(len(found), 3)
            self.check_order({int(pid) for pid in found})
            self.assertIn(str(program.pid), found)
            self.events_file.unlink()

    @slow
    async def test_lifespan_that_fails_ends_the_command_with_one_line(self) -> None:
        self.write(entering="raise OSError('no database')")
        self.remove_coroutine()
        program = self.serve("cluster")
        self.assertEqual(await program.ended, 1, program.output)
        (line,) = [line for line in program.err.splitlines() if line.startswith("appserver:")]
        self.assertRegex(line, r"the worker .*: the lifespan failed: .*OSError: no database$")


class FailureTests(LifespanTestCase):
    """A lifespan that fails."""

    @slow
    async def test_exception_on_entering_ends_the_command_with_one_line(self) -> None:
        for server_type in TYPES:
            for lifespan in (SYNC, ASYNC):
                self.write(entering="raise OSError('no\\ndatabase')", lifespan=lifespan)
                program = self.serve(server_type)
                self.assertEqual(await program.ended, 1, program.output)
                lines = [line for line in program.err.splitlines() if "appserver:" in line]
                self.assertEqual(len(lines), 1, program.output)
                self.assertRegex(lines[0], r"the lifespan failed: /.*app\.py:\d+: OSError: no database$")
                self.assertNotIn("Traceback", program.output)
                script = self.python("app.py", FOLDER=str(self.folder), TYPE=server_type)
                self.assertEqual(await script.ended, 1, script.output)
                self.assertIn("appserver: ", script.err.splitlines()[-1])
                self.assertRegex(script.err.splitlines()[-1], r"the lifespan failed: .*OSError: no database$")

    async def test_calls_that_waited_for_a_lifespan_that_fails_get_503(self) -> None:
        self.gate.touch()
        self.write(entering=f"{UNTIL_OPEN}\n    raise OSError('x')")
        program = self.serve("threaded")
        connection, answer = await self.call_that_waits(program)
        self.gate.unlink()
        self.assertEqual((await answer).status, 503)
        self.assertEqual(await program.ended, 1)
        await connection.close()

    @slow
    async def test_exception_on_leaving_is_logged_and_the_server_stops(self) -> None:
        for server_type in TYPES:
            for lifespan in (SYNC, ASYNC):
                self.write(leaving="raise OSError('cannot close')", lifespan=lifespan)
                program = self.serve(server_type)
                await fetch(await program.port(), "/call")
                program.signal("TERM")
                self.assertIn(await program.ended, (0, -15))
                self.assertIn("the lifespan failed when it was left", program.output)
                self.assertIn("OSError: cannot close", program.output)
                self.assertEqual(program.processes(), [])

    @slow
    async def test_lifespan_that_hangs_does_not_keep_the_server_from_stopping(self) -> None:
        self.write(leaving="time.sleep(1000)")
        for server_type, said in (
            ("threaded", "did not end within 10"),
            ("forked", "does not exit by itself"),
        ):
            program = self.serve(server_type)
            await fetch(await program.port(), "/call")
            program.signal("TERM")
            self.assertIn(await program.ended, (0, -15))
            self.assertIn(said, program.output)
            self.assertEqual(program.processes(), [])

    async def test_server_stops_while_a_lifespan_is_being_entered(self) -> None:
        """It leaves the lifespan then, and calls that wait get 503."""
        self.gate.touch()
        self.write(entering=UNTIL_OPEN)
        program = self.serve("threaded")
        connection, answer = await self.call_that_waits(program)
        program.signal("TERM")
        self.assertEqual((await answer).status, 503)
        self.gate.unlink()
        self.assertIn(await program.ended, (0, -15), program.output)
        self.check_order({program.pid})
        await connection.close()

    async def test_check_does_not_enter_the_lifespan_but_checks_its_form(self) -> None:
        self.write()
        program = self.serve("forked", "--check")
        self.assertEqual(await program.ended, 0, program.output)
        self.assertEqual(self.events(), [])
        self.write(lifespan="lifespan = 5")
        program = self.serve("forked", "--check")
        self.assertEqual(await program.ended, 1, program.output)
        self.assertIn("lifespan must be a function", program.output)


class EarlyStopTests(LifespanTestCase):
    """A server that stops while its workers start."""

    @slow
    async def test_worker_that_is_entering_the_lifespan_leaves_it(self) -> None:
        self.gate.touch()
        self.write(entering=UNTIL_OPEN)
        self.remove_coroutine()
        program = self.serve("forked")
        await self.until_event("entering", count=2)
        pids = set(program.processes()) - {program.pid}
        program.signal("TERM")
        await program.line("stopping")
        self.gate.unlink()
        self.assertIn(await program.ended, (0, -15), program.output)
        self.check_order(pids)


class ReplacementTests(LifespanTestCase):
    """Workers that are replaced, and code that is reloaded."""

    async def answer(self, port: int, version: str) -> Response:
        """Return the first answer of the new code."""
        while (answer := await fetch(port, "/call")).json["version"] != version:
            await deferLater(reactor, 0.01)
        return answer

    async def test_replaced_worker_leaves_its_lifespan(self) -> None:
        self.write()
        program = self.serve("forked", "--max-requests=3", "--workers=1")
        port = await program.port()
        pids = {(await fetch(port, "/call")).json["pid"] for _ in range(12)}
        while len(pids) < 3:
            pids.add((await fetch(port, "/call")).json["pid"])
        await self.stopped(program)
        for pid, events in self.by_process().items():
            if int(pid) in pids:
                calls = events.count("call")
                self.assertEqual(events, ["entering", "entered", *["call"] * calls, "leaving", "left"])

    async def test_reload_enters_the_new_lifespan_before_and_leaves_the_old_one_after_its_last_call(
        self,
    ) -> None:
        hold = self.folder / "hold"
        for server_type in TYPES:
            self.write()
            hold.touch()
            program = self.serve(server_type)
            port = await program.port()
            connection = await connect(port)
            answer = connection.send(request("GET", "/hold"))
            await self.until_event("hold")
            self.write("2")
            program.signal("HUP")
            self.assertEqual((await self.answer(port, "2")).json["pool"], "open")
            held = [event for event, version, pid in self.events() if version == "1" and pid == self.holder()]
            self.assertNotIn("leaving", held)
            hold.unlink()
            self.assertEqual((await answer).json["pool"], "open")
            await self.until_event("left", "1", 1 if server_type == "threaded" else 2)
            self.assertEqual((await fetch(port, "/call")).json["pool"], "open")
            await connection.close()
            await self.stopped(program)
            self.check_versions()
            self.events_file.unlink()

    def holder(self) -> str:
        return next(pid for event, _, pid in self.events() if event == "hold")

    def check_versions(self) -> None:
        """Assert that each version of the code entered before its calls and left after them."""
        found = defaultdict(list)
        for event, version, pid in self.events():
            found[version, pid].append(event)
        for events in found.values():
            calls = [each for each in events if each in ("call", "hold")]
            self.assertEqual(events, ["entering", "entered", *calls, "leaving", "left"], found)

    @slow
    async def test_old_code_goes_on_if_the_new_lifespan_fails(self) -> None:
        for server_type in TYPES:
            self.write()
            program = self.serve(server_type)
            port = await program.port()
            await fetch(port, "/call")
            self.write("2", entering="raise OSError('no database')")
            program.signal("HUP")
            await program.line(
                r"still serving the previous code: .*the lifespan failed: .*OSError: no database"
            )
            answer = (await fetch(port, "/call")).json
            self.assertEqual((answer["pool"], answer["version"]), ("open", "1"))
            await self.stopped(program)
            self.assertEqual({event for event, version, _ in self.events() if version == "2"}, {"entering"})
            self.events_file.unlink()
