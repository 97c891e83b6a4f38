"""Work that is collected until the reactor has read everything that is readable now."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class EndOfTurn(Protocol):
    """A reactor that knows when it has read everything that is readable now."""

    def soon(self, function: Callable[[], None]) -> None:
        """Call a function at the end of this turn."""


def at_end_of_turn(reactor: Any) -> Callable[[Callable[[], None]], None]:
    """Return what schedules a function for the end of a turn; other reactors use a timer of 0 seconds."""
    return reactor.soon if isinstance(reactor, EndOfTurn) else partial(reactor.callLater, 0)
