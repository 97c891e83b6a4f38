"""Performs many requests in one transaction.

Strategy: the requests are grouped by queue. The transaction locks these queues, so that no other server works
on them, and takes in the requests for them that have arrived meanwhile. For each queue it moves tasks from
the outbox, performs done, put and get in one statement, and then all other requests. Only the clock of the
database counts.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from twisted_appserver.queue.interface import LimitError
from twisted_appserver.queue.postgresql.batch_requests import MixedRequests, is_batch
from twisted_appserver.queue.postgresql.connection_watchdog import LONG, SHORT, ConnectionWatchdog
from twisted_appserver.queue.postgresql.frequent_requests import FrequentRequests
from twisted_appserver.queue.postgresql.locked_queue import SQL, Effects, LockedQueue, QueueBounds
from twisted_appserver.queue.postgresql.other_requests import OtherRequests, absent_queue
from twisted_appserver.queue.postgresql.outbox import Outbox
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.postgresql.schema import DEFAULT_OPTIONS, QUEUE_LOCK

CREATING = frozenset(("put", "change"))  # verbs that create a queue that does not exist
NEEDS_ALL = frozenset(("change", "delete", "purge"))  # verbs that affect tasks in the outbox, too


class Transaction:
    """
    One transaction.

    @param known: the bounds of queues, by name; queues that are found are added.
    @param server: identifies this server to the others.
    @param outbox: what is known about the outbox.
    @param watchdog: aborts the connection if an answer does not arrive.
    @ivar effects: the changes that other requests wait for.
    """

    def __init__(
        self,
        connection: Any,
        known: dict[str, QueueBounds],
        server: str,
        outbox: Outbox,
        max_queues: int,
        watchdog: ConnectionWatchdog,
    ) -> None:
        self._connection, self._known, self._max_queues = connection, known, max_queues
        self._outbox = outbox
        self._server, self._watchdog = server, watchdog
        self._created = 0  # queues
        self.effects = Effects()

    def run(
        self, requests: list[Request], take_more: Callable[[Container[str]], list[Request]], number: int
    ) -> None:
        """
        Perform requests and commit.

        @param requests: further requests that are performed are appended.
        @param take_more: called with the names of the locked queues; returns the requests for them that have
            arrived meanwhile.
        @param number: if anything changes, the transaction is recorded under this number, so that the server
            can find out whether it was committed.
        """
        by_queue = grouped("name", requests)
        for request in by_queue.pop("", ()):
            request.resolve(dict(self._execute("sizes_of_all_queues", default_options=DEFAULT_OPTIONS)))
        found = {name: bounds for name, each in by_queue.items() if (bounds := self._find(name, each))}
        if not found:
            if self.effects.changed:
                self._notify_of_deletions()
            return
        self._begin(sorted(found.values(), key=lambda bounds: bounds.queue_id))
        if late := take_more(found):
            requests += late
            for request in late:
                by_queue[request.name].append(request)
        self._perform(found, by_queue, number)
        self._connection.commit()

    def _perform(
        self, found: dict[str, QueueBounds], by_queue: dict[str, list[Request]], number: int
    ) -> None:
        # A single statement that does everything also notifies the other servers and records the transaction.
        alone = len(found) == 1 and not self.effects.changed
        for name, bounds in found.items():
            by_verb = grouped("verb", [request for request in by_queue[name] if not request.lookup_only])
            needs_all = not NEEDS_ALL.isdisjoint(by_verb)
            queue = LockedQueue(name, bounds, self.effects, self._run_statement, needs_all)
            done, put, get, move = (by_verb.pop(verb, []) for verb in ("done", "put", "get", "move"))
            if lookups := [request for request in by_queue[name] if request.lookup_only]:
                by_verb["look_up"] = lookups
            batches = any(is_batch(request) for request in put)
            alone = not (batches or by_verb) and alone
            if batches:
                MixedRequests(queue, self._outbox, self._server).perform(done, put, get)
            else:
                frequent = FrequentRequests(queue, done, put, get)
                frequent.perform(self._outbox, self._server, number if alone else 0)
            for request in move:
                request.resolve(None)
            if by_verb:
                OtherRequests(queue).perform(by_verb)
        if not alone:
            self._execute(
                "notify_and_record", payloads=self._payloads(), server=self._server, transaction_number=number
            )

    def _begin(self, queues: Sequence[QueueBounds]) -> None:
        """
        Begin the transaction and lock queues, in one message.

        @param queues: sorted by id, because all servers lock in the same order.
        """
        ids = [each.queue_id for each in queues]
        self._watchdog.expect_within(SHORT)
        self._connection.execute(SQL["begin"].format(lock_class=QUEUE_LOCK, queues=ids), prepare=False)
        self._watchdog.expect_within(LONG)

    def _notify_of_deletions(self) -> None:
        """Notify the other servers of deletions of queues that did not exist: they may have waiters."""
        names = [name for name, _ in self.effects.changed]
        self._execute("notify_of_deletions", names=names, payloads=self._payloads())

    def _payloads(self) -> list[str]:
        """Return the texts of the notifications."""
        return [f"{self._server} {waiters} {name}" for name, waiters in sorted(self.effects.changed)]

    def _execute(self, statement: str, **values: Any) -> list[Any]:
        """Run a statement of C{transaction.sql}, given by name."""
        return self._run_statement(SQL[statement], **values)

    def _run_statement(self, text: str, **values: Any) -> list[Any]:
        """Run a statement and return its rows."""
        self._watchdog.expect_within(LONG)
        cursor = self._connection.execute(text, values, binary=True)
        return list(cursor.fetchall()) if cursor.description is not None else []

    def _find(self, name: str, requests: Sequence[Request]) -> QueueBounds | None:
        """Find or create a queue. If there is none, resolve the requests and return C{None}."""
        if name not in self._known:
            rows = self._execute("find_queue", name=name)
            verbs = {request.verb for request in requests}
            if not rows and not verbs & CREATING and not self._is_in_outbox(name):
                absent_queue(name, requests)
                if "delete" in verbs:  # clients may wait at a queue that does not exist
                    self.effects.changed.add((name, "gone"))
                return None
            try:
                self._known[name] = QueueBounds(rows[0][0] if rows else self._create(name))
            except LimitError as error:
                absent_queue(name, requests)
                for request in requests:
                    if request.verb in CREATING or request.verb == "move":
                        request.resolve(error)
                return None
        return self._known[name]

    def _is_in_outbox(self, name: str) -> bool:
        """Return whether a queue that does not exist has tasks in the outbox."""
        self.look_into_outbox()
        return name in self._outbox.names

    def look_into_outbox(self) -> None:
        """Look for new tasks in the outbox, without the lock of any queue."""
        self._outbox.look(self._run_statement)

    def _create(self, name: str) -> int:
        """
        Create a queue and return its id.

        @raise LimitError: when there are too many queues.
        """
        (count,) = self._execute("count_rows_of_queues")[0]
        if count >= self._max_queues:  # some of them may have neither tasks nor options
            (count,) = self._execute("count_queues", default_options=DEFAULT_OPTIONS)[0]
            count += self._created  # they have no tasks yet
        if count >= self._max_queues:
            raise LimitError(f"there are {self._max_queues} queues already; delete some")
        self._created += 1
        return int(self._execute("make_queue", name=name, options=DEFAULT_OPTIONS)[0][0])


def grouped(attribute: str, requests: Sequence[Request]) -> dict[str, list[Request]]:
    """Group requests by the value of an attribute."""
    groups: dict[str, list[Request]] = {}
    for request in requests:
        groups.setdefault(getattr(request, attribute), []).append(request)
    return groups
