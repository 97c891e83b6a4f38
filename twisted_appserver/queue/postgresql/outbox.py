"""Moves the tasks that programs put in their own transactions (C{tqueue.put}) into the queues.

Strategy: the transaction of a program must not wait for the lock of a queue, so it only inserts rows into the
table C{tqueue.outbox}. Each transaction of a server looks for new rows when it has locked its queues, and
moves those of its queues before it performs any request. Thus every request sees what was committed before
it. A notification at the commit, and a look once a second, make a server begin such a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from twisted_appserver.queue.postgresql.locked_queue import LockedQueue, QueueBounds

MOST = 2000  # tasks that are moved by one statement
NOTHING_SEEN = "1:1:"  # a snapshot before all transactions


class Outbox:
    """
    What one connection knows about the outbox.

    @ivar seen: a snapshot of the database. Rows that were visible in it are known.
    @ivar names: the queues that have had rows which this server has not moved.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget everything: look at all rows again."""
        self.seen = NOTHING_SEEN
        self.names: dict[str, set[str] | None] = {}  # the transactions of the rows; None for all

    def note(self, rows: Iterable[Sequence[Any]], bounds: Iterable[QueueBounds] = ()) -> None:
        """
        Note what C{look_into_outbox} has returned.

        @param bounds: the locked queues, whose bounds may have to be lowered.
        """
        by_id = {each.queue_id: each for each in bounds}
        for what, name, transactions, queue_id, late_count, late_number in rows:
            if what == "snapshot":
                self.seen = name
            elif what == "rows":
                known = self.names.setdefault(name, set())
                if transactions is None or known is None:
                    self.names[name] = None
                else:
                    known.update(transactions)
            else:
                lowered = by_id[queue_id]
                lowered.lowest_number = min(lowered.lowest_number, late_number)
                lowered.late_count = late_count

    def move(self, queue: LockedQueue, everything: bool = False) -> None:
        """
        Move the tasks of a queue into it.

        @param everything: whether to move all tasks, even if that takes long.
        """
        while queue.name in self.names:
            transactions = self.names[queue.name]
            bounds = queue.bounds
            ((bounds.lowest_number, taken, added, ready, bounds.late_count),) = queue.execute(
                "move_outbox",
                xids=transactions if transactions is None else list(transactions),
                most=MOST,
                lowest_number=bounds.lowest_number,
            )
            queue.effects.counts[queue.name, "puts"] += added
            if ready:
                queue.changed("getters")
            if taken < MOST:
                del self.names[queue.name]
            elif not everything:
                queue.changed("outbox")
                return
