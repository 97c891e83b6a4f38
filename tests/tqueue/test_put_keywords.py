"""The keywords of the methods that put tasks: both clients, and transactions."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.queue_clients import AsyncQueueClients, ClientCase, Clients, QueueClients
from twisted_appserver import Retry
from twisted_appserver.tqueue import transactions

PUTS: tuple[tuple[str, Any], ...] = (
    ("put", {"n": 1}),
    ("put_many", [{"n": 1}]),
    ("put_task", {"n": 1}),
    ("put_tasks", [{"n": 1}]),
)
MISSPELT = (("dleay", "delay"), ("uniqe", "unique"), ("groop", "group"), ("retries", "retry"), ("tll", "ttl"))
NO_RULE = "retry must be a Retry, such as Retry(attempts=3), not "


class KeywordTable(Clients):
    """The cases."""

    def test_misspelt_keyword_is_refused_with_the_closest_one(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            for verb, what in PUTS:
                for wrong, right in MISSPELT:
                    with self.assertRaises(TypeError) as caught:  # type: ignore[attr-defined]
                        getattr(queue, verb)(what, **{wrong: 3})
                    expected = (
                        f"{verb}() got an unexpected keyword argument {wrong!r}; did you mean {right!r}?"
                    )
                    assert str(caught.exception) == expected, caught.exception
            assert here.stats()["puts"] == 0

        return self.run_case(case)

    def test_keyword_like_no_other_is_refused_with_all_of_them(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            for verb, what in PUTS:
                with self.assertRaises(TypeError) as caught:  # type: ignore[attr-defined]
                    getattr(queue, verb)(what, lease=3)
                assert "'lease'; it takes " in str(caught.exception), caught.exception
                assert all(name in str(caught.exception) for name in ("timeout", "delay", "unique_for"))
            assert here.stats()["puts"] == 0

        return self.run_case(case)

    def test_every_put_may_delay_its_tasks(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            for verb, what in PUTS:
                getattr(queue, verb)(what, delay=300)
            delayed = here.admin.peek(state="delayed")
            assert [each["task"] for each in delayed] == [{"n": 1}] * 4, delayed
            assert all(250 < each["due"] - time.time() <= 300 for each in delayed), delayed
            assert here.stats()["ready"] == 0

        return self.run_case(case)

    def test_retry_that_is_no_rule_is_refused(self) -> Deferred[None]:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            for verb, what in PUTS:
                for wrong in (3, 0, True, "3", {"attempts": 3}, Retry):
                    with self.assertRaises(TypeError) as caught:  # type: ignore[attr-defined]
                        getattr(queue, verb)(what, retry=wrong)
                    assert str(caught.exception) == f"{NO_RULE}{wrong!r}", caught.exception
            assert here.stats()["puts"] == 0

        return self.run_case(case)


class QueueKeywordTests(KeywordTable, QueueClients, TestCase):
    timeout = 60


class AsyncKeywordTests(KeywordTable, AsyncQueueClients, TestCase):
    timeout = 60


class TransactionKeywordTests(SynchronousTestCase):
    """They are checked before the connection is used."""

    def test_wrong_keywords_are_refused(self) -> None:
        for wrong, message in (
            ({"groop": 1}, "put() got an unexpected keyword argument 'groop'; did you mean 'group'?"),
            ({"oder": "a"}, "put() got an unexpected keyword argument 'oder'; did you mean 'order'?"),
            ({"retry": 3}, f"{NO_RULE}3"),
        ):
            error = self.assertRaises(TypeError, transactions.put, object(), "q", {}, **wrong)  # type: ignore[arg-type]
            self.assertEqual(str(error), message)
            asynchronous = transactions.put_async(object(), "q", {}, **wrong)  # type: ignore[arg-type]
            error = self.assertRaises(TypeError, asynchronous.send, None)
            self.assertEqual(str(error), message)
