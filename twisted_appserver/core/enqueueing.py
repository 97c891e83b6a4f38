"""
C{jobs.put}: background calls of functions, without HTTP.

Strategy: the variables are checked in the caller's thread or worker process, against the table there. The
finished call goes to a service of this process, or to the server of this worker process; both are registered
here as takers of jobs.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from twisted_appserver.core.call import CURRENT, Call
from twisted_appserver.core.function_calls import entries_of, find_entry, make_function_call, name_of
from twisted_appserver.core.router import Router
from twisted_appserver.errors import JobError

LONGEST_KEY = 255  # characters, as in a request


class EnqueuedJob(msgspec.Struct, frozen=True):
    """
    A job that L{put} has made.

    @ivar id: its name.
    @ivar path: the path of its document, below the path at which the service is mounted.
    """

    id: str

    @property
    def path(self) -> str:
        return f"/-/jobs/{self.id}"


class JobTaker(Protocol):
    """Where jobs are put: a service, or the server of this worker process."""

    @property
    def router(self) -> Router:
        """The table of its functions."""

    def take_and_wait(self, call: Call, delay: float) -> EnqueuedJob:
        """
        Make a job of a call, and wait until it is stored.

        @raise JobError: when that is not possible, or would block the reactor.
        """

    def take_soon(self, call: Call, delay: float) -> Awaitable[EnqueuedJob]:
        """As L{take_and_wait}, without blocking."""


_takers: list[Callable[[], JobTaker | None]] = []  # weak references; the newest is the last
_process = 0  # which has registered them


def register(taker: JobTaker) -> None:
    """Let C{jobs.put} use a taker until the taker is deleted or L{unregister} is called."""
    global _process
    if _process != os.getpid():
        _takers.clear()
        _process = os.getpid()
    _takers[:] = [each for each in _takers if each() not in (None, taker)]
    _takers.append(weakref.ref(taker))


def unregister(taker: JobTaker) -> None:
    """Let C{jobs.put} no longer use a taker."""
    _takers[:] = [each for each in _takers if each() not in (None, taker)]


def _registered() -> list[JobTaker]:
    return [taker for each in reversed(_takers) if (taker := each()) is not None]


def taker_of(router: Router | None) -> JobTaker:
    """
    Return the taker that has a table, or else the newest one.

    @raise JobError: when this process has no taker.
    """
    found = _registered()
    if found and _process != os.getpid():
        raise JobError("a function has forked this process, which cannot put jobs; put them in the function")
    if not found:
        raise JobError(
            "no service runs in this process; jobs.put() needs one that has started, without --no-admin. "
            "Other programs send a request with Prefer: respond-async"
        )
    return next((taker for taker in found if taker.router is router), found[0])


def _taker_for(function: Any) -> JobTaker:
    """Return the service of the current call, or else the newest one that has the function."""
    current = CURRENT.get()
    taker = taker_of(current.handler.router if current is not None else None)
    with_function = [each for each in (taker, *_registered()) if entries_of(each.router, function)]
    return with_function[0] if with_function else taker


class JobOptions(msgspec.Struct, frozen=True):
    """
    Options for jobs.

    @ivar delay: seconds until the job may begin.
    @ivar key: as the header C{Idempotency-Key}: if there is already a job with this key, user and route, that
        job is returned. Empty for none.
    """

    delay: float = 0.0
    key: str = ""

    def put(self, function: Callable[..., Any] | str, /, **variables: Any) -> EnqueuedJob:
        """As L{put}, with these options."""
        taker, call = self._prepare(function, variables)
        return taker.take_and_wait(call, self.delay)

    def put_async(self, function: Callable[..., Any] | str, /, **variables: Any) -> Awaitable[EnqueuedJob]:
        """As L{put_async}, with these options."""
        taker, call = self._prepare(function, variables)
        return taker.take_soon(call, self.delay)

    def _prepare(self, function: Any, variables: dict[str, Any]) -> tuple[JobTaker, Call]:
        if not (isinstance(function, str) or callable(function)):
            raise JobError(f"jobs.put() needs a function of the table, not {name_of(function)}")
        taker = _taker_for(function)
        return taker, make_function_call(find_entry(taker.router, function), variables, self.key)


def with_options(*, delay: float = 0.0, key: str = "") -> JobOptions:
    """
    Return C{put} and C{put_async} with options: C{jobs.with_options(delay=60).put(remind, user=7)}.

    @param delay: seconds until the job may begin.
    @param key: as the header C{Idempotency-Key}: if there is already a job with this key, user and route,
        that job is returned. Empty for none.
    @raise JobError: when an option is wrong.
    """
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay < math.inf:
        raise JobError(f"delay must be a number of seconds, 0 or more, not {delay!r}")
    if not isinstance(key, str) or len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise JobError(f"key must be text of at most {LONGEST_KEY} printable ASCII characters, not {key!r}")
    return JobOptions(float(delay), key)


def put(function: Callable[..., Any] | str, /, **variables: Any) -> EnqueuedJob:
    """
    Make a background call of a function of the table, as C{Prefer: respond-async} does, and return when the
    job is stored.

    Use it in functions that run in threads or worker processes, and in other threads of a program that runs a
    service. On the reactor, and so in coroutine functions, use L{put_async}.

    @param function: the function, or the name of its route.
    @param variables: what a request would send.
    @raise JobError: when the function or a variable is wrong, when no service runs here, or when the job
        cannot be stored.
    """
    return JobOptions().put(function, **variables)


def put_async(function: Callable[..., Any] | str, /, **variables: Any) -> Awaitable[EnqueuedJob]:
    """
    As L{put}, without blocking: C{await jobs.put_async(...)}. In the reactor's thread the result is a
    C{Deferred}.
    """
    return JobOptions().put_async(function, **variables)
