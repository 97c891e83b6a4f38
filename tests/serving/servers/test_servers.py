"""Tests of several servers as real processes: killed, replaced and stopped, under load."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater

from tests.serving.servers.service_of_servers import APPLICATION, TRANSPORTS, Load, ServersTestCase
from tests.support.postgres import needs_postgresql, shared
from tests.support.slow import slow
from tests.support.wire import fetch, request
from twisted_appserver.serving.servers.supervisor import MOVING_TIME

TWISTD = os.path.join(os.path.dirname(sys.executable), "twistd")


@slow
class KillTests(ServersTestCase):
    async def test_no_client_waits_for_the_successor_of_a_dead_server(self) -> None:
        """Another server accepts from its socket."""
        application = APPLICATION + "\nif os.path.exists('slow'): time.sleep(5)\n"
        await self.servers(application=application)
        (self.app.parent / "slow").touch()
        self.kill((await self.call("/version/"))["pid"])
        for _ in range(40):
            (await self.call("/version/"))["pid"]
        self.assertNotIn("reloaded", self.program.output)
        self.assertEqual(self.program.output.count("http://localhost"), 2)

    async def test_server_that_exits_by_itself_is_replaced(self) -> None:
        """The log shows how it ended. C{SIGTERM} to one server lets it finish first."""
        await self.servers()
        connection = await self.connect()
        await self.assertFailure(connection.send(request("GET", "/exits/")), ConnectionError)
        await self.program.line(r"server [12] \(process \d+\) ended with status 3; it is started again")
        pid = (await self.call("/version/"))["pid"]
        os.kill(pid, signal.SIGTERM)
        await self.program.line(rf"process {pid}\) .*; it is started again")
        await self.until(lambda: len(self.pids()) == 2 and pid not in self.pids())
        await self.stopped(self.program)


@slow
class ReloadTests(ServersTestCase):
    async def test_signals_that_arrive_during_a_reload_cause_one_more(self) -> None:
        await self.servers()
        load = Load(self, ("tcp",), 3, "/version/")
        for _ in range(10):
            self.program.signal("HUP")
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]
        await self.until(lambda: self.program.output.count("application reloaded") == 2)
        await load.more()
        await load.end()
        self.assertEqual((set(load.responses), load.refused, load.cut_off), ({200}, 0, 0))
        await self.until(lambda: len(self.pids()) == 2)
        self.assertEqual(self.program.output.count("application reloaded"), 2)
        await self.stopped(self.program)

    async def test_old_servers_stay_if_the_new_code_cannot_be_imported(self) -> None:
        """The log has the reason once, and the status page shows it."""
        await self.servers()
        before = self.pids()
        self.app.write_text("this is no Python\n")
        self.program.signal("HUP")
        await self.program.line("reload failed; still serving the previous code: .*app.py")
        await self.until(lambda: self.pids() == before)
        self.assertIn((await self.call("/version/"))["pid"], before)
        for _ in range(20):  # either server answers
            while "reload failed" not in (await self.call("/-/status.json"))["unready"]:
                await deferLater(reactor, 0.01)  # type: ignore[arg-type]
        self.write(2)
        self.program.signal("HUP")
        await self.program.line("application reloaded")
        self.assertEqual((await self.call("/version/"))["version"], 2)
        await self.stopped(self.program)

    async def test_saved_file_is_loaded(self) -> None:
        """With C{--reload}."""
        await self.servers("--reload")
        reloaded = self.program.line("application reloaded")
        while not reloaded.called:  # the files may not be watched yet
            self.write(2)
            await deferLater(reactor, 0.5)  # type: ignore[arg-type]
        await self.until_version(2)
        await self.stopped(self.program)

    async def test_call_that_runs_during_a_reload_finishes_in_the_old_server(self) -> None:
        await self.servers()
        path, connection, answer = await self.hold()
        self.program.signal("HUP")
        await self.program.line("application reloaded")
        self.assertFalse(answer.called)
        os.remove(path)
        self.assertEqual((await answer).json, {"finished": True})
        await connection.close()
        await self.until(lambda: len(self.pids()) == 2)
        await self.stopped(self.program)

    async def test_reloads_do_not_limit_the_time_of_calls(self) -> None:
        """The grace period is for the end of the service only."""
        await self.servers("--graceful-timeout", "0")
        path, connection, answer = await self.hold()
        for count in (1, 2, 3):
            self.program.signal("HUP")
            await self.until(lambda count=count: self.program.output.count("application reloaded") == count)
            await deferLater(reactor, MOVING_TIME)  # type: ignore[arg-type]
        await self.until(lambda: len(self.pids()) == 3)
        self.assertFalse(answer.called)
        os.remove(path)
        self.assertEqual((await answer).json, {"finished": True})
        await connection.close()
        await self.until(lambda: len(self.pids()) == 2)
        await self.stopped(self.program)


@slow
class StopTests(ServersTestCase):
    async def test_running_calls_are_finished_and_answered(self) -> None:
        await self.servers()
        paths = [os.path.abspath(self.mktemp()) for _ in range(4)]
        connections = [await self.connect() for _ in paths]
        answers = [
            connection.send(request("GET", f"/holds/{path}"))
            for connection, path in zip(connections, paths, strict=True)
        ]
        await self.until(lambda: all(map(os.path.exists, paths)))
        self.program.signal("TERM")
        await self.program.line("stopping 2 servers; to stop at once, send SIGTERM again")
        for path in paths:
            os.remove(path)
        self.assertEqual([each.json for each in await gatherResults(answers)], [{"finished": True}] * 4)
        self.assertEqual(await self.program.ended, -signal.SIGTERM)
        for connection in connections:
            await connection.close()

    async def test_second_signal_ends_everything_at_once(self) -> None:
        await self.servers("--type", "forked")
        _, connection, answer = await self.hold()
        self.program.signal("TERM")
        await self.program.line("waiting for 1 call")
        await deferLater(reactor, 0.4)  # type: ignore[arg-type]  # a second signal before would count as the first
        self.program.signal("TERM")
        await self.assertFailure(answer, ConnectionError)
        await self.program.ended
        await self.all_gone(5)
        await connection.close()

    async def test_signal_during_the_start_leaves_nothing(self) -> None:
        folder = self.folder_of(app="import time\nopen('begun', 'w').close()\ntime.sleep(60)\n" + APPLICATION)
        program = self.twistd("--servers", "2", "--port", "0", "app.py", folder=folder)
        self.addCleanup(program.kill_all)
        await self.until(lambda: os.path.exists(f"{folder}/begun"))
        program.signal("TERM")
        await program.ended
        self.assertEqual(program.processes(), [])


@slow
class LogTests(ServersTestCase):
    async def test_lines_name_their_server_and_the_address_appears_once(self) -> None:
        """What functions print too."""
        await self.servers("--log-requests", "always")
        for number in range(20):
            await self.call(f"/prints/text-{number}/")
        for number in range(20):
            await self.program.line(rf"\[server [12]\] text-{number} [0-9a-f]+-\d+\n")
            await self.program.line(rf"\[server [12]\] GET /prints/text-{number}/ 200 ")
        self.assertEqual(self.program.output.count("http://localhost"), 2)  # and the page of functions
        self.assertIn("10 threads in each of 2 servers", self.program.output)
        await self.stopped(self.program)

    async def test_access_log_has_all_requests(self) -> None:
        await self.servers("--access-log", "access.log")
        load = Load(self, TRANSPORTS, 2, "/version/")
        await load.more(100)
        await load.end()
        await self.stopped(self.program)
        lines = (self.app.parent / "access.log").read_text().splitlines()
        self.assertEqual(len(lines), load.responses[200])
        for line in lines:
            self.assertRegex(line, r'"GET /version/ HTTP/1\.1" 200 \d+ "-" "-"$')

    async def test_json_lines_have_the_number_of_the_server(self) -> None:
        folder = self.folder_of(app=APPLICATION)
        program = self.twistd("--servers", "2", "--port", "0", "app.py", folder=folder)
        port = await program.port()
        await fetch(port, "/prints/hello/")
        await program.line(r'"message":"hello","request_id":"[^"]+","server":[12]\}')
        await self.stopped(program)


@slow
class EntryTests(ServersTestCase):
    """The commands, and C{run_server}."""

    async def test_run_server_starts_several_servers(self) -> None:
        script = APPLICATION + main_block("servers=2")
        path = Path(self.folder_of(script=script)) / "script.py"
        program = self.python(str(path))
        port = await program.port()
        found: set[int] = set()
        while len(found) < 2:
            found.add((await fetch(port, "/version/")).json["pid"])
        self.assertNotIn(program.pid, found)
        program.signal("TERM")
        self.assertEqual(await program.ended, 0)
        self.assertEqual(program.processes(), [])

    async def test_daemon_serves_when_the_command_returns(self) -> None:
        folder = self.folder_of(app=APPLICATION)
        command = self.python(
            TWISTD, "appserver", "--servers", "2", "--listen", "unix:s", "app.py", folder=folder
        )
        self.addCleanup(command.kill_all)
        await command.exited
        self.ports = {"unix": os.path.relpath(f"{folder}/s")}
        await self.call("/version/", "unix")
        os.kill(int(Path(f"{folder}/twistd.pid").read_text()), signal.SIGTERM)
        await self.until(lambda: not command.processes())
        self.assertEqual({*os.listdir(folder)} - {"__pycache__"}, {"app.py", "twistd.log"})

    async def test_failed_start_is_one_line_and_leaves_nothing(self) -> None:
        """Whether the supervisor or a server notices it."""
        for text, options, status, expected in (
            ("import nothing_like_this", (), 1, "nothing_like_this"),
            (APPLICATION, ("--access-log", "no/such/folder"), 1, "--access-log no/such/folder"),
            (APPLICATION, ("--store", "sqlite:jobs.db"), 2, "--store sqlite: exclude each other"),
            (APPLICATION, ("--token-file", "missing"), 1, "missing"),
            (APPLICATION, ("--host", "0.0.0.0"), 1, "can be reached from other machines"),
        ):
            folder = self.folder_of(app=text)
            program = self.twistd("--servers", "2", "--port", "0", *options, "app.py", folder=folder)
            self.assertEqual(await program.ended, status, program.output)
            self.assertRegex(program.err, rf"\Aappserver: [^\n]*{expected}[^\n]*\n\Z")
            self.assertEqual(program.processes(), [])

    async def test_forked_servers_share_the_cores(self) -> None:
        """There is at least one worker process in each."""
        await self.servers("--type", "forked", "--workers", "1")
        found: set[Any] = set()
        while len(found) < 2:
            found.add((await self.call("/version/"))["pid"])
        self.assertIn("1 worker in each of 2 servers", self.program.output)
        self.assertEqual(len(self.pids()), 4)
        await self.stopped(self.program)
        self.assertEqual(self.program.processes(), [])

    async def test_chosen_reactor_is_used_by_the_servers(self) -> None:
        text = "from twisted.internet import reactor\n" + APPLICATION
        text = text.replace('"version": VERSION', '"version": type(reactor).__name__')
        program = self.python(
            *(TWISTD, "-n", "--pidfile=", "--reactor=select", "appserver", "--servers", "2", "--port", "0"),
            "app.py",
            folder=self.folder_of(app=text),
        )
        answer = await fetch(await program.port(), "/version/")
        self.assertEqual(answer.json["version"], "SelectReactor")
        await self.stopped(program)


@slow
class JobTests(ServersTestCase):
    async def test_jobs_without_a_shared_store_are_refused_with_the_reason(self) -> None:
        """Any other answer could be wrong: the next request may reach a server without the job."""
        await self.servers()
        for headers in ((("Prefer", "respond-async"),), (("Idempotency-Key", "k"),)):
            connection = await self.connect()
            answer = await connection.send(request("GET", "/version/", headers=headers))
            self.assertEqual(answer.status, 501)
            self.assertIn("--store postgresql://", answer.json["detail"])
            await connection.close()
        for path in ("/-/jobs", "/-/jobs/x", "/-/jobs/x/result", "/-/schedules"):
            self.assertEqual((await fetch(self.ports["tcp"], path)).status, 501)
        self.assertNotIn("/-/jobs", (await self.call("/-/openapi.json"))["paths"])
        await self.stopped(self.program)

    @needs_postgresql
    async def test_jobs_in_postgresql_are_the_same_at_every_server(self) -> None:
        """Their results, and repeated requests."""
        await self.servers("--store", shared().database())
        counted = os.path.abspath(self.mktemp())
        headers = (("Prefer", "respond-async"), ("Idempotency-Key", "k"))
        found: set[str] = set()
        for _ in range(12):
            connection = await self.connect()
            answer = await connection.send(request("GET", f"/records/{counted}", headers=headers))
            self.assertIn(answer.status, (200, 202), answer.body)
            await connection.close()
            for each in (await self.call("/-/jobs"))["jobs"]:
                found.add(each["job"])
        (job,) = found
        while (await self.call(f"/-/jobs/{job}"))["state"] != "done":
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]
        for _ in range(12):
            self.assertEqual((await fetch(self.ports["tcp"], f"/-/jobs/{job}/result")).status, 200)
        self.assertEqual(os.path.getsize(counted), 1)
        await self.stopped(self.program)

    async def test_schedule_that_is_not_followed_is_reported_once(self) -> None:
        text = APPLICATION.replace('(r"/exits/", exits)', 'Route(r"/exits/", exits, every=1)')
        await self.servers(application="from twisted_appserver import Route\n" + text)
        await self.program.line(r"exits is never called as scheduled: several servers have jobs only with")
        self.assertEqual(self.program.output.count("never called as scheduled"), 1)
        await self.stopped(self.program)


def main_block(options: str) -> str:
    return (
        '\nif __name__ == "__main__":\n'
        "    import twisted_appserver\n"
        f"    twisted_appserver.run_server(port=0, {options})\n"
    )
