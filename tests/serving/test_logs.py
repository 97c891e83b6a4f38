"""Tests of what is logged, and how."""

from __future__ import annotations

import io
import json
import os
import pty
from typing import Any
from unittest.mock import patch

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
RECORDS = """\
import logging

from twisted.logger import Logger

log = logging.getLogger("shop")
SETUP


def talks():
    log.info("unimportant")
    log.warning("price too small")
    Logger(namespace="shop").warn("by Twisted")
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("two\\nlines")
    return {}


def nothing():
    return None


url_patterns = ((r"/talks", talks), (r"/fails", nothing))
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADERS = (("X-Request-ID", "mine"), ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"))


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class FormatTests(SynchronousTestCase):
    def logged(self, kind: str, log: Any, file: Any = None) -> str:
        """Return what an observer writes when C{log} uses a Logger."""
        file = io.StringIO() if file is None else file
        log(Logger("name", observer=make_observer(file, kind)))
        file.seek(0)
        return file.read()

    def test_json_line_has_the_fields_of_the_event(self) -> None:
        """Whatever the event contains."""
        text = self.logged("json", lambda log: log.warn("a {b}\nsecond {c!r}", b='"', c=object))
        self.assertEqual(text.count("\n"), 1)
        seen = json.loads(text)
        self.assertEqual((seen["level"], seen["logger"]), ("warn", "name"))
        self.assertTrue(seen["message"].startswith('a "\nsecond <class'))
        self.assertRegex(seen["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$")

    def test_traceback_is_a_field_of_its_own(self) -> None:
        """In the text format, it stands below its line."""

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
        """A terminal gets text, a file JSON, unless an option chooses the format."""
        json.loads(self.logged("", lambda log: log.info("x")))
        self.assertNotIn("{", self.logged("text", lambda log: log.info("x")))

    def test_lone_surrogates_are_escaped(self) -> None:
        """Such text cannot be encoded as UTF-8. It may come from file names."""
        for kind in ("json", "text"):
            text = self.logged(kind, lambda log: log.info("caf\udce9 {path}", path="\udce9"))
            text.encode()
            self.assertEqual(text.count("caf"), 1, kind)
            self.assertIn("udce9", text)

    def test_colours_are_for_terminals_that_want_them(self) -> None:
        """A file gets the date and no colours; NO_COLOR and TERM=dumb switch colours off on a terminal."""
        text = self.logged("text", lambda log: log.error("no"))
        self.assertRegex(text, r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d no\n$")
        for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
            with patch.dict(os.environ, {"TERM": "xterm", **environment}):
                text = self.logged("", lambda log: log.error("no"), _Terminal())
                self.assertEqual("\x1b[31m" in text, coloured, environment)

    def test_characters_that_a_file_cannot_encode_are_escaped(self) -> None:
        """Neither the line nor its traceback is lost, and JSON stays JSON."""

        def fail(log: Logger) -> None:
            try:
                raise ValueError("caf\xe9 \U0001f600")
            except ValueError:
                log.failure("gr\xfc\xdfe")

        for encoding in ("ascii", "latin-1", "utf-8"):
            for kind in ("text", "json"):
                file = io.TextIOWrapper(io.BytesIO(), encoding)
                text = self.logged(kind, fail, file)
                if kind == "json":
                    seen = json.loads(text)
                    self.assertEqual(seen["message"], "gr\xfc\xdfe")
                    self.assertIn("caf\xe9 \U0001f600", seen["traceback"])
                else:
                    self.assertIn({"ascii": "gr\\xfc\\xdfe"}.get(encoding, "gr\xfc\xdfe"), text)
                    self.assertIn("caf", text)

    def test_level_and_logger_of_a_record_are_in_its_text(self) -> None:
        """Without colours, they could not be seen otherwise."""
        text = self.logged("text", lambda log: log.warn("low", from_logging=True))
        self.assertTrue(text.endswith(" warn name: low\n"), text)

    def test_client_cannot_forge_a_line(self) -> None:
        """A path in the log contains neither line breaks nor colours."""
        file = io.StringIO()
        requests = RequestLog(reactor)
        requests.log = Logger("name", observer=make_observer(file, "text"))  # type: ignore[misc]
        requests(Call("GET", "/a\n13:00:00 b\x1b[31m"), Reply(b"", 404))
        self.assertEqual(file.getvalue().count("\n"), 1)
        self.assertNotIn("\x1b[31m", file.getvalue())


class ServerTests(CommandTestCase):
    timeout = 60

    async def lines(self, *words: str, app: str = TALKS) -> list[dict[str, Any]]:
        """Return what a server logs about some calls, as JSON."""
        program = self.twistd("--port", "0", *words, folder=self.folder_of(app=app))
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

    async def test_requests_are_logged_as_json(self) -> None:
        """With id, route, status and duration. Messages of the function have the same id."""
        for server_type in ("threaded", "forked"):
            lines = await self.lines("--type", server_type, "--log-requests", "always")
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
            self.assertEqual(failed["message"], "fails failed: ValueError: on purpose, mine")
            self.assertNotIn("request_id", self.find(lines, "http://localhost"))

    @slow
    async def test_records_of_logging_keep_their_level_name_and_request(self) -> None:
        """Also if the application calls basicConfig(), and with lines and a traceback in one record."""
        for setup in ("", "logging.basicConfig()", "logging.basicConfig(format='<%(message)s>')"):
            for server_type in ("threaded", "forked"):
                lines = await self.lines("--type", server_type, app=RECORDS.replace("SETUP", setup))
                seen = self.find(lines, "price too small")
                text = "<price too small>" if "format" in setup else "price too small"
                self.assertEqual((seen["level"], seen["logger"], seen["message"]), ("warn", "shop", text))
                self.assertEqual(seen["request_id"], "mine")
                seen = self.find(lines, "two\nlines")
                self.assertEqual((seen["level"], seen["request_id"]), ("error", "mine"))
                self.assertTrue(seen["traceback"].rstrip(">").endswith("ZeroDivisionError: division by zero"))
                self.assertEqual(self.find(lines, "by Twisted")["level"], "warn")
                self.assertEqual([line for line in lines if "unimportant" in line["message"]], [])

    async def test_table_is_printed_on_a_terminal_without_its_characters(self) -> None:
        """C{--show-routes} and C{--check} escape what they cannot print."""
        folder = self.folder_of(app='url_patterns = ((r"/caf\xe9", print),)\n')
        for word in ("--show-routes", "--check"):
            program = self.twistd(word, folder=folder, PYTHONIOENCODING="ascii")
            self.assertEqual(await program.ended, 0, program.err)
        program = self.twistd("--show-routes", folder=folder, PYTHONIOENCODING="ascii")
        await program.ended
        self.assertIn("/caf\\xe9", program.out)

    async def test_reason_of_a_failure_is_in_its_first_line(self) -> None:
        """A traceback begins in the function, and there is none for a value that cannot be sent."""
        lines = await self.lines(app=RECORDS.replace("SETUP", ""))
        seen = self.find(lines, "returned None")
        self.assertTrue(seen["message"].startswith("nothing failed: TypeError: nothing returned None"), seen)
        self.assertNotIn("\n", seen["message"])
        self.assertNotIn("traceback", seen)

    async def test_requests_are_not_logged_by_default(self) -> None:
        """Errors are."""
        lines = await self.lines()
        self.assertEqual([line for line in lines if "/talks" in line["message"]], [])
        self.find(lines, "fails failed")

    async def test_requests_are_logged_as_text_on_a_terminal(self) -> None:
        """Lines are short, and errors are red."""
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

    async def test_twistd_log_file_has_our_format_only_if_chosen(self) -> None:
        """The logger that twistd's own option names is left unchanged."""
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
    async def test_trace_id_is_passed_on_to_other_services(self) -> None:
        """A function can send the ids of its call with its own requests."""
        other = self.twistd("--port", "0", folder=self.folder_of(app=PASSES.format(port=0)))
        there = await other.port()
        program = self.twistd("--port", "0", folder=self.folder_of(app=PASSES.format(port=there)))
        answer = await exchange(await program.port(), request("GET", "/asks", headers=HEADERS))
        self.assertEqual(answer.json, {"x-request-id": "mine", "traceparent": HEADERS[1][1]})
        seen = await AppClient(f"http://localhost:{there}", self.http).call("/shows")
        self.assertEqual(seen["traceparent"], "")
        await program.stop()
        await other.stop()
