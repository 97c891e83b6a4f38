"""The queues of a service and their tasks as JSON."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred

from tests.access.test_credentials import private
from tests.support.files import sqlite_store
from tests.support.job_service import AWAITED, RUNS, JobClient, JobTestCase, until_begun
from tests.support.queue_service import QueueServiceTestCase
from tests.support.wire import fetch
from twisted_appserver.queue.queued_task import QueuedTask


class TQueueSrvTests(QueueServiceTestCase):
    """TQueueSrv shows all its queues."""

    async def test_queues_are_listed_by_pages(self) -> None:
        client = await self.serve()
        for name in ("a", "b", "c"):
            await self.broker.put(name, QueuedTask(0, b"{}"), "", 0.0, 0.0)
        await self.broker.change("b", {"keep": 60})
        first = await client.look("/-/queues?limit=2")
        self.assertEqual([each["queue"] for each in first["queues"]], ["a", "b"])
        self.assertEqual((first["total"], first["next"]), (3, "b"))
        self.assertEqual(first["queues"][1]["options"]["keep"], 60)
        self.assertTrue(0 <= first["queues"][1]["oldest"] < 60)
        last = await client.look("/-/queues?limit=2&after=b")
        self.assertEqual(([each["queue"] for each in last["queues"]], last["next"]), (["c"], None))
        self.assertEqual((await client.look("/-/queues/c"))["ready"], 1)

    async def test_tasks_are_listed_by_pages(self) -> None:
        client = await self.serve()
        for number in range(5):
            await self.broker.put("q", QueuedTask(0, b'{"n":%d}' % number), "", 0.0, 0.0)
        seen, after = [], ""
        while after is not None:
            page = await client.look(f"/-/queues/q/tasks?limit=2&after={after}")
            seen += [task["task"]["n"] for task in page["tasks"]]
            after = page["next"]
        self.assertEqual(seen, [0, 1, 2, 3, 4])
        for query in ("after=x", "limit=0", "limit=9999", "state=odd"):
            self.assertEqual((await fetch(client.port, f"/-/queues/q/tasks?{query}")).status, 422, query)

    async def test_attempts_and_results_of_tasks_are_shown(self) -> None:
        client = await self.serve()
        await self.broker.change("q", {"keep": 60})
        for body in (b'{"n":1}', b'{"n":2}'):
            await self.broker.put("q", QueuedTask(0, body), "", 0.0, 0.0)
        failed: Any = await self.broker.get("q", None, "", 0.0, "host:1")
        await self.broker.fail("q", failed.number, 0, ("ValueError: odd", "Traceback"), False)
        done: Any = await self.broker.get("q", None, "", 0.0, "host:2")
        leased = (await client.look("/-/queues/q/tasks?state=leased"))["tasks"]
        self.assertEqual(leased[0]["task"], {"n": 2})
        await self.broker.done("q", done.number, 0, b'{"made":true}')
        (buried,) = (await client.look("/-/queues/q/tasks?state=buried"))["tasks"]
        self.assertEqual((buried["task"], buried["error"]), ({"n": 1}, "ValueError: odd"))
        shown = await client.look(f"/-/queues/q/tasks/{buried['task_id']}")
        self.assertEqual((shown["queue"], shown["state"]), ("q", "buried"))
        (attempt,) = shown["attempts"]
        self.assertEqual((attempt["by"], attempt["traceback"]), ("host:1", "Traceback"))
        (ended,) = (await client.look("/-/queues/q/tasks?state=ended"))["tasks"]
        shown = await client.look(f"/-/queues/q/tasks/{ended['task_id']}")
        self.assertEqual((shown["state"], shown["result"]), ("done", {"made": True}))

    async def test_one_task_is_changed(self) -> None:
        client = await self.serve()
        await self.broker.put("q", QueuedTask(0, b"{}"), "", 0.0, 0.0)
        (task,) = (await client.look("/-/queues/q/tasks"))["tasks"]
        path = f"/-/queues/q/tasks/{task['task_id']}"
        for action, state in (("bury", "buried"), ("kick", "ready")):
            self.assertEqual((await self.post(client, f"{path}/{action}"))["state"], state)
        answer = await client.ask("POST", f"{path}/release")
        self.assertEqual((answer.status, "the task is ready" in answer.text), (409, True))
        await self.broker.get("q")  # type: ignore[call-arg]
        self.assertEqual((await self.post(client, f"{path}/release"))["state"], "ready")
        self.assertEqual((await self.post(client, f"{path}/drop"))["state"], "dropped")
        for method, place in (("POST", f"{path}/drop"), ("GET", path), ("GET", "/-/queues/q/tasks/x")):
            self.assertEqual((await client.ask(method, place)).status, 404)
        self.assertEqual((await client.ask("GET", f"{path}/drop")).status, 405)
        self.assertEqual((await client.ask("POST", f"{path}/odd")).status, 404)

    async def test_whole_queue_is_changed(self) -> None:
        client = await self.serve()
        for _ in range(3):
            task: Any = await self.broker.put("q", QueuedTask(0, b"{}"), "", 0.0, 0.0)
        await self.broker.bury("q", task.number, 0)
        self.assertEqual((await self.post(client, "/-/queues/q/pause"))["paused"], True)
        self.assertEqual((await client.look("/-/queues/q"))["options"]["paused"], True)
        self.assertEqual((await self.post(client, "/-/queues/q/resume"))["paused"], False)
        self.assertEqual((await self.post(client, "/-/queues/q/kick"))["kicked"], 1)
        self.assertEqual((await self.post(client, "/-/queues/q/purge"))["purged"], 3)
        await self.post(client, "/-/queues/q/pause")
        await self.post(client, "/-/queues/q/delete")
        self.assertEqual((await client.look("/-/queues"))["queues"], [])

    async def test_metrics_follow_the_conventions_of_prometheus(self) -> None:
        client = await self.serve()
        await self.broker.change("q", {"keep": 60})
        for _ in range(3):
            await self.broker.put("q", QueuedTask(0, b"{}"), "", 0.0, 0.0)
        tasks: Any = [await self.broker.get("q", None, "", 0.0, "") for _ in range(2)]
        await self.broker.done("q", tasks[0].number, 0, b"")
        await self.broker.fail("q", tasks[1].number, 0, ("x", ""), 0.0)
        text = (await client.ask("GET", "/-/metrics")).text
        families = {each.name: each for each in text_string_to_metric_families(text)}
        for family in families.values():
            self.assertTrue(family.documentation.endswith("."), family.name)
            self.assertIn(family.type, ("counter", "gauge", "histogram"))
            self.assertEqual(
                {sample.name.endswith("_total") for sample in family.samples} or {family.type == "counter"},
                {family.type == "counter"},
            )
        values = {
            (sample.name, sample.labels.get("outcome", "")): sample.value
            for family in families.values()
            for sample in family.samples
            if sample.labels.get("queue") == "q" and sample.labels.get("le", "+Inf") == "+Inf"
        }
        self.assertEqual(values["tqueue_attempts_total", ""], 2)
        self.assertEqual(values["tqueue_failures_total", ""], 1)
        self.assertEqual(values["tqueue_lost_leases_total", ""], 0)
        self.assertEqual(values["tqueue_results", ""], 1)
        for outcome in ("done", "failed"):
            self.assertEqual(values["tqueue_attempt_seconds_count", outcome], 1)
            self.assertEqual(values["tqueue_attempt_seconds_bucket", outcome], 1)

    async def test_other_origin_changes_nothing(self) -> None:
        client = await self.serve()
        answer = await client.ask("POST", "/-/queues/q/pause", Origin="https://evil.example")
        self.assertEqual(answer.status, 403)


class JobQueueTests(JobTestCase):
    """An application server with a store shows the queues of its jobs."""

    def sqlite(self) -> str:
        return sqlite_store(self)

    async def queue_of(self, client: JobClient, function: str) -> str:
        (found,) = [
            each["queue"]
            for each in (await client.look("/-/queues"))["queues"]
            if each["queue"].startswith(f"job.{function}.")
        ]
        return str(found)

    async def test_jobs_are_tasks_of_queues(self) -> None:
        client = await self.start(self.sqlite())
        place = await client.begin("/waits")
        await until_begun("/waits")
        queue = f"/-/queues/{await self.queue_of(client, 'waits')}"
        (task,) = (await client.look(f"{queue}/tasks?state=leased"))["tasks"]
        self.assertEqual(f"/-/jobs/{task['job']['job']}", place)
        self.assertEqual((task["job"]["function"], task["job"]["state"]), ("waits", "running"))
        answer = await client.ask("POST", f"{queue}/tasks/{task['task_id']}/cancel")
        self.assertEqual(answer.status, 200, answer.text)
        self.assertEqual((await client.look(place))["state"], "cancelled")
        (ended,) = (await client.look(f"{queue}/tasks?state=ended"))["tasks"]
        self.assertEqual(ended["job"]["state"], "cancelled")

    async def failed_attempt(self, client: JobClient) -> dict[str, Any]:
        """Perform a job whose first attempt fails, and return this attempt, as an operator sees it."""
        RUNS.clear()
        await client.ended(await client.begin("/fails_first/1"))
        self.flushLoggedErrors()
        queue = f"/-/queues/{await self.queue_of(client, 'fails_first')}"
        (task,) = (await client.look(f"{queue}/tasks?state=ended"))["tasks"]
        attempt: dict[str, Any] = (await client.look(f"{queue}/tasks/{task['task_id']}"))["attempts"][0]
        return attempt

    async def test_tracebacks_are_shown_to_authenticated_clients_or_with_the_option(self) -> None:
        passwords = private(os.path.abspath(self.mktemp()), "ann:1\n")
        token = private(os.path.abspath(self.mktemp()), "0123456789abcdef")
        for user, options in (
            ("", {"display_tracebacks": True}),
            ("ann:1", {"auth": (f"file:{passwords}",)}),
            ("", {"token_file": token}),
        ):
            service = await self.start(self.sqlite(), **options)
            client = JobClient(service.port, user)
            if "token_file" in options:
                client._headers = (("Authorization", "Bearer 0123456789abcdef"),)
            attempt = await self.failed_attempt(client)
            self.assertIn("ValueError: the password is 123", attempt["traceback"], options)

    async def test_tracebacks_are_hidden_from_unknown_clients(self) -> None:
        """As in responses."""
        attempt = await self.failed_attempt(await self.start(self.sqlite()))
        self.assertEqual((attempt["reason"], attempt["attempt"]), ("failed", 1))
        self.assertNotIn("password", repr(attempt))

    async def test_users_see_and_change_only_their_own_jobs(self) -> None:
        passwords, token = os.path.abspath(self.mktemp()), os.path.abspath(self.mktemp())
        private(passwords, "ann:1\nbob:2\n")
        private(token, "0123456789abcdef")
        service = await self.start(self.sqlite(), auth=(f"file:{passwords}",), token_file=token)
        ann, bob, operator = (JobClient(service.port, each) for each in ("ann:1", "bob:2", ""))
        operator._headers = (("Authorization", "Bearer 0123456789abcdef"),)
        await ann.begin("/waits")
        await until_begun("/waits")
        queue = f"/-/queues/{await self.queue_of(bob, 'waits')}"
        seen = [(await each.look(f"{queue}/tasks?state=leased"))["tasks"] for each in (ann, bob, operator)]
        self.assertEqual([len(each) for each in seen], [1, 0, 1])
        task = f"{queue}/tasks/{seen[0][0]['task_id']}"
        self.assertEqual((await bob.ask("GET", task)).status, 404)
        self.assertEqual((await bob.ask("POST", f"{task}/drop")).status, 404)
        self.assertEqual((await ann.ask("POST", f"{queue}/pause")).status, 403)
        self.assertEqual((await operator.ask("POST", f"{queue}/pause")).status, 200)
        AWAITED[0].callback({})
        (path,) = [f"/-/jobs/{job['job']}" for job in (await ann.look("/-/jobs"))["jobs"]]
        await ann.ended(path)
        ended = [(await each.look(f"{queue}/tasks?state=ended"))["tasks"] for each in (ann, bob, operator)]
        self.assertEqual([len(each) for each in ended], [1, 0, 1])

    async def test_service_without_a_store_has_no_queues(self) -> None:
        client = await self.start("memory:")
        self.assertEqual((await client.look("/-/queues"))["queues"], [])
        self.assertEqual((await client.ask("GET", "/-/queues/x")).status, 404)
        client = await self.start(self.sqlite())
        answer = await client.ask("GET", "/-/queues/x")
        self.assertEqual((answer.status, "begin with job." in answer.text), (404, True))

    async def test_jobs_are_listed_by_pages(self) -> None:
        for store in ("memory:", self.sqlite()):
            client = await self.start(store)
            places = []
            for _ in range(5):  # one after another: a job that ended between two pages would be on both
                places.append(await client.begin("/text"))
                await Deferred.fromCoroutine(client.ended(places[-1]))
            seen, after = [], ""
            while after is not None:
                page = await client.look(f"/-/jobs?limit=2&after={after}")
                seen += [f"/-/jobs/{job['job']}" for job in page["jobs"]]
                after = page["next"]
            self.assertEqual((seen, page["total"]), (places[::-1], 5))
