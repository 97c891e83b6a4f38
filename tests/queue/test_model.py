"""One queue by itself: promises that need no store, no requests and no real clock."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.properties import given, st
from twisted_appserver.queue.config import Config
from twisted_appserver.queue.model import TaskQueue
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.request_keys import MARK, Remembered, forget, lane, lane_of


def filled(kind: str = "fifo", count: int = 3, **options: object) -> TaskQueue:
    queue = TaskQueue("painter", Config(kind=kind, **options))  # type: ignore[arg-type]
    for number in range(1, count + 1):
        queue.place(QueuedTask(number, b"{}", priority=-number % 3), 0.0)
    return queue


def taken(queue: TaskQueue, now: float = 0.0, seconds: float = 10.0) -> list[int]:
    """Return the numbers of all tasks, in the order in which they are handed out."""
    numbers = []
    while task := queue.take(now, seconds):
        numbers.append(task.number)
    return numbers


class OrderTests(SynchronousTestCase):
    def test_fifo_is_first_in_first_out(self) -> None:
        """First in, first out."""
        self.assertEqual(taken(filled("fifo", 4)), [1, 2, 3, 4])

    def test_lifo_is_last_in_first_out(self) -> None:
        """Last in, first out."""
        self.assertEqual(taken(filled("lifo", 4)), [4, 3, 2, 1])

    def test_lowest_priority_comes_first_then_first_in(self) -> None:
        """The lowest priority first; equal ones in order of arrival."""
        self.assertEqual(taken(filled("priority", 6)), [3, 6, 2, 5, 1, 4])

    def test_equal_priorities_are_sorted_by_order(self) -> None:
        """Tasks of the same priority are sorted by their further order."""
        queue = TaskQueue("q", Config(kind="priority"))
        for number, order in enumerate("bca", 1):
            queue.place(QueuedTask(number, b"{}", order=order), 0.0)
        self.assertEqual(taken(queue), [3, 1, 2])

    def test_new_kind_reorders_waiting_tasks(self) -> None:
        """A new kind changes the order of the tasks that are ready."""
        queue = filled("fifo", 3)
        queue.configure(Config(kind="lifo"))
        self.assertEqual(taken(queue), [3, 2, 1])

    def test_removed_task_leaves_the_order_of_the_others(self) -> None:
        for kind in ("fifo", "lifo", "priority"):
            order = taken(filled(kind, 20))
            for number in range(1, 21):
                queue = filled(kind, 20)
                removed = queue.remove(number)
                assert removed is not None
                self.assertEqual(removed.number, number)
                self.assertEqual(taken(queue), [each for each in order if each != number])
                self.assertIsNone(queue.remove(number))

    def test_returned_task_comes_first(self) -> None:
        """In every kind, a task that comes back is handed out before those that never were."""
        for kind in ("fifo", "lifo"):
            queue = filled(kind, 3)
            task = queue.take(0.0, 10.0)
            assert task is not None
            queue.place(QueuedTask(9, b"{}"), 0.0)
            queue.unlease(task)
            queue.place(task, 1.0)
            self.assertEqual(taken(queue)[0], task.number, kind)

    @given(st.lists(st.integers(1, 1000), unique=True), st.sampled_from(["fifo", "lifo", "priority"]))
    def test_restored_queue_keeps_its_order(self, numbers: list[int], kind: str) -> None:
        """A queue that is filled from a store hands tasks out in the same order as before."""
        one, other = TaskQueue("a", Config(kind=kind)), TaskQueue("b", Config(kind=kind))  # type: ignore[arg-type]
        for number in sorted(numbers):
            one.place(QueuedTask(number, b"{}", number % 7), 0.0)
        other.fill([QueuedTask(number, b"{}", number % 7) for number in numbers], 0.0)
        self.assertEqual(taken(one), taken(other))


class LeaseTests(SynchronousTestCase):
    def test_lease_ends_on_time_and_delivery_is_counted(self) -> None:
        """A lease that is not extended ends on time and not before, and the delivery is counted."""
        queue = filled()
        task = queue.take(0.0, 10.0)
        assert task is not None
        self.assertEqual((queue.alarm, queue.expire(9.99), queue.find(1)), (10.0, ([], []), task))
        self.assertEqual((queue.expire(10.0), queue.find(1)), (([task], []), None))
        again = queue.take(10.0, 10.0)
        assert again is not None
        self.assertEqual((again.number, again.deliveries), (1, 2))

    def test_extended_lease_ends_later(self) -> None:
        """A lease ends only at the time to which it was extended."""
        queue = filled(count=1)
        task = queue.take(0.0, 10.0)
        assert task is not None
        queue.extend(task, 9.0, 10.0)
        self.assertEqual((queue.expire(18.9), queue.expire(19.0)), (([], []), ([task], [])))

    def test_other_delivery_finds_no_task(self) -> None:
        """A task is found only by its present delivery, or by 0."""
        queue = filled(count=1)
        queue.take(0.0, 1.0)
        queue.expire(1.0)
        task = queue.take(1.0, 1.0)
        self.assertIsNone(queue.find(1, 1))
        self.assertIs(queue.find(1, 2), task)
        self.assertIs(queue.find(1), task)

    def test_task_is_buried_after_max_deliveries(self) -> None:
        """A task that comes back after max_deliveries is buried. A kick grants as many again."""
        queue = filled(count=1, max_deliveries=2)
        for now in (0.0, 1.0):
            self.assertEqual(taken(queue, now, 1.0), [1])
            queue.expire(now + 1.0)
        self.assertEqual((taken(queue), list(queue.buried), queue.unfinished), ([], [1], 0))
        self.assertEqual([task.deliveries for task in queue.kick(5, 2.0)], [2])
        for now in (2.0, 3.0):
            self.assertEqual((taken(queue, now, 1.0), list(queue.buried)), ([1], []))
            queue.expire(now + 1.0)
        self.assertEqual(list(queue.buried), [1])

    def test_done_tasks_leave_few_alarms(self) -> None:
        """Memory does not grow with the number of tasks that were done."""
        queue = TaskQueue("q")
        for number in range(1, 5000):
            queue.place(QueuedTask(number, b"{}"), 0.0)
            task = queue.take(0.0, 60.0)
            assert task is not None
            queue.unlease(task)
        self.assertLess(len(queue._alarms._heap), 200)

    def test_delayed_task_keeps_its_place(self) -> None:
        """A delayed task is handed out when it is due, in order of arrival."""
        queue = TaskQueue("q")
        queue.place(QueuedTask(1, b"{}", due=5.0), 0.0)
        queue.place(QueuedTask(2, b"{}"), 0.0)
        self.assertEqual((len(queue.ready), len(queue.delayed), queue.unfinished), (1, 1, 2))
        self.assertEqual((queue.alarm, len(queue.expire(5.0)[1])), (5.0, 1))
        self.assertEqual(taken(queue), [1, 2])


class RoomTests(SynchronousTestCase):
    def test_waiting_delayed_and_reserved_tasks_take_room(self) -> None:
        """Ready, delayed and reserved tasks take room. Leased tasks do not."""
        queue = TaskQueue("q", Config(maxsize=3))
        queue.place(QueuedTask(1, b"{}"), 0.0)
        queue.place(QueuedTask(2, b"{}", due=9.0), 0.0)
        self.assertTrue(queue.has_room_for(1))
        queue.reserved = 1
        self.assertFalse(queue.has_room_for(1))
        queue.take(0.0, 1.0)
        self.assertTrue(queue.has_room_for(1))

    def test_only_client_keys_share_a_lane(self) -> None:
        """A key is any text. Only in the lanes of client programs does a key replace the one before."""
        self.assertEqual(lane(MARK + "me:17"), lane(MARK + "me:18"))
        keys = ["invoice:1", "invoice:2", "me", "a:b", "", "1", ":1", MARK, MARK + "me"]
        self.assertEqual(list(map(lane, keys)), keys)
        self.assertNotIn(lane_of("kick", "me"), keys)
        known = {lane(MARK + "me:17"): Remembered(MARK + "me:17", 1, 5.0)}
        self.assertEqual((forget(known, 4.9), forget(known, 5.0), known), ([], [MARK + "me"], {}))
