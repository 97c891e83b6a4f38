"""A store in PostgreSQL, for any number of servers.

Strategy: one thread owns one connection. It performs all waiting requests in one transaction
(L{transaction}). On the same connection it receives notifications of other servers. When the connection
is lost, the thread reconnects until it succeeds. It repeats the last transaction unless the database has
committed it. If the database does not answer, the reactor's thread aborts the connection (L{watch}).
"""

from __future__ import annotations

import selectors
import socket
from collections import deque
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from os import urandom
from threading import Event, Thread
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.gathering import Gathering
from twisted_appserver.queue.interface import AwayError, StoreError
from twisted_appserver.queue.postgresql import schema
from twisted_appserver.queue.postgresql.poolers import refuse_shared
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.postgresql.statements import CHANNEL, DEFINITION
from twisted_appserver.queue.postgresql.transaction import USUAL, Batch, Known
from twisted_appserver.queue.postgresql.watch import LONG, PROMPT, Watch

BATCH = 1024  # requests in one transaction
PAUSE = 0.25  # seconds between two tries to connect
SPECIAL = ("tidy", "check", "gone")  # verbs of requests that are not about tasks
FAULT = "a fault in the store; the log of the server has the details"
# A server that is cut off must not hold its locks, nor wait, for longer than a few seconds.
TO_DATABASE = {
    "connect_timeout": 3, "keepalives_idle": 3, "keepalives_interval": 1, "keepalives_count": 3,
    "tcp_user_timeout": 5000, "application_name": "tqueuesrv",
}  # fmt: skip
SETTINGS = {
    "tcp_keepalives_idle": "3", "tcp_keepalives_interval": "1", "tcp_keepalives_count": "3",
    "tcp_user_timeout": "5s", "idle_in_transaction_session_timeout": "5s", "lock_timeout": "10s",
    "statement_timeout": "60s", "client_min_messages": "warning", "client_encoding": "utf8",
    "default_transaction_isolation": "read committed",  # what stands before the lock must not be a snapshot
    # Every statement goes by an index, whatever the statistics of tables say that change so fast.
    "enable_seqscan": "off", "enable_bitmapscan": "off", "enable_hashjoin": "off",
    "enable_mergejoin": "off", "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}  # fmt: skip
LOCK_TIMEOUT = "2s"  # for the locks of queues: less than PROMPT


class PostgreSQLStore:
    """
    Survives what the database survives. It does not implement L{IStore}: the tasks are in the database only,
    and L{SharedBroker} asks for each.

    @param url: as libpq has it, C{postgresql://user@host/database}.
    @ivar away: whether there is no connection.
    """

    log = Logger()

    def __init__(self, url: str) -> None:
        self.url = url
        self.server = urandom(8).hex()
        self.away = False
        self.watch = Watch()
        self._marked = float("-inf")  # when the database was told that this server is there
        self._unmarked = ""  # why it could not be told the last time
        self._given: deque[Request] = deque()  # to the thread
        self._closing = False
        self._known: dict[str, Known] = {}  # of queues
        self._number = 0  # of the last transaction
        self._selector: Any = None

    def open(
        self, reactor: Any, max_queues: int, answered: Callable[..., None], heard: Callable[..., None]
    ) -> bytes:
        """
        @param answered: called with requests that were done, with the lines for which something has changed,
            and with the number of tasks that came back by queue.
        @param heard: called with what other servers tell, or with C{None} after a time without a connection.
        @return: the secret with which ids are signed.
        @raise ConfigurationError: when the database cannot be used.
        """
        try:
            import psycopg
        except ImportError as error:
            raise ConfigurationError(
                f"{error}: install the extra, pip install 'twisted_appserver[postgresql]'"
            ) from None
        self._psycopg: Any = psycopg
        self._closing = False
        self._reactor, self._max_queues, self._answered, self._heard = reactor, max_queues, answered, heard
        self._gathering = Gathering(reactor, self._hand_over)
        self._selector = selectors.DefaultSelector()
        self._bell, self._rope = socket.socketpair()
        self._rope.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._stopped = Event()
        try:
            self._connection = self._connect()
        except (psycopg.Error, ConfigurationError) as error:
            self._release()
            raise ConfigurationError(f"the database cannot be used: {_line(error)}") from error
        self._thread = Thread(target=self._run, name="tqueue-store", daemon=True)
        self._thread.start()
        return self.secret

    def ask(self, request: Request) -> None:
        """Have a request done, together with all others of this turn of the reactor."""
        self._gathering.add(request)

    def _hand_over(self, requests: list[Request]) -> None:
        self._given.extend(requests)
        self._ring()

    def _ring(self) -> None:
        with suppress(BlockingIOError):  # it is ringing
            self._rope.send(b"!")

    def close(self) -> Deferred[None]:
        """
        @return: fires when what was asked is done, or as far as it could be.
        """
        closed: Deferred[None] = Deferred()
        self._closed = closed
        self._gathering.flush()  # first, since the thread ends when nothing is there
        self._closing = True
        self._stopped.set()
        self._ring()
        return closed

    # In the thread.

    def _run(self) -> None:
        while not self._closing or self._given:
            requests: list[Request] = []
            try:
                if self._connection is None:
                    self._reconnect()
                self._mark()
                if not self._given:
                    self._listen()
                requests = self._next()
                if requests:
                    self._transact(requests)
            except Exception as error:  # of ours: whoever asked is told, and nobody else is kept waiting
                self.log.failure("a fault in the store")
                if self._connection is not None:
                    self._lost(error)
                self._stopped.wait(PAUSE)
                for request in requests:
                    request.reply(StoreError(FAULT))
                self._reactor.callFromThread(self._answered, requests, set(), {})
        if self._connection is not None:
            self.watch.end()
            self._connection.close()
        self._reactor.callFromThread(self._end)

    def _end(self) -> None:
        self._thread.join()
        self._release()
        self._closed.callback(None)

    def _release(self) -> None:
        self._selector.close()
        self._bell.close()
        self._rope.close()

    def _next(self) -> list[Request]:
        """What goes into one transaction: many ordinary requests, or one that is not."""
        requests: list[Request] = []
        while self._given and len(requests) < BATCH:
            if self._given[0].over:
                self._given.popleft()
                continue
            special = self._given[0].verb in SPECIAL
            if special and requests:
                break
            requests.append(self._given.popleft())
            if special:
                break
        return requests

    def _more(self, names: Container[str]) -> list[Request]:
        """What else waits that asks something of these queues."""
        given = [self._given.popleft() for _ in range(min(len(self._given), BATCH))]
        self._given.extendleft(request for request in reversed(given) if request.name not in names)
        return [request for request in given if request.name in names and not request.over]

    def _transact(self, requests: list[Request]) -> None:
        if self._connection is None:
            self._again(requests)
            return
        if requests[0].verb in SPECIAL:
            self._do(requests[0])
            return
        batch = Batch(self._connection, self._known, self.server, self._max_queues, self.watch)
        self._number += 1
        try:
            batch.run(requests, self._more, self._number)
            self.watch.within()
        except Exception as error:
            self._known.clear()
            passing = self._failed(requests, error)
            unsure = self._connection is None or not isinstance(error, self._psycopg.Error)
            if not (unsure and self._committed()):
                for request in requests:  # whatever they had been answered
                    request.unserved = True
                if passing:
                    self._again(requests)
                    return
                if len(requests) > 1:  # so that what cannot be done takes no other along
                    for request in requests:
                        self._transact([request])
                    return
                requests[0].reply(
                    error if isinstance(error, StoreError) else StoreError(schema.reason(error))
                )
        self._reactor.callFromThread(self._answered, requests, batch.signals, batch.returned)

    def _failed(self, requests: Sequence[Request], error: Exception) -> bool:
        """
        Come out of a transaction that failed.

        @return: whether it is the connection or the moment, and not the requests, so that they may be tried
            again.
        """
        errors = self._psycopg.errors
        passing = (
            errors.DeadlockDetected,
            errors.SerializationFailure,
            errors.LockNotAvailable,
            errors.QueryCanceled,
            errors.ForeignKeyViolation,
        )
        if self._connection.closed or isinstance(error, errors.AdminShutdown):
            self._lost(error)
            return True
        try:
            self._connection.rollback()
        except self._psycopg.Error as second:
            self._lost(second)
            return True
        if not isinstance(error, passing):
            self.log.warn("{n} requests failed: {e}", n=len(requests), e=_line(error))
        return isinstance(error, passing)

    def _committed(self) -> bool:
        """
        Whether the last transaction was committed nevertheless, if its answer was lost with the connection,
        or a fault of ours came in between. To note it once more waits for the end of one that still goes on,
        succeeds if it came to nothing, and keeps it from ever being committed after that.
        """
        while True:
            if self._connection is None:
                self._reconnect()
            if self._connection is None:  # closing
                return False
            try:
                self._note()
                return False
            except self._psycopg.errors.UniqueViolation:
                return True
            except self._psycopg.Error as error:
                self._lost(error)

    def _again(self, requests: Sequence[Request]) -> None:
        """Put requests back; when the service ends, they cannot be done any more."""
        if not self._closing:
            self._given.extendleft(reversed(requests))
            return
        for request in requests:
            request.reply(AwayError("the database cannot be reached"))
        self._reactor.callFromThread(self._answered, requests, set(), {})

    def _note(self) -> None:
        """Note in the database that a transaction of this server has been, or never will be."""
        self.watch.within(PROMPT)
        self._connection.execute("INSERT INTO tqueue.commits VALUES (%s, %s)", (self.server, self._number))
        self.watch.within()

    def _do(self, request: Request) -> None:
        """Do what is not about tasks."""
        try:
            getattr(self, f"_{request.verb}")(request)
        except self._psycopg.Error as error:
            if self._failed([request], error) and self._connection is None and not self._closing:
                self._given.appendleft(request)
                return
            request.reply(StoreError(schema.reason(error)) if request.verb == "check" else None)
        self.watch.within()
        self._reactor.callFromThread(self._answered, [request], set(), {})

    def _tidy(self, request: Request) -> None:
        self._known.clear()  # if it was wrong, it was not for long
        self.watch.within(LONG)
        request.reply(schema.tidy(self._connection, USUAL))

    def _check(self, request: Request) -> None:
        """Whether something can be stored."""
        self._number += 1
        self._note()
        request.reply(None)

    def _gone(self, request: Request) -> None:
        """The number of the last deletion of a queue, from which nobody but a server can notify falsely."""
        self.watch.within(PROMPT)
        row = self._connection.execute(
            "SELECT coalesce(max(number), 0) FROM tqueue.gone WHERE name = %s", (request.name,)
        ).fetchone()
        request.reply(row[0])

    def _mark(self) -> None:
        """Tell the database from time to time that this server is there: see L{schema.mark}."""
        if self._connection is None or monotonic() < self._marked + schema.MARK:
            return
        self._marked = monotonic()
        self.watch.within(LONG)
        try:
            schema.mark(self._connection)
        except self._psycopg.Error as error:
            if self._connection.closed or isinstance(error, self._psycopg.errors.AdminShutdown):
                self._lost(error)
                return
            if self._unmarked != (said := _line(error)):
                self.log.warn("no lease ends until the database can be written to: {e}", e=said)
                self._unmarked = said
        else:
            self._unmarked = ""
        self.watch.within()

    # The connection.

    def _connect(self) -> Any:
        connection = self._open()
        try:
            self.watch.begin(connection.fileno())
            self.watch.within(LONG)
            refuse_shared(connection, self._open)
            for name, value in SETTINGS.items():
                connection.execute("SELECT set_config(%s, %s, false)", (name, value))
            self.secret = schema.prepare(connection)
            connection.execute(DEFINITION)
            connection.execute(f"LISTEN {CHANNEL}")
            connection.execute("SELECT set_config('lock_timeout', %s, false)", (LOCK_TIMEOUT,))
            (self.deletions,) = connection.execute(
                "SELECT coalesce(max(number), 0) FROM tqueue.gone"
            ).fetchone()
        except BaseException:
            self.watch.end()
            connection.close()
            raise
        self.watch.within()
        connection.prepare_threshold = 0
        # An int8 whatever its value, so that statements of the same text are the same.
        connection.adapters.register_dumper(int, self._psycopg.types.numeric.Int8Dumper)
        connection.add_notify_handler(self._notified)
        self._descriptor = connection.fileno()  # which a connection that is lost does not know any more
        self._selector.register(self._descriptor, selectors.EVENT_READ)
        self._marked = float("-inf")
        return connection

    def _open(self) -> Any:
        return self._psycopg.connect(self.url, autocommit=True, **self._parameters())

    def _parameters(self) -> dict[str, Any]:
        """Those that the url does not set itself."""
        given = self._psycopg.conninfo.conninfo_to_dict(self.url)
        return {name: value for name, value in TO_DATABASE.items() if name not in given}

    def _lost(self, error: Exception) -> None:
        self.log.warn("the connection to the database is lost: {e}", e=_line(error))
        self.away = True
        self.watch.end()
        self._selector.unregister(self._descriptor)
        self._connection.close()
        self._connection = None
        self._known.clear()

    def _reconnect(self) -> None:
        said = ""
        while not self._closing:
            try:
                self._connection = self._connect()
            except (self._psycopg.Error, ConfigurationError) as error:
                if said != (said := _line(error)):
                    self.log.warn("no connection to the database: {e}", e=said)
                self._stopped.wait(PAUSE)
            else:
                self.log.info("connected to the database again")
                self.away = False
                self._reactor.callFromThread(self._heard, None)
                return

    def _listen(self) -> None:
        """Return when there is something to do; pass on what is heard meanwhile."""
        for key, _ in self._selector.select(schema.MARK):
            if key.fileobj is self._bell:
                self._bell.recv(4096)
            else:
                self._read()

    def _read(self) -> None:
        try:
            self._connection.pgconn.consume_input()
            while note := self._connection.pgconn.notifies():
                self._notified(note)
        except self._psycopg.Error as error:
            self._lost(error)

    def _notified(self, note: Any) -> None:
        extra = note.extra if hasattr(note, "extra") else note.payload
        text = extra.decode() if isinstance(extra, bytes) else extra
        server, _, tidings = text.partition(" ")
        word, _, name = tidings.partition(" ")
        if name and server != self.server:  # else it is ours, or no server of this kind has said it
            self._reactor.callFromThread(self._heard, (word, name))


def _line(error: Exception) -> str:
    """An error in one line, for the log."""
    return " ".join(str(error).split())
