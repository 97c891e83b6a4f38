"""A store that keeps nothing: tasks are lost when the server ends."""

from __future__ import annotations

from os import urandom
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_appserver.queue.local.journal import Change, IStore, Saved


@implementer(IStore)
class MemoryStore:
    """Keeps nothing, and costs nothing."""

    def open(self, reactor: Any) -> Saved:
        return Saved(urandom(32))

    def write(self, change: Change) -> Deferred[None] | None:
        return None

    def free_unused_space(self) -> None:
        pass

    def close(self) -> Deferred[None]:
        return succeed(None)
