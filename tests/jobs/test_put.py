"""C{jobs.put}: functions make jobs of other functions, without HTTP."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from tests.support import putting
from tests.support.files import sqlite_store
from tests.support.job_service import JobClient, JobTestCase
from tests.support.postgres import needs_postgresql, shared
from tests.support.slow import slow
from twisted_appserver import FORKED_SERVER, Call, HTTPError, JobError, Route, jobs
from twisted_appserver.core.function_calls import find_entry, make_function_call
from twisted_appserver.core.request_data import KEY_HEADER
from twisted_appserver.core.router import Router
from twisted_appserver.jobs.idempotency import key_of
from twisted_appserver.testing import Client

APP = "tests.support.putting"
ERRORS = {
    "function": "getcwd is in no entry of the table; add it to url_patterns",
    "name": "oder is in no entry of the table; did you mean 'order'?",
    "twice": "ship is in 2 entries: url_patterns[2] '/ship/(?P<address>)' and url_patterns[3] "
    "'/send/(?P<address>)'; give each a name, Route(..., name='this'), and write jobs.put('this', ...)",
    "type": "order: count must be an integer, not 'many'",
    "unknown": "order takes no variable 'number'; its variables are count, due, item",
    "missing": "order: item is missing",
    "slash": "order: item='a/b' does not fit the pattern '/order/(?P<item>[^/]+)'",
    "none": "order: item is a part of the path and must be text or a number, not None",
    "key": "order: this Idempotency-Key was used for another request; use a new key",
}


class PutCases:
    """The table: each method is a case. It receives a test, for assertions, and the client of a service."""

    async def job_is_that_of_a_post(self, test: Any, client: JobClient) -> None:
        answer = await client.ask("GET", "/puts/nut?count=3", traceparent="00-1-2-01")
        job = answer.json
        test.assertEqual(job["path"], f"/-/jobs/{job['id']}")
        seen = await client.until(job["path"], "done")
        result = seen["result"]
        test.assertEqual(seen["function"], "order")
        test.assertEqual((result["item"], result["count"], result["due"]), ("nut", 3, "2026-01-02"))
        test.assertEqual((result["method"], result["trace"]["traceparent"]), ("POST", "00-1-2-01"))

    async def every_thread_may_put(self, test: Any, client: JobClient) -> None:
        ids = (await client.ask("GET", "/puts_in_thread/nut")).json["ids"]
        test.assertEqual(len(set(ids)), 21)
        for each in ids:
            await client.until(f"/-/jobs/{each}", "done")

    async def generator_may_put(self, test: Any, client: JobClient) -> None:
        lines = (await client.ask("GET", "/puts_by_parts/3")).text.splitlines()
        test.assertEqual(len(set(lines)), 3)

    async def coroutine_may_put(self, test: Any, client: JobClient) -> None:
        """The job of a coroutine function begins after the step of the coroutine that put it."""
        job = (await client.ask("GET", "/puts_on_reactor")).json
        test.assertFalse(job["began"])
        test.assertEqual((await client.until(f"/-/jobs/{job['id']}", "done"))["result"], {"n": 2})
        answer = await client.ask("GET", "/puts_on_reactor?blocking=true")
        test.assertEqual(answer.status, 500)
        test.flushLoggedErrors()

    async def mistakes_have_clear_messages(self, test: Any, client: JobClient) -> None:
        for what, message in ERRORS.items():
            test.assertEqual((await client.ask("GET", f"/puts_wrong/{what}")).json, {"error": message})
        test.assertIn("cannot be sent as JSON", (await client.ask("GET", "/puts_wrong/object")).text)

    async def same_key_is_the_same_job(self, test: Any, client: JobClient) -> None:
        first, second, other = [
            (await client.ask("GET", f"/puts/nut?count=1&key={key}")).json["id"] for key in ("a", "a", "b")
        ]
        test.assertEqual(first, second)
        test.assertNotEqual(first, other)

    async def program_may_put_before_any_request(self, test: Any, client: JobClient) -> None:
        """Twisted code awaits a Deferred, and threads wait."""
        job = await jobs.put_async(putting.order_later, n=5)
        test.assertEqual((await client.until(job.path, "done"))["result"], {"n": 5})
        job = await deferToThread(jobs.put, putting.order_later, n=6)
        test.assertEqual((await client.until(job.path, "done"))["result"], {"n": 6})
        with test.assertRaisesRegex(JobError, r"would block the reactor; write await jobs.put_async"):
            jobs.put(putting.order_later, n=7)

    async def delayed_job_waits(self, test: Any, client: JobClient) -> None:
        job = await jobs.with_options(delay=0.3).put_async(putting.order_later, n=8)
        test.assertEqual((await client.look(job.path))["state"], "waiting")
        test.assertNotIn({"n": 8}, putting.RECEIVED)
        await client.until(job.path, "done")
        far = await jobs.with_options(delay=1000).put_async(putting.order_later, n=9)
        test.assertEqual((await client.ask("DELETE", far.path)).json["state"], "cancelled")


class ServiceTests(JobTestCase):
    async def all_cases(self, store: str, **options: Any) -> None:
        client = await self.start(store, None, app=APP, **options)
        putting.RECEIVED.clear()
        for name in [name for name in vars(PutCases) if not name.startswith("_")]:
            await Deferred.fromCoroutine(getattr(PutCases(), name)(self, client)).addTimeout(20, reactor)

    def sqlite(self) -> str:
        return sqlite_store(self)

    async def test_threads_and_memory(self) -> None:
        await self.all_cases("memory:")

    async def test_threads_and_sqlite(self) -> None:
        await self.all_cases(self.sqlite())

    @slow
    async def test_processes_and_memory(self) -> None:
        await self.all_cases("memory:", server_type=FORKED_SERVER, workers=2)

    async def test_processes_and_sqlite(self) -> None:
        await self.all_cases(self.sqlite(), server_type=FORKED_SERVER, workers=2)

    @slow
    @needs_postgresql
    async def test_processes_and_postgresql(self) -> None:
        await self.all_cases(shared().database(), server_type=FORKED_SERVER, workers=2)

    async def test_job_belongs_to_the_user_of_the_call(self) -> None:
        passwords = self.mktemp()
        with open(passwords, "w") as file:
            file.write("ann:1\nbob:2\n")
        os.chmod(passwords, 0o600)
        client = await self.start("memory:", putting.url_patterns, auth=[f"file:{passwords}"])
        ann, bob = JobClient(client.port, "ann:1"), JobClient(client.port, "bob:2")
        path = (await ann.ask("GET", "/puts/nut?count=1")).json["path"]
        self.assertEqual((await ann.until(path, "done"))["result"]["user"], "ann")
        self.assertEqual((await bob.ask("GET", path)).status, 404)

    async def test_stopped_service_takes_no_job(self) -> None:
        client = await self.start("memory:", putting.url_patterns)
        await client.service.stopService()  # type: ignore[attr-defined]
        with self.assertRaisesRegex(JobError, "no service runs in this process|is in no entry"):
            jobs.put(putting.order_later, n=1)

    async def test_full_service_takes_no_job(self) -> None:
        await self.start("memory:", putting.url_patterns, max_jobs=1)
        delayed = jobs.with_options(delay=1000)
        await delayed.put_async(putting.order_later, n=1)
        with self.assertRaisesRegex(JobError, "order_later: 1 jobs are running already"):
            await delayed.put_async(putting.order_later, n=2)


class ClientTests(SynchronousTestCase):
    """In the test client, jobs begin with the next request."""

    def test_jobs_begin_with_the_next_request(self) -> None:
        with Client(putting.url_patterns) as client:
            job = client.get("/puts/nut?count=2").json
            seen = client.get(job["path"]).json
            self.assertEqual((seen["state"], seen["result"]["count"]), ("done", 2))
            job = client.get("/puts_on_reactor").json
            self.assertFalse(job["began"])
            self.assertEqual(client.get(f"/-/jobs/{job['id']}").json["result"], {"n": 2})
            self.assertIn("put_async", client.get("/puts_on_reactor?blocking=1").traceback)

    def test_tests_may_put(self) -> None:
        with Client(putting.url_patterns) as client:
            job = jobs.with_options(delay=5).put(putting.order_later, n=4)
            self.assertEqual(client.get(job.path).json["state"], "waiting")
            client.clock.advance(5)
            self.assertEqual(client.get(job.path).json["result"], {"n": 4})


class CallTests(SynchronousTestCase):
    """Pure: from variables to a call."""

    def call(self, regex: str, function: Any, /, *, methods: Any = ("GET", "POST"), **variables: Any) -> Any:
        router = Router((Route(regex, function, methods=methods),))
        call = make_function_call(find_entry(router, function), variables)
        handler, groups = router.match(call.method, call.path)
        self.assertEqual((handler, groups), (call.handler, call.groups))
        return call

    def test_groups_become_the_path(self) -> None:
        def function(**variables: Any) -> None: ...

        for regex, variables, path in (
            (r"/a/(?P<x>)/", {"x": "b c%2F?#{}"}, "/a/b c%2F?#{}/"),
            (r"/\{a\}/(?P<x>\d+)", {"x": 5}, "/{a}/5"),
            (r"/(?:en|de)/(?P<x>)", {"x": True}, "/en/true"),
            (r"/a(?:/(?P<x>))?", {"x": "y"}, "/a/y"),
            (r"/a(?:/(?P<x>))?", {}, "/a"),
            (r"/(?P<x>)-(?P<y>)", {"x": "1", "y": 2.5}, "/1-2.5"),
        ):
            self.assertEqual(self.call(regex, function, **variables).path, path)

    def test_function_with_several_named_entries_is_put_by_name(self) -> None:
        def work() -> None: ...

        table = tuple(Route(f"/{name}", work, name=name) for name in ("keyed", "once", "rated"))
        advice = "work is in 3 entries: .*; put by name: 'keyed', 'once' or 'rated'$"
        with self.assertRaisesRegex(JobError, advice):
            find_entry(Router(table), work)
        self.assertEqual(find_entry(Router(table), "once").handler.name, "once")

    def test_key_is_the_same_as_that_of_a_request(self) -> None:
        def work() -> None: ...

        router, keys = Router((Route("/", work),)), ("k", '"k"', '"a\\')
        put = [key_of(make_function_call(find_entry(router, work), {}, key)) for key in keys]
        fields = b'"k"', rb'"\"k\""', rb'"\"a\\"'
        self.assertEqual(put, [key_of(Call("POST", "/", raw_headers=((KEY_HEADER, key),))) for key in fields])
        self.assertEqual(len(set(put)), 3)

    def test_method_is_one_of_the_route(self) -> None:
        def function(x: int) -> None: ...

        for methods, method in ((("GET",), "GET"), (("PUT", "DELETE"), "PUT"), (("GET", "POST"), "POST")):
            call = self.call("/", function, methods=methods, x=1)
            self.assertEqual((call.method, call.body), (method, b'{"x":1}'))

    def test_pattern_without_a_path_is_reported(self) -> None:
        def function(x: int) -> None: ...

        with self.assertRaisesRegex(JobError, r"function: no path can be made from the pattern '/\\\\d\+/"):
            self.call(r"/\d+/(?P<x>)", function, x=1)

    def test_wrong_options_are_reported(self) -> None:
        wrong: Any = (
            {"delay": -1},
            {"delay": "1"},
            {"delay": math.inf},
            {"key": "\n"},
            {"key": "k" * 256},
        )
        for options in wrong:
            self.assertRaisesRegex(JobError, f"^{next(iter(options))} must be", jobs.with_options, **options)

    def test_function_of_the_previous_table_is_found_by_its_name(self) -> None:
        """As after a reload."""
        router = Router((("/", _again),))
        copy = type(_again)(_again.__code__, {})
        copy.__module__ = __name__
        self.assertEqual(find_entry(router, copy).handler.original, _again)

    def test_put_needs_neither_twisted_nor_a_service(self) -> None:
        code = (
            "import sys; from twisted_appserver import jobs, JobError\n"
            "try: jobs.put(print)\n"
            "except JobError as error: print(error)\n"
            "assert 'twisted.internet' not in sys.modules and 'zope' not in sys.modules\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        self.assertIn("no service runs in this process; jobs.put() needs one", done.stdout, done.stderr)


def _again() -> None:
    raise HTTPError(404)
