"""The verbs of both clients that handle many tasks at once. Needs the standard library only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from . import batches
from .verbs import StepRunner


class BatchRunner(StepRunner, Protocol):
    """What L{BatchVerbs} needs of a client."""

    def _sort_key(self, item: Any) -> tuple[float | None, str | None]:
        """Return the priority of an item and the text that sorts it; C{None} for none."""


class BatchVerbs:
    """
    Each method makes one request, which the server stores with one commit. It returns its result from a
    L{queue.Queue}, and a Deferred of it from an L{async_queue.AsyncQueue}.
    """

    def put_many(self: BatchRunner, items: Iterable[Any], timeout: float | None = None) -> Any:
        """
        Add up to 1000 items: all of them or, if this raises, none.

        @param timeout: seconds to wait until there is room for all; C{None} for ever, 0 for not at all.
        @return: a list of the ids of their tasks.
        @raise Full: when there is not enough room in time.
        @raise ShutDown: when the queue has been shut down.
        @raise TypeError: when an item cannot be sent, see L{items}.
        @raise ValueError: when there are more than 1000 items.
        @raise ServerError: when there are more items than C{maxsize}.
        """
        return self._run(batches.put_many(self._session, items, self._sort_key, timeout))
