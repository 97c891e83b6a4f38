"""Tests of what is logged, and how."""

from __future__ import annotations

import io
import json
import os
import pty
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tests.serving.test_command import TWISTD, CommandTestCase
from tests.support.slow import slow
from tests.support.wire import exchange, request
from twisted_appserver import Call, Reply
from twisted_appserver.client import AppClient
from twisted_appserver.serving.logs import RequestLog, make_observer

TALKS = """\
import logging
import sys

from twisted.logger import Logger

log = Logger(namespace="shop")


def talks():
    log.info("by Twisted")
    logging.getLogger("shop").warning("by the standard library")
    print("printed")
    print("in", "two", end=" ")
    print("parts", file=sys.stdout)
    return {}


def fails():
    raise ValueError("on purpose")


async def on_reactor():
    log.info("on the reactor")
    return {}


url_patterns = ((r"/talks", talks), (r"/fails", fails), (r"/on_reactor", on_reactor))
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADERS = (("X-Request-ID", "mine"), ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"))


class FormatTests(SynchronousTestCase):
    def logged(self, kind: str, log: Any) -> str:
        """What an observer writes of what C{log} is given a Logger for."""
        file = io.StringIO()
        log(Logger("name", observer=make_observer(file, kind)))
        return file.getvalue()

    def test_json_line_has_the_fields_of_the_event(self) -> None:
        """Each event is a line of JSON, whatever is in it."""
        text = self.logged("json", lambda log: log.warn("a {b}\nsecond {c!r}", b='"', c=object))
        self.assertEqual(text.count("\n"), 1)
        seen = json.loads(text)
        self.assertEqual((seen["level"], seen["logger"]), ("warn", "name"))
        self.assertTrue(seen["message"].startswith('a "\nsecond <class'))
        self.assertRegex(seen["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$")

    def test_traceback_is_a_field_of_its_own(self) -> None:
        """A traceback is a member of its own, and in the text stands below its line."""

        def fail(log: Logger) -> None:
            try:
                raise ValueError("on purpose")
            except ValueError:
                log.failure("it failed")

        seen = json.loads(self.logged("json", fail))
        self.assertEqual(seen["message"], "it failed")
        self.assertTrue(seen["traceback"].endswith("ValueError: on purpose"), seen)
        first, *_, last = self.logged("text", fail).splitlines()
        self.assertIn("it failed", first)
        self.assertIn("on purpose", last)

    def test_format_depends_on_whether_the_file_is_a_terminal(self) -> None:
        """A file that is no terminal gets JSON, unless it is asked for otherwise."""
        json.loads(self.logged("", lambda log: log.info("x")))
        self.assertNotIn("{", self.logged("text", lambda log: log.info("x")))

    def test_lone_surrogates_are_escaped(self) -> None:
        """What UTF-8 does not have, such as a part of a file's name, is escaped and keeps no line away."""
        for kind in ("json", "text"):
            text = self.logged(kind, lambda log: log.info("caf\udce9 {path}", path="\udce9"))
            text.encode()
            self.assertEqual(text.count("caf"), 1, kind)
            self.assertIn("udce9", text)

    def test_client_cannot_forge_a_line(self) -> None:
        """A path cannot make a line of its own, nor colours."""
        file = io.StringIO()
        requests = RequestLog(reactor)
        requests.log = Logger("name", observer=make_observer(file, "text"))  # type: ignore[misc]
        requests(Call("GET", "/a\n13:00:00 b\x1b[31m"), Reply(b"", 404))
        self.assertEqual(file.getvalue().count("\n"), 1)
        self.assertNotIn("\x1b[31m", file.getvalue())


class ServerTests(CommandTestCase):
    timeout = 60

    async def lines(self, *words: str) -> list[dict[str, Any]]:
        """What a server logs of some calls, as JSON."""
        program = self.twistd("--port", "0", *words, folder=self.folder_of(app=TALKS))
        port = await program.port()
        for target in ("/talks", "/fails", "/on_reactor"):
            await exchange(port, request("GET", target, headers=HEADERS))
        await program.stop()
        self.assertEqual(program.err, "")
        return [json.loads(line) for line in program.out.splitlines()]

    def find(self, lines: list[dict[str, Any]], text: str) -> dict[str, Any]:
        found = [line for line in lines if text in line["message"]]
        self.assertEqual(len(found), 1, lines)
        return found[0]

    @slow
    async def test_requests_are_logged_as_json(self) -> None:
        """A request has its line, with id, route, status and duration; what its function says has the id."""
        for server_type in ("threaded", "forked"):
            lines = await self.lines("--type", server_type, "--log-format", "json")
            seen = self.find(lines, "GET /talks 200")
            self.assertEqual((seen["route"], seen["status"], seen["client"]), ("talks", 200, "127.0.0.1"))
            self.assertEqual((seen["request_id"], seen["trace_id"]), ("mine", TRACE))
            self.assertLess(0, seen["duration"])
            for text in (
                "by Twisted",
                "by the standard library",
                "printed",
                "in two parts",
                "on the reactor",
            ):
                self.assertEqual(self.find(lines, text).get("request_id"), "mine", text)
            failed = self.find(lines, "fails failed")
            self.assertEqual((failed["request_id"], failed["route"]), ("mine", "fails"))
            self.assertIn("on purpose", failed["traceback"])
            self.assertNotIn("request_id", self.find(lines, "Main loop terminated"))

    async def test_requests_are_not_logged_by_default(self) -> None:
        """Where nobody asks for it, requests have no lines, only faults."""
        lines = await self.lines()
        self.assertEqual([line for line in lines if "/talks" in line["message"]], [])
        self.find(lines, "fails failed")

    async def test_requests_are_logged_as_text_on_a_terminal(self) -> None:
        """On a terminal lines are short, for requests too, and a failure is red."""
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        folder = self.folder_of(app=TALKS)
        program = self.python(
            "-c",
            "import os, sys; os.dup2(os.open(sys.argv[1], 2), 1); os.execv(sys.argv[2], sys.argv[2:])",
            os.ttyname(theirs),
            *(os.path.join(os.path.dirname(TWISTD), "python"), TWISTD),
            *("-n", "--pidfile=", "appserver", "--port", "0", "--access-log", "access"),
            folder=folder,
        )
        seen = ""
        while "http://localhost" not in seen or "threads" not in seen:
            seen += (await deferToThread(os.read, ours, 10_000)).decode()
        port = int(seen.partition("http://localhost:")[2].partition("/")[0])
        for target in ("/talks", "/fails"):
            await exchange(port, request("GET", target, headers=HEADERS))
        while "GET /fails 500" not in seen:
            seen += (await deferToThread(os.read, ours, 10_000)).decode()
        os.close(theirs)
        self.assertRegex(seen, r"\d\d:\d\d:\d\d\x1b\[0m GET /talks 200 \d+\.\d ms \x1b\[2mmine\x1b\[0m")
        self.assertIn("\x1b[31mValueError: on purpose\x1b[0m", seen)
        self.assertIn("\x1b[31mGET /fails 500", seen)
        await program.stop()

    @slow
    async def test_twistd_log_file_has_our_format_only_if_chosen(self) -> None:
        """twistd's own file has its format, or JSON when that is asked for; its own logger is left alone."""
        for words, ours in ((("--log-format", "json"), True), ((), False)):
            folder = self.folder_of(app=TALKS)
            program = self.python(
                TWISTD, "-n", "--pidfile=", "--logfile=log", "appserver", "--port", "0", *words, folder=folder
            )
            path = os.path.join(folder, "log")
            while not os.path.exists(path) or "localhost" not in self.read(path):
                await deferLater(reactor, 0.02)
            await program.stop()
            self.assertEqual(self.read(path).startswith('{"time":'), ours)

    def read(self, path: str) -> str:
        with open(path) as file:
            return file.read()


PASSES = """\
from twisted_appserver import Call
from twisted_appserver.client import AppClient

client = AppClient("http://localhost:{port}")


async def asks():
    return await client.call("/shows")


def shows(call: Call):
    return {{name: call.headers.get(name, "") for name in ("x-request-id", "traceparent")}}


url_patterns = ((r"/asks", asks), (r"/shows", shows))
"""


class TraceTests(CommandTestCase):
    @slow
    async def test_trace_id_is_passed_on_to_other_services(self) -> None:
        """What a function asks of another service carries the ids of its own call."""
        other = self.twistd("--port", "0", folder=self.folder_of(app=PASSES.format(port=0)))
        there = await other.port()
        program = self.twistd("--port", "0", folder=self.folder_of(app=PASSES.format(port=there)))
        answer = await exchange(await program.port(), request("GET", "/asks", headers=HEADERS))
        self.assertEqual(answer.json, {"x-request-id": "mine", "traceparent": HEADERS[1][1]})
        seen = await AppClient(f"http://localhost:{there}", self.http).call("/shows")
        self.assertEqual(seen["traceparent"], "")
        await program.stop()
        await other.stop()
