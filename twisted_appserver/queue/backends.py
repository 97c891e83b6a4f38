"""The broker that belongs to a store."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from twisted_appserver.queue.clock import steady
from twisted_appserver.queue.interface import IBroker
from twisted_appserver.queue.local.broker import Broker
from twisted_appserver.queue.local.journal import IStore
from twisted_appserver.queue.local.sqlite_journal import SQLiteStore
from twisted_appserver.queue.postgresql.broker import SharedBroker
from twisted_appserver.queue.postgresql.session import PostgreSQLStore

Store = IStore | PostgreSQLStore
_embedded: WeakValueDictionary[tuple[Any, str], IBroker] = WeakValueDictionary()


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
