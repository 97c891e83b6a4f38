"""Batches on the wire and in both clients, with a real server."""

from __future__ import annotations

import json
import time
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from tests.support.queue_server import Server
from tests.tqueue.test_wire import WireCase
from twisted_appserver import Call, HTTPError
from twisted_appserver.tqueue.batch_requests import read_batch
from twisted_appserver.tqueue.client import (
    Empty,
    Full,
    LeaseLost,
    LifoQueue,
    PriorityQueue,
    Queue,
    ServerError,
    ShutDown,
)
from twisted_appserver.tqueue.client.async_queue import AsyncQueue
from twisted_appserver.tqueue.request_options import NOTHING


class BatchWireTests(WireCase):
    def put(self, tasks: Any, **query: Any) -> tuple[int, dict[str, Any]]:
        return self.ask("/painter/put", json.dumps(tasks).encode(), **query)

    def test_array_is_put_as_many_tasks(self) -> None:
        status, answer = self.put([{"n": 1}, {"n": 2}, {}])
        self.assertEqual((status, len(set(answer["task_ids"]))), (200, 3))
        for task_id, task in zip(answer["task_ids"], ({"n": 1}, {"n": 2}, {}), strict=True):
            got = self.ask("/painter/get")[1]
            self.assertEqual((got["task_id"], got["task"]), (task_id, task))

    def test_repeated_array_is_put_once(self) -> None:
        first = self.put([{"n": 1}, {"n": 2}], key="k")[1]
        again = self.put([{"n": 1}, {"n": 2}], key="k")[1]
        self.assertEqual(again, {**first, "repeated": True})
        self.assertEqual(self.ask("/painter/qsize")[1]["qsize"], 2)
        status, answer = self.put([{"n": 1}, {"n": 3}], key="k")
        self.assertEqual(status, 422)
        self.assertIn("another body", answer["detail"])

    def test_element_may_have_its_own_priority(self) -> None:
        self.ask("/painter/config", b'{"kind": "priority"}')
        self.put([[{"n": 1}, 3], [{"n": 2}, 1, "b"], [{"n": 3}, 1, "a"], {"n": 4}, [{"n": 5}, "-inf"]])
        got = [self.ask("/painter/get")[1]["task"]["n"] for _ in range(5)]
        self.assertEqual(got, [5, 4, 3, 2, 1])

    def test_array_is_refused_as_a_whole(self) -> None:
        for tasks, status, detail in (
            ([], 422, "a batch has 1 to 1000 tasks, not 0"),
            ([{}] * 1001, 422, "a batch has 1 to 1000 tasks, not 1001"),
            ([{}, 5], 400, "the element at index 1 must be a task"),
            ([{}, [5]], 400, "the element at index 1 must be a task"),
            ([{}, []], 400, "the element at index 1 must be a task"),
            ([{}, [{}, "high"]], 422, "the task at index 1: priority must be a number, not 'high'"),
            ([{}, {"worker": "other"}], 422, "the field 'worker' is reserved"),
        ):
            found, answer = self.put(tasks)
            self.assertEqual(found, status, answer)
            self.assertIn(detail, answer["detail"])
        self.assertEqual(self.ask("/painter/put", b'[{}, {"a": }]')[0], 400)
        self.assertEqual(self.ask("/painter/qsize")[1]["qsize"], 0)

    def test_field_worker_may_repeat_the_name(self) -> None:
        self.put([{"worker": "painter", "n": 1}])
        self.assertEqual(self.ask("/painter/get")[1]["task"], {"n": 1})

    def test_array_that_does_not_fit_has_a_reason(self) -> None:
        self.ask("/painter/config", b'{"maxsize": 3}')
        self.put([{}, {}])
        self.assertEqual(self.put([{}, {}])[1], {"worker": "painter", "task_ids": []})
        self.assertEqual(self.put([{}, {}], detail=1)[1]["reason"], "full")
        status, answer = self.put([{}] * 4)
        self.assertEqual(status, 422)
        self.assertIn("a batch of 4 tasks never fits: the maxsize of the queue is 3", answer["detail"])


class BatchGetTests(WireCase):
    """C{get?n=} and C{done} with a body."""

    def setUp(self) -> None:
        super().setUp()
        tasks = json.dumps([{"n": number} for number in range(5)]).encode()
        self.ids = self.ask("/painter/put", tasks)[1]["task_ids"]

    def done(self, tasks: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        return self.ask("/painter/done", json.dumps({"tasks": tasks}).encode())

    def test_get_with_n_leases_many_tasks(self) -> None:
        status, answer = self.ask("/painter/get", n=3)
        expected = [{"task_id": self.ids[n], "task": {"n": n}} for n in range(3)]
        self.assertEqual((status, answer), (200, {"worker": "painter", "tasks": expected}))
        detailed = self.ask("/painter/get", n=1, detail=1)[1]
        self.assertEqual(detailed["lease"], 60.0)
        self.assertEqual(detailed["tasks"], [{"task_id": self.ids[3], "task": {"n": 3}, "delivery": 1}])
        self.assertEqual(len(self.ask("/painter/get", n=1000)[1]["tasks"]), 1)
        self.assertEqual(self.ask("/painter/get", n=2)[1], {"worker": "painter", "tasks": []})
        self.assertEqual(self.ask("/painter/get", n=2, detail=1)[1]["reason"], "empty")
        for wrong in (0, 1001):
            status, answer = self.ask("/painter/get", n=wrong)
            self.assertEqual((status, answer["detail"]), (422, f"n must be 1 to 1000, not {wrong}"))

    def test_done_with_a_body_finishes_many_tasks(self) -> None:
        self.ask("/painter/config", b'{"keep": 60}')
        self.ask("/painter/get", n=2)
        done = [
            {"task_id": self.ids[0], "delivery": 1, "result": {"size": 7}},
            {"task_id": self.ids[1], "delivery": 2},
            {"task_id": self.ids[2]},
            {"task_id": "7-0123456789abcdef"},
            {"task_id": self.ids[1]},
        ]
        status, answer = self.done(done)
        lost = [(each["task_id"], each["delivery"]) for each in answer["lost"]]
        expected = [(self.ids[1], 2), (self.ids[2], 0), ("7-0123456789abcdef", 0)]
        self.assertEqual((status, lost), (200, expected))
        self.assertEqual(self.ask(f"/painter/result/{self.ids[0]}")[1]["result"], {"size": 7})
        self.assertEqual(self.ask("/painter/stats")[1]["dones"], 2)

    def test_wrong_bodies_are_refused(self) -> None:
        self.ask("/painter/get", n=1)
        for body, status, detail in (
            (b"", 422, "the body must be like {'tasks': [{'task_id': ..., 'result': ...}]}"),
            (b'{"tasks": [{"delivery": 1}]}', 422, "missing required field `task_id`"),
            (b'{"tasks": [{"task_id": "x", "delivery": -1}]}', 422, "delivery"),
            (b'{"tasks": 5}', 422, "Expected `array`"),
            (b"[1]", 400, "object"),
            (b"{", 400, "JSON"),
            (json.dumps({"tasks": [{"task_id": "x"}] * 1001}).encode(), 422, "at most 1000 tasks, not 1001"),
        ):
            found, answer = self.ask("/painter/done", body)
            self.assertEqual(found, status, answer)
            self.assertIn(detail, answer["detail"])
        large = json.dumps({"tasks": [{"task_id": self.ids[0], "result": "x" * 1024 * 1024}]}).encode()
        self.assertEqual(self.ask("/painter/done", large)[0], 413)
        self.assertEqual(self.ask("/painter/stats")[1]["leased"], 1)


class BatchBodyTests(SynchronousTestCase):
    def read(self, body: bytes) -> list[Any]:
        call = Call("POST", "/q/put", body=body, raw_headers=((b"content-type", b"application/json"),))
        return read_batch(call, "q", NOTHING, 20)

    def test_tasks_are_kept_byte_for_byte(self) -> None:
        tasks = self.read(b'[ {"a": 1.0e2} , [{"b":"\\u00e4"}, 2, "x"] ]')
        self.assertEqual([task.body for task in tasks], [b'{"a": 1.0e2}', b'{"b":"\\u00e4"}'])
        self.assertEqual([(task.priority, task.order) for task in tasks], [(0.0, ""), (2.0, "x")])

    def test_each_task_is_limited_in_size_and_depth(self) -> None:
        for large in (b'{"text":"%b"}' % (b"x" * 20), b'[{"text":"%b"}]' % (b"x" * 20)):
            error = self.assertRaises(HTTPError, self.read, b"[{},%b]" % large)
            self.assertEqual(error.status, 413)
            self.assertIn("a task is at most 20 bytes; the one at index 1 has 31", str(error))
        deep = b'{"a":' * 110 + b"1" + b"}" * 110
        self.assertEqual(self.assertRaises(HTTPError, self.read, b"[%b]" % deep).status, 400)


class BatchClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server("memory:").start()
        self.addCleanup(self.server.kill)

    def queue(self, kind: type[Queue] = Queue, maxsize: int = 0) -> Queue:
        queue = kind(maxsize, self.server.url, patience=5.0)
        self.addCleanup(queue.close)
        return queue

    def test_put_many_adds_items_of_any_type(self) -> None:
        queue, items = self.queue(), [{"a": 1}, (1, 2), None, b"x", "text"]
        ids = queue.put_many(items)
        self.assertEqual(len(set(ids)), 5)
        self.assertEqual([queue.get() for _ in items], items)

    def test_put_many_adds_nothing_if_one_item_cannot_be_sent(self) -> None:
        queue = self.queue()
        self.assertRaises(TypeError, queue.put_many, [1, object()])
        self.assertRaises(ValueError, queue.put_many, range(1001))
        self.assertEqual(queue.put_many([]), [])
        self.assertEqual(queue.qsize(), 0)

    def test_put_many_keeps_the_order_of_each_kind(self) -> None:
        lifo, priority = self.queue(LifoQueue), self.queue(PriorityQueue)
        lifo.put_many([1, 2, 3])
        self.assertEqual([lifo.get() for _ in range(3)], [3, 2, 1])
        items = [(2, "b"), (1, "z"), (), (float("inf"), "x"), (2, "a"), (10**400,)]
        priority.put_many(items)
        self.assertEqual([priority.get() for _ in range(4)], sorted(items)[:4])

    def test_put_many_raises_full_and_shutdown(self) -> None:
        queue = self.queue(maxsize=3)
        queue.put_many([1, 2])
        self.assertRaises(Full, queue.put_many, [3, 4], timeout=0)
        self.assertRaises(ServerError, queue.put_many, [3, 4, 5, 6])
        self.assertEqual(queue.qsize(), 2)
        queue.shutdown()
        self.assertRaises(ShutDown, queue.put_many, [3])

    def test_get_many_and_task_done_many(self) -> None:
        queue = self.queue()
        queue.config(keep=60)
        ids = queue.put_many(range(10))
        self.assertEqual(queue.get_many(4), [0, 1, 2, 3])
        self.assertEqual(queue.get(), 4)
        queue.task_done_many([3, 1], results=["c", (1, 2)])
        self.assertEqual((queue.result(ids[3]), queue.result(ids[1])), ("c", (1, 2)))
        queue.task_done_many()
        self.assertEqual(queue.stats()["dones"], 5)
        self.assertRaises(ValueError, queue.task_done_many)
        self.assertEqual(queue.get_many(9), [5, 6, 7, 8, 9])
        self.assertRaises(Empty, queue.get_many, 3, timeout=0)
        self.assertRaises(ValueError, queue.get_many, 0)
        self.assertRaises(ValueError, queue.task_done_many, [5, 11])
        self.assertRaises(ValueError, queue.task_done_many, [5, 6], results=[1])
        self.assertRaises(TypeError, queue.task_done_many, [5], results=[object()])
        self.assertEqual(queue.stats()["leased"], 5)
        queue.task_done(5)
        queue.task_done_many([6, 7])
        queue.close()
        self.assertEqual((queue.stats()["ready"], queue.stats()["dones"]), (2, 8))

    def test_leases_of_a_batch_are_renewed(self) -> None:
        queue = Queue(0, self.server.url, lease=0.5, patience=5.0)
        self.addCleanup(queue.close)
        queue.put_many(range(3))
        queue.get_many(3)
        time.sleep(1.2)
        self.assertEqual(queue.stats()["returned"], 0)
        queue.task_done_many()
        self.assertEqual(queue.stats()["dones"], 3)

    def test_lost_leases_of_a_batch_are_reported(self) -> None:
        queue, other = self.queue(), self.queue()
        ids = queue.put_many(range(3))
        queue.get_many(3)
        other.name = queue.name
        queue.drop(ids[1])
        error = self.assertRaises(LeaseLost, queue.task_done_many)
        self.assertIn("the leases of 1 of 3 tasks had run out before they were done", str(error))
        self.assertEqual(queue.stats()["dones"], 2)

    def test_tasks_that_are_no_items_are_given_back(self) -> None:
        queue = self.queue()
        queue.put_many([1, 2])
        queue.put_task({"a": {"$type": ["bytes", "x"]}})
        queue.put(3)
        found = []
        with self.assertLogs("twisted_appserver.tqueue.client.queue", "WARNING"):
            found = queue.get_many(4)
        self.assertEqual(found, [1, 2, 3])
        queue.task_done_many(found)
        self.assertEqual(queue.stats()["unfinished"], 1)


class AsyncBatchTests(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.server = Server("memory:").start()
        self.addCleanup(self.server.kill)

    async def test_put_many_in_an_async_queue(self) -> None:
        pool = HTTPConnectionPool(reactor)  # type: ignore[no-untyped-call]
        self.addCleanup(pool.closeCachedConnections)
        treq_client = treq.client.HTTPClient(Agent(reactor, pool=pool))
        queue = AsyncQueue(self.server.url, "q", reactor, treq_client)
        ids = await queue.put_many([1, {"a": 2}])
        self.assertEqual(len(ids), 2)
        self.assertEqual([await queue.get(), await queue.get()], [1, {"a": 2}])
        failed: Deferred[Any] = queue.put_many([object()])
        await self.assertFailure(failed, TypeError)
        await queue.task_done()
        await queue.task_done()
        await queue.put_many(range(3))
        self.assertEqual(await queue.get_many(9), [0, 1, 2])
        await queue.task_done_many([1, 2])
        await queue.task_done_many()
        failed = queue.get_many(9, timeout=0.0)
        await self.assertFailure(failed, Empty)
        self.assertEqual((await queue.stats())["dones"], 5)
