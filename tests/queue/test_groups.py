"""Groups of tasks, which are handed out in order: one table of cases for every store."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.queue.test_results import LONG, result
from tests.queue.test_stores import SOON, OnLocalStores, OnPostgreSQL, StoreTestCase, begin
from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql, shared
from tests.support.slow import slow
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.queue.groups import Groups
from twisted_appserver.queue.interface import EMPTY, FULL, SHUTDOWN, StoreError
from twisted_appserver.queue.model import TaskQueue
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.terms import Terms

FAILURE = ("no color", "")
STATES = ("ready", "delayed", "leased", "held", "buried")


def task(group: str, **terms: Any) -> QueuedTask:
    return QueuedTask(0, b"{}", terms=Terms(group=group, **terms) if group else None)


async def add(broker: Any, group: str = "g", delay: float = 0.0, **terms: Any) -> int:
    """Put a task into a group. Return its number."""
    return int((await broker.put("q", task(group, **terms), "", 0.0, delay)).number)


async def get(broker: Any, timeout: float = 0.0, seconds: float | None = None) -> int:
    """Lease the next task. Return its number; 0 if there is none."""
    found = await broker.get("q", seconds, "", timeout)
    return int(found.number) if isinstance(found, QueuedTask) else 0


async def states(broker: Any, numbers: Sequence[int]) -> list[str]:
    return [(await result(broker, number))[0] for number in numbers]


async def counts(broker: Any) -> dict[str, int]:
    """Return how many tasks are in each state that has any."""
    stats = await broker.stats("q")
    return {state: stats[state] for state in STATES if stats[state]}


class GroupCases:
    """The table: each method is a case. It receives a test, for assertions, and a broker."""

    async def tasks_of_a_group_are_handed_out_one_after_the_other(self, test: Any, broker: Any) -> None:
        first, second, third = [await add(broker) for _ in range(3)]
        test.assertEqual(await states(broker, (first, second, third)), ["ready", "held", "held"])
        test.assertEqual([await get(broker), await get(broker)], [first, 0])
        await broker.done("q", first)
        test.assertEqual(await states(broker, (second, third)), ["ready", "held"])
        test.assertEqual([await get(broker), await get(broker)], [second, 0])
        await broker.done_many("q", [(second, 0, b"")])
        test.assertEqual(await get(broker), third)

    async def other_groups_and_tasks_without_group_are_not_held(self, test: Any, broker: Any) -> None:
        numbers = [await add(broker, name) for name in ("a", "a", "b", "", "", "b")]
        test.assertEqual(
            [await get(broker) for _ in range(5)], [numbers[each] for each in (0, 2, 3, 4)] + [0]
        )
        test.assertEqual(await counts(broker), {"leased": 4, "held": 2})

    async def held_tasks_are_unfinished_and_take_room(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"maxsize": 2})
        numbers = [await add(broker), await add(broker)]
        test.assertEqual(await broker.put("q", task("h")), FULL)
        stats = await broker.stats("q")
        test.assertEqual((stats["held"], stats["ready"], stats["unfinished"]), (1, 1, 2))
        test.assertEqual((await broker.join("q"))[0], 2)
        test.assertEqual(await broker.qsizes("q"), {"q": 1})
        await get(broker)
        test.assertIsInstance(await broker.put("q", task("")), QueuedTask)
        test.assertEqual(await broker.put("q", task("")), FULL)
        (held,) = await broker.peek("q", 9, "held")
        test.assertEqual((held.number, held.terms.group), (numbers[1], "g"))
        shown = await broker.show("q", numbers[1])
        test.assertEqual((shown.result.state, shown.task.terms.group), ("held", "g"))

    async def waiting_get_receives_the_next_of_the_group(self, test: Any, broker: Any) -> None:
        numbers = [await add(broker) for _ in range(4)]
        await get(broker)
        for end, number, following in zip(
            (broker.done, broker.bury, broker.drop), numbers, numbers[1:], strict=False
        ):
            waiting = begin(get(broker, LONG))
            await deferLater(reactor, 0.02)
            test.assertFalse(waiting.called)
            await end("q", number)
            test.assertEqual(await waiting, following)

    async def failed_task_keeps_its_place_while_it_rests(self, test: Any, broker: Any) -> None:
        first, second = await add(broker), await add(broker)
        for give_back in (
            lambda: broker.fail("q", first, 0, FAILURE, 500.0),
            lambda: broker.release("q", first, 500.0),
        ):
            test.assertEqual(await get(broker), first)
            await give_back()
            test.assertEqual(await states(broker, (first, second)), ["delayed", "held"])
            test.assertEqual(await broker.get("q"), EMPTY)
            await broker.kick_task("q", first)
        test.assertEqual(await get(broker, 0.0, SOON), first)
        test.assertEqual(await get(broker, LONG), first)  # the lease ended, and it keeps its place
        test.assertEqual(await states(broker, (first, second)), ["leased", "held"])

    async def delayed_task_keeps_its_place(self, test: Any, broker: Any) -> None:
        first, second = await add(broker, "g", SOON), await add(broker)
        test.assertEqual(await states(broker, (first, second)), ["delayed", "held"])
        test.assertEqual(await get(broker, LONG), first)

    async def held_task_obeys_its_delay(self, test: Any, broker: Any) -> None:
        first, second, third = await add(broker), await add(broker, "g", 500.0), await add(broker)
        await broker.drop("q", first)
        test.assertEqual(await states(broker, (second, third)), ["delayed", "held"])
        await broker.kick_task("q", second)
        test.assertEqual([await get(broker), await get(broker)], [second, 0])

    async def task_that_is_given_up_gives_up_its_place(self, test: Any, broker: Any) -> None:
        """However it ends."""
        await broker.change("q", {"max_deliveries": 1})
        ends: list[Callable[[int], Any]] = [
            lambda number: broker.fail("q", number, 0, FAILURE, False),
            lambda number: broker.fail("q", number, 0, FAILURE, None),  # it was delivered too often
            lambda number: broker.release("q", number),
            lambda number: broker.bury("q", number),
            lambda number: broker.drop("q", number),
            lambda number: broker.done("q", number),
        ]
        numbers = [await add(broker) for _ in range(len(ends) + 1)]
        for number, end in zip(numbers, ends, strict=False):
            test.assertEqual([await get(broker), await get(broker)], [number, 0])
            await end(number)
        test.assertEqual(await get(broker), numbers[-1])
        test.assertEqual(await counts(broker), {"leased": 1, "buried": 4})

    async def expired_lease_buries_and_gives_up_the_place(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"max_deliveries": 1})
        first, second = await add(broker), await add(broker)
        test.assertEqual(await get(broker, 0.0, SOON), first)
        test.assertEqual(await get(broker, LONG), second)
        test.assertEqual(await states(broker, (first, second)), ["buried", "leased"])

    async def waiting_task_that_is_removed_gives_up_its_place(self, test: Any, broker: Any) -> None:
        first, second, third, fourth = [await add(broker) for _ in range(4)]
        await broker.bury("q", first)
        test.assertEqual(await states(broker, (first, second)), ["buried", "ready"])
        await broker.drop("q", third)  # it is held, and leaves no gap
        await broker.drop("q", second)
        test.assertEqual(await get(broker), fourth)

    async def times_to_live_end_in_every_state(self, test: Any, broker: Any) -> None:
        first, second = await add(broker, ttl=SOON), await add(broker, ttl=SOON)
        third = await add(broker)
        waiting = [begin(broker.result("q", number, LONG)) for number in (first, second)]
        test.assertEqual(await counts(broker), {"ready": 1, "held": 2})
        await gatherResults(waiting)
        test.assertEqual(await states(broker, (first, second)), ["unknown"] * 2)
        test.assertEqual(await get(broker), third)

    async def kicked_task_goes_back_to_the_head_of_its_group(self, test: Any, broker: Any) -> None:
        first, second, third = [await add(broker) for _ in range(3)]
        await broker.bury("q", first)
        for kick in (lambda: broker.kick_task("q", first), lambda: broker.kick("q", 9)):
            await kick()
            test.assertEqual(await states(broker, (first, second, third)), ["held", "ready", "held"])
            await broker.bury("q", first)
        await broker.kick_task("q", first)
        test.assertEqual(await get(broker), second)
        await broker.done("q", second)
        test.assertEqual(await states(broker, (first, third)), ["ready", "held"])
        await broker.bury("q", first)
        test.assertEqual(await get(broker), third)
        await broker.done("q", third)
        await broker.kick("q", 9)
        test.assertEqual(await get(broker), first)  # all places are free

    async def places_are_counted(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"at_once": 2})
        numbers = [await add(broker) for _ in range(5)]
        test.assertEqual([await get(broker) for _ in range(3)], [*numbers[:2], 0])
        await broker.done("q", numbers[1])
        test.assertEqual([await get(broker), await get(broker)], [numbers[2], 0])
        await broker.change("q", {"at_once": 3})
        test.assertEqual([await get(broker), await get(broker)], [numbers[3], 0])
        await broker.change("q", {"at_once": 1})
        for number in numbers[:1] + numbers[2:3]:
            await broker.done("q", number)
            test.assertEqual(await states(broker, numbers[4:]), ["held"])
        await broker.done("q", numbers[3])
        test.assertEqual(await get(broker), numbers[4])

    async def more_places_serve_waiting_gets(self, test: Any, broker: Any) -> None:
        for _ in range(3):
            await add(broker)
        await get(broker)
        waiting = [begin(get(broker, LONG)) for _ in range(2)]
        await deferLater(reactor, 0.02)
        await broker.change("q", {"at_once": 5})
        test.assertEqual(len(set(await gatherResults(waiting)) - {0}), 2)

    async def batch_is_put_into_a_group(self, test: Any, broker: Any) -> None:
        added = await broker.put_many("q", [task("g") for _ in range(3)], "", 0.0, 0.0)
        numbers = [each.number for each in added]
        test.assertEqual(await states(broker, numbers), ["ready", "held", "held"])
        test.assertEqual([each.number for each in await broker.get_many("q", 9)], numbers[:1])
        await broker.put_many("q", [task("h") for _ in range(2)], "", 0.0, 0.0)
        test.assertEqual(len(await broker.get_many("q", 9)), 1)

    async def batch_fills_every_place(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"at_once": 2})
        await broker.put_many("q", [task("g") for _ in range(3)], "", 0.0, 0.0)
        test.assertEqual(len(await broker.get_many("q", 9)), 2)

    async def order_of_arrival_counts_in_every_kind_of_queue(self, test: Any, broker: Any) -> None:
        for kind in ("lifo", "priority"):
            await broker.change("q", {"kind": kind})
            numbers = []
            for priority in (3.0, 2.0, 1.0):
                put = QueuedTask(0, b"{}", priority, terms=Terms(group="g"))
                numbers.append((await broker.put("q", put)).number)
            await broker.change("q", {"kind": "fifo"})
            await broker.change("q", {"kind": kind})
            for number in numbers:
                test.assertEqual(await get(broker), number)
                await broker.done("q", number)

    async def purge_removes_held_tasks(self, test: Any, broker: Any) -> None:
        first, *_ = [await add(broker) for _ in range(3)]
        await add(broker, "h")
        await get(broker)
        test.assertEqual(await broker.purge("q"), 3)
        test.assertEqual(await counts(broker), {"leased": 1})
        test.assertEqual(await states(broker, [await add(broker), await add(broker, "h")]), ["held", "ready"])
        await broker.done("q", first)
        test.assertEqual(await counts(broker), {"ready": 2})

    async def draining_queue_hands_out_what_is_held(self, test: Any, broker: Any) -> None:
        first, second = await add(broker), await add(broker)
        await get(broker)
        await broker.change("q", {"shutdown": "draining"})
        waiting = begin(get(broker, LONG))
        await deferLater(reactor, 0.02)
        test.assertFalse(waiting.called)
        await broker.done("q", first)
        test.assertEqual(await waiting, second)
        test.assertEqual(await broker.get("q"), SHUTDOWN)

    async def immediate_shutdown_removes_what_is_held(self, test: Any, broker: Any) -> None:
        for _ in range(3):
            await add(broker)
        await get(broker)
        await broker.change("q", {"shutdown": "immediate"})
        test.assertEqual(await counts(broker), {"leased": 1})

    async def random_workers_keep_order_and_limit(self, test: Any, broker: Any) -> None:
        for at_once in (1, 3):
            await broker.change("q", {"at_once": at_once, "max_deliveries": 0})
            workers = Workers(test, broker, at_once)
            await workers.run(60, 8)


class Workers:
    """
    Clients that do anything to tasks, at random, and check the order and the limits of groups.

    @ivar open: the tasks of each group that have not ended, by their numbers, in order.
    """

    def __init__(self, test: Any, broker: Any, at_once: int, seed: int = 0) -> None:
        self._test, self._broker, self._at_once, self._random = test, broker, at_once, random.Random(seed)
        self.open: dict[str, list[int]] = {}
        self._group_of: dict[int, str] = {}
        self._busy: dict[str, set[int]] = {}

    async def run(self, count: int, workers: int) -> None:
        """Put tasks, and let workers finish all of them."""
        producers = [begin(self._produce(count // 4)) for _ in range(4)]
        await gatherResults([*producers, *(begin(self._work(producers)) for _ in range(workers))])
        self._test.assertEqual({name: each for name, each in self.open.items() if each}, {})

    async def _produce(self, count: int) -> None:
        for _ in range(count):
            group = self._random.choice("abc")
            number = await add(self._broker, group, self._random.choice((0.0, 0.0, 0.02)))
            self._group_of[number] = group
            self.open.setdefault(group, []).append(number)
            self.open[group].sort()

    async def _work(self, producers: Sequence[Any]) -> None:
        while any(self.open.values()) or not all(each.called for each in producers):
            found = await self._broker.get("q", None, "", 0.2)
            if not isinstance(found, QueuedTask):
                continue
            group, number = found.terms.group if found.terms else "", found.number
            while number not in self._group_of:  # the response to its put is still on the way
                await deferLater(reactor, 0.001)
            group = self._group_of[number]
            self._check(group, number)
            await deferLater(reactor, self._random.choice((0.0, 0.0, 0.003)))
            await self._end(group, number)

    def _check(self, group: str, number: int) -> None:
        busy = self._busy.setdefault(group, set())
        busy.add(number)
        self._test.assertLessEqual(len(busy), self._at_once)
        first = self.open[group][: self._at_once]
        self._test.assertIn(number, first, f"{number} of {group} was handed out before {first}")

    async def _end(self, group: str, number: int) -> None:
        self._busy[group].discard(number)
        broker, what = self._broker, self._random.randrange(6)
        if what > 2:
            self.open[group].remove(number)
        if what == 0:
            await broker.release("q", number, self._random.choice((0.0, 0.01)))
        elif what in (1, 2):
            await broker.fail("q", number, 0, FAILURE, self._random.choice((0.0, 0.01)))
        elif what == 3:
            await broker.bury("q", number)
        elif what == 4:
            await broker.drop("q", number)
        else:
            await broker.done("q", number)


class GroupTests(OnLocalStores, StoreTestCase):
    tables = (GroupCases,)

    async def test_states_are_derived_again_after_a_restart(self) -> None:
        path = sqlite_store(self)
        broker = make_broker(reactor, open_store(path))
        broker.start()
        first, second, third = [await add(broker) for _ in range(3)]
        await broker.bury("q", first)
        self.assertEqual(await get(broker), second)
        await broker.kick_task("q", first)
        await broker.stop()
        broker = self.broker(path)
        self.assertEqual(await states(broker, (first, second, third)), ["held", "leased", "held"])
        await broker.done("q", second)
        self.assertEqual([await get(broker), await get(broker)], [first, 0])

    async def test_place_is_given_away_only_when_the_end_is_stored(self) -> None:
        """If it cannot be stored, the task is still leased, and the next one is held."""
        broker = self.broker(sqlite_store(self))
        first, second = await add(broker), await add(broker)
        await get(broker)
        for end in (broker.done, broker.bury, broker.drop):
            ending = begin(end("q", first))
            self.assertEqual(broker.look("q").held.keys(), {second})
            self.assertFalse(broker.look("q").ready)
            await ending
            self.assertEqual(await get(broker), second)
            first, second = second, await add(broker)

    async def test_task_whose_end_is_not_stored_keeps_its_place(self) -> None:
        broker = self.broker(sqlite_store(self))
        first, second = await add(broker), await add(broker)
        await get(broker)
        broker.store._try, proper = (lambda batch: StoreError("full")), broker.store._try
        await self.assertFailure(begin(broker.done("q", first)), StoreError)
        broker.store._try = proper
        self.assertEqual(await states(broker, (first, second)), ["leased", "held"])
        await broker.done("q", first)
        self.assertEqual(await get(broker), second)

    async def test_groups_without_tasks_take_no_memory(self) -> None:
        broker = self.broker("memory:")
        numbers = [await add(broker, f"g{n % 100}") for n in range(300)]
        while number := await get(broker):
            await broker.done("q", number)
        self.assertEqual((len(broker.look("q").groups), broker.look("q").held), (0, {}))
        self.assertEqual((await broker.stats("q"))["dones"], len(numbers))


@needs_postgresql
class PostgreSQLGroupTests(OnPostgreSQL, StoreTestCase):
    tables = (GroupCases,)

    @slow
    async def test_cost_does_not_grow_with_held_tasks(self) -> None:
        """One group has many tasks, and so have all others together. The planner has no statistics."""
        url = shared().database()
        name, broker = url.rpartition("/")[2], self.broker(url)
        await broker.put_many("q", [task("g") for _ in range(1000)], "", 0.0, 0.0)
        for number in range(10):
            await broker.put_many("q", [task(f"h{number}") for _ in range(300)], "", 0.0, 0.0)
        read = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'tasks'"
        await self._cycles(broker, 5)
        await deferLater(reactor, 1.5)  # until the server reports its statistics
        await broker.config("q")
        before = int(shared().ask(read, database=name))
        await self._cycles(broker, 20)
        await deferLater(reactor, 1.5)
        await broker.config("q")
        self.assertLess(int(shared().ask(read, database=name)) - before, 20 * 60)

    async def _cycles(self, broker: Any, count: int) -> None:
        for _ in range(count):
            await add(broker, "g")
            await broker.done("q", await get(broker))


class GroupsTests(SynchronousTestCase):
    def test_places_are_given_in_order(self) -> None:
        groups = Groups()
        self.assertEqual(
            [groups.enter("g", number, 2) for number in (1, 2, 5, 3)], [True, True, False, False]
        )
        self.assertTrue(groups.enter("g", 2, 2))
        groups.leave("g", 1)
        self.assertEqual((groups.take_vacant(), groups.vacant), ({"g"}, set()))
        self.assertFalse(groups.enter("g", 4, 2), "a held task with a lower number comes first")
        self.assertEqual(groups.admit("g", 2), [3])
        groups.leave("g", 4)
        self.assertEqual(groups.admit("g", 4), [5])
        for number in (2, 3, 5):
            groups.leave("g", number)
        self.assertEqual(len(groups), 0)

    def test_held_tasks_that_are_gone_leave_no_memory(self) -> None:
        groups = Groups()
        groups.enter("g", 0, 1)
        for number in range(1, 10_000):
            groups.enter("g", number, 1)
            groups.leave("g", number)
        self.assertLess(len(groups._groups["g"]._line), 200)

    def test_ten_thousand_groups_are_small(self) -> None:
        groups = Groups()
        for number in range(10_000):
            groups.enter(f"g{number}", number, 1)
        group = groups._groups["g0"]
        size = sum(map(sys.getsizeof, (group, group.places, group.held, group._line)))
        self.assertLess(size * len(groups), 10_000_000)

    def test_leased_tasks_keep_their_places_after_a_restart(self) -> None:
        queue = TaskQueue("q")
        tasks = [QueuedTask(number, b"", terms=Terms(group="g")) for number in (1, 2, 3)]
        tasks[1].span = 60.0
        queue.fill(tasks, 0.0)
        self.assertEqual(([*queue.leased], [*queue.held], len(queue.ready)), ([2], [1, 3], 0))
