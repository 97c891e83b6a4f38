"""Moves the tasks that programs put in their own transactions (C{tqueue.put}) into the queues.

Strategy: the transaction of a program must not wait for the lock of a queue, so it only inserts rows into the
table C{tqueue.outbox}. The statement that performs requests for a queue looks for new rows first. If there
are some, those of its queue are moved before any request is performed. Thus every request sees what was
committed before it. A notification at the commit, and a look once a second, make a server begin such a
transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted_appserver.queue.postgresql.locked_queue import SQL, LockedQueue

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

    def look(self, run_statement: Callable[..., list[Any]]) -> None:
        """
        Look for new rows. This needs no lock of a queue.

        @param run_statement: runs a statement and returns its rows.
        """
        (self.seen, _), *rows = run_statement(SQL["look_into_outbox"], seen=self.seen)
        for name, transactions in rows:
            known = self.names.setdefault(name, set())
            if transactions is None or known is None:
                self.names[name] = None
            else:
                known.update(transactions)

    def perform(self, queue: LockedQueue, server: str, **arguments: Any) -> list[Any]:
        """
        Move the tasks of a queue into it, perform requests, and notify the other servers.

        @param server: identifies this server to the others.
        @param arguments: those of C{perform_requests}.
        @return: the rows of C{perform_requests}.
        """
        arguments["server"] = server
        self._move(queue, server)
        (_, _, is_new, *_, seen, _, _), *rows = queue.execute("perform_requests", seen=self.seen, **arguments)
        if not is_new:
            self.seen = seen
            return rows
        self.look(queue.run_statement)
        self._move(queue, server)
        return queue.execute("perform_requests", seen=None, **arguments)

    def _move(self, queue: LockedQueue, server: str) -> None:
        while queue.name in self.names:
            transactions = self.names[queue.name]
            ((taken, added, ready),) = queue.execute(
                "move_outbox",
                xids=transactions if transactions is None else list(transactions),
                most=MOST,
                lowest_number=queue.bounds.lowest_number,
                last_return=queue.bounds.last_return,
                server=server,
            )
            queue.effects.counts[queue.name, "puts"] += added
            if ready:
                queue.changed("getters")
            if taken < MOST:
                del self.names[queue.name]
            elif not queue.needs_all:
                queue.changed("outbox")
                return
