"""A reactor's clock that does not jump."""

from __future__ import annotations

from time import monotonic
from typing import Any

from twisted.internet.base import ReactorBase


def steady(reactor: Any) -> None:
    """
    Have a reactor measure time by the monotonic clock. Its seconds still begin at the epoch, but do not
    follow when the wall clock is set: no timer of the process ends early or late then.

    @param reactor: left alone if it is not a real one, or is steady already.
    """
    if not isinstance(reactor, ReactorBase) or hasattr(reactor.seconds, "steady"):
        return
    offset = reactor.seconds() - monotonic()

    def seconds() -> float:
        return offset + monotonic()

    seconds.steady = True  # type: ignore[attr-defined]
    reactor.seconds = seconds
