"""Tests of L{twisted_appserver.client}."""

from __future__ import annotations

from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from tests.support import cases
from twisted_appserver import AppResource, InlineExecutor, Upload
from twisted_appserver.client import AppClient, Problem
from twisted_appserver.errors import AppserverError


class Fixed(Resource):
    """A page of another server."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        super().__init__()
        self.body, self.status = body, status

    def render_GET(self, request: Any) -> bytes:
        request.setResponseCode(self.status)
        return self.body


class ClientTests(SynchronousTestCase):
    """The client, over an application in memory."""

    def setUp(self) -> None:
        app = AppResource(cases.url_patterns, Clock(), InlineExecutor())
        self.addCleanup(app.dispatcher.stop)
        root = Resource()
        root.putChild(b"app", app)
        root.putChild(b"text", Fixed(b"plain"))
        root.putChild(b"list", Fixed(b"[1]"))
        root.putChild(b"number", Fixed(b"1"))
        root.putChild(b"lines", Fixed(b'{"n": 1}\n{"n": 2}'))
        root.putChild(b"bytes", Fixed(b'{"n": 1}\n"\xff"\n'))
        root.putChild(b"nothing", Fixed(b"<p>", 404))
        self.client = AppClient("http://localhost/app/", StubTreq(root))
        self.other = AppClient("http://localhost", StubTreq(root))

    def call(self, /, *args: Any, **variables: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(self.client.call(*args, **variables)))

    def problem(self, client: AppClient, *args: Any, **variables: Any) -> Problem:
        deferred = Deferred.fromCoroutine(client.call(*args, **variables))
        error = self.failureResultOf(deferred, Problem).value
        self.assertIsInstance(error, AppserverError)
        return error

    def test_call_without_variables_is_a_get(self) -> None:
        self.assertEqual(self.call("/call/")["method"], "GET")
        self.assertEqual(self.call("/echo/x%20y/"), {"a": "x y"})

    def test_variables_arrive_with_their_types(self) -> None:
        """Whatever their names."""
        variables = {"a": 1, "b": [1.5, None], "path": "p", "self": "s", "timeout": 3, "c": {"ä": "ö"}}
        self.assertEqual(self.call("/echo/", **variables), variables)

    def test_wrong_trailing_slash_is_corrected(self) -> None:
        self.assertEqual(self.call("/echo/x"), {"a": "x"})
        self.assertEqual(self.call("/echo/x", b=2), {"a": "x", "b": 2})
        self.assertEqual(self.call("/echo/ä", b=2), {"a": "ä", "b": 2})
        self.assertEqual(self.problem(self.client, "/raises_http").status, 418)
        self.assertEqual(self.problem(self.client, "/nothing", a=1).status, 404)

    def test_uploads_are_sent_as_a_form(self) -> None:
        """The other variables become fields of the form."""
        image = Upload("ä.png", "image/png", b"\x89PNG")
        found = self.call("/upload/", title="A", image=image, more=[image, image])
        self.assertEqual((found["title"], found["name"], found["type"]), ("A", "ä.png", "image/png"))
        self.assertEqual((found["hex"], found["more"]), ("89504e47", [4, 4]))

    def test_error_raises_its_problem_document(self) -> None:
        error = self.problem(self.client, "/raises_http/")
        self.assertEqual((error.status, error.title, error.detail), (418, "I'm a Teapot", "short and stout"))
        self.assertTrue(error.instance)
        self.assertIn("short and stout", str(error))
        error = self.problem(self.client, "/raises_extra/")
        self.assertEqual(error.extra, {"retry_in": 5, "sku": ["a1", "1.5"], "headers": None})
        self.assertEqual(self.problem(self.client, "/nothing/").status, 404)
        self.assertEqual(self.problem(self.client, "/raises/").status, 500)

    def test_response_that_is_no_object_or_list_raises_problem(self) -> None:
        """Whichever server sends it."""
        for path in ("/text", "/number"):
            self.assertEqual(self.problem(self.other, path).status, 200)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.other.call("/list"))), [1])
        self.assertEqual(self.problem(self.other, "/nothing").status, 404)

    def test_stream_yields_every_line_and_raises_problem_for_invalid_json(self) -> None:
        """The last line needs no line break."""

        async def items(path: str) -> list[Any]:
            return [item async for item in self.other.stream(path)]

        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(items("/lines"))), [{"n": 1}, {"n": 2}])
        for path in ("/text", "/bytes"):
            error = self.failureResultOf(Deferred.fromCoroutine(items(path)), Problem).value
            self.assertEqual((error.status, error.title), (200, "the response is not a stream of JSON"))
