"""Calls whose clients do not wait for the reply."""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import replace
from twisted.logger import Logger

from twisted_appserver.core.call import Call
from twisted_appserver.core.request_data import KEY_HEADER
from twisted_appserver.core.router import Router
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.interface import PendingCall

ASYNC = re.compile(r"(?:^|,)[ \t]*respond-async[ \t]*(?:[,;=]|$)", re.IGNORECASE)  # RFC 7240, section 4.1
WAIT = re.compile(r'(?:^|,)[ \t]*wait[ \t]*=[ \t]*"?(\d{1,9})"?[ \t]*(?:[,;]|$)', re.IGNORECASE)  # 4.3
log = Logger()


def becomes_job(call: Call, admin: Router | None) -> bool:
    """Return whether a routed call with a header C{Prefer} or C{Idempotency-Key} is a job."""
    if call.handler.router is admin or call.handler.max_stream is not None:
        return False
    return ASYNC.search(call.prefer) is not None or KEY_HEADER in (name for name, _ in call.raw_headers)


def seconds_to_wait(call: Call) -> int:
    """Return for how many seconds the client waits for the reply of its job; 0 if it does not wait."""
    found = WAIT.search(call.prefer) if ASYNC.search(call.prefer) else None
    return int(found[1]) if found else 0


def without_accept(call: Call) -> Call:
    """Return a call without its header C{Accept}, so that the items of a generator are JSON lines."""
    return replace(call, raw_headers=tuple(pair for pair in call.raw_headers if pair[0] != b"accept"))


def begin_background_call(dispatcher: Any, call: Call) -> PendingCall:
    """
    Make a pending call of a routed call. Only the time limit of its route applies to it.

    @param dispatcher: a L{dispatch.dispatcher.Dispatcher}.
    """
    handler, arrived = call.handler, dispatcher.reactor.seconds()
    limited = handler.timeout is not None
    deadline = dispatcher.calls.limits.deadline(handler.timeout, arrived) if limited else 0.0
    call = replace(call, arrived=arrived, deadline=deadline)
    executor = dispatcher.executors[handler.executor or dispatcher.default]
    pending: PendingCall = dispatcher.calls.begin(call, lambda *_: None, executor, handler.timeout)
    if not limited:
        pending.limit = None
    return pending


def submit_background_call(pending: PendingCall) -> None:
    """Submit a call, even if many calls wait."""
    try:
        pending.executor.submit(pending)
    except HTTPError as error:
        pending.errback(error)
    except Exception:
        log.failure("an executor failed, {request_id}", request_id=pending.call.request_id)
        pending.errback(HTTPError(500, "the executor failed"))
    if pending.limit is not None and not pending.called:
        pending.limit.add(pending)
