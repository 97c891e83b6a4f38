"""Tests of the pages and metrics of several servers as real processes."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.serving.servers.service_of_servers import APPLICATION, ServersTestCase
from tests.support.slow import slow
from tests.support.wire import Connection, fetch, request

FAILS = """
def fails(kind: str):
    raise {"key": KeyError, "value": ValueError}[kind](kind)

url_patterns += ((r"/fails/(?P<kind>)/", fails),)
"""
ROUNDS = int(os.environ.get("ROUNDS", "4"))  # of reloads and kills
PATHS = (
    ("/version/", "version", 200),
    ("/fails/key/", "fails", 500),
    ("/fails/value/", "fails", 500),
    ("/nothing/", "", 404),
)


class FiguresTestCase(ServersTestCase):
    """
    @ivar sent: how many requests were answered, by the name of the route and the status.
    """

    async def serve(self, *options: str) -> None:
        await self.servers(*options, application=APPLICATION + FAILS)
        self.sent: Counter[tuple[str, int]] = Counter()
        await self.metrics()  # calls are counted from now on

    async def end(self) -> None:
        """Stop the service. Its log has the tracebacks of functions that failed."""
        self.program.signal("TERM")
        self.assertEqual(await self.program.ended, -signal.SIGTERM)

    async def send(self, count: int) -> None:
        """Send requests over new connections, which several servers accept."""
        for number in range(count):
            connection = await self.connect()
            for path, name, status in PATHS:
                answer = await connection.send(request("GET", path))
                self.assertEqual(answer.status, status, answer.body)
                self.sent[name, status] += 1
            await connection.close()
            if number % 10 == 0:
                await self.call("/-/status.json")  # reports may be requested at any time

    async def metrics(self) -> dict[str, Any]:
        """Return the samples by name and labels. No sample may appear twice."""
        answer = await fetch(self.ports["tcp"], "/-/metrics")
        self.assertEqual(answer.status, 200, answer.body)
        found: dict[str, Any] = {}
        for family in text_string_to_metric_families(answer.body.decode()):
            for sample in family.samples:
                key = sample.name + str(sorted(sample.labels.items()))
                self.assertNotIn(key, found)
                found[key] = sample.value
        return found

    async def check_sums(self) -> None:
        """Check that the pages and metrics of both servers contain all requests that were sent."""
        for _ in range(6):  # either server answers
            found = await self.metrics()
            for (name, status), count in self.sent.items():
                labels = f"[('route', '{name}'), ('status', '{status}')]"
                self.assertEqual(found[f"appserver_call_seconds_count{labels}"], count, (name, status))
            failed = sum(count for (_, status), count in self.sent.items() if status >= 500)
            self.assertEqual(found["appserver_failed_total[]"], failed)
            self.assertEqual(found["appserver_completed_total[]"], self.sent["version", 200])
            page = await self.call("/-/status.json")
            self.assertEqual((page["completed"], page["failed"]), (self.sent["version", 200], failed))
            routes = {name: each["calls"] for name, each in page["routes"].items()}
            expected: Counter[str] = Counter()
            for (name, _), count in self.sent.items():
                expected[name or "(no function)"] += count
            self.assertEqual(routes, expected)
            errors = {each["type"]: each["count"] for each in page["errors"]}
            self.assertEqual(errors, dict.fromkeys(("KeyError", "ValueError"), failed // 2))

    async def until_there_are_two(self) -> None:
        """Wait until two servers are ready, and the servers that they have replaced are gone."""
        while True:
            servers = (await self.call("/-/status.json"))["servers"]
            if [(each["server"], each["state"]) for each in servers] == [("1", "ready"), ("2", "ready")]:
                return
            await deferLater(reactor, 0.05)  # type: ignore[arg-type]


@slow
class FigureTests(FiguresTestCase):
    async def test_pages_and_metrics_equal_what_clients_sent_after_reloads_and_kills(self) -> None:
        """To the last request. Before a server is killed, figures are requested, so it reports."""
        await self.serve()
        for number in range(ROUNDS):
            await self.send(15)
            self.program.signal("HUP")
            await self.send(15)  # also during the reload
            await self.until(lambda n=number + 1: self.program.output.count("application reloaded") == n)
            await self.send(5)
            await self.check_sums()
            pid = await self.metered_pid()
            await self.check_sums()
            self.kill(pid)
            await self.send(15)
            pid = await self.metered_pid()
            os.kill(pid, signal.SIGTERM)
            await self.until(lambda pid=pid: pid not in self.pids())
            await self.send(5)
            await self.until_there_are_two()
            await self.check_sums()
        found = await self.metrics()
        self.assertEqual(found["appserver_server_restarts_total[]"], 2 * ROUNDS)
        await self.end()

    async def metered_pid(self) -> int:
        """Return the process of a server. The call counts."""
        self.sent["version", 200] += 1
        return int((await self.call("/version/"))["pid"])

    async def test_server_that_is_killed_has_reported_what_is_older_than_its_last_report(self) -> None:
        """Only calls after that are missing."""
        await self.serve()
        await self.send(10)
        await self.check_sums()
        connection, pid = await self.connect_to_server()
        for _ in range(20):
            await connection.send(request("GET", "/version/"))
        self.kill(pid)
        await connection.closed
        await self.until_there_are_two()
        found = (await self.call("/-/status.json"))["completed"]
        self.assertTrue(self.sent["version", 200] <= found <= self.sent["version", 200] + 21, found)
        await self.end()

    async def test_servers_and_their_calls_are_listed(self) -> None:
        await self.serve("--threads", "3")
        path, connection, answer = await self.hold()
        for _ in range(6):
            page = await self.call("/-/status.json")
            self.assertIn("3 threads in each of 2 servers", page["line"])
            self.assertEqual({each["pid"] for each in page["servers"]}, self.pids())
            (call,) = page["running_calls"]
            self.assertEqual(call["function"], "holds")
            busy = [each["server"] for each in page["servers"] if each["running"]]
            self.assertEqual((busy, page["running"]), ([call["server"]], 1))
            self.assertEqual(page["executors"]["threads"]["size"], 6)
        os.remove(path)
        await answer
        await connection.close()
        await self.end()

    async def test_tracebacks_of_all_servers_are_shown(self) -> None:
        await self.serve("--display-tracebacks")
        await self.send(8)
        for _ in range(6):
            found = await self.call("/-/errors")
            self.assertEqual({each["count"] for each in found["errors"]}, {8})
            for each in found["errors"]:
                self.assertIn("app.py", each["traceback"])
        await self.end()

    async def test_frozen_server_does_not_keep_the_others_from_answering(self) -> None:
        await self.serve()
        await self.send(6)
        await self.check_sums()
        connection, pid = await self.connect_to_server()
        other = await self.other_connection(pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            page = (await other.send(request("GET", "/-/status.json"))).json
            states = {each["pid"]: each["state"] for each in page["servers"]}
            self.assertEqual(states.pop(pid), "it does not answer")
            self.assertEqual([*states.values()], ["ready"])
            self.assertGreaterEqual(page["completed"], self.sent["version", 200])
            self.assertEqual((await other.send(request("GET", "/-/ready"))).json, {"ready": True})
        finally:
            os.kill(pid, signal.SIGCONT)
        await other.close()
        await connection.close()
        await self.end()

    async def connect_to_server(self) -> tuple[Connection, int]:
        """Return a connection, and the process of its server."""
        connection = await self.connect()
        return connection, (await connection.send(request("GET", "/version/"))).json["pid"]

    async def other_connection(self, pid: int) -> Any:
        """Return a connection to another server than this process."""
        while True:
            connection, other = await self.connect_to_server()
            if other != pid:
                return connection
            await connection.close()
