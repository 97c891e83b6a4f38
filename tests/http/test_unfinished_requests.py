"""Requests that have not arrived completely: when they are checked, and how much memory they may take."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.support.channel_memory import Transport, begin, settle
from tests.support.slow import slow
from tests.support.wire import read, request
from twisted_appserver import AppResource, Call, InlineExecutor, Route, Router
from twisted_appserver.access.credentials import Credentials
from twisted_appserver.access.request_guard import RequestGuard
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.errors import HTTPError
from twisted_appserver.http import connection as channel
from twisted_appserver.http import site
from twisted_appserver.settings import CHANNELS
from twisted_appserver.testing import Response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TOKEN = ("Authorization", "Bearer sesame-sesame-sesame")
EXPECT = ("Expect", "100-continue")
CHUNKED = ("Transfer-Encoding", "chunked")


async def size(call: Call) -> dict[str, int]:
    return {"size": len(call.body)}


async def changed(call: Call) -> dict[str, str]:
    return {"changed": call.path}


class Later:
    """Credentials whose check takes until the test ends it."""

    def __init__(self) -> None:
        self.asked: list[Deferred[str]] = []

    def remembered_user(self, authorization: bytes) -> str | None:
        return None

    def authenticate(self, authorization: bytes, client: str) -> Deferred[str]:
        self.asked.append(Deferred())
        return self.asked[-1]


def head(target: str = "/x", method: str = "POST", host: str = "localhost", **headers: str) -> bytes:
    """Return a request without its body."""
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return request(method, target, b"", fields, host)


def answers(data: bytes) -> list[Response]:
    found = []
    while one := read(data.removeprefix(CONTINUE)):
        answer, data = one
        found.append(answer)
    return found


class UnfinishedTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.guard = Clock(), RequestGuard()
        self.calls: list[Call] = []
        for module in (channel, site):
            self.patch(module, "monotonic", self.clock.seconds)
        table = [Route("/x", size, methods=("POST",))]
        executors = {"inline": InlineExecutor()}
        self.dispatcher = Dispatcher(self.clock, Router(table), executors, "inline", self.guard, 0)
        self.dispatcher.observers.append(lambda call, _: self.calls.append(call))

    def connect(self, name: str, **options: Any) -> tuple[Any, Transport]:
        return begin(AppResource(self.dispatcher), self.clock, channel=name, **options)

    def connections(self, **options: Any) -> Iterator[tuple[str, Any, Transport]]:
        """Connect to each channel in turn."""
        for name in CHANNELS:
            yield name, *self.connect(name, **options)

    def send(self, connection: Any, *pieces: bytes) -> None:
        for piece in pieces:
            connection.dataReceived(piece)
            settle(self.clock)


REFUSED = (
    (404, head("/unknown", Content_Length="5")),
    (404, head("/unknown", Transfer_Encoding="chunked")),
    (308, head("/x/", Content_Length="5")),
    (405, head("/x", "PUT", Content_Length="5")),
    (421, head(host="evil.example", Content_Length="5")),
    (403, head(Origin="http://evil.example", Content_Length="5")),
    (413, head(Content_Length="2000000")),
    (400, head(host="", Content_Length="5")),
    (400, head("/x#y", Content_Length="5")),
    (400, head("/%zz", Content_Length="5")),
)


class HeadTests(UnfinishedTestCase):
    """A request that cannot be performed is refused at the end of its headers."""

    def test_refused_at_the_end_of_the_headers(self) -> None:
        """Its final status comes at once, without 100 Continue, and nothing is kept of its body."""
        for status, data in REFUSED:
            for expects in (b"", b"Expect: 100-continue\r\n"):
                for name, connection, transport in self.connections():
                    self.send(connection, data[:-2] + expects + b"\r\n")
                    found = [each.status for each in answers(transport.value())]
                    self.assertEqual(found, [status], (name, data, transport.value()))
                    self.assertTrue(transport.disconnecting, name)
                    self.send(connection, b"x" * 1000)
                    self.assertEqual(connection.site.unfinished.held, 0)

    def test_client_without_the_token_cannot_send_a_body(self) -> None:
        """A client that has the token can."""
        self.guard.require(Credentials(TOKEN[1].partition(" ")[2].encode()))
        for name, connection, transport in self.connections():
            self.send(connection, request("POST", "/x", b"", (("Content-Length", "5"), EXPECT)))
            (answer,) = answers(transport.value())
            self.assertEqual((name, answer.status, transport.disconnecting), (name, 401, True))
            self.assertIn("www-authenticate", answer.headers)
            self.assertEqual(answer.headers["x-request-id"], answer.json["instance"])
        for name, connection, transport in self.connections():
            self.send(connection, request("POST", "/x", b"", (("Content-Length", "5"), EXPECT, TOKEN)))
            self.assertEqual((name, transport.value()), (name, CONTINUE))
            self.send(connection, b"he", b"llo")
            (answer,) = answers(transport.value())
            self.assertEqual((name, answer.status, answer.json), (name, 200, {"size": 5}))
            self.assertFalse(transport.disconnecting)

    def test_early_refusal_is_sent_after_the_responses_before_it(self) -> None:
        for name, connection, transport in self.connections():
            data = request("POST", "/x", b"ab") + head("/unknown", Content_Length="5", Expect="100-continue")
            self.send(connection, data)
            found = [each.status for each in answers(transport.value())]
            self.assertEqual((name, found), (name, [200, 404]))

    def test_100_continue_is_sent_after_the_responses_before_it(self) -> None:
        for name, connection, transport in self.connections():
            self.send(
                connection, request("POST", "/x", b"ab") + head(Content_Length="5", Expect="100-continue")
            )
            self.assertTrue(transport.value().endswith(CONTINUE), (name, transport.value()))
            self.send(connection, b"hello")
            self.assertTrue(transport.value().endswith(b'{"size":5}'), (name, transport.value()))

    def test_client_that_already_sends_its_body_gets_no_100_continue(self) -> None:
        for name, connection, transport in self.connections():
            self.send(connection, head(Content_Length="5", Expect="100-continue") + b"he", b"llo")
            self.assertEqual((name, transport.value().count(b"HTTP/1.1 ")), (name, 1))
            self.assertTrue(transport.value().endswith(b'{"size":5}'))

    def test_complete_request_is_checked_once_and_its_refusal_closes_nothing(self) -> None:
        self.patch(Dispatcher, "admit", None)
        connection, transport = self.connect("llhttp")
        for target, status in (("/x", 200), ("/unknown", 404)) * 3:
            self.send(connection, request("POST", target, b"hello"))
            self.assertEqual(answers(transport.value())[-1].status, status)
        self.assertFalse(transport.disconnecting)

    def test_table_that_was_loaded_during_the_body_answers_the_request(self) -> None:
        for name, connection, transport in self.connections():
            self.send(connection, head(Content_Length="5"))
            old, self.dispatcher.router = (
                self.dispatcher.router,
                Router([Route("/x", changed, methods=("POST",))]),
            )
            self.send(connection, b"hello")
            self.assertEqual((name, answers(transport.value())[0].json), (name, {"changed": "/x"}))
            self.dispatcher.router = old

    def test_observers_see_an_early_refusal_once(self) -> None:
        """With its path."""
        for _, connection, _ in self.connections():
            self.send(connection, head("/unknown", Content_Length="5"))
            self.assertEqual([call.path for call in self.calls], ["/unknown"])
            self.calls.clear()

    def test_early_refusal_of_head_has_no_body(self) -> None:
        for name, connection, transport in self.connections():
            self.send(connection, head("/x", "HEAD", Content_Length="5"))
            self.assertTrue(transport.value().endswith(b"\r\n\r\n"), (name, transport.value()))


class PasswordTests(UnfinishedTestCase):
    """While a password is checked, the body is not read."""

    def begin_upload(self, name: str) -> tuple[Later, Any, Transport]:
        later = Later()
        self.guard.require(later)
        connection, transport = self.connect(name)
        data = request("POST", "/x", b"x" * 900_000)
        self.send(connection, data[:20_000])
        sent = 20_000
        while transport.producerState == "producing" and sent < len(data):
            self.send(connection, data[sent : sent + 1_000])
            sent += 1_000
        self.assertLess(sent, 100_000)
        self.assertLess(connection.site.unfinished.held, 100_000)
        self.rest = data[sent:]
        return later, connection, transport

    def test_body_is_read_once_the_password_was_right(self) -> None:
        for name in CHANNELS:
            later, connection, transport = self.begin_upload(name)
            later.asked[0].callback("alice")
            settle(self.clock)
            self.assertEqual(transport.producerState, "producing")
            self.send(connection, self.rest)
            for each in later.asked[1:]:
                each.callback("alice")
            settle(self.clock)
            (answer,) = answers(transport.value())
            self.assertEqual((name, answer.status, answer.json), (name, 200, {"size": 900_000}))
            self.assertEqual(connection.site.unfinished.held, 0)

    def test_wrong_password_gets_401_and_the_body_is_not_read(self) -> None:
        for name in CHANNELS:
            later, connection, transport = self.begin_upload(name)
            later.asked[0].errback(HTTPError(401, "wrong"))
            settle(self.clock)
            self.assertEqual([each.status for each in answers(transport.value())], [401], name)
            self.assertEqual((transport.disconnecting, connection.site.unfinished.held), (True, 0))

    def test_client_may_disconnect_during_the_check_of_its_password(self) -> None:
        for name in CHANNELS:
            for error in (None, HTTPError(401, "wrong")):
                later, connection, transport = self.begin_upload(name)
                connection.connectionLost(Failure(ConnectionLost()))
                if error is None:
                    later.asked[0].callback("alice")
                else:
                    later.asked[0].errback(error)
                settle(self.clock)
                self.assertEqual((transport.value(), connection.site.unfinished.held), (b"", 0))

    def test_check_that_hangs_is_given_up_after_the_idle_time(self) -> None:
        for name, status in (("llhttp", 504), ("twisted", 408)):
            later, connection, transport = self.begin_upload(name)
            self.clock.pump([1.0] * 70)
            found = [each.status for each in answers(transport.value())]
            self.assertEqual((name, found, transport.disconnecting), (name, [status], True))
            later.asked[0].callback("alice")
            settle(self.clock)
            self.assertEqual((connection.site.unfinished.held, len(answers(transport.value()))), (0, 1))


class MemoryTests(UnfinishedTestCase):
    """How much memory unfinished requests take, and their limit."""

    def memory(self, name: str, *pieces: bytes) -> int:
        """Return how many bytes of memory a connection takes after it has received the pieces."""
        connection, _ = self.connect(name)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for piece in pieces:
                connection.dataReceived(piece)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        connection.connectionLost(Failure(ConnectionLost()))
        return after - before

    @slow
    def test_body_in_tiny_chunks_takes_little_more_than_its_bytes(self) -> None:
        for name in CHANNELS:
            chunks = b"2\r\nab\r\n" * 1000
            taken = self.memory(name, request("POST", "/x", headers=(CHUNKED,)), *[chunks] * 100)
            self.assertLess(taken, 400_000, name)

    def test_body_in_tiny_pieces_takes_little_more_than_its_bytes(self) -> None:
        """Also while it waits behind another request."""
        one = [b"x"] * 8_000
        for name in CHANNELS:
            self.assertLess(self.memory(name, head(Content_Length="100000"), *one), 100_000, name)
        for name in CHANNELS:
            later = Later()
            self.guard.require(later)
            whole = request("POST", "/x", b"ab")
            self.assertLess(self.memory(name, whole, head(Content_Length="100000"), *one), 150_000, name)

    def test_incomplete_headers_take_no_more_than_the_guide_states(self) -> None:
        """An idle connection takes less than 10,000 bytes."""
        for name in CHANNELS:
            for value in (b"b", b"b" * 150):
                lines = b"".join(b"A%d:%b\r\n" % (number, value) for number in range(95))
                self.assertLess(self.memory(name, head()[:-2] + lines), 45_000, name)
            self.assertLess(self.memory(name), 10_000, name)

    def test_a_hundred_headers_are_accepted(self) -> None:
        for name, connection, transport in self.connections():
            data = head(Content_Length="0")[:-2]
            self.send(connection, data + b"A: b\r\n" * 97 + b"\r\n", data + b"A: b\r\n" * 100 + b"\r\n")
            first, second = answers(transport.value())
            self.assertEqual((first.status, second.status in (400, 431), name), (200, True, name))

    def test_bodies_beyond_the_limit_of_all_connections_get_503(self) -> None:
        """Bodies that are complete, or whose client is gone, no longer count."""
        for name in CHANNELS:
            root = AppResource(self.dispatcher)
            first, transport = begin(root, self.clock, channel=name, max_body=100_000, max_bodies=300_000)
            others = []
            for _ in range(5):
                other = first.site.buildProtocol(None)
                other.makeConnection(Transport())
                others.append(other)
            half = head(Content_Length="90000") + b"x" * 80_000
            for each in (first, *others):
                self.send(each, half)
            refused = [each for each in others if each.transport.disconnecting]
            self.assertEqual((name, len(refused)), (name, 3))
            (answer,) = answers(refused[0].transport.value())
            self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "1"))
            self.assertLessEqual(first.site.unfinished.held, 300_000)
            self.send(first, b"x" * 10_000)
            self.assertEqual(answers(transport.value())[0].json, {"size": 90_000})
            for each in (first, *others):
                each.connectionLost(Failure(ConnectionLost()))
            self.assertEqual((name, first.site.unfinished.held), (name, 0))

    def test_requests_sent_ahead_of_their_responses_count(self) -> None:
        for name, connection, transport in self.connections(max_bodies=1_000, max_body=1_000):
            later = Later()
            self.guard.require(later)
            self.send(connection, request("POST", "/x", b"ab"), request("POST", "/x", b"x" * 900) * 3)
            later.asked[0].callback("alice")
            settle(self.clock)
            found = [each.status for each in answers(transport.value())]
            self.assertEqual((name, found, transport.disconnecting), (name, [200, 503], True))

    def test_small_waiting_requests_take_little_more_than_their_bytes(self) -> None:
        get = b"GET / HTTP/1.1\r\nHost:[::1]\r\n\r\n"
        post = b"POST / HTTP/1.1\r\nHost:[::1]\r\nContent-Length:1\r\n\r\nx"
        chunked = b"POST / HTTP/1.1\r\nHost:[::1]\r\nTransfer-Encoding:chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        for name in CHANNELS:
            for one in (get, post, chunked, b"\r\n" + get, post[:-1].replace(b":1", b":9") + get):
                later = Later()
                self.guard.require(later)
                data = one * 3000
                taken = self.memory(name, data[:65_536])
                self.assertLess(taken, 82_000, (name, one))

    def test_small_waiting_requests_count_until_they_are_answered(self) -> None:
        for name, connection, transport in self.connections(max_bodies=50_000, max_body=1_000):
            later = Later()
            self.guard.require(later)
            data = (request("POST", "/x", b"ab") + request("POST", "/x", b"abc")) * 1000
            self.send(connection, data[:40_000])
            held = connection.site.unfinished.held
            self.assertTrue(39_000 < held < 41_000, (name, held))
            if name == "llhttp":
                self.assertEqual(transport.producerState, "paused")
            self.send(connection, data[40_000:60_000])
            later.asked[0].callback("alice")
            settle(self.clock)
            found = [each.status for each in answers(transport.value())]
            self.assertEqual((name, found, transport.disconnecting), (name, [200, 503], True))
            self.assertEqual(connection.site.unfinished.held, 0)

    def test_waiting_requests_are_answered_in_order(self) -> None:
        """Then no bytes are held."""
        sizes = [0, 1, 2, 300, 0, 0, 7] * 40
        bodies = [b"\r\n\r\n"[: size % 5] + b"x" * (size - size % 5) for size in sizes]
        plain = [request("POST", "/x", body) for body in bodies]
        chunked = [
            request("POST", "/x", headers=(CHUNKED,))
            + b"%x\r\n%b\r\n" % (len(body), body) * bool(body)
            + b"0\r\n\r\n"
            for body in bodies
        ]
        mixed = [pair[number % 2] for number, pair in enumerate(zip(plain, chunked, strict=True))]
        for data in map(b"".join, (plain, chunked, mixed)):
            for step in (len(data), 1009):
                for name, connection, transport in self.connections():
                    for at in range(0, len(data), step):
                        self.send(connection, data[at : at + step])
                    found = [each.json["size"] for each in answers(transport.value())]
                    self.assertEqual((name, found), (name, [len(body) for body in bodies]))
                    self.assertEqual(connection.site.unfinished.held, 0)

    def test_body_is_measured_while_it_arrives(self) -> None:
        for name, connection, transport in self.connections(max_body=1_000):
            self.send(connection, request("POST", "/x", headers=(CHUNKED,)))
            self.send(connection, b"300\r\n" + b"x" * 0x300 + b"\r\n", b"300\r\n" + b"x" * 0x300 + b"\r\n")
            self.assertEqual([each.status for each in answers(transport.value())], [413], name)


class StallTests(UnfinishedTestCase):
    """A request that does not arrive completely in time gets 408."""

    def wait(self, seconds: float) -> None:
        self.clock.pump([0.1] * round(seconds * 10))

    def test_body_that_stalls_gets_408(self) -> None:
        """Then the connection is closed."""
        for name, connection, transport in self.connections(idle_timeout=5):
            self.send(connection, head(Content_Length="5"))
            for _ in range(4):
                self.wait(4)
                self.assertEqual((name, transport.value()), (name, b""))
                self.send(connection, b"x")
            self.wait(6)
            (answer,) = answers(transport.value())
            self.assertEqual((name, answer.status, transport.disconnecting), (name, 408, True))
            self.assertEqual(answer.headers["connection"], "close")

    def test_head_that_stalls_gets_408(self) -> None:
        for name, connection, transport in self.connections(idle_timeout=5, header_timeout=0):
            self.send(connection, head()[:-4])
            self.wait(6)
            self.assertEqual((name, [each.status for each in answers(transport.value())]), (name, [408]))

    def test_body_that_stalls_behind_another_request_gets_408(self) -> None:
        for name, connection, transport in self.connections(idle_timeout=5):
            self.send(connection, request("POST", "/x", b"ab") + head(Content_Length="5") + b"he")
            self.wait(6)
            found = [each.status for each in answers(transport.value())]
            self.assertEqual((name, found, transport.disconnecting), (name, [200, 408], True))

    def test_connection_without_a_request_is_closed_without_a_response(self) -> None:
        for name, connection, transport in self.connections(idle_timeout=5):
            self.send(connection, request("POST", "/x", b"ab"))
            self.wait(6)
            found = [each.status for each in answers(transport.value())]
            self.assertEqual((name, found, transport.disconnecting), (name, [200], True))
