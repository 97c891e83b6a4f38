"""The broker of one server, on a test clock: waiting, leases, keys, failing writes and SQLite."""

from __future__ import annotations

import os
from collections.abc import Coroutine, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.attempt import Attempt
from twisted_appserver.queue.backends import open_store
from twisted_appserver.queue.interface import EMPTY, FULL, SHUTDOWN, STOPPING, LimitError, StoreError
from twisted_appserver.queue.local.broker import LocalBroker
from twisted_appserver.queue.local.journal import Change, IStore, Saved
from twisted_appserver.queue.local.memory_journal import MemoryStore
from twisted_appserver.queue.local.sqlite_journal import SQLiteStore
from twisted_appserver.queue.paging import Place
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.stored_options import replace
from twisted_appserver.queue.task_result import TaskResult

INF = float("inf")


class ThreadClock(Clock):
    """A clock for a store with a thread. L{settle} runs what the thread passes to the reactor."""

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
    """Keeps nothing. L{commit} finishes the writes, so that tests can act before."""

    has_taken = False

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

    def find_result(self, name: str, number: int) -> Deferred[TaskResult | None]:
        return succeed(None)

    def find_ended(self, name: str, count: int, size: int, before: Place) -> Deferred[list[TaskResult]]:
        return succeed([])

    def find_taken(self, name: str, keys: Sequence[str]) -> Deferred[dict[str, int]]:
        return succeed({})

    def count_results(self, name: str) -> int:
        return 0

    def find_attempts(self, name: str, numbers: Sequence[int]) -> Deferred[dict[int, list[Attempt]]]:
        return succeed({})

    def free_unused_space(self) -> None:
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
        return [self.now(self.broker.put("q", QueuedTask(0, b"{}", **options))).number for _ in range(count)]

    def number(self, found: Any) -> Any:
        return found.number if isinstance(found, QueuedTask) else found

    def configure(self, **changes: Any) -> None:
        self.now(self.broker.configure("q", replace(self.broker.look("q").config, changes)))


class WaitingTests(BrokerCase):
    def test_gets_are_served_in_order_of_arrival(self) -> None:
        """Waiting gets are served in order of arrival."""
        waiting = [self.ask(self.broker.get("q", timeout=INF)) for _ in range(3)]
        numbers = self.put(3)
        self.assertEqual([self.successResultOf(each).number for each in waiting], numbers)

    def test_get_waits_until_its_timeout(self) -> None:
        """A get waits for its timeout and not longer."""
        waiting = self.ask(self.broker.get("q", timeout=5.0))
        self.clock.advance(4.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(waiting), EMPTY)
        self.assertEqual(self.broker.figures("q")["getters"], 0)

    def test_cancelled_get_receives_no_task(self) -> None:
        """A task goes to the next waiter if the client of the first is gone."""
        gone, waiting = [self.ask(self.broker.get("q", timeout=INF)) for _ in range(2)]
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        (number,) = self.put()
        self.assertEqual(self.successResultOf(waiting).number, number)

    def test_put_waits_for_room_behind_others(self) -> None:
        """A put to a full queue fails, or waits for room behind the puts that wait already."""
        self.configure(maxsize=1)
        self.put()
        self.assertEqual(self.now(self.broker.put("q", QueuedTask(0, b"{}"))), FULL)
        waiting = [self.ask(self.broker.put("q", QueuedTask(0, b"{}"), timeout=INF)) for _ in range(2)]
        self.now(self.broker.get("q"))
        self.assertIsInstance(self.successResultOf(waiting[0]), QueuedTask)
        self.assertNoResult(waiting[1])
        self.assertEqual(self.now(self.broker.put("q", QueuedTask(0, b"{}"))), FULL)

    def test_join_ends_with_last_task(self) -> None:
        """join ends when the last task is done, and not before."""
        self.put(2)
        waiting = self.ask(self.broker.join("q", INF))
        for _ in range(2):
            self.assertNoResult(waiting)
            task = self.now(self.broker.get("q"))
            self.assertNoResult(waiting)
            self.now(self.broker.done("q", task.number))
        self.assertEqual(self.successResultOf(waiting), (0, 0))

    def test_repeated_get_replaces_first(self) -> None:
        """A repeated get replaces the first one, which its client has abandoned."""
        first = self.ask(self.broker.get("q", key="a:1", timeout=INF))
        again = self.ask(self.broker.get("q", key="a:1", timeout=INF))
        self.assertEqual(self.successResultOf(first), EMPTY)
        (number,) = self.put()
        self.assertEqual(self.successResultOf(again).number, number)

    def test_waiters_are_finished_when_server_stops(self) -> None:
        """Requests that wait when the server stops, or come later, are finished with STOPPING."""
        waiting = self.ask(self.broker.get("q", timeout=INF))
        self.broker.stop_waiting()
        self.assertEqual(self.successResultOf(waiting), STOPPING)
        self.assertEqual(self.now(self.broker.get("q", timeout=5.0)), STOPPING)

    def test_ten_thousand_waiters_are_served_in_order(self) -> None:
        """Ten thousand waiters are served in order."""
        waiting = [self.ask(self.broker.get("q", timeout=INF)) for _ in range(10_000)]
        numbers = self.put(10_000)
        self.assertEqual([self.successResultOf(each).number for each in waiting], numbers)
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)  # the lease's, and that which tidies


class LeaseTests(BrokerCase):
    def test_expired_task_goes_to_waiting_get(self) -> None:
        """A task whose lease ends goes to a waiting get at that moment."""
        self.put()
        first = self.now(self.broker.get("q", 10.0))
        waiting = self.ask(self.broker.get("q", timeout=INF))
        self.clock.advance(9.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(waiting).deliveries, 2)
        self.assertIsNone(self.now(self.broker.done("q", first.number, delivery=1)))

    def test_extended_lease_lasts(self) -> None:
        """A client that extends its lease keeps the task for ten leases."""
        self.put()
        task = self.now(self.broker.get("q", 3.0))
        for _ in range(15):
            self.clock.advance(2.0)
            self.assertIs(self.now(self.broker.extend("q", task.number, 3.0)), task)
        self.assertIs(self.now(self.broker.done("q", task.number)), task)

    def test_released_task_is_ready_after_its_delay(self) -> None:
        """A released task is ready at once, or after its delay."""
        (number,) = self.put()
        for delay in (0.0, 5.0):
            self.now(self.broker.get("q"))
            self.now(self.broker.release("q", number, delay))
            self.clock.advance(delay)
            self.assertEqual(self.broker.look("q").ready.first.number, number)

    def test_buried_task_comes_back_when_kicked(self) -> None:
        """A task that is buried comes back when it is kicked."""
        (number,) = self.put()
        self.now(self.broker.get("q"))
        self.now(self.broker.bury("q", number))
        self.assertEqual(self.now(self.broker.get("q")), EMPTY)
        waiting = self.ask(self.broker.get("q", timeout=INF))
        self.assertEqual(self.now(self.broker.kick("q", 10)), 1)
        self.assertEqual(self.successResultOf(waiting).number, number)

    def test_repeated_get_receives_same_task(self) -> None:
        """A get repeated with its key while the task is leased to it gets the same task."""
        self.put(2)
        task = self.now(self.broker.get("q", key="a:1"))
        self.assertIs(self.now(self.broker.get("q", key="a:1")), task)
        self.assertIsNot(self.now(self.broker.get("q", key="a:2")), task)
        self.assertEqual(task.deliveries, 1)


class KeyTests(BrokerCase):
    def test_repeated_put_adds_nothing(self) -> None:
        """A repeated put returns the same id, even if the task is done."""
        first = self.now(self.broker.put("q", QueuedTask(0, b"{}"), "a:1"))
        self.now(self.broker.get("q"))
        self.now(self.broker.done("q", first.number))
        again = self.now(self.broker.put("q", QueuedTask(0, b"{}"), "a:1"))
        self.assertEqual((again.number, len(self.broker.look("q").ready)), (first.number, 0))

    def test_key_expires(self) -> None:
        """A key is remembered for the time that the option C{remember} sets."""
        self.now(self.broker.put("q", QueuedTask(0, b"{}"), "order-1"))
        self.clock.pump([60.0] * 6)
        self.now(self.broker.put("q", QueuedTask(0, b"{}"), "order-1"))
        self.assertEqual(len(self.broker.look("q").ready), 2)


class ShutdownTests(BrokerCase):
    def test_draining_refuses_puts_and_serves_gets(self) -> None:
        """After a shutdown, puts are refused, and gets work until the queue is empty."""
        self.put(1)
        self.configure(shutdown="draining")
        self.assertEqual(self.now(self.broker.put("q", QueuedTask(0, b"{}"), timeout=5.0)), SHUTDOWN)
        self.assertIsInstance(self.now(self.broker.get("q")), QueuedTask)
        self.assertEqual(self.now(self.broker.get("q", timeout=5.0)), SHUTDOWN)

    def test_shutdown_finishes_waiters(self) -> None:
        """A shutdown finishes requests that wait for a task or for room."""
        self.configure(maxsize=1)
        waiting = [self.ask(self.broker.get("q", timeout=INF))]
        self.configure(shutdown="draining")
        self.assertEqual([self.successResultOf(each) for each in waiting], [SHUTDOWN])

    def test_immediate_shutdown_deletes_waiting_tasks(self) -> None:
        """An immediate shutdown deletes waiting tasks, and join ends."""
        self.put(3)
        joining = self.ask(self.broker.join("q", INF))
        self.configure(shutdown="immediate")
        self.assertEqual(self.now(self.broker.get("q")), SHUTDOWN)
        self.assertEqual(self.successResultOf(joining), (0, 0))


class LimitTests(BrokerCase):
    def test_only_used_queues_count_for_limit(self) -> None:
        """The number of queues is limited. Empty queues do not count."""
        tasks = [self.now(self.broker.put(name, QueuedTask(0, b"{}"))) for name in "abcde"]
        self.failureResultOf(self.ask(self.broker.put("f", QueuedTask(0, b"{}"))), LimitError)
        self.assertEqual(self.now(self.broker.get("f")), EMPTY)
        self.now(self.broker.get("a"))
        self.now(self.broker.done("a", tasks[0].number))
        self.assertIsInstance(self.now(self.broker.put("f", QueuedTask(0, b"{}"))), QueuedTask)
        self.assertEqual(self.broker.names(), list("bcdef"))

    def test_purge_keeps_leased_tasks(self) -> None:
        """purge deletes waiting tasks and makes room. Leased tasks stay."""
        self.configure(maxsize=3)
        self.assertEqual(self.now(self.broker.purge("q")), 0)
        for _ in range(3):
            self.now(self.broker.put("q", QueuedTask(0, b"{}")))
        self.now(self.broker.get("q"))
        self.now(self.broker.put("q", QueuedTask(0, b"{}")))
        waiting = self.ask(self.broker.put("q", QueuedTask(0, b"{}"), timeout=INF))
        self.assertEqual(self.now(self.broker.purge("q")), 3)
        self.successResultOf(waiting)
        figures = self.broker.figures("q")
        self.assertEqual((figures["ready"], figures["leased"], figures["unfinished"]), (1, 1, 2))

    def test_deleted_queue_finishes_its_waiters(self) -> None:
        """Deleting a queue finishes the requests that wait for it."""
        waiting = self.ask(self.broker.get("q", timeout=INF))
        self.now(self.broker.delete("q"))
        self.assertEqual((self.successResultOf(waiting), self.broker.names()), (SHUTDOWN, []))


class BetweenTests(BrokerCase):
    """What happens while a change is being stored."""

    def setUp(self) -> None:
        super().setUp()
        self.store = SlowStore()
        self.broker = self.begin()

    def test_put_is_visible_only_when_stored(self) -> None:
        """A put returns when the task is stored. Nobody can get the task before."""
        putting = self.ask(self.broker.put("q", QueuedTask(0, b"{}")))
        getting = self.ask(self.broker.get("q", timeout=INF))
        self.assertNoResult(putting)
        self.assertNoResult(getting)
        self.store.commit()
        self.successResultOf(putting)
        self.assertNoResult(getting)  # its lease is being stored
        self.store.commit()
        self.assertIsInstance(self.successResultOf(getting), QueuedTask)

    def test_get_cancelled_after_repeat_leaves_task_to_repeat(self) -> None:
        """A get is repeated and then cancelled. Only the second get receives the task, in a new delivery."""
        putting = self.ask(self.broker.put("q", QueuedTask(0, b"{}")))
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

    def test_failed_put_frees_its_room(self) -> None:
        """A put that cannot be stored fails, and its room is free again."""
        configuring = self.ask(
            self.broker.configure("q", replace(self.broker.look("q").config, {"maxsize": 1}))
        )
        self.store.commit()
        self.successResultOf(configuring)
        putting = self.ask(self.broker.put("q", QueuedTask(0, b"{}"), "a:1"))
        self.assertEqual(self.now(self.broker.put("q", QueuedTask(0, b"{}"))), FULL)
        self.store.commit(StoreError("full"))
        self.failureResultOf(putting, StoreError)
        self.assertNoResult(self.ask(self.broker.put("q", QueuedTask(0, b"{}"), "a:1")))
        self.store.commit()
        self.assertEqual(len(self.broker.look("q").ready), 1)

    def test_cancelled_put_keeps_its_task(self) -> None:
        """A put whose client is gone is stored nevertheless."""
        putting = self.ask(self.broker.put("q", QueuedTask(0, b"{}"), "a:1"))
        putting.cancel()
        self.failureResultOf(putting, CancelledError)
        again = self.ask(self.broker.put("q", QueuedTask(0, b"{}"), "a:1"))
        self.store.commit()
        self.assertEqual(self.successResultOf(again).number, 1)
        self.assertEqual(len(self.broker.look("q").ready), 1)

    def test_cancelled_get_gives_task_back(self) -> None:
        """If the client is gone while its lease is stored, the task is ready again. The delivery counts."""
        self.ask(self.broker.put("q", QueuedTask(0, b"{}")))
        self.store.commit()
        getting = self.ask(self.broker.get("q"))
        getting.cancel()
        self.failureResultOf(getting, CancelledError)
        task = self.broker.look("q").ready.first
        self.assertEqual((task.deliveries, self.store.writes[-1][0].updates[0][2]), (1, 1))

    def test_gets_go_on_when_leases_cannot_be_stored(self) -> None:
        """A lease that cannot be stored is valid. A done that cannot be stored leaves the task leased."""
        self.ask(self.broker.put("q", QueuedTask(0, b"{}")))
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

    def test_put_overtaken_by_immediate_shutdown_is_refused(self) -> None:
        """A get waits for accepted puts, but an immediate shutdown refuses them."""
        putting = self.ask(self.broker.put("q", QueuedTask(0, b"{}")))
        config = self.broker.look("q").config
        self.ask(self.broker.configure("q", replace(config, {"shutdown": "draining"})))
        getting = self.ask(self.broker.get("q", timeout=INF))
        self.assertNoResult(getting)
        self.ask(self.broker.configure("q", replace(config, {"shutdown": "immediate"})))
        self.store.commit()
        self.assertEqual((self.successResultOf(putting), self.successResultOf(getting)), (SHUTDOWN, SHUTDOWN))


class SQLiteTests(BrokerCase):
    """What a store in a file restores."""

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
        """Run what the thread passes to the reactor until a Deferred has fired."""
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

    def test_everything_comes_back_after_restart(self) -> None:
        """Tasks with all fields, options, keys and leases are restored. Ids are never used twice."""
        self.configure(kind="priority", maxsize=9)
        self.put(2, priority=2.0)
        self.put(1, priority=1.0, order="x")
        self.put(1, due=1050.0)
        self.now(self.broker.put("q", QueuedTask(0, b'{"a":1}'), "a:1"))
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
        self.assertEqual(self.now(self.broker.put("q", QueuedTask(0, b'{"a":1}'), "a:1")).number, 5)
        self.assertEqual((self.put(), self.broker.secret), ([6], secret))
        self.clock.advance(20.1)
        self.assertEqual(self.broker.look("q").leased, {})

    def test_buried_tasks_stay_buried_after_restart(self) -> None:
        """Buried tasks stay buried, and others do not become buried, whatever the options are now."""
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
        self.assertEqual((list(queue.buried), [task.number for task in queue.ready]), ([1, 2], [3]))

    def test_task_put_after_delete_in_one_commit_stays(self) -> None:
        """A task that is put after its queue was deleted stays, even if one commit stores both."""
        self.put()
        deleted, put = (
            self.ask(self.broker.delete("q")),
            self.ask(self.broker.put("q", QueuedTask(0, b"{}"), "a:1")),
        )
        self.until(deleted)
        self.assertEqual(self.until(put).number, 2)
        self.again()
        self.assertEqual(self.now(self.broker.get("q")).number, 2)
        self.assertEqual(self.now(self.broker.put("q", QueuedTask(0, b"{}"), "a:1")).number, 2)

    def test_key_freed_after_it_was_taken_in_one_commit_is_free(self) -> None:
        """Unique keys are taken and freed in the order of the changes of a commit."""
        taken, freed = Change(taken=[("q", "a", 1, INF)]), Change(freed=[("q", "a")])
        again = Change(taken=[("q", "b", 2, INF)])
        for change in (taken, freed, Change(freed=[("q", "b")]), again):
            self.store.write(change)
        self.assertEqual(self.until(self.store.find_taken("q", ["a", "b"])), {"b": 2})

    def test_put_and_get_may_share_a_key(self) -> None:
        """Different requests may have the same key at the same time."""
        self.put()
        asked = [
            self.ask(self.broker.put("q", QueuedTask(0, b"{}"), "k:1")),
            self.ask(self.broker.get("q", key="k:1")),
        ]
        self.assertEqual([self.until(each).number for each in asked], [2, 1])

    def test_ids_are_never_used_again(self) -> None:
        """An id is not used again, even if its task was the last one and was deleted."""
        (number,) = self.put()
        self.now(self.broker.get("q"))
        self.now(self.broker.done("q", number))
        self.again()
        self.assertEqual(self.put(), [number + 1])

    def test_deleted_queue_stays_deleted(self) -> None:
        """A queue that was deleted does not come back."""
        self.put(2)
        self.configure(maxsize=9)
        self.now(self.broker.delete("q"))
        self.again()
        self.assertEqual(self.broker.names(), [])

    def test_second_process_is_refused(self) -> None:
        """While the file is open, no other process can open it."""
        other = LocalBroker(self.clock, SQLiteStore(self.path))
        self.assertIn("another process", str(self.assertRaises(ConfigurationError, other.start)))

    def test_later_version_is_refused(self) -> None:
        """A file of a later version is refused and not changed."""
        self.store._database.execute("PRAGMA user_version=99")
        self.end()
        store = SQLiteStore(self.path)
        error = self.assertRaises(ConfigurationError, store.open, self.clock)
        store._database.close()
        self.assertIn("version 99", str(error))
        self.broker = LocalBroker(self.clock, MemoryStore())

    def test_file_shrinks_when_tasks_are_done(self) -> None:
        """When many tasks are done, the file becomes smaller."""
        puts = [
            self.ask(self.broker.put("q", QueuedTask(0, b'{"a":"%s"}' % (b"x" * 10_000))))
            for _ in range(1000)
        ]
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

    def test_store_that_is_closed_commits_what_is_written_meanwhile(self) -> None:
        """It does not wait for ever for its thread."""
        commit, later = self.store._commit, list[Deferred[None]]()

        def commit_and_write(batch: Any) -> Any:
            if self.store._closing and not later:
                later.append(Deferred())
                self.store._batcher._items.append((Change(), later[0]))  # not handed over yet
            return commit(batch)

        self.patch(self.store, "_commit", commit_and_write)
        self.end()
        self.until(later[0])

    def test_last_commit_survives_a_crash(self) -> None:
        """After a crash of the process, the file has everything up to the last commit."""
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
    def test_every_store_provides_the_interface(self) -> None:
        """Every store provides the interface."""
        for store in (MemoryStore(), SQLiteStore("x"), SlowStore()):
            verifyObject(IStore, store)

    def test_unknown_store_is_refused(self) -> None:
        """An unknown kind of store is refused with a message that lists the kinds."""
        self.assertIsInstance(open_store("memory:"), MemoryStore)
        self.assertEqual(open_store("sqlite:a/b").path, os.path.abspath("a/b"))  # type: ignore[attr-defined]
        for text in ("redis:", "sqlite:", ""):
            self.assertIn("memory:", str(self.assertRaises(ConfigurationError, open_store, text)))

    def test_missing_folder_is_a_configuration_error(self) -> None:
        """A file that cannot be opened is a configuration error."""
        self.assertRaises(ConfigurationError, open_store("sqlite:/nowhere/at/all").open, Clock())
