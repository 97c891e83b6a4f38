"""When a request is sent, repeated or given up. Does no I/O; needs the standard library only.

Strategy: each operation of a client is a generator of steps. It yields a L{QueueRequest} to be sent, and
receives the L{ServerResponse} or a L{FailedAttempt}. It yields a L{Pause} when the caller must wait. At the
end, it returns the result. So the same code serves the blocking client and the client for the reactor, and
tests need no network. Any other exception of the transport, such as an interrupt, is thrown into the
generator.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Generator, Iterator
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, NamedTuple, TypeVar

from .errors import Empty, Full, ServerUnavailable
from .explanations import explain
from .requests import QueueRequest

T = TypeVar("T")

POLL = 25.0  # seconds for which one request may wait at the server; proxies often cut after 30 or 60
TEMPORARY = frozenset((408, 425, 429))  # statuses that another attempt may change, besides all from 500 on
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0  # seconds between two attempts
LOGGED = 8  # failed attempts after which a warning is logged: after two seconds

log = logging.getLogger(__name__)


class Pause(NamedTuple):
    """A step: wait before the next attempt."""

    seconds: float


class ServerResponse(NamedTuple):
    """
    What a server sent.

    @ivar retry_after: the header C{Retry-After}; empty if there is none.
    @ivar repeated: whether the transport has sent the request before, on a connection that was then cut.
    """

    status: int
    body: bytes
    retry_after: str = ""
    repeated: bool = False


class FailedAttempt(NamedTuple):
    """
    A request without a response.

    @ivar sent: whether the request may have reached the server.
    """

    error: Exception
    sent: bool = True


Step = QueueRequest[Any] | Pause
Outcome = ServerResponse | FailedAttempt | None
Steps = Generator[Step, Any, T]  # receives an Outcome


class Patience:
    """
    Decides whether a failed request is repeated, and when.

    @param patience: returns for how many seconds after the first failure a request is repeated; the value may
        change meanwhile.
    @param clock: returns seconds.
    @ivar sent: whether a failed attempt may have reached the server.
    @ivar attempts: how many attempts have failed.
    @ivar began: when the last attempt began.
    """

    def __init__(self, patience: Callable[[], float], clock: Callable[[], float]) -> None:
        self._patience, self._clock = patience, clock
        self.sent, self.attempts, self.began = False, 0, 0.0
        self._since: float | None = None
        self._pause = FIRST_PAUSE

    def begin(self) -> None:
        """Record that an attempt begins."""
        self.began = self._clock()

    def failed(self, sent: bool, after: float = 0.0) -> float | None:
        """
        Count a failed attempt.

        @param sent: whether it may have reached the server.
        @param after: the minimum number of seconds until the next attempt, as the server requires.
        @return: seconds until the next attempt; C{None} to give up.
        """
        self.sent |= sent
        self.attempts += 1
        now = self._clock()
        self._since = now if self._since is None else self._since
        pause = max(self._pause * random.uniform(0.5, 1.0), after)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return pause if now - self._since + pause <= self._patience() else None


def is_temporary(status: int) -> bool:
    """Return whether another attempt may get another status."""
    return status >= 500 or status in TEMPORARY


def retry_after(value: str) -> float:
    """Return the seconds in a C{Retry-After} header (RFC 9110, section 10.2.3); 0 if it is malformed."""
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (TypeError, ValueError):
        return 0.0


def repeat(request: QueueRequest[T], retry: Patience) -> Steps[T]:
    """
    Send a request until its response is final. Idempotency keys make every request safe to repeat.

    @return: the result.
    @raise Exception: as L{QueueRequest.read}; L{ServerUnavailable}, or the error of the transport, when
        C{retry} gives up.
    """
    while True:
        retry.begin()
        outcome: ServerResponse | FailedAttempt = yield request
        error: Exception
        if isinstance(outcome, FailedAttempt):
            error, sent, after = outcome.error, outcome.sent, 0.0
        elif is_temporary(outcome.status):
            error, sent = ServerUnavailable(outcome.status, outcome.body), True
            after = retry_after(outcome.retry_after)
        else:
            retry.sent |= outcome.repeated
            return request.read(outcome.status, outcome.body)
        pause = retry.failed(sent, after)
        if pause is None:
            explain(error, request.server)
            error.add_note(f"{request.method} {request.url}")
            raise error
        if retry.attempts == LOGGED:
            log.warning("%s is tried again until patience ends: %s", request.url, error)
        yield Pause(pause)


def poll(make: Callable[[float], Steps[T]], timeout: float | None, clock: Callable[[], float]) -> Steps[T]:
    """
    Make a request that waits at the server, again and again until it succeeds or the time is over.

    @param make: returns the steps of one request that waits for so many seconds.
    @param timeout: seconds; C{None} for ever.
    @raise Exception: C{Empty} or C{Full}, when the time is over.
    """
    missing: Exception = Empty()
    for wait in waits(timeout, clock):
        try:
            return (yield from make(wait))
        except (Empty, Full) as error:
            missing = error
    raise missing


def waits(timeout: float | None, clock: Callable[[], float]) -> Iterator[float]:
    """
    Yield how long each request may wait at the server. At least one request is made.

    @param timeout: seconds for all of them; C{None} for ever.
    @raise ValueError: when the time-out is negative or not a number.
    """
    if timeout is not None and not timeout >= 0:
        raise ValueError("'timeout' must be a non-negative number")  # as the standard library words it
    end = float("inf") if timeout is None else clock() + timeout
    yield min(POLL, max(0.0, end - clock()))
    while (left := end - clock()) > 0:
        yield min(POLL, left)
