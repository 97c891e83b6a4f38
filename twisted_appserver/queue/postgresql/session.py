"""The store in PostgreSQL, which any number of servers share.

Strategy: one thread owns one connection. It performs all waiting requests in one transaction
(L{transaction}). On the same connection it receives notifications of other servers. When the connection
is lost, the thread reconnects until it succeeds. It repeats the last transaction unless the database has
committed it. If the database does not answer, the reactor's thread aborts the connection
(L{connection_watchdog}).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container
from os import urandom
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_appserver.errors import ConfigurationError, require_package
from twisted_appserver.queue.batching import Batcher
from twisted_appserver.queue.interface import AwayError, StoreError
from twisted_appserver.queue.postgresql import schema
from twisted_appserver.queue.postgresql.connection import one_line
from twisted_appserver.queue.postgresql.connection_watchdog import LONG, ConnectionWatchdog
from twisted_appserver.queue.postgresql.database import Database
from twisted_appserver.queue.postgresql.locked_queue import Effects, QueueBounds
from twisted_appserver.queue.postgresql.outbox import Outbox
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.postgresql.transaction import Transaction

MAX_REQUESTS = 1024  # in one transaction
SPECIAL = (
    "delete_expired",
    "check",
    "last_deletion",
    "look_into_outbox",
)  # verbs of requests that are not about tasks
INTERNAL_ERROR = "internal error in the store; see the log of the server"


class PostgreSQLStore:
    """
    Keeps tasks as durably as the database does.

    It does not implement L{queue.local.journal.IStore}: the tasks are in the database only.

    @param url: as libpq accepts it, C{postgresql://user@host/database}.
    @raise ConfigurationError: when psycopg is not installed.
    @ivar server: identifies this server to the others.
    @ivar watchdog: aborts the connection if the database does not answer; it must be called regularly.
    """

    log = Logger()

    def __init__(self, url: str) -> None:
        require_package("psycopg", "PostgreSQL", "postgresql")
        self.url = url
        self.server = urandom(8).hex()
        self.watchdog = ConnectionWatchdog()
        self._queued: deque[Request] = deque()  # requests for the thread
        self._closing = False
        self._database: Database | None = None
        self._known: dict[str, QueueBounds] = {}  # by the names of queues
        self._outbox = Outbox()
        self._generation = 0  # the connection on which the bounds were found
        self._transaction_number = 0  # the number of the last transaction

    @property
    def database(self) -> Database:
        """The connection to the database. The store must be open."""
        assert self._database is not None
        return self._database

    @property
    def away(self) -> bool:
        """Whether the connection was lost."""
        return self._database is not None and self._database.away

    def open(
        self,
        reactor: Any,
        max_queues: int,
        answered: Callable[[list[Request], Effects], None],
        notified: Callable[[tuple[str, str] | None], None],
    ) -> bytes:
        """
        Connect to the database.

        @param answered: called in the reactor's thread with requests that were performed, and the effects of
            their transaction.
        @param notified: called in the reactor's thread, as L{Database} describes.
        @return: the secret that signs the ids of tasks.
        @raise ConfigurationError: when the database cannot be used.
        """
        self._closing = False
        self._known, self._outbox, self._generation = {}, Outbox(), 0
        self._reactor, self._max_queues, self._answered = reactor, max_queues, answered
        self._batcher = Batcher(reactor, self._queue_requests)
        self._database = database = Database(
            self.url, self.server, self.watchdog, lambda found: reactor.callFromThread(notified, found)
        )
        try:
            database.connect()
        except (database.psycopg.Error, ConfigurationError) as error:
            database.close()
            raise ConfigurationError(f"the database cannot be used: {one_line(error)}") from error
        self._thread = Thread(target=self._run, name="tqueue-store", daemon=True)
        self._thread.start()
        return database.secret

    def ask(self, request: Request) -> None:
        """Perform a request, together with all others that arrive while the reactor reads."""
        self._batcher.add(request)

    def _queue_requests(self, requests: list[Request]) -> None:
        self._queued.extend(requests)
        self.database.wake()

    def close(self) -> Deferred[None]:
        """
        Perform the remaining requests as far as possible, and disconnect.

        @return: fires when that is done.
        """
        closed: Deferred[None] = Deferred()
        self._closed = closed
        self._batcher.flush()  # first, because the thread ends when no request is left
        self._closing = True
        self.database.stop_reconnecting()
        self.database.wake()
        return closed

    def _end(self) -> None:
        self._thread.join()
        self._closed.callback(None)

    # Everything below runs in the thread.

    def _run(self) -> None:
        database = self.database
        while not self._closing or self._queued:
            requests: list[Request] = []
            try:
                database.reconnect()
                database.record_alive()
                database.limit_dead_rows()
                if self._queued:
                    database.deliver()
                else:
                    database.wait()
                requests = self._take_requests()
                if requests:
                    self._perform(requests)
            except Exception as error:  # a bug of this program: only these requests fail
                self.log.failure("internal error in the store")
                database.disconnected(error)
                database.pause()
                for request in requests:
                    request.resolve(StoreError(INTERNAL_ERROR))
                self._answer(requests)
        database.close()
        self._reactor.callFromThread(self._end)

    def _answer(self, requests: list[Request], effects: Effects | None = None) -> None:
        self._reactor.callFromThread(self._answered, requests, effects or Effects())

    def _take_requests(self) -> list[Request]:
        """Take the requests for one transaction: many ordinary ones, or one special one."""
        requests: list[Request] = []
        while self._queued and len(requests) < MAX_REQUESTS:
            if self._queued[0].abandoned:
                self._queued.popleft()
                continue
            special = self._queued[0].verb in SPECIAL
            if special and requests:
                break
            requests.append(self._queued.popleft())
            if special:
                break
        return requests

    def _take_more(self, names: Container[str]) -> list[Request]:
        """Take the waiting requests for some queues."""
        queued = [self._queued.popleft() for _ in range(min(len(self._queued), MAX_REQUESTS))]
        self._queued.extendleft(request for request in reversed(queued) if request.name not in names)
        return [request for request in queued if request.name in names and not request.abandoned]

    def _perform(self, requests: list[Request]) -> None:
        database = self.database
        if database.connection is None:
            self._perform_later(requests)
            return
        if requests[0].verb in SPECIAL:
            self._perform_special(requests[0])
            return
        if self._generation != database.generation:
            self._forget()
            self._generation = database.generation
        transaction = self._transaction()
        self._transaction_number += 1
        try:
            transaction.run(requests, self._take_more, self._transaction_number)
            self.watchdog.expect_within()
        except Exception as error:
            if not self._recover(requests, error):
                return
        if transaction.effects.jumped:
            database.record_alive_soon()
        self._answer(requests, transaction.effects)

    def _transaction(self) -> Transaction:
        return Transaction(
            self.database.connection, self._known, self.server, self._outbox, self._max_queues, self.watchdog
        )

    def _forget(self) -> None:
        """Forget what is known about queues and the outbox."""
        self._known.clear()
        self._outbox.forget()

    def _recover(self, requests: list[Request], error: Exception) -> bool:
        """
        Handle an error in a transaction.

        @return: whether the requests have their results. If not, they are performed again.
        """
        database = self.database
        self._forget()
        temporary = database.roll_back(error, len(requests))
        unsure = database.connection is None or not isinstance(error, database.psycopg.Error)
        if unsure and database.was_committed(self._transaction_number):
            return True
        for request in requests:
            request.pending = True
        if temporary:
            self._perform_later(requests)
            return False
        if len(requests) > 1:  # one at a time, so that a request that cannot be performed fails alone
            for request in requests:
                self._perform([request])
            return False
        requests[0].resolve(error if isinstance(error, StoreError) else StoreError(schema.reason(error)))
        return True

    def _perform_later(self, requests: list[Request]) -> None:
        """Put requests back at the front. If the store is closing, fail them."""
        if not self._closing:
            self._queued.extendleft(reversed(requests))
            return
        for request in requests:
            request.resolve(AwayError("the database cannot be reached"))
        self._answer(requests)

    def _perform_special(self, request: Request) -> None:
        """Perform a request that is not about tasks."""
        database = self.database
        try:
            getattr(self, f"_{request.verb}")(request)
        except database.psycopg.Error as error:
            if database.roll_back(error, 1) and database.connection is None and not self._closing:
                self._queued.appendleft(request)
                return
            request.resolve(StoreError(schema.reason(error)) if request.verb == "check" else None)
        self.watchdog.expect_within()
        self._answer([request])

    def _delete_expired(self, request: Request) -> None:
        self._forget()  # a wrong bound must not stay for long
        self.watchdog.expect_within(LONG)
        request.resolve(schema.delete_expired(self.database.connection))

    def _check(self, request: Request) -> None:
        """Check that the database can store something."""
        self._transaction_number += 1
        self.database.record_transaction(self._transaction_number)
        request.resolve(None)

    def _last_deletion(self, request: Request) -> None:
        """Look up the last deletion of a queue. Any role can send a notification, but only servers delete."""
        row = self.database.execute("last_deletion_of_queue", name=request.name).fetchone()
        request.resolve(row[0])

    def _look_into_outbox(self, request: Request) -> None:
        """Find the queues that have tasks in the outbox."""
        self._transaction().look_into_outbox()
        request.resolve(list(self._outbox.names))
