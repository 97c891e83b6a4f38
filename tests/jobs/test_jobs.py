"""Tests of calls whose clients do not wait."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.serving.test_command import CommandTestCase
from tests.support import streaming
from tests.support.job_service import NO_JOBS
from tests.support.slow import slow
from tests.support.wire import exchange, fetch, request
from twisted_appserver import Call, HTTPError, Reply, RetryLater, Route
from twisted_appserver.client import AppClient, Problem
from twisted_appserver.testing import Client, NoAnswer, Response

LATER = {"Prefer": "respond-async"}
AWAITED: list[Deferred[dict[str, Any]]] = []


async def waits() -> dict[str, Any]:
    AWAITED.append(Deferred())
    return await AWAITED[-1]


def fails(status: int) -> dict[str, Any]:
    raise HTTPError(status, "it fails")


def text() -> Reply:
    return Reply("some text", 201, {"X-Made": "yes"})


CLOSED: list[str] = []


def long(size: int) -> Reply:
    """A Reply in parts of a hundred bytes, which notes that it was closed."""

    def made() -> Iterator[bytes]:
        try:
            for _ in range(size // 100):
                yield b"x" * 100
        finally:
            CLOSED.append("long")

    return Reply(made())


def items(size: int, call: Call) -> Iterator[dict[str, Any]]:
    for _ in range(3):
        yield {"text": "x" * size}


async def waits_long(call: Call) -> AsyncIterator[dict[str, Any]]:
    yield {"number": 0}
    await Deferred()


def sold_out() -> None:
    raise HTTPError(409, "sold out", extra={"retry_in": 5})


def later() -> None:
    raise RetryLater(100)


PATTERNS = (
    (r"/later", later),
    *streaming.url_patterns,
    (r"/waits", waits),
    Route(r"/limited", waits, timeout=5.0),
    Route(r"/limited_items", waits_long, timeout=5.0),
    (r"/fails/(?P<status>)", fails),
    (r"/says/404", lambda: Reply("no", 404)),
    (r"/says/409", lambda: Reply({"why": "no"}, 409)),
    (r"/deep/down/here/", lambda: {"deep": True}),
    (r"/list", lambda: [{"n": 1}]),
    (r"/reply_list", lambda: Reply([])),
    (r"/sold_out", sold_out),
    (r"/text", text),
    (r"/large/(?P<size>)", lambda size: Reply("x" * int(size))),
    (r"/long/(?P<size>)", long),
    (r"/items/(?P<size>)", items),
    (r"/waits_long", waits_long),
)


class MemoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        AWAITED.clear()
        CLOSED.clear()
        self.client = Client(PATTERNS, max_jobs=3, job_age=100.0, allow_origin=("http://ours.example",))

    def begin(self, target: str, **headers: str) -> str:
        """Return the path of a new job."""
        answer = self.client.get(target, headers={**LATER, **headers})
        self.assertEqual((answer.status, answer.headers["preference-applied"]), (202, "respond-async"))
        place = answer.headers["location"]
        self.assertEqual(answer.json["place"], place)
        return "/" + place.replace("../", "")

    def look(self, place: str) -> dict[str, Any]:
        answer = self.client.get(place)
        self.assertEqual(answer.status, 200)
        found: dict[str, Any] = answer.json
        return found

    def refused(self, answer: Response, status: int) -> None:
        self.assertEqual(answer.status, status, answer.text)

    def test_prefer_respond_async_makes_a_job(self) -> None:
        """RFC 7240, section 2. Requests for pages are answered at once."""
        for status, preferences in (
            (202, ("Respond-Async", "await=10, respond-async;a", 'a="b"\t,respond-async,wait=0')),
            (
                200,
                (
                    "wait=10, respond-async;a",
                    'a="b"\t,respond-async,WAIT = "1" ;b',
                    "wait=3",
                    "not-respond-async",
                    "respond-asynchronously",
                    "wait=respond-async",
                    "",
                ),
            ),
        ):
            for prefer in preferences:
                answer = self.client.get("/deep/down/here/", headers={"Prefer": prefer})
                self.assertEqual(answer.status, status, prefer)
        self.assertEqual(self.client.get("/-/jobs", headers=LATER).status, 200)

    def test_job_ends_with_the_result_of_its_function(self) -> None:
        place = self.begin("/waits")
        seen = self.look(place)
        self.assertEqual((seen["state"], seen["function"], seen["items"]), ("running", "waits", 0))
        self.refused(self.client.get(place + "/result"), 404)
        AWAITED[0].callback({"came": 1})
        seen = self.look(place)
        self.assertEqual((seen["state"], seen["result"]), ("done", {"came": 1}))
        answer = self.client.get(place + "/result")
        self.assertEqual((answer.json, answer.headers["content-type"]), ({"came": 1}, "application/json"))
        self.assertEqual([job["job"] for job in self.look("/-/jobs")["jobs"]], [seen["job"]])

    def test_result_may_be_a_list(self) -> None:
        for target, expected in (("/list", [{"n": 1}]), ("/reply_list", [])):
            place = self.begin(target)
            self.assertEqual(self.look(place)["result"], expected)
            self.assertEqual(self.client.get(place + "/result").json, expected)

    def test_error_has_its_further_members(self) -> None:
        place = self.begin("/sold_out")
        self.assertEqual(self.look(place)["error"]["retry_in"], 5)
        response = self.client.get(place + "/result")
        self.assertEqual((response.status, response.json["retry_in"]), (409, 5))

    def test_last_item_of_a_generator_is_progress_and_then_result(self) -> None:
        """Whatever the client accepts."""
        place = self.begin("/counts?n=5", Accept="text/event-stream")
        seen = self.look(place)
        self.assertEqual((seen["state"], seen["items"]), ("done", 5))
        self.assertEqual(seen["progress"], seen["result"])
        answer = self.client.get(place + "/result")
        self.assertEqual((answer.json, answer.headers["content-type"]), ({"number": 4}, "application/json"))
        self.assertEqual(self.look(self.begin("/counts?n=0"))["result"], None)

    def test_reply_of_a_function_is_kept_unchanged(self) -> None:
        answer = self.client.get(self.begin("/text") + "/result")
        self.assertEqual((answer.status, answer.text, answer.headers["x-made"]), (201, "some text", "yes"))
        answer = self.client.get(self.begin("/table") + "/result")
        self.assertEqual((answer.text, answer.headers["content-type"]), ("0,0\n1,1\n2,4\n", "text/csv"))

    def test_failure_becomes_the_error_of_the_job(self) -> None:
        """As a problem document."""
        for target, status, items in (("/fails/418", 418, 0), ("/early", 418, 0), ("/late", 500, 1)):
            place = self.begin(target)
            seen = self.look(place)
            self.assertEqual(
                (seen["state"], seen["items"], seen["error"]["status"]), ("failed", items, status)
            )
            self.refused(self.client.get(place + "/result"), status)
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_http_error_after_an_item_is_kept_and_not_logged(self) -> None:
        """With its headers."""
        for target in ("/refused_late", "/reactor_refused_late", "/refused_table"):
            logged = self.capture()
            place = self.begin(target)
            error = self.look(place)["error"]
            self.assertEqual(error["status"], 409, target)
            self.assertIn("after the first", error["detail"])
            answer = self.client.get(place + "/result")
            self.assertEqual((answer.status, answer.json), (409, error))
            if target != "/refused_table":
                self.assertEqual(answer.headers["x-why"], "late")
            self.assertEqual([text for text in logged if "failed" in text], [])

    def test_invalid_http_error_after_an_item_gets_500(self) -> None:
        """The log explains why."""
        logged = self.capture()
        self.assertEqual(self.look(self.begin("/refused_wrongly"))["error"]["status"], 500)
        self.assertEqual(len([text for text in logged if "status 200" in text]), 1)

    def test_http_error_in_a_stream_without_a_job_is_logged_with_advice(self) -> None:
        """The waiting client cannot receive it any more."""
        logged = self.capture()
        self.assertRaises(NoAnswer, self.client.get, "/refused_late")
        (text,) = (text for text in logged if "409" in text)
        self.assertIn("raise it before the first yield", text)

    def capture(self) -> list[str]:
        """The log from now on."""
        lines: list[str] = []

        def observe(event: Any) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return lines

    def test_reply_with_an_error_status_has_a_problem_document_too(self) -> None:
        for target, words in (("/says/404", "no"), ("/says/409", '{"why":"no"}')):
            place = self.begin(target)
            seen = self.look(place)
            status = int(target[-3:])
            self.assertEqual((seen["state"], seen["error"]["status"]), ("failed", status))
            answer = self.client.get(place + "/result")
            self.assertEqual((answer.status, answer.text), (status, words))

    def test_refused_request_becomes_no_job(self) -> None:
        self.refused(self.client.get("/nothing", headers=LATER), 404)
        self.refused(self.client.request("DELETE", "/text", headers=LATER), 405)
        self.refused(self.client.get("/text", headers={**LATER, "Host": "evil.example"}), 421)
        self.assertEqual(self.look("/-/jobs"), NO_JOBS)
        for place in ("/-/jobs/x", "/-/jobs/x/result"):
            self.refused(self.client.get(place), 404)
        self.refused(self.client.request("DELETE", "/-/jobs/x"), 404)

    def test_jobs_accept_get_head_and_delete_only(self) -> None:
        place = self.begin("/text")
        for target, allowed in (
            ("/-/jobs", {"GET", "HEAD"}), (place, {"GET", "HEAD", "DELETE"}),
            (place + "/result", {"GET", "HEAD"}),
        ):  # fmt: skip
            answer = self.client.post(target, {})
            self.refused(answer, 405)
            self.assertEqual(
                {each.strip() for each in answer.headers["allow"].split(",")} - {"OPTIONS"}, allowed
            )
        self.assertEqual(self.look(place)["state"], "done")

    def test_address_of_a_job_is_relative(self) -> None:
        """So it is right below every prefix."""
        answer = self.client.get("/deep/down/here/", headers=LATER)
        self.assertTrue(answer.headers["location"].startswith("../../../-/jobs/"))

    def test_number_of_jobs_is_limited(self) -> None:
        """Finished jobs make room, the oldest first."""
        for _ in range(3):
            self.begin("/waits")
        self.refused(self.client.get("/waits", headers=LATER), 503)
        self.assertEqual(self.client.get("/text").status, 201)
        for awaited in AWAITED[:2]:
            awaited.callback({})
        new = self.begin("/waits")
        states = [job["state"] for job in self.look("/-/jobs")["jobs"]]
        self.assertEqual(states, ["running", "running", "done"])
        self.assertEqual(self.look(new)["state"], "running")

    def client_with(self, **options: Any) -> None:
        self.client = Client(PATTERNS, **options)

    def test_bytes_of_all_results_are_limited(self) -> None:
        """The oldest finished jobs make room."""
        self.client_with(max_job_bytes=1000)
        running = self.begin("/waits")
        old, middle, new = (self.begin(f"/large/{size}") for size in (400, 400, 300))
        self.refused(self.client.get(old), 404)
        for place, size in ((middle, 400), (new, 300)):
            self.assertEqual(len(self.client.get(place + "/result").text), size)
        AWAITED[0].callback({"text": "x" * 500})
        self.assertEqual(self.look(running)["state"], "done")
        self.refused(self.client.get(middle), 404)
        self.assertEqual(self.look(new)["state"], "done")
        self.client.request("DELETE", running)
        self.begin("/large/600")
        self.assertEqual(self.look(new)["state"], "done")

    def test_result_above_the_limit_fails_and_names_the_option(self) -> None:
        self.client_with(max_job_bytes=1000)
        kept = self.begin("/large/300")
        for target in ("/large/1001", "/items/1001", "/long/100000"):
            seen = self.look(self.begin(target))
            self.assertEqual((seen["state"], seen["error"]["status"]), ("failed", 507))
            self.assertIn("--max-job-bytes", seen["error"]["detail"])
            self.assertEqual(self.client.dispatcher.in_flight, 0)
            if target != "/long/100000":  # other jobs made room for it, because its length was unknown
                self.assertEqual(self.look(kept)["state"], "done")
        self.assertEqual(CLOSED, ["long"])

    def test_streaming_job_keeps_only_its_last_item(self) -> None:
        """It does not keep the body of the request either."""
        self.client_with(max_job_bytes=20_000)
        place = self.begin_with_body("/items/10000")
        self.assertEqual(self.look(place)["items"], 3)
        place = self.begin_with_body("/waits_long")
        (job,) = [job for job in self.client.dispatcher.jobs._jobs.values() if job.reply is None]
        self.assertEqual(self.look(place)["items"], 1)
        self.assertNotIn("x" * 1000, str(job._pending))
        self.client.request("DELETE", place)

    def begin_with_body(self, target: str) -> str:
        answer = self.client.post(target, {"text": "x" * 1000}, headers=LATER)
        self.assertEqual(answer.status, 202)
        return "/" + answer.headers["location"].replace("../", "")

    def test_list_shows_the_newest_hundred_jobs_and_their_number(self) -> None:
        """Without their results."""
        self.client_with()
        for _ in range(101):
            place = self.begin("/counts?n=2")
        found = self.look("/-/jobs")
        self.assertEqual((len(found["jobs"]), found["total"]), (100, 101))
        self.assertEqual(found["jobs"][0]["job"], place.rpartition("/")[2])
        names = {
            "job",
            "function",
            "method",
            "path",
            "state",
            "created",
            "began",
            "ended",
            "items",
            "attempt",
        } | {"seconds"}
        self.assertEqual({name for job in found["jobs"] for name in job}, names)

    def test_finished_job_is_forgotten_after_job_age(self) -> None:
        """A running job is kept."""
        old, young = self.begin("/waits"), self.begin("/waits")
        AWAITED[0].callback({})
        self.client.clock.advance(99)
        self.assertEqual(self.look(old)["state"], "done")
        self.client.clock.advance(2)
        self.refused(self.client.get(old), 404)
        self.client.clock.advance(1000)
        self.assertEqual(self.look(young)["state"], "running")

    def test_jobs_have_the_time_limit_of_their_route_only(self) -> None:
        """The limit of the service is for clients that wait."""
        free, limited, items = self.begin("/waits"), self.begin("/limited"), self.begin("/limited_items")
        self.client.clock.advance(61)
        self.client.clock.advance(0)
        self.assertEqual(self.look(free)["state"], "running")
        self.assertEqual(self.look(limited)["error"]["status"], 504)
        self.assertEqual(self.look(items)["items"], 1)
        self.assertEqual(self.look(items)["error"]["status"], 504)

    def test_delete_cancels_a_running_job_and_forgets_a_finished_one(self) -> None:
        place = self.begin("/waits")
        self.assertEqual(self.client.request("DELETE", place).json["state"], "cancelled")
        self.assertTrue(AWAITED[0].called)
        self.assertEqual(self.look(place)["error"]["status"], 410)
        self.assertEqual(self.client.dispatcher.in_flight, 0)
        self.client.request("DELETE", place)
        self.refused(self.client.get(place), 404)

    def test_page_of_an_allowed_origin_may_follow_its_job(self) -> None:
        """No header is sent twice."""
        origin = {"Origin": "http://ours.example"}
        answer = self.client.get("/text", headers={**LATER, **origin})
        self.assertEqual(answer.headers["access-control-allow-origin"], "http://ours.example")
        answer = self.client.get("/" + answer.headers["location"] + "/result", headers=origin)
        self.assertEqual(answer.headers["access-control-allow-origin"], "http://ours.example")

    def test_server_that_stops_answers_the_client_of_a_resting_job(self) -> None:
        self.assertRaises(NoAnswer, self.client.get, "/later", headers={"Prefer": "respond-async, wait=500"})
        self.assertEqual(self.client.dispatcher.in_flight, 1)
        self.client.dispatcher.jobs.stop()
        self.client.dispatcher.jobs.close()
        self.assertEqual(self.client.dispatcher.in_flight, 0)
        self.client.clock.advance(600)

    def test_nobody_sees_the_jobs_of_another_user(self) -> None:
        place = self.begin("/text")
        (job,) = self.client.dispatcher.jobs._jobs.values()
        job.user = "somebody"
        self.refused(self.client.get(place), 404)
        self.assertEqual(self.look("/-/jobs"), NO_JOBS)


class ServerTests(CommandTestCase):
    """Real servers, and the client."""

    async def both(self, check: Any) -> None:
        for server_type in ("threaded", "forked"):
            program = self.twistd(
                "--app", "tests.support.streaming", "--port", "0", "--type", server_type, "--workers", "2"
            )
            port = await program.port()
            client = AppClient(f"http://localhost:{port}", self.http)
            await check(client, port, server_type == "forked")
            await program.stop()

    async def test_progress_is_visible_while_a_job_runs(self) -> None:

        async def check(client: AppClient, port: int, forked: bool) -> None:
            path = os.path.abspath(self.mktemp())
            job = await client.job("/steps", path=path)
            for number in range(3):
                while (await job.look())["items"] != number + 1:
                    await deferLater(reactor, 0.02)
                self.assertEqual((await job.look())["progress"]["number"], number)
                open(f"{path}.{number}", "w").close()
            seen: list[Any] = []
            self.assertEqual((await job.wait(reactor, seen.append, 0.02))["number"], 2)
            self.assertEqual(seen[-1]["state"], "done")

        await self.both(check)

    async def test_cancelled_job_ends(self) -> None:
        """A worker process ends at once, a generator in a thread at its next yield."""

        async def check(client: AppClient, port: int, forked: bool) -> None:
            path = os.path.abspath(self.mktemp())
            job = await client.job("/endless", path=path)
            while not os.path.exists(path):
                await deferLater(reactor, 0.02)
            self.assertEqual((await job.cancel())["state"], "cancelled")
            await self.at_rest(port)
            if forked:  # a call that would take long and never checks for its cancellation
                job = await client.job("/steps", path=path + "x")
                while not (seen := await job.look())["items"]:
                    await deferLater(reactor, 0.02)
                await job.cancel()
                await self.gone(seen["progress"]["pid"])
            with self.assertRaises(Problem) as raised:
                await job.wait(reactor)
            self.assertEqual(raised.exception.status, 410)

        await self.both(check)

    @slow
    async def test_error_after_an_item_is_the_error_of_the_job(self) -> None:
        """In threads and worker processes; a plain stream breaks off, and the log shows the error."""

        async def check(client: AppClient, port: int, forked: bool) -> None:
            for path in ("/refused_late", "/reactor_refused_late", "/refused_table"):
                job = await client.job(path)
                with self.assertRaises(Problem) as raised:
                    await job.wait(reactor)
                self.assertEqual(raised.exception.status, 409, path)
                self.assertIn("after the first", raised.exception.detail)
            for path, status in (("/refused_wrongly", 500), ("/dies", 502 if forked else 0)):
                if status:
                    with self.assertRaises(Problem) as raised:
                        await (await client.job(path)).wait(reactor)
                    self.assertEqual(raised.exception.status, status, path)
            items = client.stream("/refused_late")
            self.assertEqual([await anext(items)], [{"number": 0}])
            with self.assertRaises(Problem):
                await anext(items)

        await self.both(check)

    async def at_rest(self, port: int) -> None:
        while (await fetch(port, "/-/status.json")).json["running"]:
            await deferLater(reactor, 0.02)

    async def gone(self, pid: int) -> None:
        """Wait for the end of a process."""
        end = time.monotonic() + 10
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
            await deferLater(reactor, 0.02)
        self.assertFalse(os.path.exists(f"/proc/{pid}"))

    async def test_client_reads_a_stream_while_it_is_made(self) -> None:
        """It may stop early, and it receives errors."""

        async def check(client: AppClient, port: int, forked: bool) -> None:
            items = [item["number"] async for item in client.stream("/counts", n=500)]
            self.assertEqual(items, list(range(500)))
            with self.assertRaises(Problem) as raised:
                async for _ in client.stream("/early"):
                    self.fail("there is no item")
            self.assertEqual(raised.exception.status, 418)
            items = []
            with self.assertRaises(Problem) as raised:
                async for item in client.stream("/late"):
                    items.append(item)
            self.assertEqual((len(items), raised.exception.title), (1, "the response is incomplete"))
            path = os.path.abspath(self.mktemp())
            stream = client.stream("/endless", path=path)
            async for _ in stream:
                break
            await stream.aclose()
            while not os.path.exists(path + ".closed"):
                await deferLater(reactor, 0.02)

        await self.both(check)

    async def test_no_admin_means_no_jobs(self) -> None:
        """A request with C{Prefer: respond-async} gets the response itself."""
        program = self.twistd("--app", "tests.support.streaming", "--port", "0", "--no-admin")
        port = await program.port()
        answer = await exchange(port, request("GET", "/plain?a=1", headers=tuple(LATER.items())))
        self.assertEqual((answer.status, answer.json), (200, {"a": 1}))
        with self.assertRaises(Problem):
            await AppClient(f"http://localhost:{port}", self.http).job("/plain", a=1)
        await self.stopped(program)
