"""Collects items while they keep arriving, so that one commit stores all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

ENOUGH = 256  # items that do not wait for more


class Batcher(Generic[T]):
    """
    Collects items until an iteration of the reactor brings no more.

    @param reactor: an C{IReactorTime}.
    @param hand_over: called with the items.
    """

    def __init__(self, reactor: Any, hand_over: Callable[[list[T]], object]) -> None:
        self._reactor, self._hand_over = reactor, hand_over
        self._items: list[T] = []

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T) -> None:
        """Add an item to the batch."""
        if not self._items:
            self._reactor.callLater(0, self._look, 1)
        self._items.append(item)

    def _look(self, before: int) -> None:
        if before < len(self._items) < ENOUGH:
            self._reactor.callLater(0, self._look, len(self._items))
        else:
            self.flush()

    def flush(self) -> None:
        """Hand over the items now."""
        items = self._items
        self._hand_over(items)  # this comes first, so that other threads see the items in at least one place
        self._items = []
