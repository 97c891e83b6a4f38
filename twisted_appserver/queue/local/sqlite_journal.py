"""A store in a file of SQLite.

Strategy: one thread owns the database. It writes all waiting changes in one transaction with one sync to
the disk, and reports their results to the reactor in one call. The more clients there are, the more of them
share a commit. A statement writes many rows, because each statement (and each step of C{executemany})
releases the interpreter lock and must get it back from a busy reactor.

The file contains times of the wall clock, which are valid after a restart of the machine. The server uses
times of the reactor.

When the disk is full, workers must still be able to finish tasks, which makes room. So there is a reserve
file beside the database. It is deleted when the disk is full. Then new tasks are refused, but gets and
dones are still written.
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
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from zope.interface import implementer

from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.attempt import Attempt
from twisted_appserver.queue.batching import Batcher
from twisted_appserver.queue.interface import AwayError, StoreError
from twisted_appserver.queue.local.journal import CHECK, Change, IStore, Saved
from twisted_appserver.queue.local.sqlite_file import APPLICATION, check_file
from twisted_appserver.queue.local.sqlite_results import SQLiteResults
from twisted_appserver.queue.model import QueuedTask, read_config
from twisted_appserver.queue.request_keys import Remembered
from twisted_appserver.queue.sql_files import read_migrations, read_statements
from twisted_appserver.queue.task_result import TaskResult

SQL = read_statements(__package__, "journal.sql")
MIGRATIONS = read_migrations(__package__)
VERSION = len(MIGRATIONS)
MAX_ROWS = 64  # in one statement
RESERVE = 8 * 1024 * 1024  # bytes
MAX_CHANGES = 4096  # in one commit
RETRY = 1.0  # seconds between two checks whether a full disk has space again
FREE_SPACE = Change()  # makes the thread give unused space back
FREED_PAGES = 10_000  # maximum number of pages that are freed at once
REASONS = {  # why a change could not be stored, for clients
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "the database file is read-only",
    "SQLITE_IOERR": "the disk reported an error",
    "SQLITE_CORRUPT": "the database file is damaged",
}
T = TypeVar("T")
INTERNAL_ERROR = "internal error in the store; see the log of the server"

_Waiting = tuple[Change, Deferred[None]]
_Lookup = tuple[Callable[[], Any], Deferred[Any]]  # reads something in the thread


@implementer(IStore)
class SQLiteStore:
    """
    Keeps changes after a crash of the process, and after a loss of power if the disk keeps what it has synced
    (WAL, synchronous FULL). One process at a time may use the file.

    @param path: the file of the database. If it does not exist, it is created, together with files with
        C{-wal} and C{-reserve} appended to its name.
    @param wall: returns the seconds since the epoch.
    """

    log = Logger()

    def __init__(self, path: str, wall: Callable[[], float] = time) -> None:
        self.path, self._wall = os.path.abspath(path), wall
        self._queued: deque[_Waiting] = deque()  # changes for the thread
        self._lookups: deque[_Lookup] = deque()  # for the thread, after all changes
        self._wake, self._closing = Event(), False
        self._refusal, self._look_again = "", 0.0  # why new tasks are refused, and when to check again

    def open(self, reactor: Any) -> Saved:
        self._reactor = reactor
        self._batcher = Batcher(reactor, self._hand_over)
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
        self._results = SQLiteResults(database, self._many, self._shift())
        self._thread = Thread(target=self._run, name="tqueue-store", daemon=True)
        self._thread.start()
        return saved

    def _read(self) -> Saved:
        ask = self._database.execute
        # The first transaction takes the lock of the file and keeps it.
        ask("PRAGMA locking_mode=EXCLUSIVE")
        if ask("PRAGMA page_count").fetchone()[0] == 0:  # a new file
            # Not for an existing one: this writes, and a full disk may have no room.
            ask("PRAGMA auto_vacuum=INCREMENTAL")
            ask(f"PRAGMA application_id={APPLICATION}")
        ask("PRAGMA journal_mode=WAL")
        ask("PRAGMA synchronous=FULL")
        version = ask("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise ConfigurationError(
                f"{self.path} has version {version}; this program supports versions up to {VERSION}"
            )
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
        self._read_queues(saved, self._shift())
        return saved

    def _read_queues(self, saved: Saved, shift: float) -> None:
        """Read keys and tasks. C{shift} is as of L{_shift}."""
        ask = self._database.execute
        for queue, lane, key, number, until, known in ask(SQL["keys"]):
            saved.keys.append((queue, lane, Remembered(key, number, until - shift, known)))
        for number, queue, body, priority, order, due, span, deliveries, *rest in ask(SQL["tasks"]):
            holder, buried, began, by, attempts = rest
            task = QueuedTask(number, body, priority, order, due and due - shift, 0.0, deliveries, holder)
            task.buried, task.span, task.attempts = bool(buried), span, attempts
            task.began, task.by = began and began - shift, by
            saved.tasks.setdefault(queue, []).append(task)

    def _shift(self) -> float:
        """Return the difference of the wall clock and the clock of the reactor."""
        return self._wall() - self._reactor.seconds()  # type: ignore[no-any-return]

    def write(self, change: Change) -> Deferred[None] | None:
        return self._enqueue(change)

    def _enqueue(self, change: Change) -> Deferred[None]:
        deferred: Deferred[None] = Deferred()
        self._batcher.add((change, deferred))
        return deferred

    def _hand_over(self, changes: list[_Waiting]) -> None:
        self._queued.extend(changes)
        self._wake.set()

    def find_result(self, name: str, number: int) -> Deferred[TaskResult | None]:
        return self._ask(lambda: self._results.find(name, number, self._reactor.seconds()))

    def find_attempts(self, name: str, numbers: Sequence[int]) -> Deferred[dict[int, list[Attempt]]]:
        return self._ask(lambda: self._results.attempts(numbers))

    def _ask(self, look_up: Callable[[], T]) -> Deferred[T]:
        """Read something in the thread."""
        if self._closing:
            return fail(AwayError("the server is stopping"))
        deferred: Deferred[T] = Deferred()
        self._batcher.flush()  # the thread must find what was written before
        self._lookups.append((look_up, deferred))
        self._wake.set()
        return deferred

    def free_unused_space(self) -> None:
        self._enqueue(FREE_SPACE).addErrback(
            lambda failure: self.log.warn("unused space was not given back: {e}", e=failure.value)
        )

    def close(self) -> Deferred[None]:
        self._closing = True
        closed = self._enqueue(Change())
        return closed.addCallback(lambda _: self._thread.join())

    # Everything below runs in the thread.

    def _run(self) -> None:
        last = False
        while not last:
            self._wake.wait()
            self._wake.clear()
            while self._queued:
                batch = [self._queued.popleft() for _ in range(min(len(self._queued), MAX_CHANGES))]
                answers = self._commit(batch)
                if any(change is FREE_SPACE for change, _ in batch):
                    self._vacuum()
                last = self._closing and not (self._queued or self._batcher)
                self._reactor.callFromThread(_answer, answers)
            while self._lookups:
                self._look_up(*self._lookups.popleft())
        self._database.close()

    def _look_up(self, look_up: Callable[[], T], deferred: Deferred[T]) -> None:
        try:
            found = look_up()
        except sqlite3.Error as error:
            self.log.warn("{path}: a result was not read: {e}", path=self.path, e=error)
            self._reactor.callFromThread(deferred.errback, StoreError(self._reason(error)))
        else:
            self._reactor.callFromThread(deferred.callback, found)

    def _commit(self, batch: Sequence[_Waiting]) -> list[tuple[Deferred[None], StoreError | None]]:
        """Write changes in one transaction. If that fails, write them without the new tasks."""
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
        """Refuse new tasks for this reason from now on; accept them if it is empty."""
        if why and why != self._refusal:
            self.log.error("{path}: new tasks are refused: {why}", path=self.path, why=why)
        elif self._refusal and not why:
            self.log.info("{path}: new tasks are accepted again", path=self.path)
        self._refusal = why

    def _try(self, batch: Sequence[_Waiting]) -> StoreError | None:
        """Write changes in one transaction, and return the error if that fails."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._apply([change for change, _ in batch])
            self._database.execute("COMMIT")
        except Exception as error:
            why = INTERNAL_ERROR
            if isinstance(error, sqlite3.Error):
                why = self._reason(error)
                self.log.warn(
                    "{path}: {n} changes were not stored: {e}", path=self.path, n=len(batch), e=error
                )
            else:  # a bug of this program: only these changes fail
                self.log.failure("internal error in the store")
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            self._results.rolled_back()
            return StoreError(why)
        return None

    def _reason(self, error: sqlite3.Error) -> str:
        """Return why a statement failed, for clients."""
        name = getattr(error, "sqlite_errorname", "") or "unknown"
        return next(
            (REASONS[each] for each in REASONS if name.startswith(each)), f"{INTERNAL_ERROR} ({name})"
        )

    def _apply(self, changes: Sequence[Change]) -> None:
        """
        Write changes, grouped by kind.

        The number of a task is never used again, so all puts may be written before all updates, and so on.
        But a queue may be used again after it was deleted, so earlier changes are written first.
        """
        begin = 0
        for place, change in enumerate(changes, 1):
            if any(config is None for _, config in change.configs):
                self._apply_some(changes[begin:place])
                begin = place
        self._apply_some(changes[begin:])

    def _apply_some(self, changes: Sequence[Change]) -> None:
        """Write changes, of which only the last may delete a queue."""
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
        many("forget", [lane for c in changes for lane in c.forgets])  # before lanes that are used again
        keys = {(q, lane): (q, lane, k) for c in changes for q, lane, k in c.keys}
        many(
            "remember",
            [(q, lane, k.key, k.number, k.until + shift, k.digest) for q, lane, k in keys.values()],
        )
        updates = {row[-1]: row for c in changes for row in c.updates}  # the last one of a task is valid
        many(
            "update",
            [
                (row[0] and row[0] + shift, *row[1:5], row[5] and row[5] + shift, *row[6:])
                for row in updates.values()
            ],
        )
        many("delete", [(number,) for c in changes for number in c.deletes])
        self._results.record(changes)
        self._results.add([each for c in changes for each in c.results], self._reactor.seconds())
        for name, config in (each for c in changes for each in c.configs):
            if config is None:
                self._results.delete_queue(name)
                self._database.execute(SQL["delete_tasks_of_queue"], (name,))
                self._database.execute(SQL["delete_keys_of_queue"], (name,))
            self._database.execute(SQL["delete_options"], (name,))
            if config is not None:
                text = msgspec.json.encode(config).decode()
                self._database.execute(SQL["insert_options"], (name, text))

    def _many(self, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement for rows. Their number is a power of two, so that there are few different texts."""
        while rows:
            count = MAX_ROWS if len(rows) >= MAX_ROWS else 1 << len(rows).bit_length() - 1
            values = [value for each in rows[:count] for value in each]
            self._database.execute(_text(name, count, len(rows[0])), values)
            rows = rows[count:]

    def _vacuum(self) -> None:
        with suppress(sqlite3.Error):
            self._results.delete_expired(self._reactor.seconds())
            # execute() would stop after the first page.
            self._database.executescript(f"PRAGMA incremental_vacuum({FREED_PAGES})")

    def _take_reserve(self) -> str:
        """Create the reserve file. Return why this failed; empty if it succeeded."""
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
    """Return whether a change is refused when the disk is full."""
    return bool(change.puts) or change is CHECK


def _answer(answers: Sequence[tuple[Deferred[None], StoreError | None]]) -> None:
    for deferred, error in answers:
        if error is None:
            deferred.callback(None)
        else:
            deferred.errback(error)
