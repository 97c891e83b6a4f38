"""A store in a file of SQLite.

Strategy: one thread owns the database. Whatever waits when it looks is written in one transaction and
one commit, synced to the disk, and the answers go back to the reactor in one call: the more clients there
are, the more of them share a commit. A statement takes many rows, since each one, and each step of
C{executemany}, lets go of Python's lock and must get it back from a busy reactor.

The file has times of the wall clock, which outlast the machine; in the server they are those of the reactor.

A full disk must not stop the work that makes room. A reserve is kept beside the database: it is deleted
when the disk is full, and while it is, new tasks are refused, but what is got and done is still written.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from os import urandom
from threading import Event, Thread
from time import monotonic, time
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.gathering import Gathering
from twisted_appserver.queue.interface import StoreError
from twisted_appserver.queue.local.journal import CHECK, Change, IStore, Saved
from twisted_appserver.queue.local.sqlite_file import APPLICATION, check_file
from twisted_appserver.queue.model import Remembered, Task, read_config
from twisted_appserver.queue.sql_files import read_migrations, read_statements

SQL = read_statements(__package__, "journal.sql")
MIGRATIONS = read_migrations(__package__)
VERSION = len(MIGRATIONS)
ROWS = 64  # in one statement
RESERVE = 8 * 1024 * 1024  # bytes
BATCH = 4096  # changes in one commit
RETRY = 1.0  # seconds between two looks whether a full disk has space again
TIDY = Change()  # stands for the wish to give space back
TIDY_PAGES = 10_000  # at most so many at once
REASONS = {  # why a change could not be stored, as clients see it
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "the database file is read-only",
    "SQLITE_IOERR": "the disk fails",
    "SQLITE_CORRUPT": "the database file is damaged",
}
FAULT = "a fault in the store; the log of the server has the details"

_Waiting = tuple[Change, Deferred[None]]


@implementer(IStore)
class SQLiteStore:
    """
    Survives the end of the process at any moment, and that of the machine as far as its disk keeps what it
    has been told to sync (WAL, synchronous FULL). One process at a time may use the file.

    @param path: of the database; it is made if there is none. Beside it stand C{-wal} and C{-reserve}.
    @param wall: returns the seconds since the epoch.
    """

    log = Logger()

    def __init__(self, path: str, wall: Callable[[], float] = time) -> None:
        self.path, self._wall = os.path.abspath(path), wall
        self._given: deque[_Waiting] = deque()  # to the thread
        self._wake, self._closing = Event(), False
        self._refusal, self._look_again = "", 0.0  # why new tasks are refused, and until when

    def open(self, reactor: Any) -> Saved:
        self._reactor = reactor
        self._gathering = Gathering(reactor, self._hand_over)
        database: Any = None
        try:
            check_file(self.path)
            self._database = database = sqlite3.connect(
                self.path, timeout=1.0, isolation_level=None, check_same_thread=False
            )
            saved = self._read()
        except (sqlite3.Error, ConfigurationError) as error:
            if database is not None:
                database.close()
            if isinstance(error, ConfigurationError):
                raise
            what = f"the store {self.path} cannot be used: {error}"
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY:
                what = f"another process uses the store {self.path}"
            raise ConfigurationError(what) from error
        self._refuse(self._take_reserve())
        self._closing = False
        self._thread = Thread(target=self._run, name="tqueue-store", daemon=True)
        self._thread.start()
        return saved

    def _read(self) -> Saved:
        ask = self._database.execute
        # Exclusive: the lock is taken at the first transaction, and kept.
        ask("PRAGMA locking_mode=EXCLUSIVE")
        if ask("PRAGMA page_count").fetchone()[0] == 0:  # a new file; else it would write, for which a disk
            ask("PRAGMA auto_vacuum=INCREMENTAL")  # that is full may have no room
            ask(f"PRAGMA application_id={APPLICATION}")
        ask("PRAGMA journal_mode=WAL")
        ask("PRAGMA synchronous=FULL")
        version = ask("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise ConfigurationError(f"{self.path} is of version {version}; this program knows {VERSION}")
        for step in range(version, VERSION):
            self._database.executescript(
                f"BEGIN IMMEDIATE; {MIGRATIONS[step]}; PRAGMA user_version={step + 1};"
                f"PRAGMA application_id={APPLICATION}; COMMIT"
            )
        ask("BEGIN IMMEDIATE")
        if ask(SQL["has_secret"]).fetchone() is None:
            ask(SQL["insert_secret"], (urandom(32),))
        ask("COMMIT")
        saved = Saved(ask(SQL["secret"]).fetchone()[0])
        last = ask(SQL["last_number"]).fetchone()
        saved.last = last[0] if last else 0
        for name, config in ask(SQL["options"]):
            try:
                saved.configs[name] = read_config(name, config)
            except ValueError as error:
                raise ConfigurationError(f"{self.path}: {error}") from None
        shift = self._shift()
        for queue, lane, key, number, until, known in ask(SQL["keys"]):
            saved.keys.append((queue, lane, Remembered(key, number, until - shift, known)))
        for number, queue, body, priority, order, due, span, deliveries, holder, buried in ask(SQL["tasks"]):
            task = Task(number, body, priority, order, due and due - shift, 0.0, deliveries, holder)
            task.buried, task.span = bool(buried), span
            saved.tasks.setdefault(queue, []).append(task)
        return saved

    def _shift(self) -> float:
        """What is added to the reactor's time to make it the wall clock's."""
        return self._wall() - self._reactor.seconds()  # type: ignore[no-any-return]

    def write(self, change: Change) -> Deferred[None] | None:
        return self._enqueue(change)

    def _enqueue(self, change: Change) -> Deferred[None]:
        deferred: Deferred[None] = Deferred()
        self._gathering.add((change, deferred))
        return deferred

    def _hand_over(self, changes: list[_Waiting]) -> None:
        self._given.extend(changes)
        self._wake.set()

    def tidy(self) -> None:
        self._enqueue(TIDY).addErrback(lambda failure: self.log.warn("not tidied: {e}", e=failure.value))

    def close(self) -> Deferred[None]:
        self._closing = True
        closed = self._enqueue(Change())
        return closed.addCallback(lambda _: self._thread.join())

    # In the thread.

    def _run(self) -> None:
        last = False
        while not last:
            self._wake.wait()
            self._wake.clear()
            while self._given:
                batch = [self._given.popleft() for _ in range(min(len(self._given), BATCH))]
                answers = self._commit(batch)
                if any(change is TIDY for change, _ in batch):
                    self._vacuum()
                last = self._closing and not (self._given or self._gathering)
                if last:
                    self._database.close()
                self._reactor.callFromThread(_answer, answers)

    def _commit(self, batch: Sequence[_Waiting]) -> list[tuple[Deferred[None], StoreError | None]]:
        """Write what waits, as one. If that fails, write it without the new tasks."""
        if self._refusal and monotonic() > self._look_again:
            self._refuse(self._take_reserve())
        if not self._refusal:
            error = self._try(batch)
            if error is None:
                return [(deferred, None) for _, deferred in batch]
            self._refuse(str(error))
            self._look_again = monotonic() + RETRY
            with suppress(OSError):
                os.unlink(self.path + "-reserve")
        refusal = StoreError(self._refusal)
        rest = [item for item in batch if not _is_put(item[0])]
        error = self._try(rest)
        return [(deferred, refusal if _is_put(change) else error) for change, deferred in batch]

    def _refuse(self, why: str) -> None:
        """Refuse new tasks from now on, for this reason; accept them if there is none."""
        if why and why != self._refusal:
            self.log.error("{path}: new tasks are refused: {why}", path=self.path, why=why)
        elif self._refusal and not why:
            self.log.info("{path}: new tasks are accepted again", path=self.path)
        self._refusal = why

    def _try(self, batch: Sequence[_Waiting]) -> StoreError | None:
        """One transaction."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._apply([change for change, _ in batch])
            self._database.execute("COMMIT")
        except Exception as error:
            why = FAULT
            if isinstance(error, sqlite3.Error):
                name = getattr(error, "sqlite_errorname", "") or "unknown"
                why = next((REASONS[each] for each in REASONS if name.startswith(each)), f"{FAULT} ({name})")
                self.log.warn(
                    "{path}: {n} changes are not stored: {e}", path=self.path, n=len(batch), e=error
                )
            else:  # of ours: whoever asked is told, and the store goes on
                self.log.failure("a fault in the store")
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            return StoreError(why)
        return None

    def _apply(self, changes: Sequence[Change]) -> None:
        """
        A task's number is never given again: so all puts may go before all updates, and so on. But a queue
        that is deleted may be put to again: what came before it is done first.
        """
        begin = 0
        for place, change in enumerate(changes, 1):
            if any(config is None for _, config in change.configs):
                self._apply_some(changes[begin:place])
                begin = place
        self._apply_some(changes[begin:])

    def _apply_some(self, changes: Sequence[Change]) -> None:
        """Those until a queue is deleted."""
        many, shift = self._many, self._shift()
        puts = [each for c in changes for each in c.puts]
        if any(change is CHECK for change in changes):
            self._database.execute(SQL["write_nothing"])
        many(
            "put",
            [
                (t.number, q, t.body, t.priority, t.order, t.due and t.due + shift, 0.0, 0, "", 0)
                for q, t in puts
            ],
        )
        many("forget", [lane for c in changes for lane in c.forgets])  # before those that are remembered anew
        keys = {(q, lane): (q, lane, k) for c in changes for q, lane, k in c.keys}
        many(
            "remember",
            [(q, lane, k.key, k.number, k.until + shift, k.digest) for q, lane, k in keys.values()],
        )
        updates = {row[-1]: row for c in changes for row in c.updates}  # the last counts
        many("update", [(row[0] and row[0] + shift, *row[1:]) for row in updates.values()])
        many("delete", [(number,) for c in changes for number in c.deletes])
        for name, config in (each for c in changes for each in c.configs):
            if config is None:
                self._database.execute(SQL["delete_tasks_of_queue"], (name,))
                self._database.execute(SQL["delete_keys_of_queue"], (name,))
            self._database.execute(SQL["delete_options"], (name,))
            if config is not None:
                text = msgspec.json.encode(config).decode()
                self._database.execute(SQL["insert_options"], (name, text))

    def _many(self, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement for rows. Their number is a power of two, so that there are few different texts."""
        while rows:
            count = ROWS if len(rows) >= ROWS else 1 << len(rows).bit_length() - 1
            values = [value for each in rows[:count] for value in each]
            self._database.execute(_text(name, count, len(rows[0])), values)
            rows = rows[count:]

    def _vacuum(self) -> None:
        with suppress(sqlite3.Error):  # as a script, since execute() would stop after the first page
            self._database.executescript(f"PRAGMA incremental_vacuum({TIDY_PAGES})")

    def _take_reserve(self) -> str:
        """Have the space that is to be given up when the disk is full. Return why there is not so much."""
        path = self.path + "-reserve"
        try:
            with open(path, "ab") as file:
                while (missing := RESERVE - file.tell()) > 0:
                    file.write(urandom(min(missing, 65536)))
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.unlink(path)
            self._look_again = monotonic() + RETRY
            if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
                return "the disk is full"
            return f"the reserve file beside the database cannot be written: {error.strerror}"
        return ""


@cache
def _text(name: str, rows: int, columns: int) -> str:
    """Return a statement for a number of rows."""
    row = f"({', '.join('?' * columns)})"
    return SQL[name].replace("{rows}", ", ".join([row] * rows))


def _is_put(change: Change) -> bool:
    """Whether it is refused when the disk is full."""
    return bool(change.puts) or change is CHECK


def _answer(answers: Sequence[tuple[Deferred[None], StoreError | None]]) -> None:
    for deferred, error in answers:
        if error is None:
            deferred.callback(None)
        else:
            deferred.errback(error)
