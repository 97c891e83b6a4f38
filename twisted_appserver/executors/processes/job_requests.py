"""Answers worker processes whose functions put jobs."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_appserver.core.call import Call
from twisted_appserver.core.enqueueing import EnqueuedJob, taker_of
from twisted_appserver.core.router import Router
from twisted_appserver.errors import AppserverError, JobError
from twisted_appserver.executors.processes.frames import JobPut, PutJob

log = Logger()


def put_job(frame: PutJob, router: Router | None, send: Callable[[JobPut], None]) -> None:
    """
    Put a job, and send the answer when it is stored.

    @param router: the table of the worker process.
    """
    Deferred.fromCoroutine(_put(frame, router, send))


async def _put(frame: PutJob, router: Router | None, send: Callable[[JobPut], None]) -> None:
    try:
        job = await _take(frame.call, frame.delay, router)
    except AppserverError as error:
        send(JobPut(frame.number, "", str(error)))
    except Exception:
        log.failure("a job was not put, {request_id}", request_id=frame.call.request_id)
        send(JobPut(frame.number, "", "internal error; see the log of the server"))
    else:
        send(JobPut(frame.number, job.id))


async def _take(call: Call, delay: float, router: Router | None) -> EnqueuedJob:
    handlers = [] if router is None else router.handlers
    if not (isinstance(call.handler, int) and 0 <= call.handler < len(handlers)):
        raise JobError(f"there is no function number {call.handler!r}")
    return await taker_of(router).take_soon(replace(call, handler=handlers[call.handler]), delay)
