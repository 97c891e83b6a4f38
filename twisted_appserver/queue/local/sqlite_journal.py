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

VERSION = 2
SCHEMA = """
CREATE TABLE store (prefix TEXT NOT NULL);
CREATE TABLE queues (name TEXT PRIMARY KEY, config TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE keys (
    queue TEXT, lane TEXT, key TEXT NOT NULL, number INTEGER NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (queue, lane)
) WITHOUT ROWID;
CREATE TABLE tasks (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- so that no id is ever given twice
    queue TEXT NOT NULL, body BLOB NOT NULL, priority REAL NOT NULL, "order" TEXT NOT NULL,
    due REAL NOT NULL, lease REAL NOT NULL, deliveries INTEGER NOT NULL, holder TEXT NOT NULL,
    buried INTEGER NOT NULL
);
"""
# From the version before to the next: MIGRATIONS[1] makes a file of version 1 one of version 2.
MIGRATIONS: dict[int, str] = {
    0: SCHEMA,
    # A lease has a length instead of an end. Only keys that clients make share a lane.
    1: """
    ALTER TABLE store ADD COLUMN secret BLOB;
    UPDATE store SET secret = randomblob(32);
    ALTER TABLE tasks RENAME COLUMN lease TO span;
    UPDATE tasks SET span = max(60.0, min(604800.0, span - strftime('%s', 'now'))) WHERE span > 0;
    ALTER TABLE keys RENAME TO old_keys;
    CREATE TABLE keys (
        queue TEXT, lane TEXT, key TEXT NOT NULL, number INTEGER NOT NULL, until REAL NOT NULL,
        digest BLOB NOT NULL, PRIMARY KEY (queue, lane)
    ) WITHOUT ROWID;
    INSERT INTO keys SELECT queue, key, key, number, until, x'' FROM old_keys;
    DROP TABLE old_keys;
    """,
}
# Each is made for as many rows as there are; one row is what stands in the second text.
PUT = "INSERT INTO tasks VALUES {}", "(?, ?, ?, ?, ?, ?, 0.0, 0, '', 0)"
REMEMBER = "INSERT OR REPLACE INTO keys VALUES {}", "(?, ?, ?, ?, ?, ?)"
UPDATE = (
    "WITH fresh (due, span, deliveries, holder, buried, number) AS (VALUES {}) UPDATE tasks SET due ="
    " fresh.due, span = fresh.span, deliveries = fresh.deliveries, holder = fresh.holder,"
    " buried = fresh.buried FROM fresh WHERE tasks.number = fresh.number",
    "(?, ?, ?, ?, ?, ?)",
)
DELETE = "DELETE FROM tasks WHERE number IN (VALUES {})", "(?)"
FORGET = "DELETE FROM keys WHERE (queue, lane) IN (VALUES {})", "(?, ?)"
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
        if ask("SELECT 1 FROM store").fetchone() is None:
            ask("INSERT INTO store VALUES ('', ?)", (urandom(32),))
        ask("COMMIT")
        saved = Saved(ask("SELECT secret FROM store").fetchone()[0])
        last = ask("SELECT seq FROM sqlite_sequence WHERE name = 'tasks'").fetchone()
        saved.last = last[0] if last else 0
        for name, config in ask("SELECT name, config FROM queues"):
            try:
                saved.configs[name] = read_config(name, config)
            except ValueError as error:
                raise ConfigurationError(f"{self.path}: {error}") from None
        shift = self._shift()
        for queue, lane, key, number, until, known in ask("SELECT * FROM keys"):
            saved.keys.append((queue, lane, Remembered(key, number, until - shift, known)))
        for number, queue, body, priority, order, due, span, deliveries, holder, buried in ask(
            "SELECT * FROM tasks"
        ):
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
            self._database.execute("UPDATE store SET prefix = prefix")
        many(PUT, [(t.number, q, t.body, t.priority, t.order, t.due and t.due + shift) for q, t in puts])
        many(FORGET, [lane for c in changes for lane in c.forgets])  # before those that are remembered anew
        keys = {(q, lane): (q, lane, k) for c in changes for q, lane, k in c.keys}
        many(
            REMEMBER,
            [(q, lane, k.key, k.number, k.until + shift, k.digest) for q, lane, k in keys.values()],
        )
        updates = {row[-1]: row for c in changes for row in c.updates}  # the last counts
        many(UPDATE, [(row[0] and row[0] + shift, *row[1:]) for row in updates.values()])
        many(DELETE, [(number,) for c in changes for number in c.deletes])
        for name, config in (each for c in changes for each in c.configs):
            for table in (
                "queues WHERE name",
                *(() if config else ("tasks WHERE queue", "keys WHERE queue")),
            ):
                self._database.execute(f"DELETE FROM {table} = ?", (name,))
            if config is not None:
                text = msgspec.json.encode(config).decode()
                self._database.execute("INSERT INTO queues VALUES (?, ?)", (name, text))

    def _many(self, statement: tuple[str, str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Do the same with each of the rows. Their numbers are powers of two: so there are few statements."""
        text, row = statement
        while rows:
            count = ROWS if len(rows) >= ROWS else 1 << len(rows).bit_length() - 1
            values = [value for each in rows[:count] for value in each]
            self._database.execute(text.format(", ".join([row] * count)), values)
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


def _is_put(change: Change) -> bool:
    """Whether it is refused when the disk is full."""
    return bool(change.puts) or change is CHECK


def _answer(answers: Sequence[tuple[Deferred[None], StoreError | None]]) -> None:
    for deferred, error in answers:
        if error is None:
            deferred.callback(None)
        else:
            deferred.errback(error)
