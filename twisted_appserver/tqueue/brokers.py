"""The broker that belongs to a store."""

from __future__ import annotations

from typing import Any

from twisted_appserver.tqueue.broker import Broker
from twisted_appserver.tqueue.interface import IBroker
from twisted_appserver.tqueue.shared import SharedBroker
from twisted_appserver.tqueue.stores.interface import IStore
from twisted_appserver.tqueue.stores.postgresql import PostgreSQLStore

Store = IStore | PostgreSQLStore


def make_broker(reactor: Any, store: Store, max_queues: int = 10_000) -> IBroker:
    """
    A L{SharedBroker} for a store that several servers share, else a L{Broker}.
    """
    if isinstance(store, PostgreSQLStore):
        return SharedBroker(reactor, store, max_queues)
    return Broker(reactor, store, max_queues)
