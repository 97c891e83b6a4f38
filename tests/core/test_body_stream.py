"""Tests of bodies that functions read as they arrive, and of the option of their routes."""

from __future__ import annotations

import io
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support import uploads
from tests.support.properties import given, st
from twisted_appserver import Call, PatternError, Route, Router
from twisted_appserver.core.body_stream import BodyStream, whole_body
from twisted_appserver.testing import Client


def stream(*parts: bytes) -> BodyStream:
    """Return a body that arrives in these parts."""
    waiting = [*parts, b""]
    return BodyStream(lambda: waiting.pop(0))


class StreamTests(SynchronousTestCase):
    def test_iterating_yields_the_parts_as_they_arrive(self) -> None:
        self.assertEqual(list(stream(b"a\nb", b"c")), [b"a\nb", b"c"])
        self.assertEqual(list(stream()), [])

    @given(
        st.lists(st.binary(min_size=1, max_size=9), max_size=9), st.lists(st.integers(-1, 12), max_size=20)
    )
    def test_it_reads_like_a_file(self, parts: list[bytes], sizes: list[int]) -> None:
        """However the body is divided, a read returns fewer bytes than wanted only at the end."""
        body, file = stream(*parts), io.BytesIO(b"".join(parts))
        for size in (*sizes, None, 5):
            self.assertEqual(body.read(size), file.read(size))

    def test_text_can_be_read_line_by_line(self) -> None:
        lines = list(io.TextIOWrapper(stream(b"\xc3", b"\xa4\nb", b"\nc"), "utf-8"))  # type: ignore[type-var]
        self.assertEqual(lines, ["ä\n", "b\n", "c"])

    def test_nothing_is_taken_after_the_end(self) -> None:
        body = stream(b"a")  # taking once more would raise IndexError
        self.assertEqual([body.read(), body.read(), body.read1(), list(body)], [b"a", b"", b"", []])

    def test_body_that_has_arrived_is_one_part(self) -> None:
        self.assertEqual(list(BodyStream(whole_body(b"abc"))), [b"abc"])
        self.assertEqual(list(BodyStream(whole_body(b""))), [])


async def coroutine(call: Call) -> dict[str, Any]:
    return {}


class RouteTests(SynchronousTestCase):
    def test_function_that_cannot_read_the_body_is_rejected(self) -> None:
        def plain(a: str = "") -> dict[str, Any]:
            return {}

        for route, why in (
            (Route("/a", plain, max_stream=0), "annotate a parameter as Call"),
            (Route("/a", coroutine, max_stream=0), "on the reactor"),
            (Route("/a", uploads.digest, max_stream=0, executor="cluster"), "on a cluster"),
            (Route("/a", uploads.digest, max_stream=-1), "not -1"),
            (Route("/a", uploads.digest, max_stream=True), "not True"),
            (Route("/a", uploads.digest, max_stream=1.5), "not 1.5"),  # type: ignore[arg-type]
        ):
            error = self.assertRaises(PatternError, Router, [route])
            self.assertIn(why, str(error))

    def test_test_client_sends_bodies_of_any_length(self) -> None:
        client = Client(uploads.url_patterns, max_body=1000)
        for size in (0, 999, 1001, 100_000):
            got = client.request("POST", "/digest", body=bytes(size))
            self.assertEqual((got.json["size"], got.json["body"]), (size, ""))

    def test_limit_of_the_route_replaces_max_body(self) -> None:
        client = Client([Route("/a", uploads.digest, max_stream=2000)], max_body=5000)
        self.assertEqual(client.request("POST", "/a", body=bytes(2000)).status, 200)
        for size in (2001, 5000, 5001):
            got = client.request("POST", "/a", body=bytes(size))
            self.assertEqual(got.status, 413)
            self.assertIn("longer than 2000 bytes; max_stream of its Route", got.json["detail"])

    def test_other_routes_keep_the_limit(self) -> None:
        client = Client(uploads.url_patterns, max_body=1000)
        for target in ("/whole", "/none"):
            got = client.request("POST", target, body=bytes(1001))
            self.assertEqual(got.status, 413)
            self.assertIn("--max-body", got.json["detail"])

    def test_stream_of_another_route_raises_with_advice(self) -> None:
        client = Client([("/a", uploads.digest)])
        self.assertIn("give the Route of this function max_stream", client.post("/a").traceback)

    def test_call_never_becomes_a_job(self) -> None:
        """Its body is not kept."""
        client = Client(uploads.url_patterns)
        for name, value in (("Prefer", "respond-async"), ("Idempotency-Key", '"a"')):
            got = client.request("POST", "/digest", {name: value}, b"abc")
            self.assertEqual((got.status, got.json["size"]), (200, 3))
