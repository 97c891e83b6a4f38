"""Opens the store of an option, and makes the broker for a store."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from twisted_appserver.errors import ConfigurationError
from twisted_appserver.queue.clock import steady
from twisted_appserver.queue.interface import IBroker
from twisted_appserver.queue.local.broker import Broker
from twisted_appserver.queue.local.journal import IStore
from twisted_appserver.queue.local.memory_journal import MemoryStore
from twisted_appserver.queue.local.sqlite_journal import SQLiteStore
from twisted_appserver.queue.postgresql.broker import SharedBroker
from twisted_appserver.queue.postgresql.session import PostgreSQLStore

Store = IStore | PostgreSQLStore
_embedded: WeakValueDictionary[tuple[Any, str], IBroker] = WeakValueDictionary()


def open_store(text: str) -> IStore | PostgreSQLStore:
    """
    The store that the command line names; nothing is opened yet.

    @param text: C{memory:}, C{sqlite:PATH} or C{postgresql://...}, as libpq has it.
    @raise ConfigurationError: when there is no such kind.
    """
    if text == "memory:":
        return MemoryStore()
    kind, _, path = text.partition(":")
    if kind == "sqlite" and path:
        return SQLiteStore(path)
    if kind in ("postgresql", "postgres") and path.startswith("//"):
        return PostgreSQLStore(text)
    raise ConfigurationError(f"the store must be memory:, sqlite:PATH or postgresql://..., not {text!r}")


def make_broker(reactor: Any, store: Store, max_queues: int = 10_000) -> IBroker:
    """
    A L{SharedBroker} for a store that several servers share, else a L{Broker}.

    @param reactor: gets a clock that does not jump, see L{queue.clock.steady}.
    """
    steady(reactor)
    if isinstance(store, PostgreSQLStore):
        return SharedBroker(reactor, store, max_queues)
    return Broker(reactor, store, max_queues)


def embedded_broker(reactor: Any, store: Store, max_queues: int = 10_000) -> IBroker:
    """
    The broker of an application's table. When that is imported again, it gets the one that has the file or
    the database open already, as that is; tasks in memory have no such place, and end with their table.
    """
    if not isinstance(store, SQLiteStore | PostgreSQLStore):
        return make_broker(reactor, store, max_queues)
    place = reactor, store.path if isinstance(store, SQLiteStore) else store.url
    broker = _embedded.get(place)
    if broker is None:
        broker = _embedded[place] = make_broker(reactor, store, max_queues)
    return broker
