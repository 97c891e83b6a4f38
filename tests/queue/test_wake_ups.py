"""Requests that wait at one server and are woken by another one over the same PostgreSQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from threading import Event
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.queue.test_groups import add
from tests.queue.test_results import LONG
from tests.queue.test_stores import StoreTestCase, begin, put
from tests.support.postgres import needs_postgresql, shared
from twisted_appserver.queue.model import QueuedTask
from twisted_appserver.queue.postgresql import broker as broker_module
from twisted_appserver.queue.postgresql import session
from twisted_appserver.queue.postgresql.transaction import Transaction

LIMIT = 10.0  # seconds after which a test fails


class HeldTransactions:
    """
    Holds the results of one transaction back until another server has changed something. Then the results and
    the notification are received together.
    """

    def __init__(self, test: StoreTestCase) -> None:
        self._server = ""
        self._verbs: Container[str] = ()
        self._performed, self._changed = Event(), Event()
        test.patch(session, "Transaction", self._make)
        test.addCleanup(self._changed.set)

    def hold(self, broker: Any, verb: str) -> None:
        """Hold the next transaction of a broker that performs a request with this verb."""
        self._performed.clear()
        self._changed.clear()
        self._server, self._verbs = broker.store.server, (verb,)

    async def performed(self) -> None:
        """Wait until the database has performed the transaction."""
        while not self._performed.is_set():
            await deferLater(reactor, 0.005)

    def resume(self) -> None:
        self._changed.set()

    def _make(self, connection: Any, known: Any, server: str, *others: Any) -> Transaction:
        transaction = Transaction(connection, known, server, *others)
        run = transaction.run

        def run_and_hold(requests: Any, *arguments: Any) -> None:
            run(requests, *arguments)
            if server == self._server and any(request.verb in self._verbs for request in requests):
                self._verbs = ()
                self._performed.set()
                self._changed.wait(LIMIT)
                connection.execute("SELECT 1")  # receives the notification

        transaction.run = run_and_hold  # type: ignore[method-assign]
        return transaction


@needs_postgresql
class WakeUpTests(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(broker_module, "POLL_INTERVAL", 1000.0)
        url = shared().database()
        self.here, self.there = self.broker(url), self.broker(url)
        self.held = HeldTransactions(self)

    async def overtaken(self, verb: str, waiting: Awaitable[Any], change: Callable[[], Any]) -> Any:
        """Return the result of a request. Another server changes something before its lookup returns."""
        self.held.hold(self.here, verb)
        result: Deferred[Any] = begin(waiting)
        await self.held.performed()
        await change()
        self.held.resume()
        return await result.addTimeout(LIMIT, reactor)

    async def test_notification_does_not_overtake_the_lookup_of_a_result(self) -> None:
        await self.here.change("q", {"keep": 60})
        number, _ = await put(self.here, 2)
        await self.there.get("q")
        found = await self.overtaken(
            "result", self.here.result("q", number, LONG), lambda: self.there.done("q", number, 0, b"1")
        )
        self.assertEqual((found.state, found.result), ("done", b"1"))

    async def test_notification_does_not_overtake_a_get(self) -> None:
        await self.here.change("q", {"keep": 60})
        found = await self.overtaken("get", self.here.get("q", None, "", LONG), lambda: put(self.there, 1))
        self.assertIsInstance(found, QueuedTask)

    async def test_notification_does_not_overtake_a_get_that_is_tried_again(self) -> None:
        """The get has waited, and is woken, but finds nothing."""
        await self.here.change("q", {"keep": 60})
        waiting = begin(self.here.get("q", None, "", LONG))
        await self.here.stats("q")
        self.held.hold(self.here, "get")
        self.here.pending.retry("q", "get")
        await self.held.performed()
        await put(self.there, 1)
        self.held.resume()
        self.assertIsInstance(await waiting.addTimeout(LIMIT, reactor), QueuedTask)

    async def test_notification_does_not_overtake_a_put(self) -> None:
        await self.here.change("q", {"maxsize": 1})
        await put(self.here, 1)
        waiting = self.here.put("q", QueuedTask(0, b"{}"), "", LONG)
        found = await self.overtaken("put", waiting, lambda: self.there.get("q"))
        self.assertIsInstance(found, QueuedTask)

    async def test_notification_does_not_overtake_a_join(self) -> None:
        (number,) = await put(self.here, 1)
        await self.there.get("q")
        waiting = self.here.join("q", LONG)
        found = await self.overtaken("join", waiting, lambda: self.there.done("q", number))
        self.assertEqual(found, (0, 0))

    async def test_notification_does_not_overtake_a_get_of_the_next_task_of_a_group(self) -> None:
        first, second = await add(self.here), await add(self.here)
        await self.there.get("q")
        waiting = self.here.get("q", None, "", LONG)
        found = await self.overtaken("get", waiting, lambda: self.there.done("q", first))
        self.assertEqual(found.number, second)
