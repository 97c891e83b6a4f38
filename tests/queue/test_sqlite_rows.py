"""Which rows and statements the changes of one commit become in a file of SQLite."""

from __future__ import annotations

import sqlite3
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.queue.local.journal import Change, join_changes, to_update
from twisted_appserver.queue.local.sqlite_rows import (
    FEW,
    PRECISION,
    group_updates,
    rows_of_keys,
    rows_of_puts,
)
from twisted_appserver.queue.local.sqlite_statements import MAX_ROWS, SQL, write_rows
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.request_keys import Remembered
from twisted_appserver.queue.sql_files import read_migrations

SHIFT = 1000.0
ADAPTED_QUICKLY = (int, float, str, bytearray)


def open_database(test: SynchronousTestCase) -> sqlite3.Connection:
    """Return an empty store in memory."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    test.addCleanup(database.close)
    for text in read_migrations("twisted_appserver.queue.local"):
        database.executescript(text)
    return database


def leased(number: int, began: float, holder: str = "") -> tuple[Any, ...]:
    """Return the update for a task that was leased then."""
    task = QueuedTask(number, b"{}")
    task.span, task.deliveries, task.began, task.holder = 60.0, 1, began, holder
    return to_update(task)


class JoinTests(SynchronousTestCase):
    def test_parts_keep_their_order(self) -> None:
        """The parts of all changes are in the joined one, in the order of the changes."""
        changes = [
            Change(deletes=[3], unkept=[("q", 3)]),
            Change(),
            Change(deletes=[1, 2], forgets=[("q", "l")]),
        ]
        whole = join_changes(changes)
        self.assertEqual((whole.deletes, whole.unkept, whole.forgets), ([3, 1, 2], [("q", 3)], [("q", "l")]))

    def test_no_changes_are_an_empty_change(self) -> None:
        """No changes at all can be joined too."""
        self.assertEqual(join_changes([]), Change())


class UpdateTests(SynchronousTestCase):
    def test_tasks_leased_at_nearly_the_same_time_share_a_statement(self) -> None:
        """Their beginnings are rounded down, by less than the precision."""
        updates = [leased(number, 5.0 + number * PRECISION / 20) for number in range(10)]
        single, ((values, numbers),) = group_updates(updates, SHIFT)
        self.assertEqual((single, numbers), ([], [(number,) for number in range(10)]))
        self.assertEqual(values, (0.0, 60.0, 1, "", 0, SHIFT + 5.0, ""))

    def test_different_leases_have_rows_of_their_own(self) -> None:
        """A few tasks are not worth a statement, unless it is the only one."""
        alike = [leased(number, 5.0) for number in range(FEW - 1)]
        other = leased(9, 5.0, "key")
        single, groups = group_updates([*alike, other], SHIFT)
        self.assertEqual(([row[-1] for row in single], groups), ([0, 1, 2, 9], []))
        self.assertEqual([len(numbers) for _, numbers in group_updates(alike, SHIFT)[1]], [FEW - 1])

    def test_last_update_of_a_task_is_valid(self) -> None:
        """A task that is leased and given back in one commit is not leased."""
        back = to_update(QueuedTask(1, b"{}"))
        _, ((values, numbers),) = group_updates([leased(1, 5.0), back], SHIFT)
        self.assertEqual((values, numbers), ((0.0, 0.0, 0, "", 0, 0.0, ""), [(1,)]))

    def test_no_frequent_value_needs_an_adapter(self) -> None:
        """All values are of types that sqlite3 stores without looking for an adapter."""
        single, _ = group_updates([leased(1, 5.0), leased(2, 5.0, "key")], SHIFT)
        keys = rows_of_keys([("q", "lane", Remembered("key", 1, 2.0, b"digest"))], SHIFT)
        for row in (*single, *keys, *rows_of_puts([("q", QueuedTask(1, b"{}"))], SHIFT)):
            self.assertEqual([value for value in row if type(value) not in ADAPTED_QUICKLY], [])


class StatementTests(SynchronousTestCase):
    def test_any_number_of_rows_is_written(self) -> None:
        """Rows that do not fit into one statement are divided, and none is lost or written twice."""
        for count in (0, 1, 2, 15, 16, 17, MAX_ROWS - 1, MAX_ROWS, MAX_ROWS + 1, 3 * MAX_ROWS + 17):
            database = open_database(self)
            tasks = [("q", QueuedTask(number, b"{}")) for number in range(1, count + 1)]
            write_rows(database, "put", rows_of_puts(tasks, SHIFT))
            write_rows(
                database, "update_alike", [(n,) for n in range(1, count + 1)], (0.0, 9.0, 1, "", 0, 5.0, "w")
            )
            found = database.execute('SELECT number, body, span, "by" FROM tasks ORDER BY number').fetchall()
            self.assertEqual(found, [(number, b"{}", 9.0, "w") for number in range(1, count + 1)])
            write_rows(database, "delete", [(number,) for number in range(1, count + 1)])
            self.assertEqual(database.execute("SELECT count(*) FROM tasks").fetchone(), (0,))

    def test_few_texts_are_made(self) -> None:
        """SQLite keeps them prepared, so there must not be one for each number of rows."""
        database, texts = open_database(self), list[str]()
        database.set_trace_callback(texts.append)
        for count in range(1, 5 * MAX_ROWS):
            write_rows(database, "delete", [(0,)] * count)
        self.assertLessEqual(len(set(texts)), 18)

    def test_every_repeated_row_is_closed(self) -> None:
        """Each brace of a statement has its other one, in the same line."""
        for name, text in SQL.items():
            for line in text.splitlines():
                self.assertEqual(line.count("{"), line.count("}"), name)
