"""Makes the store that an option names, and the broker for a store."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from twisted_appserver.errors import OptionError
from twisted_appserver.queue.clock import use_monotonic_clock
from twisted_appserver.queue.interface import IBroker
from twisted_appserver.queue.local.broker import LocalBroker
from twisted_appserver.queue.local.journal import IStore
from twisted_appserver.queue.local.memory_journal import MemoryStore
from twisted_appserver.queue.local.sqlite_file import check_file
from twisted_appserver.queue.local.sqlite_journal import SQLiteStore
from twisted_appserver.queue.postgresql.broker import PostgreSQLBroker
from twisted_appserver.queue.postgresql.session import PostgreSQLStore

Store = IStore | PostgreSQLStore
_embedded: WeakValueDictionary[tuple[Any, str], IBroker] = WeakValueDictionary()


def open_store(text: str) -> IStore | PostgreSQLStore:
    """
    Return the store that an option names. Nothing is opened yet.

    @param text: C{memory:}, C{sqlite:PATH}, or a URL that libpq accepts, C{postgresql://...}.
    @raise OptionError: when there is no such kind of store.
    @raise ConfigurationError: when the package for it is not installed.
    """
    if text == "memory:":
        return MemoryStore()
    kind, _, path = text.partition(":")
    if kind == "sqlite" and path:
        return SQLiteStore(path)
    if kind in ("postgresql", "postgres") and path.startswith("//"):
        return PostgreSQLStore(text)
    meant = f"; did you mean sqlite:{text}?" if text and kind == text else ""
    raise OptionError(f"--store must be memory:, sqlite:PATH or postgresql://..., not {text!r}{meant}")


def check_store(text: str) -> None:
    """
    Check the store that an option names, without opening it. A file of SQLite is only read.

    @raise ConfigurationError: when it cannot be used.
    """
    store = open_store(text)
    if isinstance(store, SQLiteStore):
        check_file(store.path)


def make_broker(reactor: Any, store: Store, max_queues: int = 10_000) -> IBroker:
    """
    Return the broker for a store.

    @param reactor: its clock is made monotonic, see L{queue.clock.use_monotonic_clock}.
    """
    use_monotonic_clock(reactor)
    if isinstance(store, PostgreSQLStore):
        return PostgreSQLBroker(reactor, store, max_queues)
    return LocalBroker(reactor, store, max_queues)


def embedded_broker(reactor: Any, store: Store, max_queues: int = 10_000) -> IBroker:
    """
    Return the broker for the table of an application.

    If the table is imported again, it gets the broker that has the file or database open already. Tasks in
    memory end with their table.
    """
    if not isinstance(store, SQLiteStore | PostgreSQLStore):
        return make_broker(reactor, store, max_queues)
    place = reactor, store.path if isinstance(store, SQLiteStore) else store.url
    broker = _embedded.get(place)
    if broker is None:
        broker = _embedded[place] = make_broker(reactor, store, max_queues)
    return broker
