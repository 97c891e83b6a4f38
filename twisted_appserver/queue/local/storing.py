"""Waits until a change is stored. Several requests may wait for the same change."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")
log = Logger()


def follow(deferred: Deferred[T]) -> Deferred[T]:
    """
    Return a Deferred that fires as C{deferred} does. Cancelling it does not cancel C{deferred}.

    A failure is passed on to the first follower that still waits.
    """
    follower: Deferred[T] = Deferred()

    def fire(result: Any) -> Any:
        if not follower.called:
            follower.callback(result)
            return None
        return None if isinstance(result, Failure) else result

    deferred.addBoth(fire)
    return follower


async def until_stored(written: Deferred[None] | None) -> None:
    """
    Wait until a change is stored.

    @param written: the result of L{IStore.write}.
    @raise StoreError: when the change could not be stored.
    """
    if written is not None:
        await follow(written)


def log_if_not_stored(written: Deferred[Any] | None) -> None:
    """
    Log the error if a change cannot be stored and no request waits for it. The worst result is one more
    delivery.
    """
    if written is not None:
        written.addErrback(lambda failure: log.warn("a change was not stored: {e}", e=failure.value))
