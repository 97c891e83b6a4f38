"""The results and attempts of tasks in a file of SQLite. They are not in memory.

Strategy: adding results also deletes results that are too old or too many, so that the file stays small
without a search through the table. All of this runs in the thread of the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from twisted_appserver.queue.attempt import MOST_ATTEMPTS, Attempt
from twisted_appserver.queue.local.journal import Change
from twisted_appserver.queue.local.sqlite_statements import SQL, write_rows
from twisted_appserver.queue.paging import Place
from twisted_appserver.queue.task_result import TaskResult

MANY = 10_000  # expired results that are deleted at once


class SQLiteResults:
    """
    @param database: a connection of C{sqlite3}.
    @param shift: the difference between the times in the file and the times of the reactor, in seconds. It
        stays the same while the file is open, so that a jump of the wall clock deletes nothing.
    """

    def __init__(self, database: Any, shift: float) -> None:
        self._database, self._shift = database, shift
        self._counts: dict[str, int] = dict(database.execute(SQL["count_all_kept"]).fetchall())
        self._is_complete = True  # whether every queue with results is in it

    def add(self, results: Sequence[tuple[str, int, TaskResult]], now: float) -> None:
        """
        Keep results, as part of a transaction.

        @param results: the results, with their queues and the number that each queue keeps.
        @param now: in seconds of the reactor.
        """
        if not results:
            return
        limits = {queue: most for queue, most, _ in results}
        before = {queue: self._count(queue) for queue in limits}
        write_rows(
            self._database,
            "keep",
            [
                (
                    each.number,
                    queue,
                    each.state,
                    each.result,
                    each.error,
                    each.ended,
                    each.until + self._shift,
                )
                for queue, _, each in results
            ],
        )
        added = dict.fromkeys(limits, 0)
        for queue, _, _ in results:
            added[queue] += 1
        for queue, most in limits.items():
            self._counts[queue] = before[queue] + added[queue]
            if (excess := self._counts[queue] - most) > 0:
                self._delete(self._database.execute(SQL["oldest_kept"], (queue, excess)).fetchall())
        self.delete_expired(now, 2 * len(results))

    def count(self, queue: str) -> int | None:
        """
        Return how many results of a queue are kept; C{None} if the number is unknown. Safe from any thread.
        """
        return self._counts.get(queue, 0 if self._is_complete else None)

    def _count(self, queue: str) -> int:
        if queue not in self._counts:
            self._counts[queue] = self._database.execute(SQL["count_kept"], (queue,)).fetchone()[0]
        return self._counts[queue]

    def delete_expired(self, now: float, most: int = MANY) -> None:
        """Delete results that have expired."""
        self._delete(self._database.execute(SQL["expired_kept"], (now + self._shift, most)).fetchall())

    def _delete(self, rows: Sequence[tuple[int, str]]) -> None:
        """Delete results, given by numbers and queues."""
        write_rows(self._database, "delete_kept", [(number,) for number, _ in rows])
        write_rows(self._database, "forget_attempts", [(number,) for number, _ in rows])
        for _, queue in rows:
            if queue in self._counts:
                self._counts[queue] -= 1

    def forget(self, ended: Sequence[tuple[str, int]]) -> None:
        """Delete results, given by queues and numbers, as part of a transaction."""
        for queue, number in ended:
            self._delete(self._database.execute(SQL["kept"], (queue, number)).fetchall())

    def delete_queue(self, queue: str) -> None:
        """Delete the results and attempts of a queue whose tasks are not deleted yet."""
        self._database.execute(SQL["delete_attempts_of_queue"], (queue,))
        self._database.execute(SQL["delete_kept_of_queue"], (queue,))
        self._counts.pop(queue, None)

    def record(self, change: Change) -> None:
        """Add and delete attempts, as part of a transaction."""
        added = [attempt for _, attempt in change.attempts]
        write_rows(self._database, "add_attempts", [msgspec.structs.astuple(attempt) for attempt in added])
        for attempt in added:
            if attempt.attempt > MOST_ATTEMPTS:
                oldest = attempt.attempt - MOST_ATTEMPTS
                self._database.execute(SQL["delete_old_attempts"], (attempt.number, oldest))
        write_rows(self._database, "forget_attempts", [(number,) for _, number in change.forgotten])

    def attempts(self, numbers: Sequence[int]) -> dict[int, list[Attempt]]:
        """Return the attempts of tasks, the oldest first."""
        found = dict[int, list[Attempt]]()
        for number in numbers:
            for row in self._database.execute(SQL["attempts"], (number,)):
                found.setdefault(number, []).append(Attempt(*row))
        return found

    def rolled_back(self) -> None:
        """Forget all counts, because a transaction was rolled back."""
        self._counts.clear()
        self._is_complete = False

    def find(self, queue: str, number: int, now: float) -> TaskResult | None:
        """Return what is kept of a task."""
        row = self._database.execute(SQL["find_kept"], (queue, number, now + self._shift)).fetchone()
        return TaskResult(*row) if row is not None else None

    def last(self, queue: str, count: int, size: int, before: Place, now: float) -> list[TaskResult]:
        """Return the last results of a queue, as L{IBroker.ended} describes."""
        rows = self._database.execute(
            SQL["last_kept"], (size, queue, now + self._shift, before.first, before.third, count)
        )
        return [TaskResult(*row) for row in rows]
