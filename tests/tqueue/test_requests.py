"""The requests of the clients as values: what is sent, what a response means, and when it is repeated."""

from __future__ import annotations

import json
import time
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.tqueue.client import batches
from twisted_appserver.tqueue.client.addresses import read_address
from twisted_appserver.tqueue.client.attempts import (
    FailedAttempt,
    Patience,
    Pause,
    ServerResponse,
    is_temporary,
    poll,
    repeat,
    retry_after,
)
from twisted_appserver.tqueue.client.checks import WEEK
from twisted_appserver.tqueue.client.errors import (
    Empty,
    Full,
    LeaseLost,
    ServerError,
    ServerUnavailable,
    ShutDown,
)
from twisted_appserver.tqueue.client.leases import Owner
from twisted_appserver.tqueue.client.request_keys import Keys, checked_key
from twisted_appserver.tqueue.client.requests import QueueRequest, QueueRequests
from twisted_appserver.tqueue.client.session import QueueSession
from twisted_appserver.tqueue.wire import CHANGING, READING, SHOWING, SINGLE

ADDRESS = read_address("http://me:secret@localhost:8082/queues/")
REQUESTS = QueueRequests(ADDRESS, "a b")
TASK = {"task_id": "1-f", "delivery": 2, "task": {"n": 1}}
FIGURES = {"ready": 1, "leased": 0}

# For each verb: the request, its method, its target below the queue's path, and its body.
SENT: list[tuple[QueueRequest[Any], str, str, bytes]] = [
    (REQUESTS.put(b"{}", "k"), "POST", "put?key=k&timeout=0.0&detail=1", b"{}"),
    (
        REQUESTS.put(b"{}", "k:1", 2.5, 1.0, "ä" * 1001, {"delay": 3.0}),
        "POST",
        f"put?key=k%3A1&priority=1.0&order={'%C3%A4' * 1000}&timeout=2.5&detail=1&delay=3.0",
        b"{}",
    ),
    (REQUESTS.get("k"), "POST", "get?key=k&timeout=0.0&detail=1", b""),
    (REQUESTS.get("k", 25.0, 60.0), "POST", "get?key=k&lease=60.0&timeout=25.0&detail=1", b""),
    (REQUESTS.done("1-f", 2), "POST", "done/1-f?delivery=2", b""),
    (REQUESTS.done("1-f", 2, b"[7]"), "POST", "done/1-f?delivery=2", b"[7]"),
    (REQUESTS.result("1-f", 2.5), "GET", "result/1-f?timeout=2.5", b""),
    (REQUESTS.show("1-f"), "GET", "show/1-f", b""),
    (
        REQUESTS.fail("1-f", 2, "x", "y", False),
        "POST",
        "fail/1-f?delivery=2",
        b'{"error": "x", "traceback": "y", "retry": false}',
    ),
    (REQUESTS.fail("1-f", 0, "", "", 0.0), "POST", "fail/1-f?delivery=0", b'{"retry": 0.0}'),
    (REQUESTS.get_many(32, "k", 2.5), "POST", "get?n=32&key=k&timeout=2.5&detail=1", b""),
    (
        REQUESTS.done_many([("1-f", 2, b"[7]"), ("2-e", 1, b"")]),
        "POST",
        "done",
        b'{"tasks":[{"task_id":"1-f","delivery":2,"result":[7]},{"task_id":"2-e","delivery":1}]}',
    ),
    (
        REQUESTS.put(b"{}", "k", terms={"group": "a b"}),
        "POST",
        "put?key=k&timeout=0.0&detail=1&group=a+b",
        b"{}",
    ),
    (REQUESTS.get("k", 0.0, None, "me"), "POST", "get?key=k&by=me&timeout=0.0&detail=1", b""),
    (REQUESTS.done("../x?"), "POST", "done/..%2Fx%3F?delivery=0", b""),
    (REQUESTS.extend("1-f", 2, 9), "POST", "extend/1-f?delivery=2&lease=9", b""),
    (REQUESTS.release("1-f", 2, 0.5), "POST", "release/1-f?delivery=2&delay=0.5", b""),
    (REQUESTS.bury("1-f"), "POST", "bury/1-f?delivery=0", b""),
    (
        REQUESTS.renew([("1-f", 2)], 60.0),
        "POST",
        "renew?lease=60.0",
        b'{"tasks": [{"task_id": "1-f", "delivery": 2}]}',
    ),
    (REQUESTS.kick(10, "k"), "POST", "kick?n=10&key=k", b""),
    (REQUESTS.kick_task("1-f"), "POST", "kick/1-f", b""),
    (REQUESTS.drop("1-f"), "POST", "drop/1-f", b""),
    (REQUESTS.pause(), "POST", "pause", b""),
    (REQUESTS.resume(), "POST", "resume", b""),
    (REQUESTS.peek(3, "buried"), "GET", "peek?n=3&state=buried", b""),
    (REQUESTS.qsize(), "GET", "qsize", b""),
    (REQUESTS.stats(), "GET", "stats", b""),
    (REQUESTS.join(25.0), "GET", "join?timeout=25.0", b""),
    (REQUESTS.pause(), "POST", "pause", b""),
    (REQUESTS.resume(), "POST", "resume", b""),
    (REQUESTS.shutdown(True), "POST", "shutdown?immediate=1", b""),
    (REQUESTS.config({}), "GET", "config", b""),
    (REQUESTS.config({"maxsize": 3}), "POST", "config?maxsize=3", b""),
    (REQUESTS.purge("k"), "POST", "purge?key=k", b""),
    (REQUESTS.forget("k/1"), "POST", "forget?unique=k%2F1", b""),
    (REQUESTS.delete(), "POST", "delete", b""),
]

# For each verb: the request, the JSON object of a response, and the result or the exception that it means.
READ: list[tuple[QueueRequest[Any], dict[str, Any], Any]] = [
    (REQUESTS.put(b"{}", "k"), TASK, TASK),
    (REQUESTS.put(b"{}", "k"), {"task_id": "", "reason": "full"}, Full),
    (REQUESTS.put(b"{}", "k"), {"task_id": "", "reason": "shutdown"}, ShutDown),
    (REQUESTS.get("k"), TASK, TASK),
    (REQUESTS.get("k"), {"task_id": "", "reason": "empty"}, Empty),
    (REQUESTS.get("k"), {"task_id": "", "reason": "shutdown"}, ShutDown),
    (REQUESTS.done("1-f"), TASK, TASK),
    (REQUESTS.result("1-f", 1.0), {"state": "done"}, {"worker": "a b", "state": "done"}),
    (REQUESTS.show("1-f"), {"state": "ready"}, {"state": "ready"}),
    (REQUESTS.fail("1-f", 0, "x"), TASK, TASK),
    (REQUESTS.extend("1-f"), {"task_id": ""}, {"task_id": ""}),
    (REQUESTS.release("1-f"), TASK, TASK),
    (REQUESTS.bury("1-f"), TASK, TASK),
    (REQUESTS.renew([]), {"lost": [{"task_id": "1-f", "delivery": 2}]}, [("1-f", 2)]),
    (REQUESTS.kick(10, "k"), {"kicked": 3}, 3),
    (REQUESTS.kick_task("1-f"), TASK, True),
    (REQUESTS.drop("1-f"), {"task_id": ""}, False),
    (REQUESTS.drop("1-f"), {"task_id": "", "state": "done"}, False),
    (REQUESTS.drop("1-f"), {"task_id": "", "state": "dropped"}, True),
    (REQUESTS.pause(), {"paused": True}, None),
    (REQUESTS.resume(), {"paused": False}, None),
    (REQUESTS.peek(10, "ready"), {"tasks": [TASK]}, [TASK]),
    (REQUESTS.qsize(), {"qsize": 7}, 7),
    (REQUESTS.stats(), FIGURES, FIGURES),
    (REQUESTS.join(25.0), {"unfinished": 2, "buried": 1}, 2),
    (REQUESTS.pause(), {}, None),
    (REQUESTS.resume(), {}, None),
    (REQUESTS.shutdown(False), {"is_shutdown": True}, None),
    (REQUESTS.config({}), {"kind": "lifo"}, {"kind": "lifo"}),
    (REQUESTS.purge("k"), {"purged": 4}, 4),
    (REQUESTS.forget("k"), {"forgotten": True}, True),
    (REQUESTS.delete(), {}, None),
    (REQUESTS.queues(), {"queues": {"a b": {"qsize": 1}}}, {"a b": {"qsize": 1}}),
]


class RequestTests(SynchronousTestCase):
    def test_request_has_method_target_headers_and_body(self) -> None:
        for request, method, target, body in SENT:
            found = (request.method, request.target, request.body)
            self.assertEqual(found, (method, f"/queues/a%20b/{target}", body), request.verb)
            self.assertEqual(request.headers["Authorization"], "Basic bWU6c2VjcmV0")
            self.assertEqual("Content-Type" in request.headers, method == "POST", request.verb)
        self.assertEqual((REQUESTS.queues().method, REQUESTS.queues().target), ("GET", "/queues/?detail=1"))

    def test_timeout_covers_the_wait_at_the_server(self) -> None:
        self.assertEqual(REQUESTS.get("k", 25.0).timeout, 55.0)
        self.assertEqual(REQUESTS.stats().within(3.0).timeout, 3.0)

    def test_response_becomes_a_result_or_an_exception(self) -> None:
        for request, document, expected in READ:
            body = json.dumps({"worker": "a b", **document}).encode()
            if isinstance(expected, type):
                self.assertRaises(expected, request.read, 200, body)
            else:
                found = request.read(200, body)
                if isinstance(found, dict) and request.verb in (
                    "put",
                    "get",
                    "done",
                    "extend",
                    "release",
                    "fail",
                    "bury",
                ):
                    found.pop("worker")
                self.assertEqual(found, expected, request.verb)

    def test_every_verb_of_the_server_is_in_both_tables(self) -> None:
        verbs = {"put", "get", "done", "config", *READING, *SHOWING, *CHANGING, *SINGLE}
        self.assertEqual({request.verb for request, *_ in SENT}, verbs)
        self.assertEqual({request.verb for request, *_ in READ}, verbs | {"queues"})

    def test_refusal_is_an_error_for_every_verb(self) -> None:
        for request, *_ in SENT:
            for status, body in ((422, b'{"detail": "wrong"}'), (200, b"<html>"), (200, b"[]"), (404, b"")):
                error = self.assertRaises(ServerError, request.read, status, body)
                self.assertEqual(error.status, status)

    def test_keys_of_clients_cannot_be_chosen_by_users(self) -> None:
        """No two keys of clients are equal; keys of a lane end with a number."""
        keys = Keys()
        made = {keys.next(), keys.next(), keys.next("lane"), Keys().next()}
        self.assertEqual(len(made), 4)
        for key in made:
            self.assertRaises(ValueError, checked_key, key)
        for key in ("", "x" * 501, "a\0", "\udc80"):
            self.assertRaises(ValueError, checked_key, key)
        for key in ("invoice:1", "x" * 500, "ü 𝄞", "a\1"):
            self.assertEqual(checked_key(key), key)


class RetryTests(SynchronousTestCase):
    def test_pauses_grow_and_end_with_patience(self) -> None:
        """No pause is shorter than the server requires."""
        now = [0.0]
        retry = Patience(lambda: 10.0, lambda: now[0])
        pauses = []
        while (pause := retry.failed(False)) is not None:
            pauses.append(pause)
            now[0] += pause
        self.assertTrue(9.0 <= sum(pauses) <= 10.0, pauses)
        self.assertTrue(all(0.01 <= pause <= 1.0 for pause in pauses))
        self.assertFalse(retry.sent)
        self.assertEqual(Patience(lambda: 10.0, lambda: 0.0).failed(True, 7.0), 7.0)
        self.assertEqual(Patience(lambda: 10.0, lambda: 0.0).failed(True, 11.0), None)

    def test_retry_after_is_a_number_or_a_date(self) -> None:
        """Anything else counts as none."""
        self.assertEqual(retry_after(" 120 "), 120.0)
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
        self.assertTrue(55 < retry_after(date) <= 60)
        for value in ("", "soon", "-1", "1.5", "Thu, 01 Jan 1970 00:00:00 GMT", "²"):
            self.assertEqual(retry_after(value), 0.0)

    def test_only_temporary_statuses_are_repeated(self) -> None:
        for status in (200, 400, 401, 403, 404, 413, 422):
            self.assertFalse(is_temporary(status), status)
        for status in (408, 425, 429, 500, 502, 503, 507):
            self.assertTrue(is_temporary(status), status)


class StepTests(SynchronousTestCase):
    """The steps of a client, answered by values instead of a network."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.retry = Patience(lambda: 10.0, self.clock.seconds)
        self.warnings: list[str] = []
        self.session = QueueSession(
            ADDRESS, "q", 60.0, 10.0, self.clock.seconds, lambda: "lane", self.warnings.append
        )

    def take(self, steps: Any, *outcomes: Any) -> tuple[Any, list[Any]]:
        """Answer each request by the next outcome. Return the result or error, and the steps in between."""
        left, seen = list(outcomes), []
        try:
            step = next(steps)
            while True:
                seen.append(step)
                if isinstance(step, Pause):
                    self.clock.advance(step.seconds)
                    step = steps.send(None)
                else:
                    outcome = left.pop(0)
                    if isinstance(outcome, dict):
                        outcome = ServerResponse(200, json.dumps(outcome).encode())
                    step = steps.send(outcome)
        except StopIteration as stop:
            self.assertEqual(left, [])
            return stop.value, seen
        except Exception as error:
            self.assertEqual(left, [])
            return error, seen

    def test_request_is_repeated_unchanged_for_every_verb(self) -> None:
        """Whatever is repeated has the same idempotency key, and the pauses are the server's or longer."""
        results = {request.verb: (document, expected) for request, document, expected in READ}
        for request, *_ in SENT:
            document = {"worker": "a b", **results[request.verb][0]}
            retry = Patience(lambda: 10.0, self.clock.seconds)
            failures = (
                FailedAttempt(OSError("cut")),
                ServerResponse(503, b"", "3"),
                FailedAttempt(OSError(), False),
            )
            _, seen = self.take(repeat(request, retry), *failures, document)
            self.assertEqual(seen[::2], [request] * 4)
            self.assertGreaterEqual(seen[3].seconds, 3.0)
            self.assertTrue(retry.sent)

    def test_error_of_the_last_attempt_is_raised_when_patience_ends(self) -> None:
        impatient = Patience(float, self.clock.seconds)
        error = OSError("refused")
        self.assertIs(self.take(repeat(REQUESTS.qsize(), impatient), FailedAttempt(error, False))[0], error)
        self.assertEqual(error.__notes__, ["GET http://localhost:8082/queues/a%20b/qsize"])  # no password
        self.assertFalse(impatient.sent)
        for status in (503, 507):
            found, _ = self.take(repeat(REQUESTS.qsize(), impatient), ServerResponse(status, b"full"))
            self.assertIsInstance(found, ServerUnavailable)
            self.assertIsInstance(found, OSError)
            self.assertEqual((found.status, "full" in str(found)), (status, True))

    def test_refusal_without_credentials_says_how_to_send_a_token(self) -> None:
        body = json.dumps({"detail": "authentication required"}).encode()
        for address, advice in (
            (read_address("http://h:8082"), "http://h:8082 requires authentication: pass token=, or set the"),
            (read_address("http://h:8082", "a" * 16), "http://h:8082 refuses this token or password"),
        ):
            error = self.assertRaises(ServerError, QueueRequests(address, "q").qsize().read, 401, body)
            self.assertIn(f"401: {advice}", str(error))
            self.assertEqual(error.detail, "authentication required")

    def test_refusal_is_not_repeated(self) -> None:
        found, seen = self.take(
            repeat(REQUESTS.qsize(), self.retry), ServerResponse(403, b'{"detail": "no"}')
        )
        self.assertEqual((str(found), len(seen)), ("403: no", 1))

    def test_poll_repeats_until_its_time_is_over(self) -> None:
        """The last request waits for the time that is left, and all have the same key."""
        none = {"task_id": "", "reason": "empty"}
        waits = []

        def get(wait: float) -> Any:
            waits.append(wait)
            self.clock.advance(wait)
            return repeat(REQUESTS.get("k", wait), self.retry)

        found, _ = self.take(poll(get, 60.0, self.clock.seconds), none, none, none)
        self.assertIsInstance(found, Empty)
        self.assertEqual(waits, [25.0, 25.0, 10.0])
        _, seen = self.take(self.session.get(None, Owner()), none, TASK)
        self.assertEqual(len({request.query["key"] for request in seen}), 1)
        for timeout in (-1, float("nan")):
            self.assertIsInstance(self.take(poll(get, timeout, self.clock.seconds))[0], ValueError)

    def test_client_without_a_lease_uses_the_option_of_the_queue(self) -> None:
        """It learns the length from the server. No request has a longer lease than servers accept."""
        session = QueueSession(ADDRESS, "q", None, 10.0, self.clock.seconds, str, self.warnings.append)
        for answered, expected in (({"lease": 3.0}, 3.0), ({"lease": 9e6}, WEEK), ({}, 60.0)):
            task, (request,) = self.take(session.get(0.0, Owner()), {**TASK, **answered})
            self.assertNotIn("lease", request.query)
            self.assertEqual(task.until, self.clock.seconds() + expected)
            session.tasks.add(task)
            self.clock.advance(expected / 2)
            _, (request,) = self.take(session.renew(), {"lost": []})
            self.assertEqual((request.verb, request.query), ("renew", {"lease": str(expected)}))
            self.assertEqual(task.until, self.clock.seconds() + expected)
            session.tasks.drop(task)

    def test_lost_response_counts_as_done_while_the_lease_lasts(self) -> None:
        """If the lease may have run out meanwhile, another worker may have the task."""
        for seconds, expected in ((0.0, type(None)), (61.0, LeaseLost)):
            owner = Owner()
            task, _ = self.take(self.session.get(0.0, owner), TASK)
            self.clock.advance(seconds)
            steps = self.session.task_done(task, owner)
            found, _ = self.take(steps, FailedAttempt(OSError("cut")), {"task_id": ""})
            self.assertIsInstance(found, expected)

    def answer_late(self, steps: Any, document: dict[str, Any]) -> Any:
        """Answer the only request of these steps after 20 seconds. Return their result."""
        next(steps)
        self.clock.advance(20.0)
        response = ServerResponse(200, json.dumps(document).encode())
        return self.assertRaises(StopIteration, steps.send, response).value

    def test_lease_may_have_begun_when_the_get_did(self) -> None:
        """The response may have been late. A renewal counts from its own begin on."""
        for renewed, expected in ((False, LeaseLost), (True, type(None))):
            for many in (False, True):
                owner = Owner()
                if many:
                    (task,) = self.answer_late(batches._lease(self.session, 1, 0.0, owner), {"tasks": [TASK]})
                else:
                    task = self.answer_late(self.session.get(0.0, owner), TASK)
                    self.session.tasks.add(task)
                self.clock.advance(25.0)
                if renewed:
                    self.take(self.session.renew(), {"lost": []})
                self.session.tasks.drop(task)
                self.clock.advance(25.0)  # the lease may be over since 10 seconds
                steps = self.session.task_done(task, owner)
                found, _ = self.take(steps, FailedAttempt(OSError("cut")), {"task_id": ""})
                self.assertIsInstance(found, expected)

    def test_failed_renewal_is_logged_once(self) -> None:
        """A lease that the server denies is logged, and the task is lost."""
        task, _ = self.take(self.session.get(0.0, Owner()), TASK)
        self.session.tasks.add(task)
        self.clock.advance(30.0)
        for _ in range(2):
            self.take(self.session.renew(), FailedAttempt(OSError("refused"), False))
        self.assertEqual((len(self.warnings), self.session.tasks.lost(task)), (1, False))
        _, (request,) = self.take(self.session.renew(), {"lost": [{"task_id": "1-f", "delivery": 2}]})
        self.assertEqual((request.verb, request.timeout), ("renew", 15.0))
        self.assertEqual((len(self.warnings), self.session.tasks.lost(task)), (2, True))
