"""A store in a file of SQLite.

Strategy: one thread owns the database. It writes all waiting changes in one transaction with one sync to
the disk, and reports their results to the reactor in one call. The more clients there are, the more of them
share a commit.

The file contains times of the wall clock, which are valid after a restart of the machine. The server uses
times of the reactor.

When the disk is full, workers must still be able to finish tasks, which makes room. So there is a reserve
file beside the database. It is deleted when the disk is full. Then new tasks are refused, but gets and
dones are still written.
"""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from os import urandom
from queue import SimpleQueue
from threading import Thread
from time import monotonic, time
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from zope.interface import implementer

from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.attempt import Attempt
from twisted_appserver.queue.batching import Batcher
from twisted_appserver.queue.config import Config
from twisted_appserver.queue.interface import AwayError, StoreError
from twisted_appserver.queue.local.journal import CHECK, Change, IStore, Saved, join_changes
from twisted_appserver.queue.local.sqlite_file import APPLICATION, check_file, migrate, take_reserve
from twisted_appserver.queue.local.sqlite_results import SQLiteResults
from twisted_appserver.queue.local.sqlite_rows import (
    group_updates,
    rows_of_keys,
    rows_of_puts,
    rows_of_terms,
    to_key,
    to_task,
)
from twisted_appserver.queue.local.sqlite_statements import SQL, STATEMENTS, write_rows
from twisted_appserver.queue.local.taken_keys import SQLiteTakenKeys
from twisted_appserver.queue.paging import Place
from twisted_appserver.queue.sql_files import read_migrations
from twisted_appserver.queue.stored_options import read_config
from twisted_appserver.queue.task_result import TaskResult

MIGRATIONS = read_migrations(__package__)
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
    has_taken = False

    def __init__(self, path: str, wall: Callable[[], float] = time) -> None:
        self.path, self._wall = os.path.abspath(path), wall
        self._queued: deque[_Waiting] = deque()  # changes for the thread
        self._lookups: deque[_Lookup] = deque()  # for the thread, after all changes
        self._wake = SimpleQueue[None]()  # wakes the thread
        self._closing = False
        self._refusal, self._look_again = "", 0.0  # why new tasks are refused, and when to check again

    def open(self, reactor: Any) -> Saved:
        self._reactor = reactor
        self._batcher = Batcher(reactor, self._hand_over)
        database: Any = None
        try:
            check_file(self.path)
            self._database = database = sqlite3.connect(
                self.path,
                timeout=1.0,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=STATEMENTS,
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
        self._look_for_space()
        self._closing = False
        self._results = SQLiteResults(database, self._shift())
        self._taken = SQLiteTakenKeys(database, self._shift())
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
        migrate(self._database, self.path, MIGRATIONS)
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
        """Read keys and tasks. C{shift} is the result of L{_shift}."""
        ask, now = self._database.execute, self._reactor.seconds()
        saved.keys += [to_key(row, shift) for row in ask(SQL["keys"])]
        self.has_taken = bool(ask(SQL["has_taken"]).fetchone()[0])
        saved.paces = {queue: last - shift for queue, last in ask(SQL["paces"])}
        for queue, *row in ask(SQL["tasks"]):
            saved.tasks.setdefault(queue, []).append(to_task(row, shift, now))

    def _shift(self) -> float:
        """Return the difference between the wall clock and the clock of the reactor."""
        return self._wall() - self._reactor.seconds()  # type: ignore[no-any-return]

    def write(self, change: Change) -> Deferred[None] | None:
        self.has_taken |= bool(change.taken)
        return self._enqueue(change)

    def _enqueue(self, change: Change) -> Deferred[None]:
        deferred: Deferred[None] = Deferred()
        self._batcher.add((change, deferred))
        return deferred

    def _hand_over(self, changes: list[_Waiting]) -> None:
        self._queued.extend(changes)
        self._wake.put(None)

    def find_result(self, name: str, number: int) -> Deferred[TaskResult | None]:
        return self._ask(lambda: self._results.find(name, number, self._reactor.seconds()))

    def find_taken(self, name: str, keys: Sequence[str]) -> Deferred[dict[str, int]]:
        return self._ask(lambda: self._taken.find(name, keys, self._reactor.seconds()))

    def find_ended(self, name: str, count: int, size: int, before: Place) -> Deferred[list[TaskResult]]:
        return self._ask(lambda: self._results.last(name, count, size, before, self._reactor.seconds()))

    def count_results(self, name: str) -> int | None:
        return self._results.count(name)

    def find_attempts(self, name: str, numbers: Sequence[int]) -> Deferred[dict[int, list[Attempt]]]:
        return self._ask(lambda: self._results.attempts(numbers))

    def _ask(self, look_up: Callable[[], T]) -> Deferred[T]:
        """Read something in the thread."""
        if self._closing:
            return fail(AwayError("the server is stopping"))
        deferred: Deferred[T] = Deferred()
        self._batcher.flush()  # the thread must find what was written before
        self._lookups.append((look_up, deferred))
        self._wake.put(None)
        return deferred

    def free_unused_space(self) -> None:
        self._enqueue(FREE_SPACE).addErrback(
            lambda failure: self.log.warn("unused space was not given back: {e}", e=failure.value)
        )

    def close(self) -> Deferred[None]:
        closed = self._enqueue(Change())
        self._closing = True  # only now, because the thread ends when nothing is enqueued
        return closed.addCallback(lambda _: self._end())

    def _end(self) -> None:
        """Let the thread write what was enqueued meanwhile, and wait for its end."""
        self._batcher.flush()
        self._wake.put(None)
        self._thread.join()

    # Everything below runs in the thread.

    def _run(self) -> None:
        last = False
        while not last:
            self._wake.get()
            # Taken first: all changes written before them are in the queue now, and are committed first.
            lookups = [self._lookups.popleft() for _ in range(len(self._lookups))]
            while self._queued:
                batch = [self._queued.popleft() for _ in range(min(len(self._queued), MAX_CHANGES))]
                answers = self._commit(batch)
                if any(change is FREE_SPACE for change, _ in batch):
                    self._vacuum()
                self._reactor.callFromThread(_answer, answers)
            for lookup in lookups:
                self._look_up(*lookup)
            last = self._closing and not (self._queued or self._batcher)
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
            self._look_for_space()
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

    def _look_for_space(self) -> None:
        """Accept new tasks if the reserve file can be created, and else refuse them."""
        self._refuse(take_reserve(self.path))
        self._look_again = monotonic() + RETRY

    def _refuse(self, why: str) -> None:
        """Refuse new tasks for this reason from now on; accept them if the reason is empty."""
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
            if change.configs and any(config is None for _, config in change.configs):
                self._apply_some(changes[begin:place])
                begin = place
        self._apply_some(changes[begin:])

    def _apply_some(self, changes: Sequence[Change]) -> None:
        """Write changes, of which only the last may delete a queue."""
        many, shift = partial(write_rows, self._database), self._shift()
        whole = join_changes(changes)
        if any(change is CHECK for change in changes):
            self._database.execute(SQL["write_nothing"])
        many("put", rows_of_puts(whole.puts, shift))
        terms = [(task.number, task.terms) for _, task in whole.puts if task.terms is not None]
        many("set_terms", rows_of_terms([*terms, *whole.terms], shift))
        many("set_bodies", [(number, bytearray(body)) for number, body in dict(whole.bodies).items()])
        many("forget", whole.forgets)  # before lanes that are used again
        many("remember", rows_of_keys(whole.keys, shift))
        single, alike = group_updates(whole.updates, shift)
        many("update", single)
        for values, numbers in alike:
            many("update_alike", numbers, values)
        many("delete", [(number,) for number in whole.deletes])
        self._results.record(whole)
        if whole.freed or whole.taken:
            self._taken.write(changes)  # in the order of the changes
        self._results.add(whole.results, self._reactor.seconds())
        self._results.forget(whole.unkept)
        many("set_paces", [(name, last + shift) for name, last in dict(whole.paces).items()])
        for name, config in whole.configs:
            self._configure(name, config)

    def _configure(self, name: str, config: Config | None) -> None:
        """Write the options of a queue, or delete the queue."""
        if config is None or not config.rate:
            self._database.execute(SQL["delete_pace"], (name,))
        if config is None:
            self._results.delete_queue(name)
            self._taken.delete_queue(name)
            self._database.execute(SQL["delete_tasks_of_queue"], (name,))
            self._database.execute(SQL["delete_keys_of_queue"], (name,))
        self._database.execute(SQL["delete_options"], (name,))
        if config is not None:
            text = msgspec.json.encode(config).decode()
            self._database.execute(SQL["insert_options"], (name, text))

    def _vacuum(self) -> None:
        with suppress(sqlite3.Error):
            self._results.delete_expired(self._reactor.seconds())
            self._taken.delete_expired(self._reactor.seconds())
            # execute() would stop after the first page.
            self._database.executescript(f"PRAGMA incremental_vacuum({FREED_PAGES})")


def _is_put(change: Change) -> bool:
    """Return whether a change is refused when the disk is full."""
    return bool(change.puts) or change is CHECK


def _answer(answers: Sequence[tuple[Deferred[None], StoreError | None]]) -> None:
    for deferred, error in answers:
        if error is None:
            deferred.callback(None)
        else:
            deferred.errback(error)
