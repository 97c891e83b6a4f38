"""What requests about tasks that have ended answer: over HTTP, in both clients and in the command."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.support.queue_clients import AsyncQueueClients, ClientCase, Clients, QueueClients
from tests.tqueue.test_command import ServerCase
from tests.tqueue.test_wire import FORM, WireCase
from twisted_appserver.tqueue.client import NoResult


class EndedWireTests(WireCase):
    def test_dropped_task_says_so_where_its_result_is_awaited(self) -> None:
        self.ask("/p/config", b"keep=60", FORM)
        task_id = self.ask("/p/put", b"n=1", FORM)[1]["task_id"]
        first = self.ask(f"/p/drop/{task_id}")[1]
        self.assertEqual((first["task_id"], first["state"], first["task"]), (task_id, "dropped", {"n": "1"}))
        again = self.ask(f"/p/drop/{task_id}", detail=1)[1]
        self.assertEqual((again["task_id"], again["state"], again["reason"]), ("", "dropped", "unknown"))
        found = self.ask(f"/p/result/{task_id}")[1]
        self.assertEqual((found["task_id"], found["state"], found["result"]), (task_id, "dropped", None))
        self.assertEqual(self.ask(f"/p/show/{task_id}")[1]["state"], "dropped")

    def test_each_end_has_its_state_while_it_is_kept(self) -> None:
        self.ask("/p/config", b"keep=60", FORM)
        done, dropped, expired = [
            self.ask("/p/put", b"n=1", FORM, **query)[1]["task_id"] for query in ({}, {}, {"ttl": 0.001})
        ]
        self.ask("/p/get")
        self.ask(f"/p/done/{done}", b"7")
        self.ask(f"/p/drop/{dropped}")
        self.assertEqual(self.ask(f"/p/result/{expired}", timeout=20)[1]["state"], "expired")
        for task_id, state in (
            (done, "done"),
            (dropped, "dropped"),
            (expired, "expired"),
            ("1-f", "unknown"),
        ):
            for verb in ("drop", "result", "show"):
                self.assertEqual(self.ask(f"/p/{verb}/{task_id}")[1]["state"], state, (verb, state))
            self.assertEqual(self.ask(f"/p/kick/{task_id}")[1]["task_id"], "")
        self.assertEqual(self.ask(f"/p/result/{done}")[1]["result"], 7)

    def test_queue_without_results_keeps_nothing(self) -> None:
        task_id = self.ask("/p/put", b"n=1", FORM)[1]["task_id"]
        self.assertEqual(self.ask(f"/p/drop/{task_id}")[1]["state"], "dropped")
        for verb in ("drop", "result", "show"):
            self.assertEqual(self.ask(f"/p/{verb}/{task_id}")[1]["state"], "unknown")


class EndedTable(Clients):
    """Cases over both clients."""

    def test_dropped_task_has_no_result(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            queue.config(keep=60)
            task_id, other = queue.put(1), queue.put(2)
            assert [queue.drop(task_id) for _ in range(2)] == [True, True]
            error = self.assertRaises(NoResult, queue.result, task_id, timeout=20)  # type: ignore[attr-defined]
            assert (error.state, str(error)) == ("dropped", f"task {task_id} has no result: it is dropped")
            assert queue.show(task_id)["state"] == "dropped"
            queue.get()
            queue.task_done()
            assert (queue.drop(other), queue.drop("1-f")) == (False, False)
            assert queue.result(other) is None

        return self.run_case(case)

    def test_drop_whose_response_is_lost_is_true(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            queue.config(keep=60)
            task_id = queue.put(1)
            here.proxy.faults.append(("/q/drop", "lost"))
            assert queue.drop(task_id) is True
            assert here.proxy.faults == []

        return self.run_case(case)


class QueueEndedTests(EndedTable, QueueClients, TestCase):
    timeout = 120


class AsyncQueueEndedTests(EndedTable, AsyncQueueClients, TestCase):
    timeout = 120


class EndedCommandTests(ServerCase):
    def test_messages_have_the_state_of_a_task_that_has_ended(self) -> None:
        self.good("config", "q", "keep=60")
        (task_id,) = self.put(1)
        self.good("get", "q")
        self.good("done", "q", task_id)
        for verb in ("drop", "kick"):
            message = f"tqueue: task {task_id} of q has ended: it is done\n"
            self.assertEqual(self.bad(1, verb, "q", task_id), message)
        self.assertEqual(json.loads(self.good("show", "q", task_id, "--json"))["state"], "done")
        (task_id,) = self.put(2)
        for _ in range(2):
            self.good("drop", "q", task_id)
        self.assertIn("has no result: it is dropped", self.bad(1, "result", "q", task_id))
