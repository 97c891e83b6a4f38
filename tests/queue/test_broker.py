"""The broker, over each store: the same table of cases, on a clock that is handed in."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.backends import open_store
from twisted_appserver.queue.interface import EMPTY, FULL, SHUTDOWN, STOPPING, LimitError, StoreError
from twisted_appserver.queue.local.broker import LocalBroker
from twisted_appserver.queue.local.journal import Change, IStore, Saved
from twisted_appserver.queue.local.memory_journal import MemoryStore
from twisted_appserver.queue.local.sqlite_journal import SQLiteStore
from twisted_appserver.queue.model import Task, replace

INF = float("inf")


class ThreadClock(Clock):
    """A clock for a store with a thread: what the thread hands back is run by L{settle}."""

    def __init__(self) -> None:
        super().__init__()
        self.handed: list[Any] = []

    def callFromThread(self, function: Any, *args: Any) -> None:
        self.handed.append((function, args))

    def settle(self) -> None:
        self.advance(0)
        while self.handed:
            function, args = self.handed.pop(0)
            function(*args)
            self.advance(0)


@implementer(IStore)
class SlowStore:
    """Keeps nothing, and stores when it is told to, or fails: for what happens between."""

    def __init__(self) -> None:
        self.writes: list[tuple[Change, Deferred[None]]] = []

    def open(self, reactor: Any) -> Saved:
        return Saved(b"s")

    def write(self, change: Change) -> Deferred[None]:
        deferred: Deferred[None] = Deferred()
        self.writes.append((change, deferred))
        return deferred

    def commit(self, error: Exception | None = None) -> None:
        writes, self.writes = self.writes, []
        for _, deferred in writes:
            if error:
                deferred.errback(error)
            else:
                deferred.callback(None)

    def tidy(self) -> None:
        pass

    def close(self) -> Deferred[None]:
        closed: Deferred[None] = Deferred()
        closed.callback(None)
        return closed


class BrokerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.clock.advance(1000.0)
        self.store: Any = MemoryStore()
        self.broker = self.begin()

    def begin(self) -> LocalBroker:
        broker = LocalBroker(self.clock, self.store, max_queues=5)
        broker.start()
        self.addCleanup(broker.stop)
        return broker

    def ask(self, asked: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        return Deferred.fromCoroutine(asked)

    def now(self, asked: Coroutine[Any, Any, Any]) -> Any:
        return self.successResultOf(self.ask(asked))

    def put(self, count: int = 1, **options: Any) -> list[int]:
        return [self.now(self.broker.put("q", Task(0, b"{}", **options))).number for _ in range(count)]

    def number(self, found: Any) -> Any:
        return found.number if isinstance(found, Task) else found

    def configure(self, **changes: Any) -> None:
        self.now(self.broker.configure("q", replace(self.broker.look("q").config, changes)))


class WaitingTests(BrokerCase):
    def test_order_of_arrival(self) -> None:
        """Waiting gets are served in the order in which they came, and nobody comes between."""
        waiting = [self.ask(self.broker.get("q", timeout=INF)) for _ in range(3)]
        numbers = self.put(3)
        self.assertEqual([self.successResultOf(each).number for each in waiting], numbers)

    def test_late(self) -> None:
        """A get waits as long as it said, and not longer."""
        waiting = self.ask(self.broker.get("q", timeout=5.0))
        self.clock.advance(4.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(waiting), EMPTY)
        self.assertEqual(self.broker.figures("q")["getters"], 0)

    def test_cancelled(self) -> None:
        """A client that goes away while it waits gets no task: the next in line does."""
        gone, waiting = [self.ask(self.broker.get("q", timeout=INF)) for _ in range(2)]
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        (number,) = self.put()
        self.assertEqual(self.successResultOf(waiting).number, number)

    def test_full(self) -> None:
        """A put to a full queue says so, or waits for room; it comes after those who wait already."""
        self.configure(maxsize=1)
        self.put()
        self.assertEqual(self.now(self.broker.put("q", Task(0, b"{}"))), FULL)
        waiting = [self.ask(self.broker.put("q", Task(0, b"{}"), timeout=INF)) for _ in range(2)]
        self.now(self.broker.get("q"))
        self.assertIsInstance(self.successResultOf(waiting[0]), Task)
        self.assertNoResult(waiting[1])
        self.assertEqual(self.now(self.broker.put("q", Task(0, b"{}"))), FULL)

    def test_join(self) -> None:
        """join ends when the last task is done, and not before."""
        self.put(2)
        waiting = self.ask(self.broker.join("q", INF))
        for _ in range(2):
            self.assertNoResult(waiting)
            task = self.now(self.broker.get("q"))
            self.assertNoResult(waiting)
            self.now(self.broker.done("q", task.number))
        self.assertEqual(self.successResultOf(waiting), (0, 0))

    def test_same_key(self) -> None:
        """A get repeated with its key takes the place of the first one, which its client has given up."""
        first = self.ask(self.broker.get("q", key="a:1", timeout=INF))
        again = self.ask(self.broker.get("q", key="a:1", timeout=INF))
        self.assertEqual(self.successResultOf(first), EMPTY)
        (number,) = self.put()
        self.assertEqual(self.successResultOf(again).number, number)

    def test_stopping(self) -> None:
        """Those who wait when the server stops are told so, and so is who comes after."""
        waiting = self.ask(self.broker.get("q", timeout=INF))
        self.broker.stop_waiting()
        self.assertEqual(self.successResultOf(waiting), STOPPING)
        self.assertEqual(self.now(self.broker.get("q", timeout=5.0)), STOPPING)

    def test_many(self) -> None:
        """Ten thousand waiters are served in order."""
        waiting = [self.ask(self.broker.get("q", timeout=INF)) for _ in range(10_000)]
        numbers = self.put(10_000)
        self.assertEqual([self.successResultOf(each).number for each in waiting], numbers)
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)  # the lease's, and that which tidies


class LeaseTests(BrokerCase):
    def test_runs_out(self) -> None:
        """A task whose lease runs out goes to the one who waits, at that moment."""
        self.put()
        first = self.now(self.broker.get("q", 10.0))
        waiting = self.ask(self.broker.get("q", timeout=INF))
        self.clock.advance(9.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(waiting).deliveries, 2)
        self.assertIsNone(self.now(self.broker.done("q", first.number, delivery=1)))

    def test_extend(self) -> None:
        """A client that extends its lease keeps the task for ten leases."""
        self.put()
        task = self.now(self.broker.get("q", 3.0))
        for _ in range(15):
            self.clock.advance(2.0)
            self.assertIs(self.now(self.broker.extend("q", task.number, 3.0)), task)
        self.assertIs(self.now(self.broker.done("q", task.number)), task)

    def test_release(self) -> None:
        """A task that is released is there at once, or after its delay."""
        (number,) = self.put()
        for delay in (0.0, 5.0):
            self.now(self.broker.get("q"))
            self.now(self.broker.release("q", number, delay))
            self.clock.advance(delay)
            self.assertEqual(self.broker.look("q").ready[0][3].number, number)

    def test_bury(self) -> None:
        """A task that is buried comes back when it is kicked."""
        (number,) = self.put()
        self.now(self.broker.get("q"))
        self.now(self.broker.bury("q", number))
        self.assertEqual(self.now(self.broker.get("q")), EMPTY)
        waiting = self.ask(self.broker.get("q", timeout=INF))
        self.assertEqual(self.now(self.broker.kick("q", 10)), 1)
        self.assertEqual(self.successResultOf(waiting).number, number)

    def test_answer_lost(self) -> None:
        """A get repeated with its key while the task is leased to it gets the same task."""
        self.put(2)
        task = self.now(self.broker.get("q", key="a:1"))
        self.assertIs(self.now(self.broker.get("q", key="a:1")), task)
        self.assertIsNot(self.now(self.broker.get("q", key="a:2")), task)
        self.assertEqual(task.deliveries, 1)


class KeyTests(BrokerCase):
    def test_repeated(self) -> None:
        """A put repeated with its key adds nothing, and gets the same id; also when the task is done."""
        first = self.now(self.broker.put("q", Task(0, b"{}"), "a:1"))
        self.now(self.broker.get("q"))
        self.now(self.broker.done("q", first.number))
        again = self.now(self.broker.put("q", Task(0, b"{}"), "a:1"))
        self.assertEqual((again.number, len(self.broker.look("q").ready)), (first.number, 0))

    def test_forgotten(self) -> None:
        """A key is remembered for the time that the queue's options say."""
        self.now(self.broker.put("q", Task(0, b"{}"), "order-1"))
        self.clock.pump([60.0] * 6)
        self.now(self.broker.put("q", Task(0, b"{}"), "order-1"))
        self.assertEqual(len(self.broker.look("q").ready), 2)


class ShutdownTests(BrokerCase):
    def test_draining(self) -> None:
        """After a shutdown puts are refused, gets go on until the queue is empty."""
        self.put(1)
        self.configure(shutdown="draining")
        self.assertEqual(self.now(self.broker.put("q", Task(0, b"{}"), timeout=5.0)), SHUTDOWN)
        self.assertIsInstance(self.now(self.broker.get("q")), Task)
        self.assertEqual(self.now(self.broker.get("q", timeout=5.0)), SHUTDOWN)

    def test_waiters(self) -> None:
        """A shutdown sends away who waits for a task or for room."""
        self.configure(maxsize=1)
        waiting = [self.ask(self.broker.get("q", timeout=INF))]
        self.configure(shutdown="draining")
        self.assertEqual([self.successResultOf(each) for each in waiting], [SHUTDOWN])

    def test_immediate(self) -> None:
        """An immediate shutdown throws away what waits, and join ends."""
        self.put(3)
        joining = self.ask(self.broker.join("q", INF))
        self.configure(shutdown="immediate")
        self.assertEqual(self.now(self.broker.get("q")), SHUTDOWN)
        self.assertEqual(self.successResultOf(joining), (0, 0))


class LimitTests(BrokerCase):
    def test_queues(self) -> None:
        """There are at most so many queues; one that is empty does not count."""
        tasks = [self.now(self.broker.put(name, Task(0, b"{}"))) for name in "abcde"]
        self.failureResultOf(self.ask(self.broker.put("f", Task(0, b"{}"))), LimitError)
        self.assertEqual(self.now(self.broker.get("f")), EMPTY)
        self.now(self.broker.get("a"))
        self.now(self.broker.done("a", tasks[0].number))
        self.assertIsInstance(self.now(self.broker.put("f", Task(0, b"{}"))), Task)
        self.assertEqual(self.broker.names(), list("bcdef"))

    def test_purge(self) -> None:
        """What waits is thrown away; what is leased or buried stays, and room is made."""
        self.configure(maxsize=3)
        self.assertEqual(self.now(self.broker.purge("q")), 0)
        for _ in range(3):
            self.now(self.broker.put("q", Task(0, b"{}")))
        self.now(self.broker.get("q"))
        self.now(self.broker.put("q", Task(0, b"{}")))
        waiting = self.ask(self.broker.put("q", Task(0, b"{}"), timeout=INF))
        self.assertEqual(self.now(self.broker.purge("q")), 3)
        self.successResultOf(waiting)
        figures = self.broker.figures("q")
        self.assertEqual((figures["ready"], figures["leased"], figures["unfinished"]), (1, 1, 2))

    def test_delete(self) -> None:
        """A queue that is deleted is gone, with those who wait at it."""
        waiting = self.ask(self.broker.get("q", timeout=INF))
        self.now(self.broker.delete("q"))
        self.assertEqual((self.successResultOf(waiting), self.broker.names()), (SHUTDOWN, []))


class BetweenTests(BrokerCase):
    """What happens while a change is being stored."""

    def setUp(self) -> None:
        super().setUp()
        self.store = SlowStore()
        self.broker = self.begin()

    def test_put(self) -> None:
        """A put is answered when it is stored; nobody can get the task before."""
        putting = self.ask(self.broker.put("q", Task(0, b"{}")))
        getting = self.ask(self.broker.get("q", timeout=INF))
        self.assertNoResult(putting)
        self.assertNoResult(getting)
        self.store.commit()
        self.successResultOf(putting)
        self.assertNoResult(getting)  # its lease is being stored
        self.store.commit()
        self.assertIsInstance(self.successResultOf(getting), Task)

    def test_repeated_before_given_up(self) -> None:
        """A get that is given up after it was repeated leaves the task to the second one only, given anew."""
        putting = self.ask(self.broker.put("q", Task(0, b"{}")))
        self.store.commit()
        number = self.successResultOf(putting).number
        first = self.ask(self.broker.get("q", key="a:1"))
        second = self.ask(self.broker.get("q", key="a:1"))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.store.commit()
        self.store.commit()
        task = self.successResultOf(second)
        self.assertEqual((task.number, task.deliveries), (number, 2))
        self.assertEqual(self.now(self.broker.get("q")), EMPTY)

    def test_put_fails(self) -> None:
        """A put that cannot be stored fails, and its room is free again."""
        configuring = self.ask(
            self.broker.configure("q", replace(self.broker.look("q").config, {"maxsize": 1}))
        )
        self.store.commit()
        self.successResultOf(configuring)
        putting = self.ask(self.broker.put("q", Task(0, b"{}"), "a:1"))
        self.assertEqual(self.now(self.broker.put("q", Task(0, b"{}"))), FULL)
        self.store.commit(StoreError("full"))
        self.failureResultOf(putting, StoreError)
        self.assertNoResult(self.ask(self.broker.put("q", Task(0, b"{}"), "a:1")))
        self.store.commit()
        self.assertEqual(len(self.broker.look("q").ready), 1)

    def test_put_cancelled(self) -> None:
        """A client that goes away while its task is stored leaves the task there."""
        putting = self.ask(self.broker.put("q", Task(0, b"{}"), "a:1"))
        putting.cancel()
        self.failureResultOf(putting, CancelledError)
        again = self.ask(self.broker.put("q", Task(0, b"{}"), "a:1"))
        self.store.commit()
        self.assertEqual(self.successResultOf(again).number, 1)
        self.assertEqual(len(self.broker.look("q").ready), 1)

    def test_get_cancelled(self) -> None:
        """A client that goes away while its lease is stored gives the task back, in its next delivery."""
        self.ask(self.broker.put("q", Task(0, b"{}")))
        self.store.commit()
        getting = self.ask(self.broker.get("q"))
        getting.cancel()
        self.failureResultOf(getting, CancelledError)
        task = self.broker.look("q").ready[0][3]
        self.assertEqual((task.deliveries, self.store.writes[-1][0].updates[0][2]), (1, 1))

    def test_get_fails(self) -> None:
        """Gets go on when leases cannot be stored; a done that cannot be stored leaves the task leased."""
        self.ask(self.broker.put("q", Task(0, b"{}")))
        self.store.commit()
        getting = self.ask(self.broker.get("q"))
        self.store.commit(StoreError("full"))
        task = self.successResultOf(getting)
        done = self.ask(self.broker.done("q", task.number))
        self.store.commit(StoreError("full"))
        self.failureResultOf(done, StoreError)
        self.assertIs(self.broker.look("q").find(task.number), task)
        done = self.ask(self.broker.done("q", task.number))
        joining = self.ask(self.broker.join("q", INF))
        self.assertNoResult(joining)  # not before it is stored
        self.store.commit()
        self.assertEqual((self.successResultOf(done), self.successResultOf(joining)), (task, (0, 0)))

    def test_shutdown(self) -> None:
        """A put that an immediate shutdown overtakes is refused; a get waits for those that are admitted."""
        putting = self.ask(self.broker.put("q", Task(0, b"{}")))
        config = self.broker.look("q").config
        self.ask(self.broker.configure("q", replace(config, {"shutdown": "draining"})))
        getting = self.ask(self.broker.get("q", timeout=INF))
        self.assertNoResult(getting)
        self.ask(self.broker.configure("q", replace(config, {"shutdown": "immediate"})))
        self.store.commit()
        self.assertEqual((self.successResultOf(putting), self.successResultOf(getting)), (SHUTDOWN, SHUTDOWN))


class SQLiteTests(BrokerCase):
    """What a store in a file brings back."""

    def setUp(self) -> None:
        self.clock = ThreadClock()
        self.clock.advance(1000.0)
        self.path = self.mktemp()
        self.store = SQLiteStore(self.path, self.clock.seconds)
        self.broker = self.begin()

    def begin(self) -> LocalBroker:
        broker = LocalBroker(self.clock, self.store)
        broker.start()
        self.addCleanup(self.end)
        return broker

    def end(self) -> None:
        if self.broker.started:
            closed = self.broker.stop()
            self.until(closed)

    def until(self, deferred: Deferred[Any]) -> Any:
        """Run what the thread hands back until a Deferred has fired."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        while not results:
            self.clock.settle()
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]

    def now(self, asked: Coroutine[Any, Any, Any]) -> Any:
        return self.until(self.ask(asked))

    def again(self) -> None:
        self.end()
        self.store = SQLiteStore(self.path, self.clock.seconds)
        self.broker = self.begin()

    def test_restart(self) -> None:
        """Tasks with all they have, options, keys and leases come back; ids are never given twice."""
        self.configure(kind="priority", maxsize=9)
        self.put(2, priority=2.0)
        self.put(1, priority=1.0, order="x")
        self.put(1, due=1050.0)
        self.now(self.broker.put("q", Task(0, b'{"a":1}'), "a:1"))
        leased = self.now(self.broker.get("q", 20.0, "g:1"))
        gone = self.now(self.broker.get("q"))
        self.now(self.broker.done("q", gone.number))
        before, secret = self.broker.look("q"), self.broker.secret
        self.again()
        after = self.broker.look("q")
        for name in ("config", "delayed", "leased", "keys"):
            self.assertEqual(getattr(before, name), getattr(after, name))
        self.assertEqual(sorted(before.ready), sorted(after.ready))
        self.assertEqual(self.now(self.broker.get("q", 20.0, "g:1")), leased)
        self.assertEqual(self.now(self.broker.put("q", Task(0, b'{"a":1}'), "a:1")).number, 5)
        self.assertEqual((self.put(), self.broker.secret), ([6], secret))
        self.clock.advance(20.1)
        self.assertEqual(self.broker.look("q").leased, {})

    def test_buried(self) -> None:
        """What was buried stays so, and what was not is not, whatever the options have become."""
        self.configure(max_deliveries=1)
        self.put(3)
        self.now(self.broker.get("q", 10.0))
        self.clock.advance(10.1)
        self.assertEqual(list(self.broker.look("q").buried), [1])
        self.configure(max_deliveries=0)
        self.now(self.broker.release("q", self.now(self.broker.get("q")).number))
        self.now(self.broker.get("q", 10.0))
        self.configure(max_deliveries=1)
        self.clock.advance(10.1)
        self.again()
        self.configure(max_deliveries=0)
        self.again()
        queue = self.broker.look("q")
        self.assertEqual((list(queue.buried), [entry[2] for entry in queue.ready]), ([1, 2], [3]))

    def test_deleted_and_put(self) -> None:
        """What is put after a queue was deleted stays, also where one commit has both."""
        self.put()
        deleted, put = (
            self.ask(self.broker.delete("q")),
            self.ask(self.broker.put("q", Task(0, b"{}"), "a:1")),
        )
        self.until(deleted)
        self.assertEqual(self.until(put).number, 2)
        self.again()
        self.assertEqual(self.now(self.broker.get("q")).number, 2)
        self.assertEqual(self.now(self.broker.put("q", Task(0, b"{}"), "a:1")).number, 2)

    def test_put_and_get(self) -> None:
        """Different requests may have the same key at the same time."""
        self.put()
        asked = [
            self.ask(self.broker.put("q", Task(0, b"{}"), "k:1")),
            self.ask(self.broker.get("q", key="k:1")),
        ]
        self.assertEqual([self.until(each).number for each in asked], [2, 1])

    def test_ids(self) -> None:
        """An id is not given again, even if its task was the last one and is gone."""
        (number,) = self.put()
        self.now(self.broker.get("q"))
        self.now(self.broker.done("q", number))
        self.again()
        self.assertEqual(self.put(), [number + 1])

    def test_delete(self) -> None:
        """A queue that was deleted does not come back."""
        self.put(2)
        self.configure(maxsize=9)
        self.now(self.broker.delete("q"))
        self.again()
        self.assertEqual(self.broker.names(), [])

    def test_one_process(self) -> None:
        """While it is open nobody else can open the file."""
        other = LocalBroker(self.clock, SQLiteStore(self.path))
        self.assertIn("another process", str(self.assertRaises(ConfigurationError, other.start)))

    def test_newer(self) -> None:
        """A file of a later version is refused, not spoilt."""
        self.store._database.execute("PRAGMA user_version=99")
        self.end()
        store = SQLiteStore(self.path)
        error = self.assertRaises(ConfigurationError, store.open, self.clock)
        store._database.close()
        self.assertIn("version 99", str(error))
        self.broker = LocalBroker(self.clock, MemoryStore())

    def test_shrinks(self) -> None:
        """When many tasks are done, the file gives their space back."""
        puts = [self.ask(self.broker.put("q", Task(0, b'{"a":"%s"}' % (b"x" * 10_000)))) for _ in range(1000)]
        self.until(puts[-1])
        ask = self.store._database.execute
        for _ in range(1000):
            task = self.now(self.broker.get("q")) if _ == 0 else self.broker.look("q").take(1000.0, 9.0)
            last = self.ask(self.broker.done("q", task.number))
        self.until(last)
        large = ask("PRAGMA page_count").fetchone()[0]
        self.clock.advance(61.0)
        self.put()
        self.assertLess(ask("PRAGMA page_count").fetchone()[0] * 10, large)

    def test_cut_off(self) -> None:
        """A file is as it was at the last commit when the process ends without a word."""
        self.put(3)
        copies = {}
        for name in (self.path, self.path + "-wal"):
            with open(name, "rb") as file:
                copies[name] = file.read()
        other = self.mktemp()
        for name, content in copies.items():
            with open(name.replace(self.path, other), "wb") as file:
                file.write(content)
        self.end()
        self.path = other
        self.again()
        self.assertEqual(len(self.broker.look("q").ready), 3)


class OpenTests(SynchronousTestCase):
    def test_interfaces(self) -> None:
        """Every store provides the interface."""
        for store in (MemoryStore(), SQLiteStore("x"), SlowStore()):
            verifyObject(IStore, store)

    def test_names(self) -> None:
        """A store that there is not is refused with one line that says what there is."""
        self.assertIsInstance(open_store("memory:"), MemoryStore)
        self.assertEqual(open_store("sqlite:a/b").path, os.path.abspath("a/b"))  # type: ignore[attr-defined]
        for text in ("redis:", "sqlite:", ""):
            self.assertIn("memory:", str(self.assertRaises(ConfigurationError, open_store, text)))

    def test_no_folder(self) -> None:
        """A file that cannot be opened is a configuration error."""
        self.assertRaises(ConfigurationError, open_store("sqlite:/nowhere/at/all").open, Clock())
