"""What every store promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Interface

from twisted_appserver.queue.model import Config, Remembered, Task


class Change(msgspec.Struct, frozen=True):
    """
    What is to be stored, as one.

    @ivar puts: new tasks, with the names of their queues.
    @ivar keys: what to remember of requests: queue, lane, and what.
    @ivar updates: (due, span, deliveries, holder, buried, number) of tasks that have changed.
    @ivar deletes: the numbers of tasks that are gone.
    @ivar configs: the options of queues by name; C{None} for a queue that is gone with all it had.
    @ivar forgets: queue and lane of what need not be remembered any more.
    """

    puts: Sequence[tuple[str, Task]] = ()
    keys: Sequence[tuple[str, str, Remembered]] = ()
    updates: Sequence[tuple[Any, ...]] = ()
    deletes: Sequence[int] = ()
    configs: Sequence[tuple[str, Config | None]] = ()
    forgets: Sequence[tuple[str, str]] = ()


CHECK = Change()  # stores nothing, but can be stored only if a put can


class Saved(msgspec.Struct):
    """
    What a store held when it was opened. Times are those of the reactor; leases have a length and no end.

    @ivar secret: with this the ids of tasks are signed; differs between stores.
    @ivar last: the highest number that was ever given to a task.
    """

    secret: bytes
    last: int = 0
    tasks: dict[str, list[Task]] = {}
    keys: list[tuple[str, str, Remembered]] = []
    configs: dict[str, Config] = {}


class IStore(Interface):
    """
    Keeps what a broker knows. It is told of each change, and asked once, at the start.

    Everything here is called in the reactor's thread, and every Deferred fires there.
    """

    def open(reactor: Any) -> Saved:
        """
        Take possession of it and read it.

        @raise ConfigurationError: when it cannot be used, or another process uses it.
        """

    def write(change: Change) -> Deferred[None] | None:
        """
        Store a change.

        @return: fires when the change is durable, as far as this store is. Changes are stored in the order of
            the calls. Fails with L{queue.interface.StoreError}. C{None} if the change is stored already.
        """

    def tidy() -> None:
        """Give back space that is not needed any more; called every minute or so."""

    def close() -> Deferred[None]:
        """
        @return: fires when everything written is stored, and the store may be opened by somebody else.
        """


def to_update(task: Task) -> tuple[Any, ...]:
    """Return the fields of a task that change, as L{Change.updates} has them."""
    return (task.due, task.span, task.deliveries, task.holder, task.buried, task.number)
