"""Tests of every executor alike: one table of cases over each."""

from __future__ import annotations

import sys
from io import StringIO

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, gatherResults
from zope.interface.verify import verifyObject

from tests.support import cases
from tests.support.executor_test_case import APPLICATION, ExecutorTestCase, get, json_of
from twisted_appserver import IExecutor, InlineExecutor, ProcessExecutor, Reply, ThreadExecutor
from twisted_appserver.dispatch.dispatcher import Dispatcher


class TableTests(ExecutorTestCase):
    """Every executor answers the same calls in the same way."""

    def compare(self, case: cases.Case, reply: Reply) -> None:
        """Check a reply against its case. An error must be a problem document without a traceback."""
        message = f"{reply.status} {reply.body[:200]!r}"
        self.assertEqual(reply.status, case.status, message)
        for member, value in case.answer.items():
            if member == "detail":
                self.assertIn(value, json_of(reply)["detail"], message)
            else:
                self.assertEqual(json_of(reply)[member], value, message)
        if case.exact is not None:
            self.assertEqual(reply.body, case.exact)
        for name, value in case.headers_sent.items():
            found = ", ".join(text for key, text in reply.headers if key == name)
            self.assertEqual(found or None, value, f"{name} {message}")
        if case.status >= 400:
            self.assertEqual(dict(reply.headers)["content-type"], "application/problem+json")
            self.assertTrue(json_of(reply)["instance"])
            self.assertNotIn("Traceback", reply.body.decode())

    async def check(self, name: str, executor: IExecutor, dispatcher: Dispatcher) -> None:
        """All cases, one after another, so that each is the next call after the one before."""
        verifyObject(IExecutor, executor)
        if name != "processes":  # these print to the standard streams of this process
            self.patch(sys, "stdout", StringIO())
            self.patch(sys, "stderr", StringIO())
        submitted = 0
        wrong: list[str] = []
        for case in (case for case in cases.CASES if name in case.where):
            try:
                self.compare(case, await dispatcher.dispatch(case.call()))
            except (self.failureException, CancelledError) as error:
                wrong.append(f"{case.path}: {error!r}")
            submitted += dispatcher.router.match("GET", case.path)[0].executor != "inline"
        self.assertEqual(wrong, [], "\n".join(wrong))
        everywhere = dispatcher.executors["inline"], executor
        self.assertEqual([(each.pending, each.running) for each in everywhere], [(0, 0)] * 2)
        if name != "inline":
            self.assertEqual(executor.completed + executor.failed, submitted)
            self.assertGreater(executor.completed, 10)
            self.assertGreater(executor.failed, 10)

    async def test_inline_executor_answers_every_case(self) -> None:
        executor = InlineExecutor()
        await executor.start()
        await self.check("inline", executor, self.dispatcher(executor, "inline"))
        await executor.stop()

    async def test_thread_executor_answers_every_case(self) -> None:
        await self.check("threads", *await self.threads(2))

    async def test_process_executor_answers_every_case(self) -> None:
        """With the same workers from beginning to end."""
        executor, dispatcher = await self.processes(1)
        before = executor.pids
        await self.check("processes", executor, dispatcher)
        self.assertEqual(executor.pids, before)

    async def test_bodies_that_are_no_json_arrive_unchanged(self) -> None:
        """From threads and worker processes."""
        for _, dispatcher in (await self.threads(1), await self.processes(1)):
            reply = await dispatcher.dispatch(get("/returns/text/"))
            self.assertEqual((reply.status, reply.body), (202, "plain ä".encode()))
            self.assertEqual(dict(reply.headers)["content-type"], "text/plain; charset=utf-8")
            reply = await dispatcher.dispatch(get("/returns/bytes/"))
            self.assertEqual(reply.body, bytes(range(256)))
            reply = await dispatcher.dispatch(get("/returns/nothing/"))
            self.assertEqual((reply.status, reply.body), (204, b""))
            reply = await dispatcher.dispatch(get("/returns/reply/"))
            self.assertEqual(dict(reply.headers)["x-made"], "yes")
            reply = await dispatcher.dispatch(get("/raises_http/"))
            self.assertEqual(dict(reply.headers)["x-pot"], "tea")

    async def test_error_is_logged_with_its_traceback_and_request_id(self) -> None:
        for _, dispatcher in (await self.threads(1), await self.processes(1)):
            lines = self.logged()
            reply = await dispatcher.dispatch(get("/raises/"))
            (line,) = [line for line in lines if "said by the function" in line]
            self.assertIn(json_of(reply)["instance"], line)
            self.assertIn("Traceback", line)

    async def test_bad_header_is_logged(self) -> None:
        """The log names the function, the header and the value that cannot be sent."""
        for _, dispatcher in (await self.threads(1), await self.processes(1)):
            lines = self.logged()
            for path, function in (
                ("/returns/none_header/", "returns"),
                ("/raises_none_header/", "raises_none_"),
            ):
                reply = await dispatcher.dispatch(get(path))
                (line,) = [line for line in lines if json_of(reply)["instance"] in line]
                for text in (function, "'x-none'", "None"):
                    self.assertIn(text, line.lower() if text == "'x-none'" else line)

    async def test_stop_may_be_called_twice_and_before_start(self) -> None:
        """Afterwards nothing runs or waits."""
        for executor in (ThreadExecutor(reactor, 1), ProcessExecutor(reactor, APPLICATION, 1)):
            await executor.stop()
            await executor.start()
            await gatherResults([executor.stop(), executor.stop()])
            self.assertEqual((executor.pending, executor.running), (0, 0))

    async def test_stopped_executor_refuses_calls_with_503(self) -> None:
        """Its AppResource may still be mounted in another Site."""
        inline = InlineExecutor()
        made = [(inline, self.dispatcher(inline, "inline")), await self.threads(1), await self.processes(1)]
        for executor, dispatcher in made:
            self.assertEqual((await dispatcher.dispatch(get("/returns/text/"))).status, 202)
            await executor.stop()
            self.assertEqual((await dispatcher.dispatch(get("/returns/text/"))).status, 503)
