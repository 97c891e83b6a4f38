"""Verbs that the standard library does not have: cases over both clients, in memory and on SQLite."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.support.files import sqlite_store
from tests.support.queue_clients import AsyncQueueClients, ClientCase, Clients, QueueClients
from tests.support.queue_server import wait_for
from twisted_appserver import Retry
from twisted_appserver.tqueue.client import Empty, Full, LeaseLost, NoResult, ServerError, ShutDown


class VerbTable(Clients):
    """The cases."""

    def setUp(self) -> None:
        super().setUp()
        if self.store != "memory:":
            self.store = sqlite_store(self)  # type: ignore[attr-defined]

    def refused(self, error: type[Exception], *call: Any, **options: Any) -> Any:
        return self.assertRaises(error, *call, **options)  # type: ignore[attr-defined]

    def test_figures_and_options_are_dicts(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            queue.put(1)
            stats = queue.stats()
            assert (stats["ready"], stats["puts"], stats["kind"]) == (1, 1, "fifo"), stats
            assert queue.config(maxsize=5, max_deliveries=2) == queue.config()
            assert (queue.config()["maxsize"], queue.config()["max_deliveries"]) == (5, 2)
            assert "worker" not in {**stats, **queue.config()}
            assert self.refused(ServerError, queue.config, colour="red").status == 422
            assert (queue.queues()["q"]["qsize"], queue.queues()["q"]["buried"]) == (1, 0)

        return self.run_case(case)

    def test_buried_task_is_shown_and_kicked(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            for item in "abc":
                queue.put(item)
            for _ in range(3):
                queue.get()
            queue.bury("a")
            queue.bury()  # the last task
            (leased,) = queue.peek(state="leased")
            queue.bury(task_id=leased["task_id"], delivery=1)
            buried = queue.peek(10, "buried")
            assert [each["task"] for each in buried] == [{"item": each} for each in "abc"], buried
            assert len(queue.peek(2, "buried")) == 2
            assert (queue.kick(2), queue.kick(), queue.kick()) == (2, 1, 0)
            assert [queue.get() for _ in range(3)] == ["a", "b", "c"]
            self.refused(ValueError, queue.bury, "d")

        return self.run_case(case)

    def test_join_with_a_timeout_returns_whether_every_task_is_done(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            assert queue.join(0) is True
            queue.put("a")
            queue.get()
            assert queue.join(0) is False
            assert queue.join(timeout=0.05) is False
            queue.task_done()
            assert queue.join() is True
            self.refused(ValueError, queue.join, -1)

        return self.run_case(case)

    def test_block_names_its_task(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            task_id = queue.put_task({"n": 1})["task_id"]
            for delivery in (1, 2):
                with contextlib.suppress(KeyError), queue.block(timeout=10, delay=0) as block:
                    assert (block.task_id, block.delivery) == (task_id, delivery)
                    raise KeyError

        return self.run_case(case)

    def test_results_keep_their_types(self) -> Deferred[None]:
        """By item, by block and by id, with any type that an item may have."""

        def case(here: ClientCase) -> None:
            queue = here.queue()
            queue.config(keep=60)
            for result in (7, "text", {"a": [1.5, None]}, (1, {2}), b"\xff", None):
                task_id = queue.put("a")
                queue.get()
                self.refused(NoResult, queue.result, task_id, 0.0)
                queue.task_done(result=result)
                assert queue.result(task_id) == result
            task_id = queue.put("a")
            with queue.block(timeout=10) as block:
                block.result = (1, 2)
            assert queue.result(task_id, timeout=10) == (1, 2)
            task_id = queue.put("a")
            queue.done(queue.get_task()["task_id"], result={"n": 3})
            assert queue.result(task_id, 0.0) == {"n": 3}
            assert self.refused(NoResult, queue.result, "1-x").state == "unknown"

        return self.run_case(case)

    def test_result_that_cannot_be_sent_releases_the_task(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            queue.put("a")
            with contextlib.suppress(TypeError), queue.block(timeout=10, delay=0) as block:
                block.result = object()
            assert queue.stats()["ready"] == 1
            queue.get()
            self.refused(TypeError, queue.task_done, result=object())
            assert queue.stats()["leased"] == 1

        return self.run_case(case)

    def test_failure_is_recorded_with_its_traceback(self) -> Deferred[None]:
        """By a block that raises, by item, and by id."""

        def case(here: ClientCase) -> None:
            queue = here.queue()
            task_id = queue.put("a")
            with contextlib.suppress(KeyError), queue.block(timeout=10, delay=0):
                raise KeyError("color")
            queue.get()
            queue.fail("a", ValueError("no size"), retry=0.0)
            queue.fail(task_id=queue.get_task()["task_id"], error="gone", retry=False)
            shown = queue.show(task_id)
            assert (shown["state"], shown["error"], len(shown["attempts"])) == ("buried", "gone", 3), shown
            errors = [each["error"] for each in shown["attempts"]]
            assert errors == ["KeyError: 'color'", "ValueError: no size", "gone"], errors
            assert 'raise KeyError("color")' in shown["attempts"][0]["traceback"]
            assert {each["by"] for each in shown["attempts"]} == {f"{socket.gethostname()}:{os.getpid()}"}
            assert self.refused(NoResult, queue.result, task_id).error == "gone"
            self.refused(LeaseLost, queue.fail, task_id=task_id)
            assert queue.show("1-x")["state"] == "unknown"

        return self.run_case(case)

    def test_task_has_terms_of_its_own(self) -> Deferred[None]:
        """Whichever method puts it."""

        def case(here: ClientCase) -> None:
            queue = here.queue()
            retry = Retry(attempts=3, first=50, jitter=0)
            terms = {"retry": retry, "ttl": 1000}
            ids = [queue.put("a", **terms), queue.put_task({}, **terms)["task_id"]]
            ids += [*queue.put_many(["b"], **terms), *queue.put_tasks([{}], **terms)]
            for task_id in ids:
                shown = queue.show(task_id)
                assert (shown["max_deliveries"], shown["retry_first"], shown["ttl"]) == (3, 50, 1000), shown
            with contextlib.suppress(KeyError), queue.block(timeout=10) as block:
                raise KeyError
            assert block.retry == 50
            assert queue.show(queue.put("c", max_deliveries=7))["max_deliveries"] == 7
            assert "ttl" not in queue.show(queue.put("d"))
            with self.assertRaises(ValueError):  # type: ignore[attr-defined]
                queue.put("e", max_deliveries=7, retry=retry)

        return self.run_case(case)

    def test_task_belongs_to_a_group(self) -> Deferred[None]:
        """Whichever method puts it."""

        def case(here: ClientCase) -> None:
            queue = here.queue()
            ids = [queue.put("a", group="g"), queue.put_task({}, group="g")["task_id"]]
            ids += [*queue.put_many(["b"], group="g"), *queue.put_tasks([{}], group="g")]
            assert [queue.show(each)["state"] for each in ids] == ["ready", "held", "held", "held"]
            assert len(queue.peek(9, "held")) == 3
            assert queue.get(timeout=10) == "a"
            queue.task_done()
            assert queue.get_task()["task_id"] == ids[1]

        return self.run_case(case)

    def test_task_that_expires_has_no_result(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            queue.config(keep=60)
            task_id = queue.put("a", ttl=0.2)
            error = self.refused(NoResult, queue.result, task_id, timeout=20)
            assert "expired" in str(error), error
            self.refused(Empty, queue.get_task)

        return self.run_case(case)

    def test_released_task_can_be_got_again(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            queue.put("a")
            queue.get()
            queue.release()
            assert queue.get() == "a"
            queue.release("a", delay=100.0)
            assert (queue.stats()["delayed"], queue.stats()["unfinished"]) == (1, 1)
            self.refused(ValueError, queue.release)
            self.refused(ValueError, queue.task_done)
            self.refused(Empty, queue.get, timeout=0)

        return self.run_case(case)

    def test_extended_lease_ends_later(self) -> Deferred[None]:
        """Another client can extend it by its id."""

        def case(here: ClientCase) -> None:
            queue = here.queue()
            queue.put("a")
            queue.get()
            for number, options in enumerate(({}, {"task_id": queue.peek(state="leased")[0]["task_id"]}), 1):
                queue.extend(lease=1000.0 * number, **options)
                (task,) = queue.peek(state="leased")
                assert 900.0 < task["lease"] - time.time() - 1000.0 * (number - 1) <= 1000.0, task
            queue.extend()
            assert queue.peek(state="leased")[0]["lease"] - time.time() <= 60.0
            self.refused(ValueError, queue.extend, "b")
            self.refused(LeaseLost, queue.extend, task_id="1-x")
            queue.task_done()

        return self.run_case(case)

    def test_lost_lease_is_an_error_of_each_verb(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            queue.put("a")
            queue.get()
            here.admin.done(queue.peek(state="leased")[0]["task_id"])
            self.refused(LeaseLost, queue.extend)
            assert queue.is_lost()
            self.refused(LeaseLost, queue.release)
            for verb in ("bury", "release", "extend"):
                self.refused(LeaseLost, getattr(queue, verb), task_id="1-x")
            self.refused(LeaseLost, queue.done, "1-x")

        return self.run_case(case)

    def test_tasks_by_id_need_no_item(self) -> Deferred[None]:
        """They are put by their fields, leased without renewal, and finished by any client."""

        def case(here: ClientCase) -> None:
            queue = here.queue(lease=1.2)
            first = queue.put_task({"n": 1}, key="k")
            assert queue.put_task({"n": 1}, key="k") == {**first, "repeated": True}
            assert self.refused(ServerError, queue.put_task, {"n": 2}, key="k").status == 422
            self.refused(ValueError, queue.put_task, {"n": float("nan")})
            self.refused(ValueError, queue.put_task, {}, key="\1k")
            task = queue.get_task(lease=100.0)
            assert task == {"task_id": first["task_id"], "delivery": 1, "task": {"n": 1}}
            name = (task["task_id"], 1)
            assert queue.renew([name, ("1-x", 1)], lease=200.0) == [("1-x", 1)]
            self.refused(ValueError, queue.task_done)
            queue.release(task_id=name[0], delivery=1)
            again = queue.get_task()
            self.refused(LeaseLost, queue.done, name[0], delivery=1)
            assert here.admin.done(again["task_id"], again["delivery"]) == {"n": 1}
            self.refused(Empty, queue.get_task)
            queue.put_task({"n": 3}, delay=100.0)
            assert queue.stats()["delayed"] == 1
            queue.config(kind="priority", maxsize=3)
            queue.put_task({"n": 4}, priority=7)
            queue.put_task({"n": 5}, priority=-7)
            self.refused(Full, queue.put_task, {})
            assert queue.get_task()["task"] == {"n": 5}

        return self.run_case(case)

    def test_lease_without_renewal_ends(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            queue.put_task({"n": 1})
            queue.get_task(lease=0.3)
            wait_for(lambda: queue.stats()["ready"] == 1)

        return self.run_case(case)

    def test_purge_and_delete_remove_tasks(self) -> Deferred[None]:
        """A purge keeps leased tasks; a deleted queue has none, and no options."""

        def case(here: ClientCase) -> None:
            queue = here.queue()
            queue.config(maxsize=9)
            for item in "abc":
                queue.put(item)
            queue.get()
            names = [task["task_id"] for task in queue.peek()]
            assert [queue.drop(names[0]) for _ in range(2)] == [True, False]
            queue.bury(task_id=names[1])
            assert [queue.kick_task(name) for name in names] == [False, True]
            queue.put("d")
            queue.pause()
            self.refused(Empty, queue.get, timeout=0)
            assert queue.config()["paused"]
            queue.resume()
            assert not queue.config()["paused"]
            assert (queue.purge(), queue.stats()["leased"]) == (2, 1)
            queue.delete()
            assert (queue.stats()["unfinished"], queue.config()["maxsize"]) == (0, 0)
            self.refused(LeaseLost, queue.task_done)
            queue.shutdown()
            self.refused(ShutDown, queue.put_task, {})
            self.refused(ShutDown, queue.get_task)

        return self.run_case(case)

    def test_lost_responses_have_one_effect(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue(lease=30)
            verbs = ("put", "get", "bury", "kick", "extend", "release", "done", "purge", "delete", "config")
            here.proxy.faults += [(f"/q/{verb}", "lost") for verb in verbs]
            queue.config(max_deliveries=0)
            for item in "abc":
                queue.put(item)
            queue.get()
            queue.bury()
            assert queue.kick(1) == 1
            queue.get()
            queue.extend()
            queue.release()
            queue.done(queue.get_task()["task_id"])
            assert (here.stats()["dones"], queue.purge()) == (1, 2)
            queue.delete()
            assert here.proxy.faults == []

        return self.run_case(case)


class QueueVerbTests(VerbTable, QueueClients, TestCase):
    timeout = 120


class AsyncQueueVerbTests(VerbTable, AsyncQueueClients, TestCase):
    timeout = 120


class SQLiteQueueVerbTests(VerbTable, QueueClients, TestCase):
    timeout = 120
    store = "sqlite:"


class SQLiteAsyncQueueVerbTests(VerbTable, AsyncQueueClients, TestCase):
    timeout = 120
    store = "sqlite:"
