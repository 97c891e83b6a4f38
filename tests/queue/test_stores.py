"""One table of cases for every store, on the real clock: what a queue promises wherever its tasks are.

The cases run on PostgreSQL twice: with one server, and with two servers that are used in turn.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.support.files import sqlite_store
from tests.support.postgres import PostgreSQL, needs_postgresql, shared
from tests.support.slow import slow
from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.queue.interface import (
    EMPTY,
    FULL,
    SHUTDOWN,
    AwayError,
    IBroker,
    LimitError,
    ReusedError,
)
from twisted_appserver.queue.postgresql import broker as broker_module
from twisted_appserver.queue.postgresql import pending_requests, schema
from twisted_appserver.queue.queued_task import QueuedTask

SOON = 0.4  # seconds that a lease or a delay lasts
AT_ONCE = 5  # cases that run at the same time, since most of their time they wait


class InTurn:
    """Uses one broker after the other."""

    def __init__(self, *brokers: Any) -> None:
        self._brokers = list(brokers)

    def __getattr__(self, name: str) -> Any:
        self._brokers.append(self._brokers.pop(0))
        return getattr(self._brokers[0], name)


def timeout_of_replaced(broker: Any) -> float:
    """A request that is repeated at another server waits there until its timeout, and at the same one not."""
    return 2.0 if isinstance(broker, InTurn) else 20.0


def begin(awaitable: Any) -> Deferred[Any]:
    return Deferred.fromCoroutine(awaitable)


def forgettable(awaitable: Any) -> Deferred[Any]:
    """L{begin} a request that may be cancelled."""
    return begin(awaitable).addErrback(lambda failure: failure.trap(CancelledError))


class StoreCases:
    """The table: each method is a case. It receives a test, for assertions, and a broker."""

    async def fifo(self, test: Any, broker: Any) -> None:
        numbers = await put(broker, 5)
        test.assertEqual([(await broker.get("q")).number for _ in range(5)], numbers)
        test.assertEqual(await broker.get("q"), EMPTY)

    async def lifo(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"kind": "lifo"})
        numbers = await put(broker, 3)
        last = await broker.get("q")
        test.assertEqual(last.number, numbers[2])
        await broker.release("q", last.number)
        test.assertEqual([(await broker.get("q")).number for _ in range(3)], numbers[::-1])

    async def priority(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"kind": "priority"})
        for priority, order in ((2.0, ""), (1.0, "b"), (1.0, "a"), (float("-inf"), ""), (1.0, "a")):
            await broker.put("q", QueuedTask(0, b"%f" % priority, priority, order))
        got = [await broker.get("q") for _ in range(5)]
        test.assertEqual([(task.priority, task.order) for task in got],
                         [(float("-inf"), ""), (1.0, "a"), (1.0, "a"), (1.0, "b"), (2.0, "")])  # fmt: skip
        test.assertLess(got[1].number, got[2].number)

    async def new_kind_reorders_tasks(self, test: Any, broker: Any) -> None:
        numbers = await put(broker, 3)
        await broker.change("q", {"kind": "lifo"})
        test.assertEqual((await broker.get("q")).number, numbers[2])
        await broker.change("q", {"kind": "fifo"})
        test.assertEqual((await broker.get("q")).number, numbers[0])

    async def body_is_kept_byte_for_byte(self, test: Any, broker: Any) -> None:
        body = '{"a":"ä\\u0000\U0001f600","n":1e400}'.encode()
        await broker.put("q", QueuedTask(0, body))
        task = await broker.get("q")
        test.assertEqual((task.body, task.deliveries), (body, 1))
        test.assertEqual((await broker.done("q", task.number)).body, body)
        test.assertEqual(await broker.done("q", task.number), None)

    async def full_queue_refuses_puts(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"maxsize": 2})
        await put(broker, 1)
        await broker.put("q", QueuedTask(0, b"{}"), "", 0.0, 1000.0)  # what is delayed takes room too
        test.assertEqual(await broker.put("q", QueuedTask(0, b"{}")), FULL)
        task = await broker.get("q")
        test.assertIsInstance(await broker.put("q", QueuedTask(0, b"{}")), QueuedTask)
        test.assertEqual(await broker.put("q", QueuedTask(0, b"{}")), FULL)
        await broker.release("q", task.number)  # what comes back is taken in all the same
        test.assertEqual((await broker.stats("q"))["ready"], 2)

    async def concurrent_puts_respect_maxsize(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"maxsize": 7})
        found = await gatherResults([begin(broker.put("q", QueuedTask(0, b"{}"))) for _ in range(40)])
        test.assertEqual(sum(isinstance(each, QueuedTask) for each in found), 7)
        test.assertEqual(await broker.qsizes("q"), {"q": 7})

    async def put_waits_for_room(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"maxsize": 1})
        await put(broker, 1)
        waiting = begin(broker.put("q", QueuedTask(0, b"{}"), "", 20.0))
        await deferLater(reactor, 0.05)
        test.assertFalse(waiting.called)
        await broker.get("q")
        test.assertIsInstance(await waiting, QueuedTask)

    async def get_waits_for_task(self, test: Any, broker: Any) -> None:
        waiting = [begin(broker.get("q", None, "", 20.0)) for _ in range(6)]
        await deferLater(reactor, 0.1)
        numbers = await put(broker, 6)
        got = [(await each).number for each in waiting]
        test.assertEqual(sorted(got), numbers)
        test.assertEqual(await broker.get("q", None, "", 0.05), EMPTY)

    async def cancelled_get_receives_nothing(self, test: Any, broker: Any) -> None:
        waiting = begin(broker.get("q", None, "", 20.0))
        await deferLater(reactor, 0.05)
        waiting.cancel()
        await test.assertFailure(waiting, CancelledError)
        (number,) = await put(broker, 1)
        task = await broker.get("q")
        test.assertEqual((task.number, task.deliveries), (number, 1))

    async def expired_task_is_delivered_again(self, test: Any, broker: Any) -> None:
        first, second = await put(broker, 2)
        test.assertEqual((await broker.get("q", SOON)).number, first)
        waiting = [begin(broker.get("q", None, "", 20.0)) for _ in range(2)]
        test.assertEqual(sorted([(await each).number for each in waiting]), [first, second])
        again = max((await broker.peek("q", 9, "leased")), key=lambda task: int(task.deliveries))
        test.assertEqual((again.number, again.deliveries), (first, 2))
        test.assertEqual(await broker.done("q", first, 1), None)
        test.assertEqual((await broker.done("q", first, 2)).number, first)

    async def expired_task_comes_first(self, test: Any, broker: Any) -> None:
        numbers = await put(broker, 3)
        await broker.get("q", SOON)
        await deferLater(reactor, SOON + 0.1)
        test.assertEqual([(await broker.get("q")).number for _ in range(3)], numbers)

    async def extended_lease_lasts(self, test: Any, broker: Any) -> None:
        (number,) = await put(broker, 1)
        await broker.get("q", SOON)
        for _ in range(3):
            await deferLater(reactor, SOON / 2)
            test.assertIsInstance(await broker.extend("q", number, SOON), QueuedTask)
        test.assertEqual(await broker.get("q"), EMPTY)
        test.assertEqual(await broker.extend("q", number + 1000, 1.0), None)

    async def many_leases_are_renewed_at_once(self, test: Any, broker: Any) -> None:
        """The result has C{False} for each task that is not leased in that delivery."""
        numbers = await put(broker, 30)
        for _ in range(30):
            await broker.get("q", 5 * SOON)
        for _ in range(3):
            await deferLater(reactor, 2 * SOON)
            asked = [(each, 1) for each in numbers]
            test.assertEqual(await broker.renew("q", asked, 5 * SOON), [True] * 30)
        test.assertEqual(await broker.get("q"), EMPTY)
        await broker.done("q", numbers[0])
        asked = [(numbers[0], 1), (numbers[1], 1), (numbers[2], 2), (numbers[3], 0), (numbers[0] + 1000, 0)]
        test.assertEqual(await broker.renew("q", asked, None), [False, True, False, True, False])
        test.assertEqual(await broker.renew("q", [], None), [])
        test.assertEqual(await broker.renew("none", [(numbers[1], 1)], None), [False])

    async def task_is_buried_after_max_deliveries(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"max_deliveries": 2})
        (number,) = await put(broker, 1)
        for _ in range(2):
            task = await broker.get("q")
            await broker.release("q", task.number)
        test.assertEqual(await broker.get("q"), EMPTY)
        (peeked,) = await broker.peek("q", 10, "buried")
        test.assertEqual((peeked.number, peeked.deliveries), (number, 2))
        test.assertEqual(await broker.kick("q", 10), 1)
        task = await broker.get("q")
        test.assertEqual((task.number, task.deliveries), (number, 3))
        await broker.bury("q", number)
        test.assertEqual((await broker.stats("q"))["buried"], 1)

    async def expired_task_is_buried_after_max_deliveries(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"max_deliveries": 1})
        await put(broker, 1)
        await broker.get("q", SOON)
        await deferLater(reactor, SOON + 0.1)
        test.assertEqual(await broker.get("q"), EMPTY)
        test.assertEqual((await broker.stats("q"))["buried"], 1)

    async def delayed_put_is_ready_later(self, test: Any, broker: Any) -> None:
        await broker.put("q", QueuedTask(0, b"{}"), "", 0.0, SOON)
        test.assertEqual(await broker.get("q"), EMPTY)
        test.assertEqual((await broker.stats("q"))["delayed"], 1)
        test.assertIsInstance(await broker.get("q", None, "", 20.0), QueuedTask)

    async def delayed_release_is_ready_later(self, test: Any, broker: Any) -> None:
        (number,) = await put(broker, 1)
        await broker.get("q")
        await broker.release("q", number, SOON)
        test.assertEqual(await broker.get("q"), EMPTY)
        test.assertEqual((await broker.get("q", None, "", 20.0)).number, number)

    async def repeated_put_adds_nothing(self, test: Any, broker: Any) -> None:
        first = await broker.put("q", QueuedTask(0, b"{}"), "k:1")
        again = await broker.put("q", QueuedTask(0, b"{}"), "k:1")
        test.assertEqual(first.number, again.number)
        test.assertNotEqual((await broker.put("q", QueuedTask(0, b"{}"), "k:2")).number, first.number)
        found = await gatherResults([begin(broker.put("q", QueuedTask(0, b"{}"), "other")) for _ in range(5)])
        test.assertEqual(len({task.number for task in found}), 1)
        test.assertEqual(await broker.qsizes("q"), {"q": 3})

    async def keys_that_look_alike_differ(self, test: Any, broker: Any) -> None:
        """Only the keys that client programs generate replace each other."""
        keys = ["invoice:1", "invoice:2", "invoice", "kick", "\1c.1:1"]
        first = [(await broker.put("q", QueuedTask(0, b"{}"), key)).number for key in keys]
        again = [(await broker.put("q", QueuedTask(0, b"{}"), key)) for key in keys]
        test.assertEqual([task.number for task in again], first)
        test.assertEqual({task.body for task in again}, {b""})
        test.assertEqual(len(set(first)), len(keys))
        await broker.put("q", QueuedTask(0, b"{}"), "\1c.1:2")
        test.assertNotEqual((await broker.put("q", QueuedTask(0, b"{}"), "\1c.1:1")).number, first[-1])

    async def reused_key_is_an_error(self, test: Any, broker: Any) -> None:
        """A second body for a key is an error: at the same time, later, and behind requests that wait."""
        first = begin(broker.put("q", QueuedTask(0, b"1"), "k"))
        if not isinstance(broker, InTurn):  # tasks of two servers may come in any order
            await test.assertFailure(begin(broker.put("q", QueuedTask(0, b"2"), "k")), ReusedError)
        await first
        await test.assertFailure(begin(broker.put("q", QueuedTask(0, b"2"), "k")), ReusedError)
        await broker.change("q", {"maxsize": 1})
        waiting = forgettable(broker.put("q", QueuedTask(0, b"{}"), "", 20.0))
        await deferLater(reactor, 0.1)
        await test.assertFailure(begin(broker.put("q", QueuedTask(0, b"2"), "k", 20.0)), ReusedError)
        test.assertEqual(
            (await broker.put("q", QueuedTask(0, b"1"), "k", 20.0)).number, (await first_of(broker)).number
        )
        waiting.cancel()

    async def task_is_dropped_in_any_state(self, test: Any, broker: Any) -> None:
        leased, buried, *others = await put(broker, 6)
        delayed = (await broker.put("q", QueuedTask(0, b"{}"), "", 0.0, 60.0)).number
        await broker.get("q")
        await broker.bury("q", (await broker.get("q")).number)
        for number in (others[1], others[3], leased, buried, delayed):
            test.assertEqual((await broker.drop("q", number)).number, number)
            test.assertIsNone(await broker.drop("q", number))
        test.assertEqual(await broker.renew("q", [(leased, 1)]), [False])
        test.assertIsNone(await broker.done("q", leased))
        test.assertIsNone(await broker.drop("nowhere", leased))
        waiting = begin(broker.join("q", 20.0))
        test.assertEqual((await broker.get("q")).number, others[0])
        test.assertEqual((await broker.get("q")).number, others[2])
        test.assertEqual(await broker.get("q"), EMPTY)
        for number in (others[0], others[2]):
            await broker.drop("q", number)
        test.assertEqual(await waiting, (0, 0))

    async def dropped_task_makes_room(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"maxsize": 1})
        (number,) = await put(broker, 1)
        waiting = begin(broker.put("q", QueuedTask(0, b"{}"), "", 20.0))
        await broker.drop("q", number)
        added = (await waiting).number
        test.assertEqual((await first_of(broker)).number, added)

    async def buried_or_delayed_task_is_kicked_by_its_number(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"max_deliveries": 1})
        _, second = await put(broker, 2)
        delayed = (await broker.put("q", QueuedTask(0, b"{}"), "", 0.0, 60.0)).number
        for _ in range(2):
            await broker.release("q", (await broker.get("q")).number)
        test.assertEqual((await broker.stats("q"))["buried"], 2)
        waiting = begin(broker.get("q", None, "", 20.0))
        for _ in range(2):  # the second kick finds it leased
            test.assertEqual((await broker.kick_task("q", second)).number, second)
        task = await waiting
        test.assertEqual((task.number, task.deliveries), (second, 2))
        test.assertEqual((await broker.kick_task("q", delayed)).number, delayed)
        test.assertEqual((await broker.get("q")).number, delayed)
        test.assertIsNone(await broker.kick_task("q", delayed + 100))
        stats = await broker.stats("q")
        test.assertEqual((stats["ready"], stats["leased"], stats["buried"]), (0, 2, 1))

    async def task_that_waits_is_buried_by_its_number(self, test: Any, broker: Any) -> None:
        first, second = await put(broker, 2)
        delayed = (await broker.put("q", QueuedTask(0, b"{}"), "", 0.0, 60.0)).number
        test.assertIsNone(await broker.bury("q", first, 1))  # that delivery never was
        for number in (first, delayed, first):
            test.assertEqual((await broker.bury("q", number)).number, number)
        test.assertEqual((await broker.get("q")).number, second)
        stats = await broker.stats("q")
        test.assertEqual((stats["ready"], stats["delayed"], stats["buried"]), (0, 0, 2))
        test.assertEqual(await broker.kick("q", 10), 2)
        test.assertEqual((await broker.get("q")).number, first)

    async def repeated_kick_has_no_further_effect(self, test: Any, broker: Any) -> None:
        """A kick or purge with a known key returns the first result."""
        for _ in range(4):
            await put(broker, 1)
            await broker.bury("q", (await broker.get("q")).number)
        for key in ("k:1", "k:1", "k:2", "k:1"):
            test.assertEqual(await broker.kick("q", 1, key), 1)
        test.assertEqual((await broker.stats("q"))["buried"], 2)
        await test.assertFailure(begin(broker.kick("q", 2, "k:1")), ReusedError)
        for _ in range(2):
            test.assertEqual(await broker.purge("q", "k:1"), 2)
            await broker.put("q", QueuedTask(0, b"{}"), "k:1")
        test.assertEqual((await broker.stats("q"))["ready"], 1)

    async def join_does_not_wait_for_buried_tasks(self, test: Any, broker: Any) -> None:
        """join returns how many tasks are buried, whatever has buried them."""
        await broker.change("q", {"max_deliveries": 1})
        for ends in ("bury", "release", "lease", "done"):
            await put(broker, 1)
            task = await broker.get("q", SOON if ends == "lease" else 60.0)
            waiting = begin(broker.join("q", 20.0))
            await deferLater(reactor, 0.05)
            test.assertFalse(waiting.called, ends)
            if ends != "lease":
                await getattr(broker, ends)("q", task.number)
            left, buried = await waiting
            stats = await broker.stats("q")
            test.assertEqual((left, buried, stats["unfinished"]), (0, stats["buried"], 0), ends)
        test.assertEqual(buried, 3)
        await broker.kick("q", 1)
        test.assertEqual(await broker.join("q"), (1, 2))

    async def empty_queues_do_not_count(self, test: Any, broker: Any) -> None:
        """A queue counts while it has a task or an option. Reading, getting and waiting create none."""
        for name in "abcdefgh":
            test.assertEqual(await broker.get(name), EMPTY)
            await broker.kick(name, 1, "key")
            waiting = forgettable(broker.get(name, None, "", 20.0))
            await broker.stats(name)
            test.assertEqual(await broker.qsizes(None), {})
            number = (await broker.put(name, QueuedTask(0, b"{}"), "key")).number
            await waiting
            await broker.done(name, number)
        test.assertEqual(await broker.qsizes(None), {})
        test.assertEqual((await broker.put("a", QueuedTask(0, b"{}"), "key")).body, b"")
        for name in "defgh":
            await broker.put(name, QueuedTask(0, b"{}"))
        await test.assertFailure(begin(broker.change("i", {"maxsize": 1})), LimitError)
        await broker.purge("d")
        await broker.change("i", {"maxsize": 1})
        test.assertEqual(sorted(await broker.qsizes(None)), list("efghi"))

    async def working_store_is_ready(self, test: Any, broker: Any) -> None:
        await broker.check()
        test.assertEqual(broker.unready(), "")

    async def repeated_get_receives_same_task(self, test: Any, broker: Any) -> None:
        await put(broker, 2)
        first = await broker.get("q", None, "g")
        test.assertEqual((await broker.get("q", None, "g")).number, first.number)
        await broker.done("q", first.number)
        test.assertNotEqual((await broker.get("q", None, "g")).number, first.number)

    async def repeated_requests_are_known_behind_waiters(self, test: Any, broker: Any) -> None:
        """A repeated put or get succeeds at once, though other requests wait."""
        await broker.change("q", {"maxsize": 1})
        first = await broker.put("q", QueuedTask(0, b"{}"), "p:1")
        waiting = begin(broker.put("q", QueuedTask(0, b"{}"), "p:2", 20.0))
        await deferLater(reactor, 0.1)
        for timeout in (0.0, 20.0):
            test.assertEqual(
                (await broker.put("q", QueuedTask(0, b"{}"), "p:1", timeout)).number, first.number
            )
        test.assertEqual(await broker.put("q", QueuedTask(0, b"{}"), "p:3"), FULL)
        got = await broker.get("q", None, "g:1")
        test.assertEqual(got.number, first.number)
        await broker.get("q", None, "g:0", 20.0)
        await waiting
        waiting = begin(broker.get("q", None, "h:1", 20.0))
        await deferLater(reactor, 0.1)
        for timeout in (0.0, 20.0):
            test.assertEqual((await broker.get("q", None, "g:1", timeout)).number, first.number)
        test.assertEqual(await broker.get("q", None, "i:1"), EMPTY)
        late = begin(broker.get("q", None, "j:1", 20.0))
        numbers = await put(broker, 1) + [(await broker.put("q", QueuedTask(0, b"{}"), "", 20.0)).number]
        test.assertEqual([(await waiting).number, (await late).number], numbers)

    async def repeated_get_renews_the_lease(self, test: Any, broker: Any) -> None:
        """A repeated get begins a new lease."""
        (number,) = await put(broker, 1)
        await broker.get("q", SOON, "g:1")
        await broker.get("q", 60.0, "g:1")
        await deferLater(reactor, SOON + 0.1)
        test.assertEqual((await broker.done("q", number, 1)).number, number)

    async def cancelled_repeated_get_keeps_task_leased(self, test: Any, broker: Any) -> None:
        """A leased task stays with its client when the repeated get is cancelled too."""
        (number,) = await put(broker, 1)
        await broker.get("q", None, "g:1")
        waiting = begin(broker.get("q", None, "", 20.0))
        await deferLater(reactor, 0.1)
        again = begin(broker.get("q", None, "g:1", 20.0))
        again.addErrback(lambda failure: failure.trap(CancelledError))
        again.cancel()
        await deferLater(reactor, 0.3)
        test.assertFalse(waiting.called)
        test.assertEqual((await broker.get("q", None, "g:1")).number, number)
        await put(broker, 1)
        await waiting

    async def repeated_get_replaces_waiting_one(self, test: Any, broker: Any) -> None:
        first = begin(broker.get("q", None, "g:1", timeout_of_replaced(broker)))
        await deferLater(reactor, 0.1)
        again = begin(broker.get("q", None, "g:1", 25.0))
        test.assertEqual(await first, EMPTY)
        (number,) = await put(broker, 1)
        test.assertEqual((await again).number, number)

    async def repeated_put_succeeds_after_shutdown(self, test: Any, broker: Any) -> None:
        first = await broker.put("q", QueuedTask(0, b"{}"), "k:1")
        await broker.change("q", {"shutdown": "draining"})
        test.assertEqual((await broker.put("q", QueuedTask(0, b"{}"), "k:1")).number, first.number)
        test.assertEqual(await broker.put("q", QueuedTask(0, b"{}"), "k:2"), SHUTDOWN)

    async def late_worker_cannot_finish_a_delivery_after_a_kick(self, test: Any, broker: Any) -> None:
        """The numbers of deliveries go on, and the task gets max_deliveries of them again."""
        await broker.change("q", {"max_deliveries": 2, "retry_first": 0.0})
        for kick in (lambda number: broker.kick("q", 1), lambda number: broker.kick_task("q", number)):
            (number,) = await put(broker, 1)
            for delivery in (1, 2):
                test.assertEqual((await broker.get("q")).deliveries, delivery)
                await broker.fail("q", number, delivery, ("", ""), None)
            test.assertEqual(await broker.get("q"), EMPTY)
            await kick(number)
            test.assertEqual((await broker.get("q")).deliveries, 3)
            for late in (1, 2):
                test.assertEqual(await broker.done("q", number, late), None)
            await broker.fail("q", number, 3, ("", ""), None)
            test.assertEqual((await broker.get("q")).deliveries, 4)
            await broker.fail("q", number, 4, ("", ""), None)
            test.assertEqual((await broker.stats("q"))["buried"], 1)
            await broker.drop("q", number)

    async def kicked_task_ignores_its_delay(self, test: Any, broker: Any) -> None:
        """A kicked task is ready, whatever its delay was."""
        await broker.change("q", {"max_deliveries": 1})
        (number,) = await put(broker, 1)
        await broker.get("q")
        await broker.release("q", number, 100.0)
        await broker.kick("q", 1)
        test.assertEqual((await broker.get("q")).number, number)

    async def join_waits_for_last_task(self, test: Any, broker: Any) -> None:
        test.assertEqual(await broker.join("q"), (0, 0))
        await put(broker, 2)
        test.assertEqual(await broker.join("q"), (2, 0))
        waiting = begin(broker.join("q", 20.0))
        for _ in range(2):
            task = await broker.get("q")
            test.assertFalse(waiting.called)
            await broker.done("q", task.number)
        test.assertEqual(await waiting, (0, 0))

    async def draining_queue_serves_gets(self, test: Any, broker: Any) -> None:
        (number,) = await put(broker, 1)
        await broker.change("q", {"shutdown": "draining"})
        test.assertEqual(await broker.put("q", QueuedTask(0, b"{}")), SHUTDOWN)
        test.assertEqual((await broker.get("q")).number, number)
        test.assertEqual(await broker.get("q", None, "", 20.0), SHUTDOWN)

    async def paused_queue_hands_out_nothing(self, test: Any, broker: Any) -> None:
        first, second = await put(broker, 2)
        leased = await broker.get("q", 20.0, "mine")
        await broker.change("q", {"paused": True})
        test.assertEqual(await broker.get("q"), EMPTY)
        test.assertEqual((await broker.get("q", 20.0, "mine")).number, first)  # it is repeated
        waiting = begin(broker.get("q", None, "", 20.0))
        (third,) = await put(broker, 1)
        test.assertIsNotNone(await broker.done("q", leased.number))
        test.assertEqual((await broker.stats("q"))["ready"], 2)
        test.assertFalse(waiting.called)
        await broker.change("q", {"paused": False})
        test.assertEqual((await waiting).number, second)
        test.assertEqual((await broker.get("q")).number, third)

    async def immediate_shutdown_deletes_tasks(self, test: Any, broker: Any) -> None:
        waiting = begin(broker.get("other", None, "", 20.0))
        await put(broker, 3)
        await broker.get("q")
        for name in ("q", "other"):
            await broker.change(name, {"shutdown": "immediate"})
        test.assertEqual(await waiting, SHUTDOWN)
        stats = await broker.stats("q")
        test.assertEqual((stats["ready"], stats["leased"], stats["unfinished"]), (0, 1, 1))

    async def purge_keeps_leased_tasks(self, test: Any, broker: Any) -> None:
        await put(broker, 3)
        await broker.get("q")
        test.assertEqual(await broker.purge("q"), 2)
        test.assertEqual((await broker.stats("q"))["unfinished"], 1)
        test.assertEqual(await broker.purge("nowhere"), 0)

    async def deleted_queue_is_gone(self, test: Any, broker: Any) -> None:
        await put(broker, 2)
        await broker.change("q", {"maxsize": 5})
        waiting = begin(broker.join("q", 20.0))
        await broker.delete("q")
        test.assertEqual(await waiting, (0, 0))
        test.assertEqual((await broker.config("q")).maxsize, 0)
        test.assertEqual(await broker.get("q"), EMPTY)
        await put(broker, 1)
        test.assertEqual(await broker.qsizes(None), {"q": 1})
        waiting = begin(broker.get("p", None, "", 20.0))  # a queue that has only this waiter
        await deferLater(reactor, 0.1)
        await broker.delete("p")
        test.assertEqual(await waiting, SHUTDOWN)

    async def broker_can_start_again(self, test: Any, broker: Any) -> None:
        if isinstance(broker, InTurn):
            return
        await broker.stop()
        broker.start()
        await put(broker, 1)
        await broker.get("q")
        test.assertEqual(await broker.get("q", None, "", 0.05), EMPTY)

    async def key_expires(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"remember": SOON})
        first = await broker.put("q", QueuedTask(0, b"{}"), "k:1")
        await deferLater(reactor, SOON + 0.1)
        test.assertNotEqual((await broker.put("q", QueuedTask(0, b"{}"), "k:1")).number, first.number)

    async def repeated_get_without_timeout_replaces_waiting_one(self, test: Any, broker: Any) -> None:
        first = begin(broker.get("q", None, "g:1", timeout_of_replaced(broker)))
        await deferLater(reactor, 0.1)
        test.assertEqual(await broker.get("q", None, "g:1"), EMPTY)
        test.assertEqual(await first, EMPTY)

    async def absent_queue_is_like_empty_one(self, test: Any, broker: Any) -> None:
        test.assertEqual(await broker.get("no"), EMPTY)
        for asked in (broker.done("no", 1), broker.bury("no", 1), broker.release("no", 1)):
            test.assertEqual(await asked, None)
        test.assertEqual((await broker.peek("no", 9, "ready"), await broker.kick("no", 9)), ([], 0))
        test.assertEqual((await broker.stats("no"))["unfinished"], 0)

    async def options_are_converted_and_checked(self, test: Any, broker: Any) -> None:
        changed = await broker.change("q", {"maxsize": "5", "lease": 2.5})
        test.assertEqual((changed.maxsize, changed.lease), (5, 2.5))
        test.assertEqual((await broker.config("q")).lease, 2.5)
        for wrong in (
            {"maxsize": "x"},
            {"nothing": 1},
            {"kind": "other"},
            {"maxsize": 2**63},
            {"lease": 1e9},
        ):
            await test.assertFailure(begin(broker.change("q", wrong)), ValueError)
        test.assertEqual((await broker.config("q")).maxsize, 5)

    async def too_many_queues_are_refused(self, test: Any, broker: Any) -> None:
        for number in range(5):
            await broker.put(f"q{number}", QueuedTask(0, b"{}"))
        await test.assertFailure(begin(broker.put("q5", QueuedTask(0, b"{}"))), LimitError)
        await broker.delete("q0")
        await broker.put("q5", QueuedTask(0, b"{}"))
        test.assertEqual(len(await broker.qsizes(None)), 5)

    async def peek_shows_first_tasks(self, test: Any, broker: Any) -> None:
        numbers = await put(broker, 4)
        task = await broker.get("q", 100.0)
        test.assertEqual([each.number for each in await broker.peek("q", 2, "ready")], numbers[1:3])
        (leased,) = await broker.peek("q", 5, "leased")
        test.assertEqual(leased.number, task.number)
        test.assertGreater(leased.lease, reactor.seconds() + 50)  # type: ignore[attr-defined]


async def first_of(broker: Any) -> Any:
    return (await broker.peek("q", 1, "ready"))[0]


async def put(broker: Any, count: int) -> list[int]:
    return [(await broker.put("q", QueuedTask(0, b"{}"))).number for _ in range(count)]


async def entries_read(broker: Any, connection: Any) -> int:
    """Return how many index entries were read. PostgreSQL updates this with a delay of up to a second."""
    sums = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'tasks'"
    before = -1
    while before != (before := int(connection.execute(sums).fetchone()[0])):
        await deferLater(reactor, 1.5)
        await broker.config("q")
    return before


class StoreTestCase(TestCase):
    timeout = 180

    def setUp(self) -> None:
        self.brokers: list[Any] = []  # that run
        self.addCleanup(self.stop_brokers)

    def broker(self, store: str) -> Any:
        broker = make_broker(reactor, open_store(store), max_queues=5)
        verifyObject(IBroker, broker)
        broker.start()
        self.brokers.append(broker)
        return broker

    async def stop_brokers(self) -> None:
        brokers, self.brokers = self.brokers, []
        await gatherResults([maybeDeferred(broker.stop) for broker in brokers])

    async def all_cases(self, make: Callable[[], Any], tables: tuple[type, ...]) -> None:
        cases = [(table, name) for table in tables for name in vars(table) if not name.startswith("_")]
        wrong: list[str] = []
        while cases:
            some = [(*cases.pop(0), make()) for _ in range(min(AT_ONCE, len(cases)))]
            await gatherResults([begin(self.case(*each, wrong)) for each in some])
            await self.stop_brokers()
        self.assertEqual(wrong, [], "\n".join(wrong))

    async def case(self, table: type, name: str, broker: Any, wrong: list[str]) -> None:
        """Run one case. If it fails, add the error to C{wrong}."""
        case: Callable[..., Awaitable[None]] = getattr(table(), name)
        try:
            await begin(case(self, broker)).addTimeout(30, reactor)
        except Exception as error:
            wrong.append(f"{name}: {error!r}")


class OnLocalStores:
    """Tests that run a table of cases over the local stores. A mixin of L{StoreTestCase}."""

    tables: tuple[type, ...]  # of cases
    all_cases: Any
    broker: Any

    @slow
    async def test_all_cases_in_memory(self) -> None:
        await self.all_cases(lambda: self.broker("memory:"), self.tables)

    @slow
    async def test_all_cases_on_sqlite(self: Any) -> None:
        await self.all_cases(lambda: self.broker(sqlite_store(self)), self.tables)


class OnPostgreSQL:
    """Tests that run a table of cases over PostgreSQL. A mixin of L{StoreTestCase}."""

    tables: tuple[type, ...]  # of cases
    all_cases: Any
    broker: Any

    @slow
    async def test_all_cases_on_one_server(self) -> None:
        await self.all_cases(lambda: self.broker(shared().database()), self.tables)

    @slow
    async def test_all_cases_on_two_servers_in_turn(self) -> None:
        """The servers share one database."""

        def make() -> InTurn:
            url = shared().database()
            return InTurn(self.broker(url), self.broker(url))

        await self.all_cases(make, self.tables)


class StoreTests(OnLocalStores, StoreTestCase):
    tables = (StoreCases,)

    async def test_many_queues_are_deleted_in_one_commit(self) -> None:
        """There are more queues than the recursion limit of Python."""
        broker = make_broker(reactor, open_store(sqlite_store(self)))
        broker.start()
        self.addCleanup(broker.stop)
        names = [f"q{number}" for number in range(1200)]
        await gatherResults([begin(broker.put(name, QueuedTask(0, b"{}"))) for name in names])
        await gatherResults([begin(broker.delete(name)) for name in names])
        self.assertEqual(await broker.qsizes(None), {})
        await put(broker, 1)

    async def test_new_key_is_remembered_when_its_lane_is_forgotten(self) -> None:
        """One commit forgets the old key of a lane and remembers the new one."""
        path = sqlite_store(self)
        broker = make_broker(reactor, open_store(path))
        broker.start()
        await broker.change("q", {"remember": SOON})
        await broker.put("q", QueuedTask(0, b"{}"), "k:1")
        await deferLater(reactor, SOON + 0.1)
        await broker.change("q", {"remember": 60.0})
        broker._tidy(reactor.seconds())  # type: ignore[attr-defined]
        number = (await broker.put("q", QueuedTask(0, b"{}"), "k:2")).number
        await broker.stop()
        broker = self.broker(path)
        self.assertEqual((await broker.put("q", QueuedTask(0, b"{}"), "k:2")).number, number)

    def test_unknown_store_is_refused(self) -> None:
        self.assertRaises(ConfigurationError, open_store, "postgresql:x")


@needs_postgresql
class PostgreSQLTests(OnPostgreSQL, StoreTestCase):
    tables = (StoreCases,)

    async def test_prepared_database_is_used_and_later_version_refused(self) -> None:
        """Tables that exist are used as they are. Tables of a later version are refused."""
        url = shared().database()
        await put(self.broker(url), 2)
        self.assertEqual(await self.broker(url).qsizes("q"), {"q": 2})
        shared().ask("UPDATE tqueue.meta SET version = 99", database=url.rpartition("/")[2])
        broker = make_broker(reactor, open_store(url))
        self.assertIn("version 99", str(self.assertRaises(ConfigurationError, broker.start)))

    @slow
    async def test_requests_wait_while_database_is_away_and_nothing_is_lost(self) -> None:
        """While the database is away, a request waits until its time limit. Nothing is lost."""
        server = PostgreSQL().start()
        self.addCleanup(server.remove)
        broker = self.broker(server.database())
        numbers = await put(broker, 3)
        waiting = begin(broker.get("other", None, "", 60.0))
        puts = [begin(broker.put("q", QueuedTask(0, b"{}"))) for _ in range(20)]
        server.stop("immediate")
        late = begin(broker.put("q", QueuedTask(0, b"{}"), "key"))
        self.assertFalse(late.called)
        server.start()
        self.assertIsInstance(await late, QueuedTask)
        await gatherResults(puts)
        self.assertEqual(await broker.qsizes("q"), {"q": 24})
        self.assertEqual((await broker.get("q")).number, numbers[0])
        await put(broker, 1)
        await broker.put("other", QueuedTask(0, b"{}"))
        self.assertIsInstance(await waiting, QueuedTask)
        self.patch(pending_requests, "GRACE", 0.2)
        server.stop("immediate")
        await self.assertFailure(begin(broker.put("q", QueuedTask(0, b"{}"))), AwayError)

    async def test_waiters_are_woken_by_another_server_at_once(self) -> None:
        """A request of one server wakes the waiters of another by a notification, not by the next poll."""
        url = shared().database()
        here, there = self.broker(url), self.broker(url)
        self.patch(broker_module, "POLL_INTERVAL", 1000.0)
        await there.change("q", {"maxsize": 1})
        for _ in range(20):
            waiting = begin(here.get("q", None, "", 20.0))
            await deferLater(reactor, 0.01)
            put_number = (await there.put("q", QueuedTask(0, b"{}"))).number
            self.assertEqual((await waiting).number, put_number)
            joining = begin(here.join("q", 20.0))
            await deferLater(reactor, 0.01)
            await there.done("q", put_number)
            self.assertEqual(await joining, (0, 0))
        await put(here, 1)
        waiting = begin(here.put("q", QueuedTask(0, b"{}"), "", 20.0))
        await deferLater(reactor, 0.01)
        await there.get("q")
        self.assertIsInstance(await waiting, QueuedTask)
        waiting = begin(here.get("p", None, "", 20.0))
        await deferLater(reactor, 0.1)
        await there.delete("p")
        self.assertEqual(await waiting, SHUTDOWN)

    def given_up(self, broker: Any) -> list[Any]:
        """
        Cancel the next get of a broker after its task was leased, and before the broker knows that.

        @return: the releases that follow. They do not reach the store.
        """
        releases = list[Any]()
        ask, answered = broker.store.ask, broker._answered

        def keep_releases(request: Any) -> None:
            (releases.append if request.verb == "release" else ask)(request)

        def give_up(requests: Any, *others: Any) -> None:
            for request in [each for each in requests if each.verb == "get"]:
                request.deferred.cancel()
            answered(requests, *others)

        broker.store.ask = keep_releases
        broker.store._answered = give_up
        return releases

    async def test_cancelled_get_counts_as_delivery(self) -> None:
        """A get that is cancelled after its lease counts as a delivery, as others may have overtaken it."""
        broker = self.broker(shared().database())
        (number,) = await put(broker, 1)
        ask, answered = broker.store.ask, broker.store._answered
        releases = self.given_up(broker)
        forgettable(broker.get("q", None, "k:1"))
        while not releases:
            await deferLater(reactor, 0.01)
        broker.store._answered = answered
        ask(releases[0])
        self.assertEqual((await releases[0].deferred).number, number)
        task = await broker.get("q", None, "k:2")
        self.assertEqual((task.number, task.deliveries), (number, 2))

    async def test_cancelled_repeated_get_leaves_task_with_its_key(self) -> None:
        """A cancelled repeated get leaves the task with its key, with and without other waiters."""
        broker = self.broker(shared().database())
        (number,) = await put(broker, 1)
        await broker.get("q", None, "k:1")
        answered = broker.store._answered
        for waiting in (False, True):
            if waiting:
                forgettable(broker.get("q", None, "", 20.0))
                await deferLater(reactor, 0.1)
            releases = self.given_up(broker)
            forgettable(broker.get("q", None, "k:1"))
            await broker.stats("q")
            broker.store._answered = answered
            self.assertEqual(releases, [])
            task = await broker.get("q", None, "k:1")
            self.assertEqual((task.number, task.deliveries), (number, 1))

    async def test_get_repeated_at_another_server_keeps_its_task(self) -> None:
        """A get was cancelled, but repeated at another server first. The task is not given back."""
        url = shared().database()
        there = self.broker(url)
        (number,) = await put(there, 1)
        here = self.broker(url)
        ask = here.store.ask
        releases = self.given_up(here)
        forgettable(here.get("q", None, "k:1"))
        while not releases:
            await deferLater(reactor, 0.01)
        task = await there.get("q", None, "k:1")
        self.assertEqual((task.number, task.deliveries), (number, 1))
        ask(releases[0])
        self.assertIsNone(await releases[0].deferred)
        self.assertEqual(await there.get("q"), EMPTY)

    def connect(self, url: str) -> Any:
        """Open a connection that commits each statement."""
        import psycopg

        connection = psycopg.connect(url, autocommit=True)
        self.addCleanup(connection.close)
        return connection

    def lock(self, connection: Any) -> None:
        """Lock all queues, as another server would."""
        lock = "SELECT pg_advisory_lock(%s::int, id) FROM tqueue.queues"
        connection.execute(lock, (schema.QUEUE_LOCK,))

    async def test_tables_of_version_one_are_migrated(self) -> None:
        """Tasks and keys in tables of the first version are kept."""
        url = shared().database()
        connection = self.connect(url)
        connection.execute(schema.MIGRATIONS[0])
        connection.execute("UPDATE tqueue.meta SET version = 1")
        connection.execute(
            "INSERT INTO tqueue.queues (name, config) VALUES ('q', %s)", (schema.DEFAULT_OPTIONS,)
        )
        connection.execute(
            'INSERT INTO tqueue.tasks (queue, number, body, priority, "order", state, first, second, '
            "third) VALUES (1, nextval('tqueue.numbers'), '{}', 0, '', 0, 0, '', 1)"
        )
        connection.execute(
            "INSERT INTO tqueue.keys VALUES (1, 'lane', 'lane:1', 1, now() + interval '1 hour')"
        )
        broker = self.broker(url)
        self.assertEqual((await broker.put("q", QueuedTask(0, b"{}"), "lane:1")).number, 1)
        self.assertNotEqual((await broker.put("q", QueuedTask(0, b"{}"), "lane:2")).number, 1)
        self.assertEqual((await broker.put("q", QueuedTask(0, b"other"), "lane:1")).number, 1)
        self.assertEqual((await broker.get("q", None, "holder")).number, 1)
        self.assertEqual((await broker.get("q", None, "holder")).number, 1)
        self.assertEqual((await broker.done("q", 1)).number, 1)
        self.assertEqual((await put(broker, 1)), [3])

    async def test_foreign_notifications_are_ignored(self) -> None:
        """Notifications of other programs in the same channel are ignored, also during transactions."""
        url = shared().database()
        broker, connection = self.broker(url), self.connect(url)
        for note in ("", "x", "x y", "a b c d"):
            for _ in range(5):
                puts = [begin(broker.put("q", QueuedTask(0, b"{}"))) for _ in range(5)]
                connection.execute("SELECT pg_notify('tqueue', %s)", (note,))
                await gatherResults(puts)
        self.assertEqual(await broker.qsizes("q"), {"q": 100})

    async def test_bug_after_commit_repeats_nothing(self) -> None:
        """An exception of this program after the commit does not perform the requests twice."""
        broker = self.broker(shared().database())
        commit = broker.store.database.connection.commit

        def fails() -> None:
            commit()
            broker.store.database.connection.commit = commit
            raise ValueError("a bug")

        broker.store.database.connection.commit = fails
        await gatherResults([begin(broker.put("q", QueuedTask(0, b"{}"))) for _ in range(3)])
        self.assertEqual(await broker.qsizes("q"), {"q": 3})

    async def test_database_restored_in_part_is_refused(self) -> None:
        url = shared().database()
        await self.broker(url).qsizes("q")
        shared().ask("DELETE FROM tqueue.meta", database=url.rpartition("/")[2])
        broker = make_broker(reactor, open_store(url))
        self.assertIn("restored", str(self.assertRaises(ConfigurationError, broker.start)))

    async def test_counts_are_dropped_with_their_queue(self) -> None:
        """The counts of a queue are dropped when it is deleted."""
        broker = self.broker(shared().database())
        await broker.change("stays", {"maxsize": 5})
        for name in ("goes", "stays"):
            await broker.put(name, QueuedTask(0, b"{}"))
            await broker.done(name, (await broker.get(name)).number)
        broker._delete_expired()
        await broker.qsizes()
        self.assertEqual(broker._counts.queues, {"stays"})

    async def test_reading_succeeds_when_there_are_too_many_queues(self) -> None:
        """In one transaction, a put to a new queue fails, and reading the same queue succeeds."""
        broker = self.broker(shared().database())
        for number in range(5):
            await broker.put(f"q{number}", QueuedTask(0, b"{}"))
        refused, figures = begin(broker.put("p", QueuedTask(0, b"{}"))), begin(broker.stats("p"))
        await self.assertFailure(refused, LimitError)
        self.assertEqual((await figures)["ready"], 0)

    async def test_server_ends_while_database_hangs(self) -> None:
        """A server stops even if the database hangs."""
        url = shared().database()
        self.patch(broker_module, "CLOSE_TIMEOUT", 0.5)
        broker = make_broker(reactor, open_store(url))
        broker.start()
        ask = f"SELECT pid FROM pg_stat_activity WHERE datname = '{url.rpartition('/')[2]}'"
        pids = [row[0] for row in self.connect(shared().database()).execute(ask)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            self.addCleanup(os.kill, pid, signal.SIGCONT)
        self.assertTrue(pids)
        waiting = begin(broker.put("q", QueuedTask(0, b"{}")))
        waiting.addErrback(lambda _: None)
        await deferLater(reactor, 0.1)
        await broker.stop()

    async def test_requests_for_locked_queue_share_one_transaction(self) -> None:
        """Requests that arrive while another server has the lock are performed in one transaction."""
        url = shared().database()
        broker, connection = self.broker(url), self.connect(url)
        await put(broker, 1)
        self.lock(connection)
        commits = "SELECT count(*) FROM tqueue.commits"
        before = connection.execute(commits).fetchone()[0]
        waiting = []
        for _ in range(5):
            waiting.append(begin(broker.put("q", QueuedTask(0, b"{}"))))
            await deferLater(reactor, 0.02)
        self.assertIsInstance(await self.broker(url).put("free", QueuedTask(0, b"{}")), QueuedTask)
        self.assertFalse(any(each.called for each in waiting))
        connection.execute("SELECT pg_advisory_unlock_all()")
        await gatherResults(waiting)
        self.assertEqual(await broker.qsizes("q"), {"q": 6})
        self.assertEqual(connection.execute(commits).fetchone()[0] - before, 2)

    async def test_broken_commit_is_repeated_only_if_not_committed(self) -> None:
        """The connection breaks at the commit. The requests are repeated only if it was not committed."""
        import psycopg

        broker = self.broker(shared().database())
        (number,) = await put(broker, 1)
        for before in (False, True):
            connection = broker.store.database.connection
            commit = connection.commit

            def breaks(before: bool = before, connection: Any = connection, commit: Any = commit) -> None:
                if not before:
                    commit()
                connection.close()
                raise psycopg.OperationalError("the server closed the connection unexpectedly")

            self.patch(connection, "commit", breaks)
            done = begin(broker.get("q"))
            task = await begin(broker.put("q", QueuedTask(0, b"{}")))
            self.assertIsNot(broker.store.database.connection, connection)
            self.assertEqual((await done).number, number)
            self.assertEqual(await broker.qsizes("q"), {"q": 1})
            number = task.number

    async def test_two_gets_with_one_key_in_one_transaction(self) -> None:
        """One transaction has two gets with one key. The first was cancelled, and then the server dies."""
        url = shared().database()
        broker, connection = self.broker(url), self.connect(url)
        numbers = await put(broker, 2)
        self.lock(connection)
        first = begin(broker.get("q", None, "k:1"))
        first.addErrback(lambda failure: failure.trap(CancelledError))
        await deferLater(reactor, 0.1)
        second = begin(broker.get("q", None, "k:1"))
        await deferLater(reactor, 0.1)
        self.patch(broker, "_give_back", lambda request: None)  # it would give the task back
        connection.execute("SELECT pg_advisory_unlock_all()")
        self.assertEqual((await second).number, numbers[1])
        self.assertIn((await self.broker(url).get("q", None, "k:1")).number, numbers)

    async def cycles(self, broker: Any, number: int) -> None:
        """Put, get and finish fifty tasks, again and again. Each time, one response is lost."""
        for _ in range(number):
            tasks = await gatherResults([begin(broker.put("q", QueuedTask(0, b"{}"))) for _ in range(50)])
            keys = [f"for:{task.number}" for task in tasks]
            got = await gatherResults([begin(broker.get("q", 1.0, key)) for key in keys])
            self.assertEqual((await broker.get("q", 1.0, keys[7])).number, got[7].number)
            await gatherResults([begin(broker.done("q", task.number)) for task in got])

    @slow
    async def test_cost_does_not_grow_with_deleted_tasks(self) -> None:
        """
        The cost of a request does not grow with the number of deleted tasks.

        A long transaction keeps vacuum from removing them, and the planner has no statistics.
        """
        url = shared().database()
        broker, connection, old = self.broker(url), self.connect(url), self.connect(url)
        connection.execute("ALTER TABLE tqueue.tasks SET (autovacuum_enabled = off)")
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT FROM tqueue.meta")
        await self.cycles(broker, 20)
        first = await entries_read(broker, connection)
        await deferLater(reactor, 2.0)  # a clock may be set back by a second unnoticed
        await self.cycles(broker, 20)
        second = await entries_read(broker, connection)
        self.assertGreater(first, 1000)
        self.assertLess(second - first, 20 * 50 * 12)

    @slow
    async def test_cost_does_not_grow_with_waiting_tasks(self) -> None:
        """The cost of a request does not grow with the number of waiting tasks (with statistics)."""
        url = shared().database()
        broker, connection = self.broker(url), self.connect(url)
        await put(broker, 1)
        connection.execute(
            'INSERT INTO tqueue.tasks (queue, number, body, priority, "order", state, first, second, third) '
            "SELECT t.queue, nextval('tqueue.numbers'), t.body, 0, '', 0, 0, '', n + 1 "
            "FROM tqueue.tasks t, generate_series(1, 50000) n"
        )
        connection.execute("ANALYZE tqueue.tasks")
        first = await entries_read(broker, connection)
        await self.cycles(broker, 2)
        second = await entries_read(broker, connection)
        self.assertLess(second - first, 2 * 50 * 12)

    async def test_start_fails_without_database(self) -> None:
        """The start fails with a clear message if there is no database."""
        broker = make_broker(reactor, open_store("postgresql://postgres@127.0.0.1:1/x"))
        self.assertIn("cannot be used", str(self.assertRaises(ConfigurationError, broker.start)))
