"""Unique keys over HTTP, in both clients and in the command."""

from __future__ import annotations

import json
import math
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.queue_clients import AsyncQueueClients, ClientCase, Clients, QueueClients
from tests.tqueue.test_command import ServerCase
from tests.tqueue.test_wire import FORM, WireCase
from twisted_appserver.tqueue.client.terms import TaskId, put_options, unique_keys


class UniqueWireTests(WireCase):
    def test_second_put_returns_the_id_of_the_first_task(self) -> None:
        first = self.ask("/p/put", b"n=1", FORM, unique="k")
        self.assertEqual(sorted(first[1]), ["task_id", "worker"])
        second = self.ask("/p/put", b"n=2", FORM, unique="k")
        self.assertEqual(second, (200, {**first[1], "existing": True}))
        (peeked,) = self.ask("/p/peek")[1]["tasks"]
        self.assertEqual((peeked["task"], peeked["unique"]), ({"n": "1"}, "k"))
        self.assertEqual(self.ask(f"/p/show/{first[1]['task_id']}")[1]["unique"], "k")
        self.ask("/p/get")
        self.ask(f"/p/done/{first[1]['task_id']}")
        self.assertNotIn("existing", self.ask("/p/put", b"n=3", FORM, unique="k")[1])

    def test_key_is_taken_for_ever_until_it_is_forgotten(self) -> None:
        for seconds, kept in ((math.inf, True), (60, True), (0.001, False)):
            task_id = self.ask("/p/put", b"n=1", FORM, unique="k", unique_for=seconds)[1]["task_id"]
            self.assertNotIn("unique_for", self.ask(f"/p/show/{task_id}")[1])
            self.ask(f"/p/drop/{task_id}")
            if kept:
                found = self.ask("/p/put", b"n=1", FORM, unique="k")[1]
                self.assertEqual((found["task_id"], found["existing"]), (task_id, True))
            forgotten = self.ask("/p/forget", unique="k")
            self.assertEqual(forgotten, (200, {"worker": "p", "forgotten": kept}))
        self.assertNotIn("existing", self.ask("/p/put", b"n=1", FORM, unique="k")[1])

    def test_array_has_a_key_for_each_task(self) -> None:
        number = self.ask("/p/put", b"n=1", FORM, unique="b")[1]["task_id"]
        body = json.dumps(
            [
                [{"n": 2}, {"unique": "a", "unique_for": "inf"}],
                {"n": 3},
                [{"n": 4}, {"unique": "b", "priority": 5}],
                [{"n": 5}, {"unique": "a"}],
                [{"n": 6}, {"priority": 7, "order": "x"}],
            ]
        ).encode()
        added = self.ask("/p/put", body, key="r")[1]
        self.assertEqual(added["existing"], [2, 3])
        self.assertEqual(self.ask("/p/put", body, key="r")[1], {**added, "repeated": True})
        self.assertEqual((added["task_ids"][2], added["task_ids"][3]), (number, added["task_ids"][0]))
        tasks = self.ask("/p/peek")[1]["tasks"]
        self.assertEqual([each["task"]["n"] for each in tasks], ["1", 2, 3, 6])
        self.assertEqual([each["priority"] for each in tasks], [0.0, 0.0, 0.0, 7.0])
        self.ask("/p/purge")
        self.assertTrue(self.ask("/p/put", b"n=1", FORM, unique="a")[1]["existing"])

    def test_terms_of_an_array_apply_to_tasks_with_keys(self) -> None:
        self.ask("/p/put", b'[[{"n": 1}, {"unique": "a"}], {"n": 2}]', ttl=60)
        tasks = self.ask("/p/peek")[1]["tasks"]
        self.assertEqual([(each["ttl"], each.get("unique")) for each in tasks], [(60.0, "a"), (60.0, None)])

    def test_wrong_keys_are_refused(self) -> None:
        for query, reason in (
            ({"unique": "k" * 501}, "unique must be at most 500 characters"),
            ({"unique": "\0"}, "must not contain the character NUL"),
            ({"unique_for": 5}, "unique_for needs unique"),
            ({"unique": "k", "unique_for": 0}, "unique_for must be more than 0, not 0.0"),
            (
                {"unique": "k", "unique_for": 1e9},
                "unique_for must be more than 0 and at most 31622400 seconds",
            ),
            ({"unique": "k", "unique_for": "ever"}, "unique_for"),
            ({"uniqe": "k"}, "did you mean unique?"),
        ):
            status, problem = self.ask("/p/put", b"n=1", FORM, **query)
            self.assertEqual(status, 422, query)
            self.assertIn(reason, problem["detail"])
        for options in (
            '{"unique_for": 5}',
            '{"delay": 5}',
            '{"unique": 5}',
            '{"unique": "k", "unique_for": 0}',
        ):
            status, problem = self.ask("/p/put", b'[{"n": 1}, [{"n": 2}, %b]]' % options.encode())
            self.assertEqual(status, 422, options)
            self.assertIn("the task at index 1", problem["detail"])
        status, problem = self.ask("/p/forget", b"")
        self.assertEqual((status, problem["detail"].endswith("unique=KEY")), (422, True))
        self.assertEqual(self.ask("/p/qsize")[1]["qsize"], 0)


class UniqueTable(Clients):
    """Cases over both clients."""

    def test_second_put_returns_the_existing_id(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            first = queue.put({"n": 1}, unique="k/ü", unique_for=math.inf)
            second = queue.put({"n": 2}, unique="k/ü")
            assert (second, first.existing, second.existing) == (first, False, True)
            found = queue.put_task({"n": 3}, unique="k/ü")
            assert found == {"task_id": first, "repeated": False, "existing": True}, found
            assert queue.get() == {"n": 1}
            queue.task_done()
            assert queue.put({"n": 4}, unique="k/ü").existing
            assert (queue.forget("k/ü"), queue.forget("k/ü")) == (True, False)
            assert not queue.put({"n": 5}, unique="k/ü").existing
            assert not queue.put({"n": 6}).existing

        return self.run_case(case)

    def test_batch_has_keys(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            ids = queue.put_many([1, 2, 3], unique=["a", None, "a"], unique_for=math.inf)
            assert ([each.existing for each in ids], ids[2]) == ([False, False, True], ids[0])
            more = queue.put_tasks([{"n": 1}, {"n": 2}], unique=["a", "b"])
            assert ([each.existing for each in more], more[0]) == ([True, False], ids[0])
            assert (queue.purge(), queue.put("x", unique="a").existing) == (3, True)

        return self.run_case(case)


class QueueUniqueTests(UniqueTable, QueueClients, TestCase):
    timeout = 120


class AsyncQueueUniqueTests(UniqueTable, AsyncQueueClients, TestCase):
    timeout = 120


class UniqueCommandTests(ServerCase):
    def test_key_is_an_option_of_put(self) -> None:
        words = ("put", "q", "n=1", "--unique", "k", "--unique-for", "inf")
        first = json.loads(self.good(*words))
        self.assertEqual(json.loads(self.good(*words)), {**first, "existing": True})
        self.good("drop", "q", first["task_id"])
        self.assertIn('"existing"', self.good("put", "q", "n=2", "--unique", "k"))
        self.assertEqual(json.loads(self.good("forget", "q", "k")), {"worker": "q", "unique": "k"})
        self.assertIn("the key k of the queue q is not taken", self.bad(1, "forget", "q", "k"))
        self.assertNotIn("existing", self.good("put", "q", "n=2", "--unique", "k"))

    def test_lines_have_no_common_key(self) -> None:
        self.assertIn("--unique names one put", self.bad(2, "put", "q", "--unique", "k", lines="n=1\n"))
        self.assertIn("unique_for needs unique", self.bad(2, "put", "q", "n=1", "--unique-for", "5"))
        self.assertEqual(self.queue.qsize(), 0)


class UniqueOptionTests(SynchronousTestCase):
    def test_wrong_options_are_refused_before_a_request(self) -> None:
        for options in ({"unique": ""}, {"unique": "k" * 501}, {"unique": "\0"}, {"unique_for": 5.0}):
            self.assertRaises(ValueError, put_options, options, "put", ())
        wrong: Any
        for wrong in (["a"], "ab", ["a", ""]):
            self.assertRaises(ValueError, unique_keys, wrong, None, 2)
        self.assertRaises(ValueError, unique_keys, None, 5.0, 2)
        self.assertEqual(unique_keys(None, None, 2), None)

    def test_id_is_text(self) -> None:
        self.assertEqual(json.dumps([TaskId("1-f", True)]), '["1-f"]')
        self.assertEqual((TaskId("1-f", True), TaskId("1-f").existing), ("1-f", False))
