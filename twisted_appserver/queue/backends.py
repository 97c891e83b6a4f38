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
from twisted_appserver.queue.local.sqlite_file import check_file, is_in_use
from twisted_appserver.queue.local.sqlite_journal import SQLiteStore
from twisted_appserver.queue.postgresql.broker import PostgreSQLBroker
from twisted_appserver.queue.postgresql.database_check import check_database
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
    library = kind.partition("+")[0]  # SQLAlchemy also names the driver
    if library == "sqlite" and path.startswith("//"):
        raise OptionError(f"--store {text}: {_sqlite_advice(path)}")
    if kind == "sqlite" and path:
        return SQLiteStore(path)
    if kind in ("postgresql", "postgres") and path.startswith("//"):
        return PostgreSQLStore(text)
    meant = f"; did you mean sqlite:{text}?" if text and kind == text else ""
    if library in ("postgresql", "postgres") and library != kind:
        meant = f"; did you mean {library}:{path}?"
    raise OptionError(f"--store must be memory:, sqlite:PATH or postgresql://..., not {text!r}{meant}")


def _sqlite_advice(path: str) -> str:
    """Return what to write instead of a URL of SQLAlchemy, whose relative paths begin with three slashes."""
    name = path.lstrip("/")
    relative = f"write sqlite:{name or 'PATH'}"
    absolute = f"sqlite:/{name or 'PATH'}"
    if path.startswith("////"):
        return f"write {absolute}"
    return f"{relative} for a file in the current folder, or {absolute} for an absolute path"


def check_store(text: str) -> str:
    """
    Check the store that an option names, without changing it. A database is connected to for a few seconds.

    @return: what prevented the check; empty if nothing did.
    @raise ConfigurationError: when it cannot be used.
    """
    store = open_store(text)
    if isinstance(store, PostgreSQLStore):
        check_database(store.url)
    elif isinstance(store, SQLiteStore):
        check_file(store.path)
        if is_in_use(store.path):
            return (
                f"another process uses the store {store.path}: a second server cannot start with it; "
                "the store is not checked"
            )
    return ""


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
