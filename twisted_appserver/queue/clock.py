"""Makes the clock of a reactor monotonic."""

from __future__ import annotations

from time import monotonic
from typing import Any

from twisted.internet.base import ReactorBase


def use_monotonic_clock(reactor: Any) -> None:
    """
    Make a reactor measure time with the monotonic clock.

    C{reactor.seconds()} still counts from the epoch, but does not follow when the wall clock is set. So no
    timer of the process ends early or late.

    @param reactor: left alone if it is not a real reactor, or is monotonic already.
    """
    if not isinstance(reactor, ReactorBase) or hasattr(reactor.seconds, "monotonic"):
        return
    offset = reactor.seconds() - monotonic()

    def seconds() -> float:
        return offset + monotonic()

    seconds.monotonic = True  # type: ignore[attr-defined]
    reactor.seconds = seconds
