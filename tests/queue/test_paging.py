"""Lists of tasks, a page at a time: one table of cases for every store."""

from __future__ import annotations

from heapq import heapify
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.queue.test_stores import OnLocalStores, OnPostgreSQL, StoreTestCase, put
from tests.support.postgres import needs_postgresql
from tests.support.properties import given, st
from twisted_appserver.queue.paging import NEWEST, START, Place, first_entries, read_place, write_place
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.ready_tasks import ready_place


class PagingCases:
    """The table: each method is a case. It receives a test, for assertions, and a broker."""

    async def pages_of_ready_tasks_are_in_their_order(self, test: Any, broker: Any) -> None:
        for kind in ("fifo", "lifo", "priority"):
            await broker.change("q", {"kind": kind})
            await broker.put_many(
                "q",
                [QueuedTask(0, b"{}", priority=float(each % 3), order=str(each % 2)) for each in range(9)],
            )
            whole = [task.number for task in await broker.peek("q", 99, "ready")]
            pages, place = list[int](), START
            while page := await broker.peek("q", 2, "ready", place):
                pages += [task.number for task in page]
                place = ready_place(page[-1], kind)
            test.assertEqual(pages, whole, kind)
            got = [(await broker.get("q")).number for _ in whole]
            test.assertEqual(pages, got, kind)
            await broker.delete("q")

    async def page_goes_on_although_its_last_task_has_left(self, test: Any, broker: Any) -> None:
        numbers = await put(broker, 4)
        place = ready_place((await broker.peek("q", 2, "ready"))[-1], "fifo")
        for _ in range(2):
            await broker.get("q")
        found = await broker.peek("q", 9, "ready", place)
        test.assertEqual([task.number for task in found], numbers[2:])

    async def other_states_are_in_the_order_of_arrival(self, test: Any, broker: Any) -> None:
        numbers = await put(broker, 5)
        for number in numbers:
            await broker.bury("q", number)
        found = await broker.peek("q", 2, "buried", Place(0.0, "", numbers[1]))
        test.assertEqual([task.number for task in found], numbers[2:4])
        for state in ("ready", "delayed", "leased"):
            test.assertEqual(await broker.peek("q", 2, state), [])

    async def ended_tasks_are_listed_by_pages(self, test: Any, broker: Any) -> None:
        await broker.change("q", {"keep": 100})
        numbers = await put(broker, 5)
        tasks = [await broker.get("q") for _ in numbers]
        await broker.done_many("q", [(task.number, 0, b"1") for task in tasks])  # at the same time
        pages, place = list[int](), NEWEST
        while page := await broker.ended("q", 2, 9, place):
            pages += [result.number for result in page]
            place = Place(page[-1].ended, "", page[-1].number)
        test.assertEqual(pages, numbers[::-1])


class PagingTests(OnLocalStores, StoreTestCase):
    tables = (PagingCases,)


@needs_postgresql
class PostgreSQLPagingTests(OnPostgreSQL, StoreTestCase):
    tables = (PagingCases,)


class PlaceTests(SynchronousTestCase):
    """Pure."""

    @given(st.lists(st.integers(-50, 50), unique=True), st.integers(0, 60), st.integers(-60, 60))
    def test_first_entries_of_a_heap_are_those_of_its_sorted_list(
        self, numbers: list[int], count: int, after: int
    ) -> None:
        heap = [(0.0, "", number, object()) for number in numbers]
        heapify(heap)
        found = [entry[2] for entry in first_entries(heap, count, lambda entry: entry[2] > after)]
        self.assertEqual(found, sorted(number for number in numbers if number > after)[:count])

    def test_page_of_a_large_queue_visits_few_tasks(self) -> None:
        class Counting(float):
            compared = 0

            def __eq__(self, other: object) -> bool:
                Counting.compared += 1
                return True

            __hash__ = None  # type: ignore[assignment]

        heap = [(Counting(0.0), "", number, None) for number in range(100_000)]
        found = first_entries(heap, 50, lambda entry: entry[2] > 100)
        self.assertEqual([entry[2] for entry in found], list(range(101, 151)))
        self.assertLess(Counting.compared, 10_000)

    @given(st.floats(allow_nan=False), st.text(), st.integers(-(2**63) + 1, 2**63 - 1))
    def test_place_survives_as_text(self, first: float, second: str, third: int) -> None:
        place = Place(first, second.replace("\0", ""), third)
        self.assertEqual(read_place(write_place(place)), place)

    def test_other_text_is_no_place(self) -> None:
        for text in ("", "1", "1,2", "nan,1,", "x,1,", "1,x,", f"1,{2**63},", "1,2,\0"):
            self.assertRaises(ValueError, read_place, text)
