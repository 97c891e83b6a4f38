"""What a function decides about its task: its result, another attempt later, or none."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

import twisted_appserver
from tests.support.queue_clients import AsyncQueueClients, ClientCase, Clients, QueueClients
from tests.support.queue_server import wait_for
from tests.tqueue.test_work import WorkCase
from twisted_appserver import GiveUp, RetryLater
from twisted_appserver.errors import LATEST
from twisted_appserver.tqueue.client import LeaseLost, ResultError
from twisted_appserver.tqueue.client.failures import decided_retry, describe

FUNCTIONS = """
import os
from twisted_appserver import GiveUp, RetryLater

def decides(task):
    if task == "later":
        raise RetryLater(60, "the printer is busy")
    if task == "never":
        raise GiveUp("no such customer")
    if task == "lock":
        return {"lock": os}
    if task == "large":
        return "x" * 3_000_000
    return {"doubled": 2 * task, "pair": (1, task)}
"""


class DecisionTests(SynchronousTestCase):
    def test_seconds_that_no_queue_accepts_are_refused(self) -> None:
        for seconds in (-1, float("nan"), float("inf"), LATEST + 1, "60", None):
            self.assertRaises(ValueError, RetryLater, seconds)
        self.assertEqual(RetryLater(0).task_retry, 0.0)

    def test_both_are_public_and_exceptions_of_the_package(self) -> None:
        for kind in (GiveUp, RetryLater):
            self.assertIs(getattr(twisted_appserver, kind.__name__), kind)
            self.assertTrue(issubclass(kind, twisted_appserver.AppserverError))

    def test_exception_decides_also_when_another_wraps_it_without_a_message(self) -> None:
        wrapper = RuntimeError()
        wrapper.__cause__ = GiveUp("why")
        self.assertIs(decided_retry(wrapper), False)
        wrapper = RuntimeError("the call failed")
        wrapper.__cause__ = GiveUp("why")
        self.assertIs(decided_retry(wrapper), None)
        self.assertIs(decided_retry(KeyError("a")), None)
        self.assertIs(decided_retry(None), None)

    def test_error_is_recorded_with_its_name_and_reason(self) -> None:
        self.assertEqual(describe(GiveUp("why"))[::2], ("GiveUp: why", False))
        self.assertEqual(describe(GiveUp())[::2], ("GiveUp", False))
        self.assertEqual(describe(RetryLater(5), retry=2.0)[::2], ("RetryLater: in 5 s", 5.0))
        self.assertEqual(describe(KeyError("a"), retry=2.0)[::2], ("KeyError: 'a'", 2.0))
        self.assertEqual(describe(ResultError("large")).error, "ResultError: large")


class BlockTable(Clients):
    """The cases, for blocks of both clients."""

    def test_retry_later_delays_the_task_and_counts_as_an_attempt(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            task_id = queue.put("a")
            with self.assertRaises(RetryLater), queue.block(timeout=10, delay=0):  # type: ignore[attr-defined]
                raise RetryLater(60, "the printer is busy")
            (task,) = queue.peek(state="delayed")
            assert 50 < task["due"] - time.time() <= 60, task
            (attempt,) = queue.show(task_id)["attempts"]
            assert (attempt["reason"], attempt["error"]) == ("failed", "RetryLater: the printer is busy")
            queue.config(max_deliveries=2)
            queue.kick_task(task_id)
            with self.assertRaises(RetryLater), queue.block(timeout=10):  # type: ignore[attr-defined]
                raise RetryLater(60)
            assert queue.show(task_id)["state"] == "buried"

        return self.run_case(case)

    def test_give_up_buries_the_task_at_once_with_its_reason(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            task_id = queue.put("a")
            with self.assertRaises(GiveUp), queue.block(timeout=10):  # type: ignore[attr-defined]
                raise GiveUp("no such customer")
            shown = queue.show(task_id)
            assert (shown["state"], shown["error"]) == ("buried", "GiveUp: no such customer"), shown
            other = queue.put("b")
            queue.get(timeout=10)
            queue.fail("b", GiveUp("no such customer"))
            assert queue.show(other)["state"] == "buried"

        return self.run_case(case)

    def test_result_that_the_server_refuses_fails_the_task(self) -> Deferred[None]:
        """So does one that cannot be sent. A lost lease stays a lost lease."""

        def case(here: ClientCase) -> None:
            queue = here.queue()
            for result, reason in ((object(), "cannot hold <object"), ("x" * 3_000_000, "413")):
                task_id = queue.put("a")
                with self.assertRaises(ResultError), queue.block(timeout=10, delay=60) as block:  # type: ignore[attr-defined]
                    block.result = result
                shown = queue.show(task_id)
                assert shown["state"] == "delayed", shown
                assert reason in shown["error"], shown["error"]
                queue.drop(task_id)
            task_id = queue.put("a")
            with self.assertRaises(LeaseLost), queue.block(timeout=10) as block:  # type: ignore[attr-defined]
                queue.drop(task_id)
                block.result = 1

        return self.run_case(case)


class QueueBlockTests(BlockTable, QueueClients, TestCase):
    """The cases with L{Queue}."""


class AsyncQueueBlockTests(BlockTable, AsyncQueueClients, TestCase):
    """The cases with L{AsyncQueue}."""


class WorkTests(WorkCase):
    """The same with C{tqueue work}."""

    def setUp(self) -> None:
        super().setUp()
        with open(f"{self.folder}/jobs.py", "w") as file:
            file.write(FUNCTIONS)

    def work_all(self, *items: Any, delay: str = "--delay=1") -> tuple[list[str], str, str]:
        """Let C{work} perform each item once. Return the ids of the tasks, and what it prints."""
        ids = [self.queue.put(item) for item in items]
        process = self.command("work", "jobs:decides", "--quiet", delay)
        wait_for(lambda: not self.queue.stats()["ready"] and not self.queue.stats()["leased"])
        process.terminate()
        out, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 0)
        return ids, out, err.removesuffix("tqueue: stopping\n")

    def test_value_that_the_function_returns_is_the_result(self) -> None:
        """With every type that an item may have, if the queue keeps results."""
        self.queue.config(keep=60)
        ids, out, err = self.work_all(7, [1])
        self.assertEqual((out, err), ("2 done, 0 failed, 0 lost\n", ""))
        self.assertEqual(self.queue.result(ids[0], 5), {"doubled": 14, "pair": (1, 7)})
        self.assertEqual(self.queue.result(ids[1], 5), {"doubled": [1, 1], "pair": (1, [1])})
        status, shown, _ = self.run_command("result", ids[0])
        self.assertEqual((status, '"doubled": 14' in shown), (0, True))

    def test_result_that_cannot_be_sent_fails_the_task_and_the_work_continues(self) -> None:
        ids, out, err = self.work_all("lock", "large", 1, delay="--delay=60")
        self.assertEqual(out, "1 done, 2 failed, 0 lost\n")
        self.assertIn(f"task {ids[0]} of q failed", err)
        self.assertIn("the result cannot be sent: tasks and results cannot hold <module", err)
        self.assertIn("the result cannot be sent: 413", err)
        self.assertEqual(err.count("It is tried again in 60 s."), 2)

    def test_task_that_fails_is_buried_at_once_with_no_retry(self) -> None:
        """Unless its function decides otherwise."""
        ids, out, err = self.work_all("lock", "later", delay="--no-retry")
        self.assertEqual(out, "0 done, 2 failed, 0 lost\n")
        self.assertEqual([self.queue.show(each)["state"] for each in ids], ["buried", "delayed"])
        self.assertIn("It is buried after 1 attempt; tqueue kick q makes it ready again.\n", err)

    def test_function_decides_when_its_task_is_tried_again(self) -> None:
        """The report has the reason, and no traceback."""
        ids, out, err = self.work_all("later", "never")
        self.assertEqual(out, "0 done, 2 failed, 0 lost\n")
        self.assertEqual([self.queue.show(each)["state"] for each in ids], ["delayed", "buried"])
        self.assertEqual(
            err,
            f"tqueue: task {ids[0]} of q failed, attempt 1: 'later'\n"
            "RetryLater: the printer is busy\nIt is tried again in 60 s.\n"
            f"tqueue: task {ids[1]} of q failed, attempt 1: 'never'\n"
            "GiveUp: no such customer\nIt is buried; tqueue kick q makes it ready again.\n",
        )
