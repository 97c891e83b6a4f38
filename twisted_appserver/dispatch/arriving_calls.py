"""Calls that begin before their bodies have arrived."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec.structs import replace

from twisted_appserver.core.call import Call
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.incoming_body import IncomingBody
from twisted_appserver.executors.interface import Answer, PendingCall


def reads_body(dispatcher: Any, handler: Any) -> bool:
    """
    Return whether a function gets the body while it arrives.

    @param dispatcher: a L{dispatch.dispatcher.Dispatcher}.
    """
    if handler.max_stream is None:
        return False
    executor = dispatcher.executors[handler.executor or dispatcher.default]
    return bool(getattr(executor, "reads_bodies", False))


def body_limit(dispatcher: Any, limit: int | None, make_call: Callable[[], Call]) -> int | None:
    """
    Return how many bytes the body of a call may have; C{None} for no limit.

    @param limit: for routes without C{max_stream}.
    @param make_call: makes the call, without its body.
    """
    if not dispatcher.router.streams_bodies:
        return limit
    call = make_call()
    try:
        handler, _ = dispatcher.router.match(call.method, call.path)
    except HTTPError:  # The function is looked up again, which reports the error.
        return limit
    return (handler.max_stream or None) if reads_body(dispatcher, handler) else limit


def begin_arriving(dispatcher: Any, call: Call, body: IncomingBody, answer: Answer) -> PendingCall | None:
    """
    As L{Dispatcher.go_on}, for a call whose body still arrives. Its time limit starts again whenever the
    function has read another part of it. It never becomes a job.
    """
    if call.handler.router is not dispatcher.router:
        error = HTTPError(503, "the application was reloaded", [("retry-after", "1")])
        dispatcher.refuse(error, call, answer)
        return None
    pending: PendingCall | None = dispatcher.go_on(replace(call, arriving=body, prefer=""), answer)
    if pending is not None and pending.limit is not None and not body.ended:
        body.moved = partial(pending.limit.prolong, pending)
    return pending
