"""Jobs in memory and in stores: one table of cases for all of them, on real sockets."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from time import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from tests.support.files import sqlite_store
from tests.support.job_service import (
    AWAITED,
    GATE,
    NO_JOBS,
    RUNS,
    JobClient,
    JobTestCase,
    OnEveryStore,
    until_begun,
)
from tests.support.wire import connect, request
from twisted_appserver.jobs.interface import IJobs

SOON = 0.4  # seconds
Start = Callable[..., Awaitable[JobClient]]


class JobCases:
    """The table: each method is a case. It receives a test, for assertions, and starts a service."""

    async def job_ends_with_the_result_of_its_function(self, test: Any, start: Start) -> None:
        client = await start()
        verifyObject(IJobs, client.service.dispatcher.jobs)  # type: ignore[attr-defined]
        place = await client.begin("/waits")
        await until_begun("/waits")
        seen = await client.until(place, "running")
        test.assertEqual((seen["function"], seen["items"]), ("waits", 0))
        test.assertEqual((await client.ask("GET", place + "/result")).status, 404)
        AWAITED[0].callback({"came": 1})
        test.assertEqual((await client.until(place, "done"))["result"], {"came": 1})
        answer = await client.ask("GET", place + "/result")
        test.assertEqual((answer.json, answer.headers["content-type"]), ({"came": 1}, "application/json"))

    async def reply_is_kept_unchanged(self, test: Any, start: Start) -> None:
        client = await start()
        text, many, items = [await client.begin(path) for path in ("/text", "/list", "/counts/3")]
        for place in (text, many, items):
            await client.ended(place)
        answer = await client.ask("GET", text + "/result")
        test.assertEqual((answer.status, answer.text, answer.headers["x-made"]), (201, "some text", "yes"))
        test.assertEqual((await client.look(many))["result"], [{"n": 1}])
        seen = await client.look(items)
        test.assertEqual((seen["items"], seen["progress"], seen["result"]), (3, {"number": 2}, {"number": 2}))

    async def failure_becomes_the_error_of_the_job(self, test: Any, start: Start) -> None:
        """Nobody sees the text of an exception."""
        client = await start()
        place = await client.begin("/sold_out")
        seen = await client.until(place, "failed")
        test.assertEqual((seen["error"]["status"], seen["error"]["retry_in"]), (409, 5))
        test.assertEqual((await client.ask("GET", place + "/result")).status, 409)
        seen = await client.until(await client.begin("/breaks"), "failed")
        test.assertEqual(seen["error"]["status"], 500)
        test.assertNotIn("password", str(seen))

    async def function_sees_the_call_that_arrived(self, test: Any, start: Start) -> None:
        client = await start()
        target = "/echo/caf%C3%A9%20x/?a=1&b=%22"
        headers = {"X_Own": "caf\xe9", "Cookie": "a=b", "X_Request_ID": "r-1", "Accept": "text/html"}
        headers["Content_Type"] = "application/json"
        place = await client.begin(target, "PUT", b'{"c": "\\u0000"}', **headers)
        seen = (await client.until(place, "done"))["result"]
        test.assertEqual(seen["method"], "PUT")
        test.assertEqual((seen["path"], seen["query"]), ("/echo/caf\xe9 x/", "a=1&b=%22"))
        test.assertEqual((seen["body"], seen["client"], seen["id"]), ('{"c": "\\u0000"}', "127.0.0.1", "r-1"))
        found = seen["headers"]
        test.assertEqual((found["x-own"], found["cookie"], found["host"]), ("caf\xe9", "a=b", "localhost"))
        test.assertNotIn("accept", found)

    async def list_shows_the_newest_job_first(self, test: Any, start: Start) -> None:
        client = await start()
        places = [await client.begin(path) for path in ("/text", "/waits", "/sold_out", "/list")]
        await until_begun("/waits")
        for place in (places[0], places[2], places[3]):
            await client.ended(place)
        found = await client.look("/-/jobs")
        test.assertEqual(
            [each["job"] for each in found["jobs"]], [p.rpartition("/")[2] for p in places[::-1]]
        )
        states = [each["state"] for each in found["jobs"]]
        test.assertEqual((states, found["total"]), (["done", "failed", "running", "done"], 4))
        fields = {"job", "function", "method", "path", "state", "created", "began", "ended"}
        fields |= {"items", "attempt", "seconds", "error"}
        test.assertEqual({name for job in found["jobs"] for name in job}, fields)

    async def waiting_job_can_be_cancelled(self, test: Any, start: Start) -> None:
        client = await start(threads=1)
        await client.begin("/held/1")
        await until_begun("/held/1")
        places = [await client.begin(f"/held/{number}") for number in (2, 3, 4)]
        for place in places[::-1]:
            test.assertEqual((await client.look(place))["state"], "waiting")
            test.assertEqual((await client.ask("DELETE", place)).json["state"], "cancelled")
            seen = await client.look(place)
            test.assertEqual((seen["state"], seen["error"]["status"]), ("cancelled", 410))
            test.assertEqual((await client.ask("GET", place + "/result")).status, 410)
        GATE.set()
        await client.until(await client.begin("/held/5"), "done")
        test.assertEqual(RUNS, ["/held/1", "/held/5"])

    async def running_job_can_be_cancelled_and_finished_job_deleted(self, test: Any, start: Start) -> None:
        client = await start()
        place = await client.begin("/waits")
        await until_begun("/waits")
        test.assertEqual((await client.ask("DELETE", place)).json["state"], "cancelled")
        test.assertTrue(AWAITED[0].called)
        test.assertEqual((await client.look(place))["error"]["status"], 410)
        test.assertEqual((await client.ask("DELETE", place)).json["state"], "cancelled")
        for method in ("GET", "DELETE"):
            test.assertEqual((await client.ask(method, place)).status, 404)
        test.assertEqual(await client.look("/-/jobs"), NO_JOBS)

    async def nobody_sees_the_jobs_of_another_user(self, test: Any, start: Start) -> None:
        passwords = test.mktemp()
        with open(passwords, "w") as file:
            file.write("alice:a\nbob:b\n")
        os.chmod(passwords, 0o600)
        client = await start(auth=(f"file:{os.path.abspath(passwords)}",))
        alice, bob = (JobClient(client.port, user) for user in ("alice:a", "bob:b"))
        finished, waiting = await alice.begin("/echo/x/"), await alice.begin("/waits")
        test.assertEqual((await alice.until(finished, "done"))["result"]["user"], "alice")
        for place in (finished, waiting):
            test.assertEqual((await bob.ask("GET", place)).status, 404)
            test.assertEqual((await bob.ask("GET", place + "/result")).status, 404)
            test.assertEqual((await bob.ask("DELETE", place)).status, 404)
        test.assertEqual(await bob.look("/-/jobs"), NO_JOBS)
        test.assertEqual((await alice.look("/-/jobs"))["total"], 2)

    async def names_of_jobs_cannot_be_guessed(self, test: Any, start: Start) -> None:
        client = await start()
        place = await client.begin("/text")
        await client.ended(place)
        for wrong in (
            place[:-1] + ("0" if place[-1] != "0" else "1"),
            place[:-4],
            place + "0",
            "/-/jobs/x-y",
        ):
            test.assertEqual((await client.ask("GET", wrong)).status, 404, wrong)

    async def finished_job_is_forgotten_after_job_age(self, test: Any, start: Start) -> None:
        client = await start(job_age=SOON)
        place = await client.begin("/waits")
        await deferLater(reactor, 2 * SOON)
        AWAITED[0].callback({})
        await client.until(place, "done")
        await deferLater(reactor, 2 * SOON)
        test.assertEqual((await client.ask("GET", place)).status, 404)
        test.assertEqual((await client.look("/-/jobs"))["total"], 0)

    async def jobs_have_the_time_limit_of_their_route_only(self, test: Any, start: Start) -> None:
        client = await start(timeout=0.8)
        free, limited = await client.begin("/waits"), await client.begin("/limited")
        test.assertEqual((await client.until(limited, "failed"))["error"]["status"], 504)
        await deferLater(reactor, 1.0)
        test.assertEqual((await client.look(free))["state"], "running")

    async def result_above_the_limit_fails(self, test: Any, start: Start) -> None:
        client = await start(max_job_bytes=1000)
        seen = await client.ended(await client.begin("/large/1001"))
        test.assertEqual((seen["state"], seen["error"]["status"]), ("failed", 507))
        test.assertEqual((await client.ended(await client.begin("/large/900")))["state"], "done")

    async def failed_job_is_tried_again_as_its_route_says(self, test: Any, start: Start) -> None:
        client = await start()
        place = await client.begin("/fails_first/2")
        test.assertEqual((await client.until(place, "done", "failed"))["result"], {"attempts": 3})
        attempts = (await client.look(place))["attempts"]
        test.assertEqual([each["reason"] for each in attempts], ["failed", "failed"])
        test.assertIn("500: the function failed", attempts[0]["error"])
        test.assertNotIn("password", str(attempts))
        began = [datetime.fromisoformat(each["began"]).timestamp() for each in attempts]
        test.assertTrue(0.02 <= began[1] - began[0] < 10)
        test.assertLess(abs(began[0] - time()), 60)

    async def last_attempt_fails_the_job(self, test: Any, start: Start) -> None:
        client = await start()
        seen = await client.until(await client.begin("/fails_first/3"), "failed")
        test.assertEqual((seen["error"]["status"], len(seen["attempts"])), (500, 3))
        test.assertEqual(len({each["began"] for each in seen["attempts"]}), 3)
        test.assertEqual({each["reason"] for each in seen["attempts"]}, {"failed"})
        test.assertEqual(len(RUNS), 3)
        seen = await client.until(await client.begin("/breaks"), "failed")
        test.assertEqual([each["reason"] for each in seen["attempts"]], ["failed"])

    async def attempts_are_counted_although_only_twenty_are_kept(self, test: Any, start: Start) -> None:
        client = await start()
        seen = await client.until(await client.begin("/fails_often/99"), "failed")
        test.assertEqual((len(RUNS), len(seen["attempts"])), (22, 20))

    async def job_has_the_id_of_its_log_entries(self, test: Any, start: Start) -> None:
        """Also if it succeeds in the end: the messages of its attempts refer to this instance."""
        client = await start()
        answer = await client.ask("GET", "/fails_first/1", Prefer="respond-async")
        seen = await client.until(f"/-/jobs/{answer.json['job']}", "done")
        test.assertEqual(seen["instance"], answer.headers["x-request-id"])
        test.assertIn(f"search the log for {seen['instance']}", seen["attempts"][0]["error"])
        with capturedLogs() as logs:
            seen = await client.until(await client.begin("/breaks"), "failed")
        test.assertIn(seen["instance"], [event.get("request_id") for event in logs])
        test.assertEqual(seen["error"]["instance"], seen["instance"])

    async def call_and_times_of_a_job_are_shown(self, test: Any, start: Start) -> None:
        """Alone and in the list, while it runs and afterwards."""
        client = await start()
        place = await client.begin("/waits?number=1")
        await until_begun("/waits")

        async def check(state: str) -> None:
            found = await client.until(place, state)
            (listed,) = (await client.look("/-/jobs"))["jobs"]
            for each in (found, listed):
                test.assertEqual((each["method"], each["path"]), ("GET", "/waits?number=1"))
                created, began = (datetime.fromisoformat(each[name]) for name in ("created", "began"))
                test.assertLess(abs((began - created).total_seconds()), 20)
                test.assertLess(abs(began.timestamp() - time()), 20)
                if state == "running":
                    test.assertIsNone(each["ended"])
                else:
                    test.assertGreaterEqual(datetime.fromisoformat(each["ended"]), began)

        await check("running")
        AWAITED[0].callback({})
        await check("done")
        if client.service.dispatcher.jobs.stored:  # type: ignore[attr-defined]
            seen = await client.look(place)
            task = await client.look(f"/-/queues/{seen['queue']}/tasks/{seen['task']}")
            test.assertEqual(f"/-/jobs/{task['job']['job']}", place)

    async def error_of_the_client_is_not_tried_again(self, test: Any, start: Start) -> None:
        client = await start()
        seen = await client.until(await client.begin("/retried/refuse"), "failed")
        test.assertEqual((seen["error"]["status"], len(seen["attempts"])), (409, 1))
        test.assertEqual(seen["attempts"][0]["reason"], "failed")
        test.assertEqual(seen["attempts"][0]["error"][:4], "409:")
        test.assertEqual(len(RUNS), 1)

    async def function_decides_when_it_is_tried_again(self, test: Any, start: Start) -> None:
        """Whether its route has a retry or not."""
        client = await start()
        for route in ("retried", "not_retried"):
            seen = await client.ended(await client.begin(f"/{route}/later"))
            test.assertEqual(seen["result"], {"attempts": 2})
            test.assertEqual([each["error"] for each in seen["attempts"]], ["503: the printer is busy"])
            seen = await client.ended(await client.begin(f"/{route}/up"))
            test.assertEqual((seen["error"]["status"], seen["error"]["detail"]), (500, "no such customer"))
            test.assertEqual([each["error"] for each in seen["attempts"]], ["500: no such customer"])
            test.assertEqual(RUNS.count(f"/{route}/up"), 1)

    async def resting_job_is_shown_and_can_be_cancelled(self, test: Any, start: Start) -> None:
        client = await start()
        place = await client.begin("/retried/much_later")
        while not (seen := await client.look(place)).get("attempts"):
            await deferLater(reactor, 0.01)
        test.assertEqual(seen["state"], "waiting")
        test.assertEqual((await client.look("/-/jobs"))["jobs"][0]["state"], "waiting")
        test.assertEqual((await client.ask("DELETE", place)).json["state"], "cancelled")
        test.assertEqual((await client.look(place))["error"]["status"], 410)

    async def generator_begins_anew(self, test: Any, start: Start) -> None:
        client = await start()
        seen = await client.ended(await client.begin("/yields_and_fails"))
        test.assertEqual((seen["state"], seen["items"], seen["result"]), ("done", 1, {"number": 2}))
        test.assertEqual(len(seen["attempts"]), 1)

    async def client_that_waits_gets_the_reply_itself(self, test: Any, start: Start) -> None:
        """RFC 7240, section 4.3. No job is kept."""
        client = await start()
        for path, status, text in (
            ("/text", 201, "some text"),
            ("/list", 200, '[{"n":1}]'),
            ("/counts/3", 200, '{"number":2}'),
            ("/fails_first/1", 200, '{"attempts":2}'),
        ):
            answer = await client.ask(
                "GET", path, Prefer="respond-async, wait=20", Accept="text/event-stream"
            )
            test.assertEqual((answer.status, answer.text), (status, text))
            test.assertEqual(answer.headers["preference-applied"], "wait=20")
        answer = await client.ask("GET", "/sold_out", Prefer="wait=20, respond-async")
        test.assertEqual((answer.status, answer.json["retry_in"]), (409, 5))
        while (found := await client.look("/-/jobs"))["total"]:  # They are forgotten after the response.
            await deferLater(reactor, 0.01)
        test.assertEqual(found, NO_JOBS)
        test.assertEqual(client.service.dispatcher.in_flight, 0)  # type: ignore[attr-defined]

    async def client_that_waits_gets_the_address_of_a_longer_job(self, test: Any, start: Start) -> None:
        """The time limit of the service does not apply."""
        client = await start(timeout=0.8)
        began = reactor.seconds()  # type: ignore[attr-defined]
        place = await client.begin("/waits", prefer="respond-async, wait=1")
        test.assertGreaterEqual(reactor.seconds() - began, 0.99)  # type: ignore[attr-defined]
        test.assertEqual((await client.look(place))["state"], "running")
        AWAITED[0].callback({"came": 1})
        test.assertEqual((await client.until(place, "done"))["result"], {"came": 1})

    async def job_goes_on_if_its_client_leaves(self, test: Any, start: Start) -> None:
        client = await start()
        connection = await connect(client.port)
        headers = (("Prefer", "respond-async, wait=20"),)
        connection.send(request("GET", "/waits", headers=headers)).addErrback(lambda _: None)
        await until_begun("/waits")
        await connection.close()
        while client.service.dispatcher.in_flight > 1:  # type: ignore[attr-defined]
            await deferLater(reactor, 0.01)
        AWAITED[0].callback({"came": 1})
        (job,) = (await client.look("/-/jobs"))["jobs"]
        test.assertEqual((await client.until(f"/-/jobs/{job['job']}", "done"))["result"], {"came": 1})

    async def repeated_request_gets_the_same_response(self, test: Any, start: Start) -> None:
        """draft-ietf-httpapi-idempotency-key-header; errors are kept too."""
        client = await start()
        for path, status in (("/not_retried/x", 200), ("/text", 201), ("/sold_out", 409), ("/breaks", 500)):
            first = await client.ask("GET", path, Idempotency_Key='"k-1"')
            for _ in range(3):
                again = await client.ask("GET", path, Idempotency_Key='"k-1"')
            test.assertEqual((first.status, again.status, again.body), (status, status, first.body))
            for header in ("content-type", "x-made"):
                test.assertEqual(first.headers.get(header), again.headers.get(header))
        test.assertEqual(RUNS, ["/not_retried/x"])
        other = await client.ask("GET", "/not_retried/x", Idempotency_Key='"k-2"')
        test.assertEqual((other.status, other.json), (200, {"attempts": 2}))

    async def key_belongs_to_one_request(self, test: Any, start: Start) -> None:
        client = await start()
        headers = {"Idempotency_Key": "k", "Content_Type": "application/json"}
        await client.ask("POST", "/echo/x/", b'{"a":1}', **headers)
        for method, target, body in (
            ("PUT", "/echo/x/", b'{"a":1}'), ("POST", "/echo/y/", b'{"a":1}'),
            ("POST", "/echo/x/", b'{"a":2}'), ("POST", "/echo/x/?b=1", b'{"a":1}'),
        ):  # fmt: skip
            test.assertEqual((await client.ask(method, target, body, **headers)).status, 422, target)
        test.assertEqual((await client.ask("POST", "/echo/x/", b'{"a":1}', **headers)).status, 200)
        test.assertEqual((await client.ask("GET", "/text", Idempotency_Key="k")).status, 201)
        for key in ('""', "x" * 256):
            test.assertEqual((await client.ask("GET", "/text", Idempotency_Key=key)).status, 400)

    async def request_that_is_still_performed_gets_409(self, test: Any, start: Start) -> None:
        """If its client leaves, it is performed anyway, and the response is kept."""
        client = await start()
        connection = await connect(client.port)
        headers = (("Idempotency-Key", "k"),)
        connection.send(request("GET", "/waits", headers=headers)).addErrback(lambda _: None)
        await until_begun("/waits")
        test.assertEqual((await client.ask("GET", "/waits", Idempotency_Key="k")).status, 409)
        await connection.close()
        AWAITED[0].callback({"came": 1})
        while (answer := await client.ask("GET", "/waits", Idempotency_Key="k")).status == 409:
            await deferLater(reactor, 0.01)
        test.assertEqual((answer.status, answer.json, len(RUNS)), (200, {"came": 1}, 1))

    async def repeated_background_call_gets_the_same_job(self, test: Any, start: Start) -> None:
        client = await start()
        first = await client.begin("/waits", Idempotency_Key="k")
        await until_begun("/waits")
        test.assertEqual(await client.begin("/waits", Idempotency_Key="k"), first)
        AWAITED[0].callback({})
        await client.until(first, "done")
        test.assertEqual(await client.begin("/waits", Idempotency_Key="k"), first)
        test.assertEqual(len(RUNS), 1)

    async def quotes_are_no_part_of_a_key(self, test: Any, start: Start) -> None:
        client = await start()
        for key in ("k1", '"k1"', '"k1";a=b'):
            answer = await client.ask("GET", "/not_retried/x", Idempotency_Key=key)
            test.assertEqual(answer.status, 200)
        await client.ask("GET", "/not_retried/y", Idempotency_Key='"a\\"b"')
        await client.ask("GET", "/not_retried/y", Idempotency_Key='a"b')
        test.assertEqual(RUNS, ["/not_retried/x", "/not_retried/y"])

    async def repeated_background_call_may_wait(self, test: Any, start: Start) -> None:
        """The first one too. The reply is kept for the next one, and each reply has one header."""
        client = await start()

        async def ask(seconds: int) -> Any:
            prefer = f"respond-async, wait={seconds}"
            answer = await client.ask("GET", "/waits", Prefer=prefer, Idempotency_Key="k")
            return answer.status, answer.headers["preference-applied"]

        waiting = [Deferred.fromCoroutine(ask(20)) for _ in range(3)]
        await until_begun("/waits")
        test.assertEqual(await ask(1), (202, "respond-async"))
        AWAITED[0].callback({"came": 1})
        for reply in [*(await gatherResults(waiting)), await ask(20), await ask(20)]:
            test.assertEqual(reply, (200, "wait=20"))
        test.assertEqual(len(RUNS), 1)

    async def key_is_forgotten_after_job_age(self, test: Any, start: Start) -> None:
        client = await start(job_age=1.0)
        await client.ask("GET", "/not_retried/x", Idempotency_Key="k")
        await deferLater(reactor, 1.2)
        answer = await client.ask("GET", "/not_retried/x", Idempotency_Key="k")
        test.assertEqual((answer.status, answer.json), (200, {"attempts": 2}))

    async def many_jobs_are_performed_once(self, test: Any, start: Start) -> None:
        client = await start()
        GATE.set()
        places = await gatherResults(
            [Deferred.fromCoroutine(client.begin(f"/held/{number}")) for number in range(40)]
        )
        for number, place in enumerate(places):
            test.assertEqual((await client.until(place, "done"))["result"], {"number": number})
        test.assertEqual(sorted(RUNS), sorted(f"/held/{number}" for number in range(40)))


class TableTests(OnEveryStore, JobTestCase):
    async def all_cases(self, make_store: Callable[[], str]) -> None:
        await self.check_cases(JobCases, make_store)


class OtherProgramTests(JobTestCase):
    async def test_job_whose_task_was_dropped_by_another_program_has_failed(self) -> None:
        """A TQueueSrv may use the same database."""
        client = await self.start(sqlite_store(self))
        place = await client.begin("/waits")
        await until_begun("/waits")
        broker = client.service.dispatcher.jobs._broker  # type: ignore[attr-defined]
        for queue in await broker.qsizes(None):
            for task in await broker.peek(queue, 1, "leased"):
                await broker.drop(queue, task.number, b"null")
        AWAITED[0].callback({})
        self.assertEqual((await client.look(place))["error"]["status"], 410)
        self.assertEqual((await client.ask("GET", "/-/jobs")).json["jobs"][0]["state"], "failed")
