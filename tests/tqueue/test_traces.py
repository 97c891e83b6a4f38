"""The traces of tasks over HTTP, in both clients, in workers and in the command."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.core.test_trace_context import PARENT, TRACE
from tests.support.queue_clients import AsyncQueueClients, ClientCase, Clients, QueueClients
from tests.support.queue_server import wait_for
from tests.support.slow import slow
from tests.tqueue.test_command import ServerCase
from tests.tqueue.test_forked_worker import ForkedCase
from tests.tqueue.test_wire import WireCase
from tests.tqueue.test_worker import WorkerCase
from twisted_appserver.client import AppClient
from twisted_appserver.tqueue.client import current_trace
from twisted_appserver.tqueue.function_call import call_function

TRACED = {"traceparent": PARENT, "tracestate": "a=1"}


class TraceWireTests(WireCase):
    def traced(self, path: str, body: bytes, headers: dict[str, str], **query: Any) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        path += "?" + urlencode(query) if query else ""
        connection.request("POST", path, body, {"content-type": "application/json", **headers})
        document: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return document

    def test_task_is_handed_out_with_the_trace_of_its_put(self) -> None:
        task_id = self.traced("/p/put", b"{}", TRACED, ttl=60)["task_id"]
        for path in ("/p/get", "/p/get?detail=1", "/p/get?n=1", f"/p/show/{task_id}"):
            found = self.ask(path)[1]
            (task,) = found.get("tasks", [found])
            self.assertEqual({name: task[name] for name in TRACED}, TRACED, path)
            self.ask(f"/p/release/{task_id}")
        self.traced("/p/put", b'[{"n": 1}, [{"n": 2}, {"unique": "k"}]]', {"traceparent": PARENT})
        tasks = self.ask("/p/get", n=3)[1]["tasks"]
        self.assertEqual([task["traceparent"] for task in tasks], [PARENT] * 3)
        self.assertNotIn("tracestate", tasks[1])

    def test_invalid_trace_is_ignored(self) -> None:
        for headers in ({}, {"traceparent": "x", "tracestate": "a=1"}, {"tracestate": "a=1"}):
            self.assertTrue(self.traced("/p/put", b"{}", headers)["task_id"])
            self.assertEqual(sorted(self.ask("/p/get")[1]), ["task", "task_id", "worker"])


class TraceTable(Clients):
    """Cases over both clients."""

    def test_task_has_the_trace_of_its_put(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            queue.put({"n": 1}, traceparent=PARENT, tracestate="a=1")
            found = queue.get_task()
            assert {name: found[name] for name in TRACED} == TRACED, found
            queue.put_many([1, 2], traceparent=PARENT)
            (first, second) = queue.get_tasks(2)
            assert (first["traceparent"], second["traceparent"]) == (PARENT, PARENT)
            queue.put_task({"n": 1}, traceparent="invalid")
            assert sorted(queue.get_task()) == ["delivery", "task", "task_id"]

        return self.run_case(case)


class QueueTraceTests(TraceTable, QueueClients, TestCase):
    timeout = 120


class AsyncQueueTraceTests(TraceTable, AsyncQueueClients, TestCase):
    timeout = 120


class WorkerTraceTests(WorkerCase):
    def test_function_continues_the_trace_of_its_task(self) -> None:
        """Its own puts belong to the trace too, unless they have another one."""
        seen: list[dict[str, str]] = []
        other = self.make("other")

        def act(item: int) -> None:
            seen.append(current_trace())
            other.put(item)

        self.queue.put(1, traceparent=PARENT, tracestate="a=1")
        self.queue.put(2)
        self.run_until_shutdown(self.worker(self.queue, act))
        self.assertEqual(seen, [TRACED, {}])
        with (task := other.task()):
            self.assertEqual(task.trace, TRACED)
        with (task := other.task()):
            self.assertEqual(task.trace, {})
        self.assertEqual(current_trace(), {})

    def test_report_of_a_failure_has_the_trace(self) -> None:
        def fails(item: int) -> None:
            raise KeyError("color")

        self.queue.config(max_deliveries=1)
        self.queue.put(1, traceparent=PARENT)
        self.run_until_shutdown(self.worker(self.queue, fails))
        self.assertIn(f" of q failed, attempt 1, trace {TRACE}: 1\n", self.reports[0])


class ForkedTraceTests(ForkedCase):
    @slow
    def test_function_in_a_process_continues_the_trace(self) -> None:
        self.begin()
        for trace in (PARENT, None):
            task_id = self.queue.put({"do": "trace"}, traceparent=trace)
            found = self.queue.result(task_id, timeout=20)
            self.assertEqual(found, {"traceparent": trace} if trace else {})
        wait_for(lambda: self.queue.stats()["unfinished"] == 0)


class AppClientTraceTests(SynchronousTestCase):
    def test_requests_to_services_belong_to_the_trace_of_the_task(self) -> None:
        sent: list[dict[str, str]] = []

        class Sender:
            def get(self, url: str, headers: dict[str, str], timeout: float) -> Deferred[Any]:
                sent.append(headers)
                return Deferred()

        def act(item: int) -> None:
            Deferred.fromCoroutine(AppClient("http://x", Sender())._request("/", {}))

        for trace in (TRACED, {}):
            self.assertIsNone(call_function(act, 1, trace=trace).failure)
        self.assertEqual(sent, [TRACED, {}])


class TraceCommandTests(ServerCase):
    def test_put_and_get_have_the_trace(self) -> None:
        self.good("put", "q", "n=1", "--traceparent", PARENT)
        self.assertEqual(json.loads(self.good("get", "q"))["traceparent"], PARENT)
