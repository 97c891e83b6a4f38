"""Gathers what is to be stored, until a turn of the reactor brings nothing more: one commit has it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

ENOUGH = 256  # that are not kept waiting for more


class Gathering(Generic[T]):
    """
    @param reactor: an C{IReactorTime}.
    @param hand_over: gets what was gathered.
    """

    def __init__(self, reactor: Any, hand_over: Callable[[list[T]], object]) -> None:
        self._reactor, self._hand_over = reactor, hand_over
        self._waiting: list[T] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: T) -> None:
        if not self._waiting:
            self._reactor.callLater(0, self._look, 1)
        self._waiting.append(item)

    def _look(self, before: int) -> None:
        if before < len(self._waiting) < ENOUGH:
            self._reactor.callLater(0, self._look, len(self._waiting))
        else:
            self.flush()

    def flush(self) -> None:
        """Hand over what there is, now."""
        waiting = self._waiting
        self._hand_over(waiting)  # first: whoever looks from elsewhere finds it in one place at least
        self._waiting = []
