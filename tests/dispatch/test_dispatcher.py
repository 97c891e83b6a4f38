"""Tests of L{twisted_appserver.dispatch.dispatcher}, over an executor in memory and a clock."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from math import inf
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.support.executor_test_case import get
from twisted_appserver import Call, ConfigurationError, HTTPError, IExecutor, Reply, Route, Router
from twisted_appserver.access.request_guard import RequestGuard
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.executors import stream
from twisted_appserver.executors.inline import InlineExecutor
from twisted_appserver.executors.interface import PendingCall


@implementer(IExecutor)
class MemoryExecutor:
    """Keeps what is submitted until the test ends it."""

    size, completed, failed, running, pending, parked = 1, 0, 0, 0, 0, 0
    now = None
    kill = None
    here, reads_bodies = True, False

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
    def test_call_is_submitted_with_handler_groups_id_and_deadline(self) -> None:
        """The reply of the executor is passed on."""
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

    def test_every_call_has_its_own_id(self) -> None:
        """An id that came with the call is kept."""
        dispatcher = self.dispatcher()
        for _ in range(50):
            dispatcher.dispatch(get("/x/1/"))
        self.assertEqual(len({call.request_id for call, _ in self.executor.submitted}), 50)
        dispatcher.dispatch(Call("GET", "/x/1/", request_id="mine"))
        self.assertEqual(self.executor.submitted[-1][0].request_id, "mine")

    def test_route_may_name_its_executor(self) -> None:
        """An unknown name is refused at once, in one line."""
        self.dispatcher().dispatch(get("/other/"))
        self.assertEqual((len(self.executor.submitted), len(self.other.submitted)), (0, 1))
        error = self.assertRaises(
            ConfigurationError, Dispatcher, self.clock, Router(PATTERNS), {"memory": self.executor}, "memory"
        )
        self.assertIn("'other'", str(error))

    def test_unknown_path_gets_404_and_unknown_method_405(self) -> None:
        """Nothing is performed."""
        dispatcher = self.dispatcher()
        self.answer(dispatcher.dispatch(get("/nothing/")), 404)
        deferred = dispatcher.dispatch(Call("DELETE", "/x/1/"))
        self.assertIn(("allow", "GET, HEAD, POST, OPTIONS"), self.successResultOf(deferred).headers)
        self.assertEqual(self.executor.submitted, [])
        self.assertEqual(dispatcher.in_flight, 0)

    def test_options_gets_204_with_allow(self) -> None:
        """And 404 for an unknown path."""
        dispatcher = self.dispatcher()
        reply = self.successResultOf(dispatcher.dispatch(Call("OPTIONS", "/put/")))
        self.assertEqual((reply.status, reply.body, reply.headers), (204, b"", (("allow", "PUT, OPTIONS"),)))
        self.answer(dispatcher.dispatch(Call("OPTIONS", "/nothing/")), 404)

    def test_head_is_performed_like_get(self) -> None:
        """The front end leaves the body out."""
        self.dispatcher().dispatch(Call("HEAD", "/x/1/"))
        self.assertEqual(self.executor.submitted[0][0].method, "HEAD")

    def test_refused_client_learns_nothing_about_the_routes(self) -> None:
        dispatcher = self.dispatcher(guard=RequestGuard())
        for path in ("/x/1/", "/nothing/"):
            for method in ("GET", "OPTIONS"):
                call = Call(method, path, raw_headers=((b"host", b"evil.example"),))
                self.answer(dispatcher.dispatch(call), 421)

    def test_full_executor_gets_503_with_retry_after(self) -> None:
        """Calls for other executors are accepted."""
        dispatcher = self.dispatcher(max_pending=5)
        self.executor.pending = 4
        for _ in range(6):
            self.assertNoResult(dispatcher.dispatch(get("/x/1/")))
        self.executor.pending = 5
        self.answer(dispatcher.dispatch(get("/x/1/")), 503)
        reply = self.successResultOf(dispatcher.dispatch(get("/x/1/")))
        self.assertGreater(int(dict(reply.headers)["retry-after"]), 0)
        self.assertNoResult(dispatcher.dispatch(get("/other/")))

    def test_coroutines_that_wait_do_not_count_as_waiting_calls(self) -> None:
        """They wait for no thread or worker, so C{max_pending} rejects neither them nor calls in threads."""

        async def waits() -> dict[str, Any]:
            await Deferred()
            return {}

        router = Router(((r"/waits/", waits), (r"/x/", function)))
        executors = {"inline": InlineExecutor(), "memory": self.executor}
        dispatcher = Dispatcher(self.clock, router, executors, "memory", max_pending=1)
        for path in ("/waits/", "/waits/", "/x/", "/waits/"):
            self.assertNoResult(dispatcher.dispatch(get(path)))
        self.assertEqual(dispatcher.in_flight, 4)

    def test_refusals_of_a_front_end_look_like_all_others(self) -> None:
        replies: list[Reply] = []
        self.dispatcher().refuse(
            HTTPError(413, "too long"), Call("", ""), lambda call, reply: replies.append(reply)
        )
        document = self.answer(succeed(replies[0]), 413)
        self.assertEqual(document["detail"], "too long")
        self.assertTrue(document["instance"])


class FailureTests(DispatchTestCase):
    def test_http_error_of_an_executor_is_the_response(self) -> None:
        deferred = self.dispatcher().dispatch(get("/x/1/"))
        self.executor.submitted[0][1].errback(HTTPError(502, "it died"))
        self.assertEqual(self.answer(deferred, 502)["detail"], "it died")

    def test_other_error_of_an_executor_gets_500(self) -> None:
        """It is logged under the id that the client receives."""

        def fail(job: PendingCall) -> None:
            raise ValueError("secret")

        self.patch(self.executor, "submit", fail)
        deferred = self.dispatcher().dispatch(get("/x/1/"))
        self.assertNotIn("secret", str(self.answer(deferred, 500)))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_client_sees_a_traceback_only_if_it_was_enabled(self) -> None:
        for display in (False, True):
            deferred = self.dispatcher(display_tracebacks=display).dispatch(get("/x/1/"))
            reply = Reply(b"{}", 500, (("content-type", "application/problem+json"),), "Traceback: secret")
            self.executor.submitted.pop()[1].callback(reply)
            self.assertEqual(b"secret" in self.successResultOf(deferred).body, display)


class TimeTests(DispatchTestCase):
    def test_call_that_takes_too_long_is_logged_with_its_function_and_limit(self) -> None:
        lines: list[str] = []
        observer: Any = lambda event: lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        deferred = self.dispatcher(timeout=10).dispatch(get("/x/1/"))
        self.clock.advance(10.1)
        problem = json.loads(self.successResultOf(deferred).body)
        request_id = problem["instance"]
        self.assertIn("longer than its time limit of 10 s, which --timeout or", problem["detail"])
        name = self.executor.submitted[-1][0].handler.name
        self.assertIn(f"{name} took longer than its time limit of 10 s, {request_id}", lines)

    def test_call_gets_504_at_its_time_limit(self) -> None:
        """It is cancelled, and not before."""
        dispatcher = self.dispatcher(timeout=10)
        deferred = dispatcher.dispatch(get("/x/1/"))
        self.clock.advance(9.9)
        self.assertNoResult(deferred)
        self.clock.advance(0.2)
        self.answer(deferred, 504)
        self.assertEqual(len(self.executor.cancelled), 1)
        self.assertEqual(dispatcher.in_flight, 0)

    def test_late_call_may_end_and_begin_others(self) -> None:
        """These have time limits too."""
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

    def test_each_call_has_its_own_limit_and_one_timer_serves_all(self) -> None:
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

    def test_stream_that_begins_during_submit_has_a_limit_for_its_next_part(self) -> None:

        async def parts() -> AsyncIterator[dict[str, Any]]:
            yield {}
            await Deferred()

        self.patch(stream, "SHARE", inf)  # on a busy machine, the stream would pause until the clock advances
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

    def test_call_that_ends_during_submit_has_no_limit(self) -> None:
        dispatcher = self.dispatcher(timeout=10)
        self.patch(self.executor, "submit", lambda job: job.callback(Reply(b"{}")))
        self.assertEqual(self.successResultOf(dispatcher.dispatch(get("/x/1/"))).status, 200)
        self.assertEqual((self.clock.getDelayedCalls(), dispatcher.in_flight), ([], 0))

    def test_route_may_have_its_own_limit_or_none(self) -> None:
        dispatcher = self.dispatcher(timeout=10)
        usual, quick, endless = (dispatcher.dispatch(get(path)) for path in ("/x/1/", "/quick/", "/endless/"))
        self.clock.advance(1)
        self.answer(quick, 504)
        self.assertNoResult(usual)
        self.clock.advance(9)
        self.answer(usual, 504)
        self.clock.advance(10**6)
        self.assertNoResult(endless)

    def test_timeout_of_0_means_no_limit_and_no_deadline(self) -> None:
        deferred = self.dispatcher(timeout=0).dispatch(get("/x/1/"))
        self.assertEqual(self.executor.submitted[0][0].deadline, 0.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertNoResult(deferred)

    def test_call_that_ended_in_time_is_not_cancelled_later(self) -> None:
        """The timer ends too."""
        deferred = self.dispatcher(timeout=10).dispatch(get("/x/1/"))
        self.executor.submitted[0][1].callback(Reply(b"{}"))
        self.clock.advance(11)
        self.assertEqual(self.successResultOf(deferred).status, 200)
        self.assertEqual((self.executor.cancelled, self.clock.getDelayedCalls()), ([], []))

    def test_stop_leaves_no_timer(self) -> None:
        dispatcher = self.dispatcher(timeout=10)
        dispatcher.dispatch(get("/x/1/"))
        dispatcher.dispatch(get("/quick/"))
        dispatcher.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class EndTests(DispatchTestCase):
    def test_cancelled_call_is_no_error(self) -> None:
        """A front end cancels a call whose client is gone."""
        dispatcher = self.dispatcher(timeout=10)
        deferred = dispatcher.dispatch(get("/x/1/"))
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.assertEqual((len(self.executor.cancelled), dispatcher.in_flight), (1, 0))
        self.clock.advance(20)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_observers_see_every_call_with_its_arrival_and_status(self) -> None:
        """Refused and cancelled ones too."""
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

    def test_drained_fires_when_the_last_call_has_ended(self) -> None:
        """In whatever way it ends."""
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

    def test_drained_may_be_cancelled(self) -> None:
        dispatcher = self.dispatcher()
        dispatcher.dispatch(get("/x/1/"))
        waiting = dispatcher.drained()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.executor.submitted[0][1].callback(Reply(b"{}"))
        self.assertEqual(dispatcher.in_flight, 0)
