"""Tests of /-/mcp as a client without any library sees it."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.access.test_credentials import basic, private
from tests.support.wire import connect, exchange, request
from twisted_appserver import Call, HTTPError, Reply, Route, make_service
from twisted_appserver.admin.mcp import tool_call
from twisted_appserver.admin.mcp.messages import CAPABILITIES_KEY, REVISION, VERSION_KEY
from twisted_appserver.testing import Response

JSON = ("content-type", "application/json")
EVENTS = ("accept", "application/json, text/event-stream")
TOKEN = "0123456789abcdefTOKEN"


class Gate:
    """
    Functions that wait for a test.

    @ivar entered: fires when a function has begun.
    @ivar left: fires when a function has been cancelled.
    """

    def __init__(self) -> None:
        self.entered: Deferred[None] = Deferred()
        self.left: Deferred[None] = Deferred()
        self.go = threading.Event()

    async def waits(self) -> dict[str, bool]:
        self.entered.callback(None)
        try:
            await Deferred()
        finally:
            self.left.callback(None)
        return {}

    async def ticks(self) -> AsyncIterator[dict[str, int]]:
        try:
            for number in range(1_000_000):
                yield {"number": number}
        finally:
            self.left.callback(None)

    def blocks(self) -> dict[str, bool]:
        self.go.wait(30)
        return {"done": True}


def add(a: int, b: int = 0) -> dict[str, int]:
    return {"sum": a + b}


def about(call: Call) -> dict[str, Any]:
    return {"user": call.user, "client": call.client, "path": call.path, "headers": dict(call.headers)}


def steps(fail: bool = False) -> Iterator[dict[str, int]]:
    for done in (1, 2):
        yield {"done": done, "total": 2}
    if fail:
        raise HTTPError(409, "no more")


def crashes_late() -> Iterator[dict[str, int]]:
    yield {"done": 1}
    raise ValueError("on purpose")


def parts(number: int, size: int) -> Reply:
    return Reply((b"x" * size for _ in range(number)), headers={"content-type": "text/plain"})


def from_file(path: str) -> Reply:
    return Reply(Path(path), headers={"content-type": "text/plain"})


def nothing() -> Iterator[int]:
    yield from ()


def hidden() -> dict[str, Any]:
    return {}


class EndpointTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.gate = Gate()
        self.table: tuple[Any, ...] = (
            (r"/add/(?P<a>)", add), ("/about", about), ("/steps", steps), ("/late", crashes_late),
            ("/parts", parts), ("/file", from_file), ("/nothing", nothing), ("/waits", self.gate.waits),
            ("/ticks", self.gate.ticks), ("/blocks", self.gate.blocks), Route("/hidden", hidden, tool=False),
        )  # fmt: skip

    async def serve(self, **options: Any) -> int:
        self.service = make_service(self.table, port=0, **{"mcp": True, **options})
        self.service.startService()
        self.addCleanup(self.service.stopService)
        self.addCleanup(self.gate.go.set)
        await self.service.started
        self.port: int = self.service.ports[0].getHost().port
        return self.port

    def message(self, method: str, *headers: tuple[str, str], **members: Any) -> bytes:
        """A message of a client that has begun with a handshake."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, **members}).encode()
        return request("POST", "/-/mcp", body, (JSON, *headers))

    async def send(self, method: str, *headers: tuple[str, str], **members: Any) -> Response:
        return await exchange(self.port, self.message(method, *headers, **members))

    async def call(self, name: str, *headers: tuple[str, str], **arguments: Any) -> dict[str, Any]:
        """Call a tool, and return its result."""
        answer = await self.send("tools/call", *headers, params={"name": name, "arguments": arguments})
        self.assertEqual(answer.status, 200, answer.body)
        found: dict[str, Any] = answer.json["result"]
        return found

    async def refused(self, code: int, method: str, **members: Any) -> str:
        """Return the message of an error of the protocol."""
        answer = await self.send(method, **members)
        self.assertEqual((answer.status, answer.json["error"]["code"]), (200, code))
        message: str = answer.json["error"]["message"]
        return message


class MessageTests(EndpointTests):
    async def test_client_of_an_earlier_revision_begins_with_a_handshake(self) -> None:
        await self.serve()
        for asked, expected in (
            ("2025-06-18", "2025-06-18"),
            ("2024-11-05", "2025-11-25"),
            (1, "2025-11-25"),
        ):
            answer = await self.send("initialize", params={"protocolVersion": asked})
            self.assertEqual(answer.json["result"]["protocolVersion"], expected)
            self.assertEqual(answer.json["result"]["capabilities"], {"tools": {}})
            self.assertEqual(len(answer.headers["mcp-session-id"]), 32)
        self.assertEqual((await self.send("ping")).json["result"], {})
        answer = await self.send("notifications/initialized", id=2)
        self.assertEqual(answer.json["error"]["code"], -32601)

    async def test_notification_gets_no_content(self) -> None:
        await self.serve()
        body = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
        answer = await exchange(self.port, request("POST", "/-/mcp", body, (JSON,)))
        self.assertEqual((answer.status, answer.body), (202, b""))

    async def test_newest_revision_needs_no_handshake(self) -> None:
        await self.serve()
        meta = {"_meta": {VERSION_KEY: REVISION, CAPABILITIES_KEY: {}}}
        for method in ("server/discover", "tools/list"):
            headers = (("mcp-protocol-version", REVISION), ("mcp-method", method))
            result = (await self.send(method, *headers, params=meta)).json["result"]
            self.assertEqual(
                (result["resultType"], result["ttlMs"], result["cacheScope"]), ("complete", 0, "private")
            )
        answer = await self.send(
            "ping", ("mcp-protocol-version", REVISION), ("mcp-method", "ping"), params=meta
        )
        self.assertEqual((answer.status, answer.json["error"]["code"]), (404, -32601))

    async def test_mistakes_are_errors_of_the_protocol(self) -> None:
        await self.serve()
        self.assertIn("'nothings'", await self.refused(-32601, "nothings"))
        for params in ({}, {"name": 1}, {"name": "add", "arguments": [1]}):
            await self.refused(-32602, "tools/call", params=params)
        message = await self.refused(-32602, "tools/call", params={"name": "ad"})
        self.assertIn("there is no tool 'ad'; did you mean 'add'?", message)
        self.assertIn("'hidden'", await self.refused(-32602, "tools/call", params={"name": "hidden"}))

    async def test_only_post_is_allowed(self) -> None:
        await self.serve()
        for method in ("GET", "DELETE"):
            answer = await exchange(self.port, request(method, "/-/mcp"))
            self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST, OPTIONS"))

    async def test_service_without_tools_has_no_such_path(self) -> None:
        await self.serve(mcp=False)
        answer = await self.send("ping")
        self.assertEqual(answer.status, 404)
        self.assertIn("start with --mcp, or write Route(..., tool=True)", answer.json["detail"])

    async def test_route_is_a_tool_without_the_option(self) -> None:
        self.table = (Route("/add", add, tool=True), ("/about", about))
        await self.serve(mcp=False)
        listed = (await self.send("tools/list")).json["result"]["tools"]
        self.assertEqual([tool["name"] for tool in listed], ["add"])


class CallTests(EndpointTests):
    async def test_arguments_come_by_name_wherever_a_request_has_them(self) -> None:
        await self.serve()
        self.assertEqual((await self.call("add", a=2, b=3))["structuredContent"], {"sum": 5})

    async def test_wrong_argument_is_a_result_that_an_assistant_can_read(self) -> None:
        await self.serve()
        for wrong, expected in (
            ({"a": "x"}, "a must be an integer, not 'x'"),
            ({}, "a is missing"),
            ({"a": 1, "c": 2}, "takes no variable 'c'"),
            ({"a": [1]}, "a is a part of the path and must be text or a number"),
        ):
            result = await self.call("add", **wrong)
            self.assertTrue(result["isError"])
            self.assertIn(expected, result["content"][0]["text"])

    async def test_deeply_nested_arguments_are_refused(self) -> None:
        await self.serve()
        for depth in (200, 800, 5_000, 100_000):
            params = '{"name":"add","arguments":{"a":1,"b":' + "[" * depth + "]" * depth + "}}"
            body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + params + "}"
            answer = await exchange(self.port, request("POST", "/-/mcp", body.encode(), (JSON,)))
            self.assertIn(answer.status, (200, 400), answer.body)
            self.assertTrue("error" in answer.json or answer.json["result"]["isError"], depth)

    async def test_function_sees_the_client_and_its_headers(self) -> None:
        """But no header that describes the message, and none that would make the call a job."""
        await self.serve()
        sent = (("x-tenant", "acme"), ("prefer", "respond-async"), ("idempotency-key", "k"), EVENTS)
        found = (await self.call("about", *sent))["structuredContent"]
        self.assertEqual((found["client"], found["path"]), ("127.0.0.1", "/about"))
        self.assertEqual(found["headers"], {"host": "localhost", "x-tenant": "acme"})

    async def test_name_of_the_user_is_passed_on(self) -> None:
        passwords = private(self.mktemp(), "anna:secret\n")
        await self.serve(auth=(f"file:{passwords}",))
        found = await self.call("about", ("authorization", basic("anna", "secret")))
        self.assertEqual(found["structuredContent"]["user"], "anna")
        self.assertEqual((await self.send("ping")).status, 401)

    async def test_token_is_required(self) -> None:
        await self.serve(token_file=private(self.mktemp(), TOKEN))
        for method in ("initialize", "tools/list", "tools/call"):
            self.assertEqual((await self.send(method, params={"name": "add"})).status, 401)
        result = await self.call("add", ("authorization", f"Bearer {TOKEN}"), a=1)
        self.assertEqual(result["structuredContent"], {"sum": 1})

    async def test_page_of_another_origin_is_refused(self) -> None:
        await self.serve()
        self.assertEqual((await self.send("ping", ("origin", "http://evil.example"))).status, 403)

    async def test_time_limit_of_the_service_and_of_a_route_apply(self) -> None:
        self.table = (("/waits", self.gate.waits), Route("/blocks", self.gate.blocks, timeout=0))
        await self.serve(timeout=0.05)
        result = await self.call("Gate.waits".rpartition(".")[2])
        self.assertIn("504 Gateway Timeout: the call took longer", result["content"][0]["text"])
        answer = self.call("blocks")
        pending = Deferred.fromCoroutine(answer)
        await deferLater(reactor, 0.2)
        self.assertFalse(pending.called)
        self.gate.go.set()
        self.assertEqual((await pending)["structuredContent"], {"done": True})

    async def test_full_executor_rejects_a_call(self) -> None:
        await self.serve(threads=1, max_pending=1)
        calls = [Deferred.fromCoroutine(self.call("blocks")) for _ in range(8)]
        while not any(each.called for each in calls):
            await deferLater(reactor, 0.005)
        self.gate.go.set()
        results = [await each for each in calls]
        self.assertIn("503 Service Unavailable", json.dumps(results))
        self.assertIn({"done": True}, [each.get("structuredContent") for each in results])

    async def test_calls_are_counted_as_calls_of_their_functions(self) -> None:
        await self.serve()
        seen: list[tuple[str, int]] = []
        self.service.dispatcher.observers.append(
            lambda call, reply: seen.append((call.handler.name, reply.status))
        )
        await self.call("add", a=1)
        self.assertEqual(seen[0], ("add", 200))


class GeneratorTests(EndpointTests):
    async def messages(self, name: str, **arguments: Any) -> list[dict[str, Any]]:
        """Call a tool with a progress token, and return all messages of the stream."""
        params = {"name": name, "arguments": arguments, "_meta": {"progressToken": "t"}}
        answer = await self.send("tools/call", EVENTS, params=params)
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        lines = answer.body.decode().splitlines()
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]

    async def test_result_of_a_generator_is_its_last_item(self) -> None:
        await self.serve()
        self.assertEqual((await self.call("steps"))["structuredContent"], {"done": 2, "total": 2})
        self.assertEqual((await self.call("nothing"))["content"], [{"type": "text", "text": "null"}])

    async def test_progress_is_reported_before_the_result(self) -> None:
        await self.serve()
        *reports, last = await self.messages("steps")
        self.assertEqual([each["params"]["progress"] for each in reports], [1, 2])
        self.assertEqual({each["method"] for each in reports}, {"notifications/progress"})
        self.assertEqual((last["id"], last["result"]["structuredContent"]["done"]), (1, 2))

    async def test_error_of_a_generator_is_the_result(self) -> None:
        await self.serve()
        *reports, last = await self.messages("steps", fail=True)
        self.assertEqual((len(reports), last["result"]["isError"]), (2, True))
        self.assertEqual(last["result"]["content"][0]["text"], "409 Conflict: no more")
        result = await self.call("crashes_late")
        self.assertIn("500 Internal Server Error: the function failed", result["content"][0]["text"])
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    async def test_client_without_a_token_for_progress_gets_json(self) -> None:
        await self.serve()
        answer = await self.send("tools/call", EVENTS, params={"name": "steps"})
        self.assertEqual(answer.headers["content-type"], "application/json")

    async def test_parts_of_a_reply_are_joined(self) -> None:
        await self.serve()
        self.assertEqual((await self.call("parts", number=3, size=2))["content"][0]["text"], "x" * 6)

    async def test_file_of_any_size_is_read_to_its_end(self) -> None:
        await self.serve()
        for size in (0, 10, 300_000):
            path = Path(self.mktemp()).absolute()
            path.write_text("y" * size)
            content = (await self.call("from_file", path=str(path)))["content"]
            self.assertEqual("".join(each["text"] for each in content), "y" * size)

    async def test_endless_reply_is_broken_off(self) -> None:
        self.patch(tool_call, "LARGEST", 1000)
        await self.serve()
        result = await self.call("parts", number=10**9, size=100)
        self.assertIn(
            "507 Insufficient Storage: the result has more than 1000 bytes", result["content"][0]["text"]
        )


class CancelTests(EndpointTests):
    session = ("mcp-session-id", "s1")

    def cancel(self, *headers: tuple[str, str], name: Any = 1) -> bytes:
        body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": name}}
        return request("POST", "/-/mcp", json.dumps(body).encode(), (JSON, *headers))

    async def test_closing_the_connection_cancels_the_call(self) -> None:
        await self.serve()
        connection = await connect(self.port)
        connection.send(self.message("tools/call", params={"name": "waits"})).addErrback(lambda _: None)
        await self.gate.entered
        await connection.close()
        await self.gate.left

    async def test_closing_the_connection_ends_a_generator(self) -> None:
        await self.serve()
        connection = await connect(self.port)
        params = {"name": "ticks", "_meta": {"progressToken": 1}}
        connection.send(self.message("tools/call", EVENTS, params=params)).addErrback(lambda _: None)
        while b"notifications/progress" not in connection.unread:
            await deferLater(reactor, 0.005)
        await connection.close()
        await self.gate.left

    async def test_notification_cancels_the_call_of_its_session(self) -> None:
        await self.serve()
        connection = await connect(self.port)
        answer = connection.send(self.message("tools/call", self.session, params={"name": "waits"}))
        await self.gate.entered
        for headers, name in (
            ((), 1),
            ((("mcp-session-id", "s2"),), 1),
            ((self.session,), 2),
            ((self.session,), []),
        ):
            self.assertEqual((await exchange(self.port, self.cancel(*headers, name=name))).status, 202)
            self.assertFalse(answer.called)
        await exchange(self.port, self.cancel(self.session))
        self.assertEqual((await answer).json["error"]["message"], "the client has cancelled this call")
        await self.gate.left
        await connection.close()

    async def test_call_that_has_ended_is_forgotten(self) -> None:
        await self.serve()
        await self.call("add", self.session, a=1)
        self.assertEqual((await exchange(self.port, self.cancel(self.session))).status, 202)
        (handler,) = [
            each for each in self.service.dispatcher.admin.handlers if each.name.startswith("ToolRequests")
        ]
        self.assertEqual(handler.original.__self__._endpoint._running, {})
