"""What Dask's workers run. They import this module and the application by name; no user code is pickled."""

from __future__ import annotations

from functools import lru_cache
from time import monotonic

from msgspec.structs import replace

from twisted_appserver.core.application import Application
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.perform import error_reply, perform
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.core.router import Router
from twisted_appserver.core.streaming import Parts
from twisted_appserver.errors import AppserverError, HTTPError
from twisted_appserver.executors.cluster.wire import decode_calls, encode_outcomes, handlers_by_key
from twisted_appserver.executors.cluster.worker_lifespans import enter_lifespan, leave_lifespan

ONCE = "appserver-once-"  # begins the keys of tasks that may begin only once
REPEATABLE = "appserver-again-"  # begins the keys of tasks that Dask may repeat: their calls are idempotent
MAX_WHOLE = 64 * 1024 * 1024  # bytes of a reply in parts, which is sent as a whole
UNKNOWN_FUNCTION = (
    "the call was not run: the cluster's worker has other url_patterns than the server; restart that worker"
)

Location = tuple[str, str, str, str]  # the fields of an Application


class BegunError(AppserverError):
    """Raised when a task has already begun on another worker, which has died with or without the result."""


@lru_cache(8)
def _handlers(*where: str) -> dict[str, Handler]:
    router = Router(*Application(*where).load_all())
    if router.lifespan is not None:
        enter_lifespan(where, router.lifespan)
    return handlers_by_key(router)


def list_functions(where: Location, uploaded: bool) -> list[str]:
    """
    Return the keys of the application's functions.

    @param uploaded: whether the application's file was sent to this worker, so that it must be loaded again.
    """
    if uploaded:
        leave_lifespan(where)
        _handlers.cache_clear()
    return list(_handlers(*where))


def perform_calls(where: Location, data: bytes, key: str) -> bytes:
    """
    Perform the calls of one task, one after the other.

    @param data: the calls, from L{encode_calls}.
    @param key: the key of the task.
    @return: the outcomes, for L{decode_outcomes}.
    @raise BegunError: if the task may begin only once, and has begun before.
    """
    if key.startswith(ONCE) and not _may_begin(key):
        raise BegunError
    handlers, outcomes = _handlers(*where), []
    for call in decode_calls(data):
        began = monotonic()
        handler = handlers.get(call.handler)
        if handler is None:
            reply = problem_reply(HTTPError(503, UNKNOWN_FUNCTION), call.request_id)
        else:
            call = replace(call, handler=handler)
            reply = whole_reply(perform(call), call)
        outcomes.append((reply, monotonic() - began))
    return encode_outcomes(outcomes)


def whole_reply(reply: Reply, call: Call) -> Reply:
    """Collect a reply in parts: a task has one result. Return an error if it is too long or breaks off."""
    if type(reply.body) is not Parts:
        return reply
    whole = bytearray()
    failure = reply.body.produce(lambda: len(whole) <= MAX_WHOLE, whole.extend)
    if failure is None:
        failure = reply.body.close() or f"on a cluster, a reply in parts may have {MAX_WHOLE} bytes"
    if (error := reply.body.take_error()) is not None:
        reply = error_reply(error, call)
        error = None  # Its traceback refers to this frame.
        return reply
    if failure:
        why = HTTPError(500, "the function failed; the log has the reason, with this instance")
        return replace(problem_reply(why, call.request_id), traceback=failure)
    return replace(reply, body=bytes(whole))


def _may_begin(key: str) -> bool:
    """Ask the scheduler whether the task may begin; see L{executors.cluster.run_once}."""
    from distributed import get_worker
    from distributed.utils import sync

    worker = get_worker()
    return bool(sync(worker.loop, worker.scheduler.appserver_begin, key=key))
