"""Tests of L{twisted_appserver.dispatch.dispatcher}, over an executor in memory and a clock."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.support.executor_test_case import get
from twisted_appserver import Call, ConfigurationError, HTTPError, IExecutor, Reply, Route, Router
from twisted_appserver.access.request_guard import RequestGuard
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.executors.inline import InlineExecutor
from twisted_appserver.executors.interface import PendingCall


@implementer(IExecutor)
class MemoryExecutor:
    """Keeps what is submitted until the test ends it."""

    size, completed, failed, running, pending, parked = 1, 0, 0, 0, 0, 0
    now = None

    def __init__(self) -> None:
        self.submitted: list[tuple[Call, PendingCall]] = []
        self.cancelled: list[Call] = []

    def start(self) -> Deferred[None]:
        return succeed(None)

    def submit(self, job: PendingCall) -> None:
        self.submitted.append((job.call, job))

    def calls(self) -> Any:
        return (), ()

    def unready(self) -> str:
        return ""

    def cancel(self, job: PendingCall, kill: bool = False) -> None:
        self.cancelled.append(job.call)

    def stop(self) -> Deferred[None]:
        return succeed(None)


def function(**variables: Any) -> dict[str, Any]:
    return variables


PATTERNS = (
    (r"/x/(?P<a>)/", function),
    Route(r"/put/", function, methods=("PUT",)),
    Route(r"/quick/", function, timeout=1),
    Route(r"/endless/", function, timeout=0),
    Route(r"/other/", function, executor="other"),
)


class DispatchTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.executor, self.other = Clock(), MemoryExecutor(), MemoryExecutor()
        self.clock.advance(1000)

    def dispatcher(self, **options: Any) -> Dispatcher:
        executors = {"memory": self.executor, "other": self.other}
        return Dispatcher(self.clock, Router(PATTERNS), executors, "memory", **options)

    def answer(self, deferred: Deferred[Reply], status: int) -> dict[str, Any]:
        """The reply is there, a problem document with this status."""
        reply = self.successResultOf(deferred)
        self.assertEqual(reply.status, status, reply)
        self.assertEqual(dict(reply.headers)["content-type"], "application/problem+json")
        document = json.loads(reply.body)
        self.assertEqual(document["status"], status)
        return document


class RouteTests(DispatchTestCase):
    def test_performed(self) -> None:
        """A call goes to the executor with its handler, groups, id and deadline; the reply is passed on."""
        verifyObject(IExecutor, self.executor)
        deferred = self.dispatcher(timeout=60).dispatch(get("/x/1/"))
        ((call, submitted),) = self.executor.submitted
        self.assertIs(call.handler.function, function)
        self.assertEqual((call.groups, call.deadline), ({"a": "1"}, 1060.0))
        self.assertTrue(call.request_id)
        self.assertNoResult(deferred)
        reply = Reply(b"{}")
        submitted.callback(reply)
        self.assertIs(self.successResultOf(deferred), reply)

    def test_ids(self) -> None:
        """Every call has an id of its own; one that came with the call is kept."""
        dispatcher = self.dispatcher()
        for _ in range(50):
            dispatcher.dispatch(get("/x/1/"))
        self.assertEqual(len({call.request_id for call, _ in self.executor.submitted}), 50)
        dispatcher.dispatch(Call("GET", "/x/1/", request_id="mine"))
        self.assertEqual(self.executor.submitted[-1][0].request_id, "mine")

    def test_named_executor(self) -> None:
        """A Route may name its executor; a name that there is not is refused at once, in one line."""
        self.dispatcher().dispatch(get("/other/"))
        self.assertEqual((len(self.executor.submitted), len(self.other.submitted)), (0, 1))
        error = self.assertRaises(
            ConfigurationError, Dispatcher, self.clock, Router(PATTERNS), {"memory": self.executor}, "memory"
        )
        self.assertIn("'other'", str(error))

    def test_refusals(self) -> None:
        """What no pattern matches is 404, another method 405 with Allow, and nothing is performed."""
        dispatcher = self.dispatcher()
        self.answer(dispatcher.dispatch(get("/nothing/")), 404)
        deferred = dispatcher.dispatch(Call("DELETE", "/x/1/"))
        self.assertIn(("allow", "GET, HEAD, OPTIONS, POST"), self.successResultOf(deferred).headers)
        self.assertEqual(self.executor.submitted, [])
        self.assertEqual(dispatcher.in_flight, 0)

    def test_options(self) -> None:
        """OPTIONS is answered 204 with Allow, 404 where there is nothing."""
        dispatcher = self.dispatcher()
        reply = self.successResultOf(dispatcher.dispatch(Call("OPTIONS", "/put/")))
        self.assertEqual((reply.status, reply.body, reply.headers), (204, b"", (("allow", "OPTIONS, PUT"),)))
        self.answer(dispatcher.dispatch(Call("OPTIONS", "/nothing/")), 404)

    def test_head(self) -> None:
        """HEAD is performed like GET; the front end leaves the body out."""
        self.dispatcher().dispatch(Call("HEAD", "/x/1/"))
        self.assertEqual(self.executor.submitted[0][0].method, "HEAD")

    def test_guard(self) -> None:
        """Who may not ask learns nothing about the routes."""
        dispatcher = self.dispatcher(guard=RequestGuard())
        for path in ("/x/1/", "/nothing/"):
            for method in ("GET", "OPTIONS"):
                call = Call(method, path, raw_headers=((b"host", b"evil.example"),))
                self.answer(dispatcher.dispatch(call), 421)

    def test_full(self) -> None:
        """When too many calls wait for an executor, further ones for it get 503 with Retry-After."""
        dispatcher = self.dispatcher(max_pending=5)
        self.executor.pending = 4
        self.assertNoResult(dispatcher.dispatch(get("/x/1/")))
        self.executor.pending = 5
        self.answer(dispatcher.dispatch(get("/x/1/")), 503)
        reply = self.successResultOf(dispatcher.dispatch(get("/x/1/")))
        self.assertGreater(int(dict(reply.headers)["retry-after"]), 0)
        self.assertNoResult(dispatcher.dispatch(get("/other/")))

    def test_refuse(self) -> None:
        """A front end's own refusals look like all others."""
        replies: list[Reply] = []
        self.dispatcher().refuse(
            HTTPError(413, "too long"), Call("", ""), lambda call, reply: replies.append(reply)
        )
        document = self.answer(succeed(replies[0]), 413)
        self.assertEqual(document["detail"], "too long")
        self.assertTrue(document["instance"])


class FailureTests(DispatchTestCase):
    def test_executor_says(self) -> None:
        """What an executor says on purpose is the answer."""
        deferred = self.dispatcher().dispatch(get("/x/1/"))
        self.executor.submitted[0][1].errback(HTTPError(502, "it died"))
        self.assertEqual(self.answer(deferred, 502)["detail"], "it died")

    def test_executor_fails(self) -> None:
        """Another failure of an executor is 500, logged under the id that the client gets."""

        def fail(job: PendingCall) -> None:
            raise ValueError("secret")

        self.patch(self.executor, "submit", fail)
        deferred = self.dispatcher().dispatch(get("/x/1/"))
        self.assertNotIn("secret", str(self.answer(deferred, 500)))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_display_tracebacks(self) -> None:
        """A client sees a traceback only where it was asked for."""
        for display in (False, True):
            deferred = self.dispatcher(display_tracebacks=display).dispatch(get("/x/1/"))
            reply = Reply(b"{}", 500, (("content-type", "application/problem+json"),), "Traceback: secret")
            self.executor.submitted.pop()[1].callback(reply)
            self.assertEqual(b"secret" in self.successResultOf(deferred).body, display)


class TimeTests(DispatchTestCase):
    def test_limit(self) -> None:
        """At its time limit a call is cancelled and answered 504, not before."""
        dispatcher = self.dispatcher(timeout=10)
        deferred = dispatcher.dispatch(get("/x/1/"))
        self.clock.advance(9.9)
        self.assertNoResult(deferred)
        self.clock.advance(0.2)
        self.answer(deferred, 504)
        self.assertEqual(len(self.executor.cancelled), 1)
        self.assertEqual(dispatcher.in_flight, 0)

    def test_one_ends_another(self) -> None:
        """What is late may end others, and begin some, while it is ended: these have time limits too."""
        dispatcher = self.dispatcher(timeout=10)
        begun: list[Deferred[Reply]] = []

        def cancel(job: PendingCall, kill: bool = False) -> None:
            if job is first:
                second.callback(Reply(b"{}"))
                begun.append(dispatcher.dispatch(get("/x/9/")))

        self.executor.cancel = cancel  # type: ignore[method-assign]
        deferreds = [dispatcher.dispatch(get(f"/x/{n}/")) for n in range(3)]
        first, second = (submitted for _, submitted in self.executor.submitted[:2])
        self.clock.advance(10)
        self.assertEqual([self.successResultOf(each).status for each in deferreds], [504, 200, 504])
        self.clock.advance(10)
        self.answer(begun[0], 504)

    def test_many(self) -> None:
        """Each call has its own limit from its arrival; one timer serves all."""
        dispatcher = self.dispatcher(timeout=10)
        deferreds = []
        for n in range(10):
            deferreds.append(dispatcher.dispatch(get(f"/x/{n}/")))
            self.clock.advance(1)
        self.assertLessEqual(len(self.clock.getDelayedCalls()), 1)
        for n, deferred in enumerate(deferreds):
            self.answer(deferred, 504)
            for later in deferreds[n + 1 :]:
                self.assertNoResult(later)
            self.clock.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_begun_at_once(self) -> None:
        """An answer in parts that begins while its call is handed over has the limit for its next part."""

        async def parts() -> AsyncIterator[dict[str, Any]]:
            yield {}
            await Deferred()

        executors = {"inline": InlineExecutor()}
        router = Router(((r"/parts/", parts),))
        dispatcher = Dispatcher(self.clock, router, executors, "inline", timeout=10)
        deferred = dispatcher.dispatch(get("/parts/"))
        ended: list[str] = []
        self.successResultOf(deferred).body.begin(lambda data: None, ended.append)
        self.clock.advance(9.9)
        self.assertEqual((ended, dispatcher.in_flight), ([], 1))
        self.clock.advance(0.2)
        self.assertIn("within the time limit", ended[0])
        self.assertEqual(dispatcher.in_flight, 0)

    def test_over_at_once(self) -> None:
        """A call that is over when it has been handed over is under no limit."""
        dispatcher = self.dispatcher(timeout=10)
        self.patch(self.executor, "submit", lambda job: job.callback(Reply(b"{}")))
        self.assertEqual(self.successResultOf(dispatcher.dispatch(get("/x/1/"))).status, 200)
        self.assertEqual((self.clock.getDelayedCalls(), dispatcher.in_flight), ([], 0))

    def test_own_limit(self) -> None:
        """A Route may have its own limit, or none."""
        dispatcher = self.dispatcher(timeout=10)
        usual, quick, endless = (dispatcher.dispatch(get(path)) for path in ("/x/1/", "/quick/", "/endless/"))
        self.clock.advance(1)
        self.answer(quick, 504)
        self.assertNoResult(usual)
        self.clock.advance(9)
        self.answer(usual, 504)
        self.clock.advance(10**6)
        self.assertNoResult(endless)

    def test_no_limit(self) -> None:
        """With a limit of 0 there is none, and no deadline."""
        deferred = self.dispatcher(timeout=0).dispatch(get("/x/1/"))
        self.assertEqual(self.executor.submitted[0][0].deadline, 0.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertNoResult(deferred)

    def test_in_time(self) -> None:
        """A call that ended in time is not cancelled later; nor does the timer run for ever."""
        deferred = self.dispatcher(timeout=10).dispatch(get("/x/1/"))
        self.executor.submitted[0][1].callback(Reply(b"{}"))
        self.clock.advance(11)
        self.assertEqual(self.successResultOf(deferred).status, 200)
        self.assertEqual((self.executor.cancelled, self.clock.getDelayedCalls()), ([], []))

    def test_stop(self) -> None:
        """After stop() no timer is left."""
        dispatcher = self.dispatcher(timeout=10)
        dispatcher.dispatch(get("/x/1/"))
        dispatcher.dispatch(get("/quick/"))
        dispatcher.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class EndTests(DispatchTestCase):
    def test_cancel(self) -> None:
        """A front end cancels a call that nobody awaits any more; that is no 504 and no fault."""
        dispatcher = self.dispatcher(timeout=10)
        deferred = dispatcher.dispatch(get("/x/1/"))
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.assertEqual((len(self.executor.cancelled), dispatcher.in_flight), (1, 0))
        self.clock.advance(20)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_observed(self) -> None:
        """Observers are told every call, when it came and what it got; refused and abandoned ones too."""
        seen: list[tuple[str, Any, float, int]] = []
        dispatcher = self.dispatcher()
        dispatcher.observers.append(lambda c, r: seen.append((c.path, c.handler, c.arrived, r.status)))
        answered, abandoned = dispatcher.dispatch(get("/x/1/")), dispatcher.dispatch(get("/quick/"))
        dispatcher.dispatch(get("/nothing/"))
        self.clock.advance(0.5)
        self.executor.submitted[0][1].callback(Reply(b"{}", 201))
        abandoned.cancel()
        self.failureResultOf(abandoned, CancelledError)
        self.assertEqual(self.successResultOf(answered).status, 201)
        handlers = [call.handler for call, _ in self.executor.submitted]
        self.assertEqual(
            seen,
            [
                ("/nothing/", None, 1000.0, 404),
                ("/x/1/", handlers[0], 1000.0, 201),
                ("/quick/", handlers[1], 1000.0, 499),
            ],
        )

    def test_drained(self) -> None:
        """drained() fires when the last call in flight has ended, in whatever way."""
        dispatcher = self.dispatcher(timeout=10)
        self.successResultOf(dispatcher.drained())
        calls = [dispatcher.dispatch(get("/x/1/")) for _ in range(3)]
        waiting = [dispatcher.drained(), dispatcher.drained()]
        self.executor.submitted[0][1].callback(Reply(b"{}"))
        calls[1].cancel()
        self.failureResultOf(calls[1], CancelledError)
        self.assertNoResult(waiting[0])
        self.clock.advance(10)
        for deferred in waiting:
            self.successResultOf(deferred)

    def test_drained_cancelled(self) -> None:
        """Who does not await the end any more can cancel it."""
        dispatcher = self.dispatcher()
        dispatcher.dispatch(get("/x/1/"))
        waiting = dispatcher.drained()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.executor.submitted[0][1].callback(Reply(b"{}"))
        self.assertEqual(dispatcher.in_flight, 0)
