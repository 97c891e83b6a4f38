"""Edits, groups and the history of queues, and jobs that are tried again: the JSON behind the pages."""

from __future__ import annotations

import os
from base64 import b64decode
from types import SimpleNamespace
from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.access.test_credentials import private
from tests.support.job_service import GATE, JobClient, JobTestCase, until_begun
from tests.support.postgres import needs_postgresql, shared
from tests.support.queue_service import QueueServiceTestCase
from tests.support.slow import slow
from twisted_appserver.admin.queue_history import COLUMNS, LENGTH, RECORDING_TIME, QueueHistory
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.terms import Terms


class TaskTests(QueueServiceTestCase):
    async def buried(self, *errors: str) -> None:
        """Bury a task for each error."""
        for _ in errors:
            await self.broker.put("q", QueuedTask(0, b'{"n":1}'), "", 0.0, 0.0)
        for error in errors:
            task: Any = await self.broker.get("q", None, "", 0.0, "host:1")
            await self.broker.fail("q", task.number, 0, (error, "Traceback"), False)

    async def test_buried_task_is_edited_and_retried(self) -> None:
        client = await self.serve()
        await self.buried("no such customer")
        (task,) = (await client.look("/-/queues/q/tasks?state=buried"))["tasks"]
        path = f"/-/queues/q/tasks/{task['task_id']}"
        body = b'{"fields": {"n": 123456789012345678901234567890, "text": "\xc3\xa4"}}'
        self.assertEqual((await self.post(client, f"{path}/edit", body))["state"], "ready")
        text = (await client.ask("GET", path)).text
        self.assertIn('"task":{"n": 123456789012345678901234567890, "text": "\u00e4"}', text)
        for wrong in (b"", b"[]", b'{"fields": 1}', b'{"fields": {}, "odd": 1}', b'{"body": "x"}'):
            self.assertEqual((await client.ask("POST", f"{path}/edit", wrong)).status, 422, wrong)
        await self.broker.get("q", None, "", 0.0, "")
        answer = await client.ask("POST", f"{path}/edit", body)
        self.assertEqual((answer.status, "the task is leased" in answer.text), (409, True))
        answer = await client.ask("POST", "/-/queues/q/tasks/x/edit", body)
        self.assertEqual(answer.status, 404)

    async def test_tasks_with_the_same_error_are_kicked(self) -> None:
        client = await self.serve()
        await self.buried("odd: a & b", "even", "odd: a & b")
        found = await self.post(client, "/-/queues/q/kick", b'{"error": "odd: a & b"}')
        self.assertEqual(found["kicked"], 2)
        (left,) = (await client.look("/-/queues/q/tasks?state=buried"))["tasks"]
        self.assertEqual(left["error"], "even")

    async def test_excerpts_replace_long_fields(self) -> None:
        client = await self.serve()
        await self.broker.put("q", QueuedTask(0, b'{"text":"%b"}' % (b"\xc3\xa4" * 1000)), "", 0.0, 0.0)
        (task,) = (await client.look("/-/queues/q/tasks?excerpts=true"))["tasks"]
        self.assertNotIn("task", task)
        self.assertEqual((len(task["excerpt"]), task["excerpt"][:10]), (200, '{"text":"\xe4'))

    async def test_leased_task_shows_who_has_it(self) -> None:
        client = await self.serve()
        await self.broker.put("q", QueuedTask(0, b"{}"), "", 0.0, 0.0)
        await self.broker.get("q", None, "", 0.0, "host:7")
        page = await client.look("/-/queues/q/tasks?state=leased")
        (task,) = page["tasks"]
        self.assertEqual(task["by"], "host:7")
        self.assertTrue(0 <= page["now"] - task["began"] < 20)

    async def test_groups_are_counted_by_state(self) -> None:
        client = await self.serve()
        for group in ("ann", "ann", "ann", "bob", ""):
            terms = Terms(group=group) if group else None
            await self.broker.put("q", QueuedTask(0, b"{}", terms=terms), "", 0.0, 0.0)
        await self.broker.get("q", None, "", 0.0, "")
        found = await client.look("/-/queues/q/groups")
        self.assertTrue(found["complete"])
        self.assertEqual(
            [(each["group"], each["leased"], each["ready"], each["held"]) for each in found["groups"]],
            [("ann", 1, 0, 2), ("bob", 0, 1, 0)],
        )

    async def test_history_begins_with_the_first_request(self) -> None:
        client = await self.serve()
        await self.broker.put("q", QueuedTask(0, b"{}"), "", 0.0, 0.0)
        found = await client.look("/-/queues/q/history")
        self.assertEqual(found["columns"], list(COLUMNS))
        (record,) = found["history"]
        self.assertEqual(dict(zip(COLUMNS, record, strict=True))["ready"], 1)
        self.assertEqual((await client.look(f"/-/queues/q/history?since={record[0]}"))["history"], [])
        self.assertIsNone((await client.look("/-/queues/q"))["rate"])


class HistoryTests(SynchronousTestCase):
    """In memory, with a clock."""

    def setUp(self) -> None:
        self.clock, self.queues = Clock(), {}
        service = SimpleNamespace(
            dispatcher=SimpleNamespace(reactor=self.clock), running=True, queues=lambda: self.queues
        )
        self.history = QueueHistory(service)
        self.addCleanup(self.history.stop)

    def count(self, puts: int, dones: int) -> dict[str, Any]:
        depths = dict.fromkeys(("ready", "delayed", "leased", "held", "buried"), 0)
        return {**depths, "oldest": None, "puts": puts, "dones": dones}

    def rates(self) -> list[Any]:
        return [record[-2:] for record in self.history.document("q", 0.0)["history"]]

    def test_rates_are_differences_of_counts(self) -> None:
        self.queues["q"] = self.count(1000, 0)
        self.history.keep_recording()
        for each in ((1010, 4), (1010, 4), (3, 2)):  # in the end, the queue was deleted and used again
            self.queues["q"] = self.count(*each)
            self.clock.advance(1)
        self.assertEqual(self.rates(), [(None, None), (10, 4), (0, 0), (0, 0)])
        self.assertEqual(self.history.rate("q"), 4 / 3)
        self.assertIsNone(self.history.rate("other"))

    def test_recording_ends_without_requests_and_begins_anew(self) -> None:
        self.queues["q"] = self.count(0, 0)
        self.history.keep_recording()
        self.clock.pump([1] * int(RECORDING_TIME + 2))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.rates()), LENGTH)
        self.queues["q"] = self.count(500, 500)
        self.history.keep_recording()
        self.assertEqual(self.rates()[-1], (None, None))

    def test_deleted_queue_is_forgotten(self) -> None:
        self.queues["q"] = self.count(0, 0)
        self.history.keep_recording()
        del self.queues["q"]
        self.clock.advance(1)
        self.assertEqual(self.rates(), [])


class JobCases:
    """The table: each method is a case. It receives a test, for assertions, and a function that starts a
    service.
    """

    async def failed_job_is_retried_as_a_new_job(self, test: Any, start: Any) -> None:
        client = await start(display_tracebacks=True)
        place = await client.begin("/breaks", Idempotency_Key="k")
        failed = await client.ended(place)
        test.flushLoggedErrors()
        (attempt,) = failed["attempts"]
        test.assertIn("ValueError: the password is 123", attempt["traceback"])
        (job,) = (await client.look("/-/jobs?state=failed"))["jobs"]
        test.assertEqual((job["attempt"], job["error"][:4]), (1, "500:"))
        answer = await client.ask("POST", f"{place}/retry")
        test.assertEqual(answer.status, 200, answer.text)
        again = f"/-/jobs/{answer.json['job']}"
        test.assertNotEqual(again, place)
        test.assertEqual((await client.ended(again))["state"], "failed")
        test.flushLoggedErrors()
        test.assertEqual((await client.look("/-/jobs"))["total"], 2)

    async def tracebacks_are_hidden_from_unknown_clients(self, test: Any, start: Any) -> None:
        client = await start()
        for path in ("/breaks", "/fails_first/1"):
            found = await client.ended(await client.begin(path))
            test.flushLoggedErrors()
            test.assertEqual([attempt["reason"] for attempt in found["attempts"]], ["failed"])
            test.assertNotIn("password", repr(found))
            if "queue" in found:
                task = await client.look(f"/-/queues/{found['queue']}/tasks/{found['task']}")
                test.assertEqual(task["job"]["state"], found["state"])
                test.assertNotIn("password", repr(task))

    async def last_attempt_of_a_failed_job_is_a_failure_of_its_queue(self, test: Any, start: Any) -> None:
        """In its document and in the metrics. The result of its task is still the response of the job."""
        client = await start(display_tracebacks=True)
        if not client.service.dispatcher.jobs.stored:
            return
        for path, error, last in (
            ("/breaks", "500: ", "ValueError: the password is 123"),
            ("/retried/refuse", "409: ", ""),
        ):
            name = (await client.ended(await client.begin(path)))["function"]
            test.flushLoggedErrors()
            queues = [each["queue"] for each in (await client.look("/-/queues"))["queues"]]
            (queue,) = (each for each in queues if each.startswith(f"job.{name}."))
            (task,) = (await client.look(f"/-/queues/{queue}/tasks?state=ended"))["tasks"]
            found = await client.look(f"/-/queues/{queue}/tasks/{task['task_id']}")
            (attempt,) = found["attempts"]
            test.assertEqual((attempt["reason"], attempt["attempt"]), ("failed", 1))
            test.assertIn(error, attempt["error"])
            test.assertIn(last, attempt.get("traceback", ""))
            test.assertEqual(found["result"][1]["status"], int(error[:3]))
            metrics = (await client.ask("GET", "/-/metrics")).text
            test.assertIn(f'tqueue_failures_total{{queue="{queue}"}} 1.0', metrics)
            test.assertNotIn(f'outcome="done",queue="{queue}"', metrics)

    async def cancelled_job_is_retried_with_its_body(self, test: Any, start: Any) -> None:
        client = await start()
        places = [await client.begin("/held/1"), await client.begin("/held/2"), await client.begin("/held/3")]
        waiting = await client.begin("/echo/x/?q=1", "PUT", b'{"a":1}', Content_Type="application/json")
        test.assertEqual((await client.ask("DELETE", waiting)).json["state"], "cancelled")
        GATE.set()
        for place in places:
            await client.ended(place)
        answer = await client.ask("POST", f"{waiting}/retry")
        result = (await client.ended(f"/-/jobs/{answer.json['job']}"))["result"]
        test.assertEqual((result["method"], result["query"], result["body"]), ("PUT", "q=1", '{"a":1}'))

    async def job_that_waits_for_its_next_attempt_begins_it_now(self, test: Any, start: Any) -> None:
        client = await start()
        place = await client.begin("/not_retried/much_later")
        await until_begun("/not_retried/much_later")
        waiting = await client.until(place, "waiting")
        test.assertEqual(waiting["attempt"], 1)
        (job,) = (await client.look("/-/jobs?function=decides"))["jobs"]
        test.assertIn("it is night", job["error"])
        test.assertEqual((await client.ask("POST", f"{place}/retry")).json["job"], place.split("/")[-1])
        await until_begun("/not_retried/much_later", 2)

    async def running_or_finished_job_is_not_retried(self, test: Any, start: Any) -> None:
        client = await start()
        place = await client.begin("/waits")
        await client.until(place, "running")
        answer = await client.ask("POST", f"{place}/retry")
        test.assertEqual((answer.status, "the job is running" in answer.text), (409, True))
        done = await client.begin("/text")
        await client.ended(done)
        test.assertEqual((await client.ask("POST", f"{done}/retry")).status, 409)
        test.assertEqual((await client.ask("POST", "/-/jobs/x/retry")).status, 404)

    async def list_is_filtered_and_shows_attempts(self, test: Any, start: Any) -> None:
        client = await start()
        running = await client.begin("/waits")
        await client.until(running, "running")
        for _ in range(3):
            await client.ended(await client.begin("/text"))
        found = await client.look("/-/jobs?state=done&limit=2")
        test.assertEqual((found["total"], found["functions"]), (3, ["text", "waits"]))
        rest = await client.look(f"/-/jobs?state=done&limit=2&after={found['next']}")
        test.assertEqual((len(rest["jobs"]), rest["next"]), (1, None))
        (job,) = (await client.look("/-/jobs?function=waits"))["jobs"]
        test.assertEqual((job["state"], job["attempt"]), ("running", 1))
        test.assertTrue(0 < job["seconds"] < 20)
        test.assertEqual((await client.ask("GET", "/-/jobs?state=odd")).status, 422)


class JobTests(JobTestCase):
    def sqlite(self) -> str:
        return f"sqlite:{os.path.abspath(self.mktemp())}"

    async def test_all_cases_in_memory(self) -> None:
        await self.check_cases(JobCases, lambda: "memory:")

    async def test_all_cases_on_sqlite(self) -> None:
        await self.check_cases(JobCases, self.sqlite)

    @slow
    @needs_postgresql
    async def test_all_cases_on_postgresql(self) -> None:
        await self.check_cases(JobCases, lambda: shared().database())

    async def test_call_of_a_job_is_edited(self) -> None:
        """Its user and its path stay."""
        passwords = private(os.path.abspath(self.mktemp()), "ann:1\n")
        token = private(os.path.abspath(self.mktemp()), "0123456789abcdef")
        service = await self.start(self.sqlite(), auth=(f"file:{passwords}",), token_file=token)
        client, operator = JobClient(service.port, "ann:1"), JobClient(service.port)
        operator._headers = (("Authorization", "Bearer 0123456789abcdef"),)
        await client.ended(await client.begin("/echo/x/"))
        (found,) = (await client.look("/-/queues"))["queues"]
        queue = found["queue"]
        answer = await operator.ask("POST", f"/-/queues/{queue}/pause")
        self.assertEqual(answer.status, 200)
        place = await client.begin("/echo/x/", "POST", b"{}", Content_Type="application/json")
        (task,) = (await client.look(f"/-/queues/{queue}/tasks"))["tasks"]
        path = f"/-/queues/{queue}/tasks/{task['task_id']}"
        answer = await client.ask("POST", f"{path}/edit", b'{"fields": {"user": "bob"}}')
        self.assertEqual(answer.status, 422)
        edit = msgspec.json.encode({"body": '{"n": 2}', "query": "q=2"})
        self.assertEqual((await client.ask("POST", f"{path}/edit", edit)).status, 200)
        stored = (await client.look(path))["task"]
        self.assertEqual((b64decode(stored["body"]), stored["user"]), (b'{"n": 2}', "ann"))
        await operator.ask("POST", f"/-/queues/{queue}/resume")
        result = (await client.ended(place))["result"]
        self.assertEqual((result["body"], result["query"], result["user"]), ('{"n": 2}', "q=2", "ann"))
