"""Functions that run when the reactor has read everything that is readable now.

The calls that arrived together are then known, and can be handed over together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class EndOfTurn(Protocol):
    """A reactor that can call functions when it has read everything that is readable now."""

    def soon(self, function: Callable[[], None]) -> None:
        """Call a function when everything that is readable now has been read."""


def at_end_of_turn(reactor: Any) -> Callable[[Callable[[], None]], None]:
    """Return a function like L{EndOfTurn.soon}. Other reactors use a timer of 0 seconds."""
    return reactor.soon if isinstance(reactor, EndOfTurn) else partial(reactor.callLater, 0)
