"""Clients that wait for jobs in a store, and requests with an C{Idempotency-Key}."""

from __future__ import annotations

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.errors import AppserverError, HTTPError
from twisted_appserver.jobs.documents import accepted
from twisted_appserver.jobs.idempotency import repeated_reply
from twisted_appserver.jobs.stored_call import decode_about, decode_end
from twisted_appserver.jobs.waiting_client import WaitingClient
from twisted_appserver.queue.interface import IBroker
from twisted_appserver.queue.task_result import TaskResult

WAIT = 3600.0  # seconds that a request for a result waits at the broker
STOPPING = "the server is stopping; repeat the request with the same key"


async def send_first(broker: IBroker, name: str, number: int, client: WaitingClient) -> None:
    """Send the reply of a job, which stays in the store, when the job has ended."""
    while client.waits:
        try:
            found = await broker.result(name, number, WAIT)
        except AppserverError as error:
            client.refuse(HTTPError(503, f"{error}; repeat the request with the same key"))
            return
        if isinstance(found, TaskResult) and found.ended:
            client.finish(decode_end(found.result)[1].reply)
        elif not isinstance(found, TaskResult):
            client.refuse(HTTPError(503, STOPPING, [("retry-after", "1")]))


async def send_end(broker: IBroker, name: str, number: int, client: WaitingClient) -> bool:
    """Send the reply of a job, if it ends while its client waits. Return whether it did."""
    try:
        found = await broker.result(name, number, client.wait)
    except AppserverError:
        return False
    if not (isinstance(found, TaskResult) and found.ended and client.waits):
        return False
    client.finish(decode_end(found.result)[1].reply)
    return True


async def send_again(
    broker: IBroker, name: str, number: int, call: Call, client: WaitingClient, job: str
) -> None:
    """
    Send the reply of the job that an earlier request with the same key has made; 422 or 409 as the draft
    requires.

    @param job: the name of the job if its address may be sent before its end; otherwise empty.
    """
    try:
        reply = await find_reply(broker, name, number, call, accepted(call, job) if job else None)
    except HTTPError as error:
        client.refuse(error)
        return
    if not job:
        client.finish(reply)
    elif not (client.wait and await send_end(broker, name, number, client)):
        client.accept(job)


async def find_reply(broker: IBroker, name: str, number: int, call: Call, address: Reply | None) -> Reply:
    """
    Return the reply to a request whose key was used before. Arguments are as for L{send_again}.

    @param address: the reply if the address of the job may be sent before its end; otherwise C{None}.
    @raise HTTPError: 422 or 409 as the draft requires; 409 also if the reply is not kept any more.
    """
    details = await broker.show(name, number)
    if details is None:
        raise HTTPError(409, "the response to the request with this Idempotency-Key is not kept any more")
    if details.task is not None:
        about, reply = decode_about(details.task.body, "waiting"), None
    else:
        about, end = decode_end(details.result.result)
        reply = end.reply
    return repeated_reply(call, about.fingerprint, address or reply)
