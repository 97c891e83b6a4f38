"""Tests of conveniences: options, tables of routes, access logs, C{--reload}, and the client for tests."""

from __future__ import annotations

import asyncio
import io
import os
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, redirect_stderr
from dataclasses import fields
from typing import Any, Literal, get_type_hints
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import globalLogBeginner
from twisted.trial.unittest import SynchronousTestCase

from tests.serving.test_command import CommandTestCase
from tests.serving.test_life import VERSION
from tests.support.job_service import NO_JOBS
from tests.support.wire import connect, fetch, request
from twisted_appserver import Call, ConfigurationError, HTTPError, PatternError, Reply, Route, Router
from twisted_appserver.core.route_table import closest_patterns, format_table
from twisted_appserver.serving.access_log import AccessLog
from twisted_appserver.serving.tap import Options
from twisted_appserver.settings import Settings, cli_name
from twisted_appserver.testing import BrokenStream, Client, NoAnswer
from twisted_appserver.tqueue.tap import Options as QueueOptions

# For each type a text and its value.
SAMPLES: dict[Any, tuple[str, Any]] = {
    int: ("17", 17),
    float: ("2.5", 2.5),
    str: ("threaded", "threaded"),
    bool: ("1", True),
    int | Literal["auto"]: ("auto", "auto"),
    tuple[str, ...]: ("a b", ("a", "b")),
}
CHOSEN = {
    "host": ("::1", "::1"),
    "log_format": ("json", "json"),
    "log_requests": ("always", "always"),
    "server_type": ("forked", "forked"),
    "channel": ("twisted", "twisted"),
}


class OptionTests(SynchronousTestCase):
    """Every option works on the command line and in the environment."""

    def parse(self, *words: str, kind: Any = Options, **environment: str) -> Settings:
        with patch.dict(os.environ, environment):
            options = kind()
            options.parseOptions(list(words))
            return options.settings()  # type: ignore[no-any-return]

    def sample(self, name: str) -> tuple[str, Any]:
        kind = get_type_hints(Settings)[name]
        if kind in (str | None, int | None):
            kind = str if kind == str | None else int
        return CHOSEN.get(name, SAMPLES[kind])

    def test_every_option_works_on_the_command_line_and_in_the_environment(self) -> None:
        """For both commands."""
        for command in (Options, QueueOptions):
            table = [each for each in fields(Settings) if each.name not in command.omitted]
            self.assertGreater(len(table), 15)
            for each in table:
                text, value = self.sample(each.name)
                option = cli_name(each.name)
                words = (
                    [option] if value is True else [word for part in text.split() for word in (option, part)]
                )
                variable = command().variable(each.name)
                self.assertEqual(getattr(self.parse(*words, kind=command), each.name), value, option)
                found = self.parse(kind=command, **{variable: text})
                self.assertEqual(getattr(found, each.name), value, variable)

    def test_command_line_overrides_the_environment(self) -> None:
        self.assertEqual(self.parse("--port", "81", APPSERVER_PORT="82").port, 81)
        self.assertEqual(self.parse("--allow-host", "a", APPSERVER_ALLOW_HOST="b c").allow_host, ("a",))
        self.assertFalse(self.parse(APPSERVER_INSECURE="no").insecure)
        self.assertEqual(self.parse("--type", "threaded", APPSERVER_TYPE="forked").server_type, "threaded")
        default = str(Settings().port)
        self.assertEqual(self.parse("--port", default, APPSERVER_PORT="82").port, Settings().port)
        self.assertTrue(self.parse("--insecure", APPSERVER_INSECURE="no").insecure)

    def test_wrong_environment_variable_is_refused(self) -> None:
        """As on the command line."""
        for name, text in (
            ("APPSERVER_PORT", "x"),
            ("APPSERVER_INSECURE", "perhaps"),
            ("APPSERVER_TYPE", "x"),
        ):
            self.assertRaises(ConfigurationError, self.parse, **{name: text})


def nothing() -> dict[str, Any]:
    return {}


class HintTests(SynchronousTestCase):
    TABLE = (
        Route(r"/price/(?P<name>[a-z]+)/", lambda name: {}, name="price", timeout=5),
        Route(r"/order/", nothing, methods=["POST"], executor="inline", name="order"),
    )

    def test_route_table_has_a_line_for_each_entry(self) -> None:
        """With all of its properties."""
        head, price, order = format_table(Router(self.TABLE)).splitlines()
        self.assertIn("pattern", head)
        for word in ("/price/(?P<name>[a-z]+)/", "GET POST", "price", "5"):
            self.assertIn(word, price)
        for word in ("/order/", "POST", "inline"):
            self.assertIn(word, order)

    def test_nearest_pattern_is_named_first(self) -> None:
        """Others follow, up to ten."""
        self.assertEqual(
            closest_patterns(Router(self.TABLE), "/prices/bolt/"), ["/price/(?P<name>[a-z]+)/", "/order/"]
        )
        many = Router([(f"/order/{number}/", nothing) for number in range(30)])
        self.assertEqual(len(closest_patterns(many, "/orders/")), 10)
        self.assertEqual(closest_patterns(Router(()), "/orders/"), [])

    def test_404_names_the_nearest_pattern_for_developers_only(self) -> None:
        shown = Client(self.TABLE, display_tracebacks=True).get("/prices/bolt/")
        self.assertEqual(shown.status, 404)
        self.assertIn("the most similar pattern is /price/", shown.json["detail"])
        self.assertEqual(len(shown.json["closest_patterns"]), 2)
        self.assertNotIn("pattern is", Client(self.TABLE).get("/prices/bolt/").text)


class AccessLogTests(SynchronousTestCase):
    def lines(self, *pairs: tuple[Call, Reply]) -> list[str]:
        path = self.mktemp()
        log = AccessLog(path)
        for call, reply in pairs:
            log(call, reply)
        log.close()
        with open(path) as file:
            return file.read().splitlines()

    def test_line_has_the_combined_format(self) -> None:
        headers = ((b"user-agent", b"curl/8"), (b"referer", b"http://localhost/"))
        call = Call("GET", "/a b/\u00e4", "c=d", headers, client="192.0.2.1", user="anna")
        (line,) = self.lines((call, Reply(b"12345")))
        found = re.fullmatch(
            r"192\.0\.2\.1 - anna \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
            r'"GET /a%20b/%C3%A4\?c=d HTTP/1\.1" 200 5 "http://localhost/" "curl/8"',
            line,
        )
        self.assertTrue(found, line)

    def test_client_cannot_forge_a_line(self) -> None:
        """Nothing that a client sends ends a field or a line."""
        headers = ((b"user-agent", b'x" 200 1\n6.6.6.6 - - ["'),)
        call = Call("GET", '/a\n"b', 'c"d\n', headers, client="192.0.2.1")
        lines = self.lines((call, Reply(b"", 404)))
        self.assertEqual(len(lines), 1)
        self.assertEqual(re.sub(r"\\.", "", lines[0]).count('"'), 6)

    def test_moved_file_is_replaced_by_a_new_one(self) -> None:
        """Log rotation moves it."""
        path = self.mktemp()
        log = AccessLog(path)
        log(Call("GET", "/1"), Reply(b""))
        os.rename(path, path + ".1")
        log(Call("GET", "/2"), Reply(b""))
        log.close()
        for name, word in ((path + ".1", "/1"), (path, "/2")):
            with open(name) as file:
                self.assertIn(f"GET {word} ", file.read())

    def test_file_that_cannot_be_written_is_refused(self) -> None:
        self.assertRaises(ConfigurationError, AccessLog, "/nowhere/log")

    def test_missing_folder_fails_no_call(self) -> None:
        """Lines are written again as soon as a file can be created."""
        folder = self.mktemp()
        os.mkdir(folder)
        log = AccessLog(os.path.join(folder, "log"))
        os.rename(folder, folder + "-old")
        log(Call("GET", "/1"), Reply(b""))
        os.mkdir(folder)
        log(Call("GET", "/2"), Reply(b""))
        log.close()
        with open(os.path.join(folder, "log")) as file:
            self.assertEqual(len(file.readlines()), 1)


class CommandTests(CommandTestCase):
    """C{EDITS=50} makes the tests of C{--reload} longer."""

    timeout = 300

    async def ends(self, *words: str, app: str) -> tuple[int, str]:
        program = self.twistd(*words, folder=self.folder_of(app=app))
        return await program.ended, program.output

    async def test_check_imports_everything_and_reports_problems(self) -> None:
        """C{--check} ends with status 0, or prints each problem in one line, and a summary."""
        status, said = await self.ends("--check", app=VERSION.format(1))
        self.assertEqual((status, said.count("\n")), (0, 1))
        self.assertTrue(said.startswith("app ("), said)
        checked = "no problems; checked: patterns, functions, addresses\n"
        self.assertIn(f"/app.py), 4 routes: {checked}", said)
        one = "def f():\n    return {}\n\nurl_patterns = [('/f', f)]"
        status, said = await self.ends("--check", app=one)
        self.assertEqual(status, 0)
        self.assertIn(f"1 route: {checked}", said)
        for app, wrong in (
            ("import nowhere", "nowhere"),
            ("url_patterns = [('(', print)]", "url_patterns[0]"),
        ):
            status, said = await self.ends("--check", app=app)
            self.assertEqual((status, said.count("\n")), (1, 2), said)
            self.assertIn(wrong, said)

    async def test_check_reports_a_function_that_is_only_compatible(self) -> None:
        """It receives all variables for compatibility, but its parameter may be misspelt."""
        app = "def f(m):\n    return m\n\nurl_patterns = [(r'/f/(?P<n>)/', f)]"
        status, said = await self.ends("--check", app=app)
        self.assertEqual((status, said.count("\n")), (1, 2), said)
        self.assertIn("problem: url_patterns[0] '/f/(?P<n>)/': f: m receives all variables", said)
        self.assertIn("1 route: 1 problem", said)
        app = "def f(m, k=1):\n    return m\n\nurl_patterns = [(r'/f/(?P<n>)/', f)]"
        status, said = await self.ends("--check", app=app)
        self.assertEqual((status, said.count("\n")), (1, 2), said)
        self.assertIn("'n'", said)

    async def test_notes_are_logged_once(self) -> None:
        app = "def f(m):\n    return m\n\nurl_patterns = [(r'/f/(?P<n>)/', f), (r'/g/', f)]"
        for server_type in ("threaded", "forked"):
            program = self.twistd("--port", "0", "--type", server_type, folder=self.folder_of(app=app))
            port = await program.port()
            await program.line("m receives all variables")
            self.assertEqual((await fetch(port, "/f/5/?a=1")).json, {"a": "1", "n": "5"})
            self.assertEqual((await fetch(port, "/g/?a=1")).status, 422)
            await self.stopped(program)
            self.assertEqual(program.output.count("m receives all variables"), 1)

    async def test_show_routes_prints_the_table(self) -> None:
        status, said = await self.ends("--show-routes", app=VERSION.format(1))
        self.assertEqual(status, 0)
        self.assertIn("/version/", said)

    async def test_access_log_has_a_line_for_each_request(self) -> None:
        """On both channels, also for a request that is refused early."""
        for channel in ("llhttp", "twisted"):
            folder = self.folder_of(app=VERSION.format(1))
            program = self.twistd(
                "--port", "0", "--access-log", "log", "--max-body", "10", "--channel", channel, folder=folder
            )  # fmt: skip
            port = await program.port()
            for target in ("/version/", "/nowhere/", "/-/health"):
                await fetch(port, target)
            connection = await connect(port)
            await connection.send(request("POST", "/version/", b"x" * 11))
            await connection.close()
            with open(os.path.join(folder, "log")) as file:
                lines = file.read().splitlines()
            self.assertEqual([line.split('"')[2].split()[0] for line in lines], ["200", "404", "200", "413"])
            await self.stopped(program)

    async def test_reloading_server_writes_no_bytecode(self) -> None:
        """Python would take it for the bytecode of a file that is saved again within a second."""
        folder = self.folder_of(app=VERSION.format(1))
        words = ("--port", "0", "--type", "forked", "--workers", "1", "--reload")
        environ = {"PYTHONDONTWRITEBYTECODE": None, "PYTHONPYCACHEPREFIX": None}
        program = self.twistd(*words, folder=folder, **environ)
        self.assertEqual((await fetch(await program.port(), "/version/")).json["version"], 1)
        self.assertEqual(os.listdir(folder), ["app.py"])
        await self.stopped(program)

    async def saved(self, server_type: str, edits: int) -> None:
        edits = int(os.environ.get("EDITS", edits))
        folder = self.folder_of(app=VERSION.format(1))
        program = self.twistd("--port", "0", "--type", server_type, "--reload", folder=folder)
        port = await program.port()
        while (await fetch(port, "/-/ready")).status != 200:
            await deferLater(reactor, 0.01)
        path = os.path.join(folder, "app.py")
        stop: list[bool] = []

        async def load() -> int:
            connection, count = await connect(port), 0
            while not stop:
                answer = await connection.send(request("GET", "/version/"))
                self.assertEqual(answer.status, 200)
                count += 1
            await connection.close()
            return count

        loads = [Deferred.fromCoroutine(load()) for _ in range(4)]
        for number in range(2, edits + 2):
            broken = number == edits // 2
            with open(path, "w") as file:
                file.write("def broken(:\n" if broken else VERSION.format(number))
            if broken:
                await program.line("still serving the previous code")
                status = (await fetch(port, "/-/status.json")).json
                self.assertIn("still serving the previous code", status["unready"])
                continue
            while (await fetch(port, "/version/")).json["version"] != number:
                await deferLater(reactor, 0.01)
        stop.append(True)
        for loaded in loads:
            self.assertGreater(await loaded, edits)
        await self.stopped(program)

    async def test_saved_code_is_served_under_load(self) -> None:
        """A syntax error is shown, and the old code is still served."""
        await self.saved("threaded", 8)

    async def test_saved_code_is_served_by_workers_under_load(self) -> None:
        await self.saved("forked", 4)


def double(n: int) -> dict[str, Any]:
    return {"double": 2 * n}


def teapot() -> dict[str, Any]:
    raise HTTPError(418, "short and stout", [("x-pot", "tea")])


async def waits(call: Call) -> dict[str, Any]:
    await Deferred()
    return {}


def who(call: Call) -> dict[str, str]:
    return {"client": call.client, "user": call.user}


class TestingTests(SynchronousTestCase):
    """The client for tests."""

    def setUp(self) -> None:
        table = (
            (r"/double/(?P<n>)", double),
            (r"/double/", double),
            (r"/teapot/", teapot),
            (r"/waits/", waits),
        )
        self.client = Client(table)

    def test_client_gets_what_a_server_would_answer(self) -> None:
        self.assertEqual(self.client.get("/double/4").json, {"double": 8})
        self.assertEqual(self.client.get("/double/?n=4").json, {"double": 8})
        self.assertEqual(self.client.post("/double/", {"n": 4}).json, {"double": 8})
        self.assertEqual(self.client.post("/double/", form={"n": 4}).json, {"double": 8})
        self.assertEqual(self.client.post("/double/", {"n": "4"}).status, 422)
        self.assertEqual(self.client.get("/nowhere/").status, 404)
        answer = self.client.get("/teapot/")
        self.assertEqual((answer.status, answer.headers["x-pot"]), (418, "tea"))
        self.assertEqual(
            self.client.request("OPTIONS", "/double/").headers["allow"], "GET, HEAD, POST, OPTIONS"
        )
        self.assertEqual(self.client.get("/double/4", headers={"Host": "evil.example"}).status, 421)
        self.assertEqual(self.client._site.connections, 0)

    def test_options_for_requests_apply(self) -> None:
        """The options of a server that concern requests."""
        path = self.mktemp()
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write("anna:secret of some length")
        table = ((r"/who", who), (r"/-/jobs", who))
        client = Client(table, token_file=path, auth=(f"file:{path}",), proxied=("127.0.0.1",))
        self.assertEqual(client.get("/who").status, 401)
        basic = {
            "authorization": "Basic " + b64encode(b"anna:secret of some length").decode(),
            "X-Forwarded-For": "192.0.2.1",
        }
        self.assertEqual(client.get("/who", headers=basic).json, {"client": "192.0.2.1", "user": "anna"})
        bearer = {"Authorization": "Bearer anna:secret of some length"}
        self.assertEqual(client.get("/who", headers=bearer).json, {"client": "127.0.0.1", "user": ""})
        self.assertEqual(Client(table).get("/-/jobs").json, NO_JOBS)
        self.assertEqual(Client(table, no_admin=True).get("/-/jobs").json["user"], "")
        self.assertRaises(ConfigurationError, Client, table, auth=("hashed:file",))

    def test_bodies_are_json_a_form_or_bytes(self) -> None:
        """With every method. A request has only one of them."""

        def what(call: Call) -> Any:
            return {"body": call.body.decode(), "type": call.content_type}

        client = Client([Route(r"/", what, methods=["POST", "PUT"])])
        text = {"Content-Type": "text/csv"}
        for method in ("POST", "PUT"):
            for given, body, kind in (
                ({"json": {"n": 4}}, '{"n":4}', "application/json"),
                ({"json": []}, "[]", "application/json"),
                ({"form": {"n": [4, 5]}}, "n=4&n=5", "application/x-www-form-urlencoded"),
                ({"body": b"a,b", "headers": text}, "a,b", "text/csv"),
                ({"body": b"a,b"}, "a,b", ""),
                ({"body": b""}, "", ""),
            ):
                responses = [client.request(method, "/", **given)]
                responses += [client.post("/", **given)] if method == "POST" else []
                for response in responses:
                    expected = {"body": body, "type": kind}
                    self.assertEqual((response.status, response.json), (200, expected), response.text)
        self.assertEqual(client.post("/").json, {"body": "{}", "type": "application/json"})
        self.assertEqual(client.request("PUT", "/").json, {"body": "", "type": ""})
        for wrong, message in (
            ({"body": "x"}, "body must be bytes, not str; json= sends JSON, and form= a form"),
            ({"body": {"n": 4}}, "body must be bytes, not dict; json= sends JSON, and form= a form"),
            ({"json": 1, "form": {}}, "a request has one body: give only one of body=, json= and form="),
        ):
            error = self.assertRaises(TypeError, client.post, "/", **wrong)
            self.assertEqual(str(error), message)

    def test_names_of_headers_are_found_in_any_case(self) -> None:
        """Of the request in the function, and of the response."""

        def agent(call: Call) -> Any:
            return {"agent": call.headers["User-Agent"], "all": call.headers}

        response = Client([(r"/", agent)]).get("/", headers={"User-Agent": "me"})
        self.assertEqual(response.json["agent"], "me")
        self.assertEqual(response.json["all"]["user-agent"], "me")
        self.assertEqual(response.headers["Content-Type"], "application/json")
        self.assertEqual(response.headers.get("Content-Type"), response.headers["content-type"])

    def test_given_headers_take_precedence_and_targets_may_have_any_characters(self) -> None:
        """Header names may be in any case."""
        self.assertEqual(self.client.post("/double/", headers={"content-type": "text/plain"}).status, 415)
        self.assertEqual(self.client.get("/double/4", headers={"host": "127.0.0.1"}).status, 200)
        answer = Client([("/(?P<a>)", lambda a, q: {a: q})]).get("/日%25?q=é")
        self.assertEqual(answer.json, {"日%": "é"})

    def test_query_may_be_a_dict(self) -> None:
        """Its values become text. It is added to the query of the path."""
        client = Client([("/", lambda **each: each)])
        self.assertEqual(client.get("/", {"times": 2, "a": ["x", "ü"]}).json, {"times": "2", "a": ["x", "ü"]})
        self.assertEqual(client.get("/?b=1", {"c": "&"}).json, {"b": "1", "c": "&"})

    def test_path_without_its_slash_is_refused(self) -> None:
        for target in ("double/4", "", "?n=4"):
            error = self.assertRaises(ValueError, self.client.get, target)
            self.assertIn(f"the path must begin with /, unlike {target!r}", str(error))

    def test_misspelt_option_is_named_with_one_like_it(self) -> None:
        error = self.assertRaises(ConfigurationError, Client, [], tokn="x")
        self.assertIn("unknown option 'tokn'; did you mean 'token_file'?", str(error))
        error = self.assertRaises(ConfigurationError, Client, [], xyzzy="x")
        self.assertIn("use one of port, host", str(error))

    def test_response_has_the_traceback_of_a_function_that_failed(self) -> None:
        """It is also printed if nothing reads Twisted's log, as in a test."""
        client = Client([("/", lambda: {"x": 1 / 0}), ("/ok/", teapot)])
        printed = io.StringIO()
        with redirect_stderr(printed), patch.object(globalLogBeginner, "_temporaryObserver", object()):
            answer = client.get("/")
        self.assertEqual(answer.status, 500)
        for text in (answer.traceback, printed.getvalue()):
            self.assertIn("ZeroDivisionError: division by zero", text)
        with redirect_stderr(printed):
            self.assertEqual(client.get("/").traceback, answer.traceback)
        self.assertEqual(printed.getvalue().count("ZeroDivisionError: division by zero,"), 1)
        self.assertEqual(client.get("/ok/").traceback, "")

    def test_stream_that_fails_halfway_raises_what_has_arrived(self) -> None:
        """Before its first item, a failure is a response as usual."""

        def items(fail_at: int, late: bool = False) -> Iterator[dict[str, int]]:
            for number in range(3):
                if number == fail_at:
                    raise HTTPError(409, "late") if late else ValueError("no more")
                yield {"n": number}

        client = Client([("/", items)])
        error = self.assertRaises(BrokenStream, client.get, "/?fail_at=2")
        self.assertEqual(error.response.text, '{"n":0}\n{"n":1}\n')
        self.assertEqual(error.response.status, 200)
        self.assertIn("ValueError: no more", error.response.traceback)
        self.assertIn("ValueError: no more", str(error))
        self.assertIn("409", str(self.assertRaises(BrokenStream, client.get, "/?fail_at=2&late=1")))
        self.assertEqual(client.get("/?fail_at=0").status, 500)
        self.assertEqual(client.get("/?fail_at=3").text.count("n"), 3)

    def test_function_that_awaits_a_deferred_raises_no_answer(self) -> None:
        error = self.assertRaises(NoAnswer, self.client.get, "/waits/")
        self.assertIn(
            "/waits/: the function awaits a Deferred that has not fired, and no reactor", str(error)
        )

    def test_coroutine_functions_await_asyncio(self) -> None:
        """The request waits. All requests of a client share an event loop, also in a thread."""
        loops = []

        async def sleeps(seconds: float) -> dict[str, Any]:
            loops.append(asyncio.get_running_loop())
            async with asyncio.timeout(10):
                await asyncio.sleep(seconds)
            return {"slept": await asyncio.to_thread(lambda: True)}

        async def items() -> AsyncIterator[dict[str, Any]]:
            for number in range(3):
                await asyncio.sleep(0.003)
                yield {"n": number}

        with Client([(r"/sleeps", sleeps), (r"/items", items)]) as client:
            self.assertEqual(client.get("/sleeps?seconds=0.01").json, {"slept": True})
            self.assertEqual(client.get("/items").text, '{"n":0}\n{"n":1}\n{"n":2}\n')

            async def in_async_test() -> Any:
                return (await asyncio.to_thread(client.get, "/sleeps?seconds=0")).json

            self.assertEqual(asyncio.run(in_async_test()), {"slept": True})
        self.assertIs(loops[0], loops[-1])

    def test_coroutine_functions_share_the_event_loop_of_the_lifespan(self) -> None:
        loops = []

        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            loops.append(asyncio.get_running_loop())
            yield

        async def function() -> dict[str, Any]:
            return {"same": loops == [asyncio.get_running_loop()]}

        with Client([(r"/", function)], lifespan=lifespan) as client:
            self.assertEqual(client.get("/").json, {"same": True})

    def test_invalid_table_is_refused(self) -> None:
        self.assertRaises(PatternError, Client, [("(", double)])
