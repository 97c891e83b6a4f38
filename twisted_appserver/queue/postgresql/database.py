"""The connection of one server to its database. If it is lost, it is made again."""

from __future__ import annotations

import selectors
from collections import deque
from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import Any

from twisted.logger import Logger

from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.postgresql import heartbeat, schema
from twisted_appserver.queue.postgresql.connection import (
    PreparedConnection,
    import_psycopg,
    one_line,
    read_notification,
)
from twisted_appserver.queue.postgresql.connection_watchdog import LONG, SHORT, ConnectionWatchdog
from twisted_appserver.queue.postgresql.dead_rows import DeadRows
from twisted_appserver.queue.postgresql.wakeup_socket import WakeupSocket

RETRY_AFTER = 0.25  # seconds between two attempts to connect


class Database:
    """
    One thread uses it, except for L{wake} and L{stop_reconnecting}.

    @param url: as libpq accepts it.
    @param server: identifies this server to the others.
    @param notified: called by L{deliver} and L{wait}: with the waiters and the queue of each notification
        from another server, and with C{None} after reconnecting, because notifications may have been lost.
    @raise ConfigurationError: when psycopg is not installed.
    @ivar connection: the connection of psycopg; C{None} while there is none.
    @ivar away: whether the connection was lost.
    @ivar generation: how many connections were lost.
    """

    log = Logger()

    def __init__(
        self,
        url: str,
        server: str,
        watchdog: ConnectionWatchdog,
        notified: Callable[[tuple[str, str] | None], None],
    ) -> None:
        self.psycopg = import_psycopg()
        self._url, self._server, self._watchdog, self._notified = url, server, watchdog, notified
        self._received: deque[tuple[str, str] | None] = deque()
        self.connection: Any = None
        self.away = False
        self.generation = 0
        self.secret, self.last_deletion = b"", 0
        self._dead_rows = DeadRows(self.psycopg)
        self._alive_error = ""  # why this server could not be recorded as alive the last time
        self._stopping = Event()
        self._wakeup = WakeupSocket()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def wake(self) -> None:
        """Make L{wait} return."""
        self._wakeup.wake()

    def stop_reconnecting(self) -> None:
        """Make L{reconnect} and L{pause} return at once."""
        self._stopping.set()

    def close(self) -> None:
        """Close the connection, and everything else."""
        if self.connection is not None:
            self._watchdog.stop()
            self.connection.close()
            self.connection = None
        self._selector.close()
        self._wakeup.close()

    def connect(self) -> None:
        """
        Connect to the database, and prepare it.

        @raise psycopg.Error: when the connection fails.
        @raise ConfigurationError: when the database cannot be used.
        """
        prepared = PreparedConnection(self.psycopg, self._url, self._watchdog)
        self.secret, self.last_deletion = prepared.secret, prepared.last_deletion
        self.connection = prepared.psycopg
        self.connection.add_notify_handler(self._receive)
        self._descriptor = self.connection.fileno()  # a closed connection does not have it any more
        self._selector.register(self._descriptor, selectors.EVENT_READ)
        self._alive_recorded = float("-inf")

    def reconnect(self) -> None:
        """If there is no connection, try to connect until that succeeds or the server stops."""
        last_error = ""
        while self.connection is None and not self._stopping.is_set():
            try:
                self.connect()
            except (self.psycopg.Error, ConfigurationError) as error:
                if last_error != (last_error := one_line(error)):
                    self.log.warn("no connection to the database: {e}", e=last_error)
                self.pause()
            else:
                self.log.info("connected to the database again")
                self.away = False
                self._received.append(None)

    def pause(self) -> None:
        """Wait before the next attempt."""
        self._stopping.wait(RETRY_AFTER)

    def disconnected(self, error: Exception) -> None:
        """After an error, give up the connection if it is open."""
        if self.connection is None:
            return
        self.log.warn("the connection to the database was lost: {e}", e=one_line(error))
        self.away = True
        self.generation += 1
        self._watchdog.stop()
        self._selector.unregister(self._descriptor)
        self.connection.close()
        self.connection = None

    def was_lost(self, error: Exception) -> bool:
        """Return whether the connection cannot be used any more, after an error."""
        return self.connection.closed or isinstance(error, self.psycopg.errors.AdminShutdown)

    def wait(self) -> None:
        """Wait until L{wake} is called, at most until the next L{record_alive}. Deliver notifications."""
        self.deliver()
        left = self._alive_recorded + heartbeat.INTERVAL - monotonic()
        for key, _ in self._selector.select(max(0.0, left)):
            if key.fileobj is self._wakeup:
                self._wakeup.clear()
            else:
                self._read_notifications()
        self.deliver()

    def deliver(self) -> None:
        """
        Pass on the notifications that were received.

        A notification may be received with the response to a commit. The notification must not overtake the
        results of that transaction: a request that could not succeed begins to wait only when its result
        arrives.
        """
        while self._received:
            self._notified(self._received.popleft())

    def _read_notifications(self) -> None:
        try:
            self.connection.pgconn.consume_input()
            while note := self.connection.pgconn.notifies():
                self._receive(note)
        except self.psycopg.Error as error:
            self.disconnected(error)

    def _receive(self, note: Any) -> None:
        found = read_notification(note)
        if found is not None:
            server, waiters, name = found
            if server != self._server:
                self._received.append((waiters, name))

    def execute(self, statement: str, **values: Any) -> Any:
        """Run a quick statement of C{schema.sql}, given by name, in a transaction of its own."""
        self._watchdog.expect_within(SHORT)
        cursor = self.connection.execute(schema.SQL[statement], values)
        self._watchdog.expect_within()
        return cursor

    def roll_back(self, error: Exception, requests: int) -> bool:
        """
        End a transaction that failed.

        @param requests: how many requests it performed.
        @return: whether the requests may be performed again, because the connection or a temporary state was
            the cause.
        """
        errors = self.psycopg.errors
        temporary = (
            errors.DeadlockDetected,
            errors.SerializationFailure,
            errors.LockNotAvailable,
            errors.QueryCanceled,
            errors.ForeignKeyViolation,
        )
        if self.was_lost(error):
            self.disconnected(error)
            return True
        try:
            self.connection.rollback()
        except self.psycopg.Error as second:
            self.disconnected(second)
            return True
        if not isinstance(error, temporary):
            self.log.warn("{n} requests failed: {e}", n=requests, e=one_line(error))
        return isinstance(error, temporary)

    def record_transaction(self, number: int) -> None:
        """
        Record the number of a transaction of this server.

        @raise psycopg.errors.UniqueViolation: when it is recorded already.
        """
        self.execute("record_transaction", server=self._server, transaction_number=number)

    def was_committed(self, number: int) -> bool:
        """
        Find out whether a transaction was committed.

        The database may have committed it before the connection or this program failed. Recording the
        transaction once more waits until an unfinished transaction has ended, and succeeds if it was rolled
        back. After that, the first transaction can never be committed.
        """
        while True:
            self.reconnect()
            if self.connection is None:  # the server stops
                return False
            try:
                self.record_transaction(number)
                return False
            except self.psycopg.errors.UniqueViolation:
                return True
            except self.psycopg.Error as error:
                self.disconnected(error)

    def record_alive_soon(self) -> None:
        """Let the next L{record_alive} write a record in any case."""
        self._alive_recorded = float("-inf")

    def record_alive(self) -> None:
        """Record that this server is alive, unless that was done a moment ago, see L{heartbeat}."""
        if self.connection is None or monotonic() < self._alive_recorded + heartbeat.INTERVAL:
            return
        self._alive_recorded = monotonic()
        self._watchdog.expect_within(LONG)
        try:
            heartbeat.record_alive(self.connection)
        except self.psycopg.Error as error:
            if self.was_lost(error):
                self.disconnected(error)
                return
            if self._alive_error != (text := one_line(error)):
                self.log.warn("no lease ends until the database can be written to: {e}", e=text)
                self._alive_error = text
        else:
            self._alive_error = ""
        self._watchdog.expect_within()

    def limit_dead_rows(self) -> None:
        """Rewrite the tables that have too many dead rows, see L{dead_rows}."""
        if self.connection is None:
            return
        self._watchdog.expect_within(LONG)
        try:
            self._dead_rows.limit(self.connection)
        except self.psycopg.Error as error:
            if self.was_lost(error):
                self.disconnected(error)
            else:
                self.log.warn("dead rows cannot be counted: {e}", e=one_line(error))
        self._watchdog.expect_within()
