"""From a call to its reply.

Strategy: L{perform} is the one place where a function meets a request. It fills the parameters, runs
the function, encodes the result and turns every exception into a problem document, so that threads,
processes and clusters share each line of it, and the reactor only copies bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import Context
from reprlib import repr as short
from types import CoroutineType
from typing import Any

import msgspec

from twisted_appserver.core import events, forked
from twisted_appserver.core.call import CURRENT, Call, Reply
from twisted_appserver.core.headers import Headers, sendable
from twisted_appserver.core.json_encoding import encode as as_json
from twisted_appserver.core.remedies import shown
from twisted_appserver.core.statuses import title
from twisted_appserver.core.streaming import Parts, raw
from twisted_appserver.errors import HTTPError

LINES = "application/x-ndjson"


def problem(error: HTTPError, request_id: str = "") -> Reply:
    """An error as a problem document (RFC 9457, section 3.1)."""
    status = error.status
    document = {"type": "about:blank", "title": title(status), "status": status, "detail": error.detail}
    body = msgspec.json.encode({**document, "instance": request_id})
    return Reply(body, status, (("content-type", "application/problem+json"), *error.headers), "")


def _encode(result: Any, name: str) -> bytes:
    """The JSON object or list that a result makes."""
    unfit = isinstance(result, set | frozenset | Reply)
    if isinstance(result, tuple) and not hasattr(result, "_fields"):
        unfit = True
    body = b"" if unfit else as_json(result)
    if body[:1] not in (b"{", b"["):
        hint = "return a dict, a list, an object such as a dataclass, or a Reply(body, status, headers)"
        raise TypeError(f"{name} returned {short(result)} ({type(result).__name__}); {hint}")
    return body


def in_parts(call: Call) -> tuple[Callable[[Any], bytes], Reply]:
    """
    How to send what a generator yields: as JSON lines, or as events to a client that accepts them.

    @return: what encodes an item, and the reply without its body; L{events.FINISHED} to a client that has
        read all events.
    """
    if not events.wanted(call):
        return events.line, Reply(b"", 200, (("content-type", LINES), *events.NOT_STORED))
    return events.event, events.FINISHED if events.finished(call) else Reply(b"", 200, events.EVENTS)


def _in_parts(items: Iterator[Any], call: Call) -> Reply:
    """The reply that a generator makes."""
    encoder, reply = in_parts(call)
    if encoder is events.line:
        return msgspec.structs.replace(reply, body=Parts(items, encoder))
    items = events.Ending(items)
    if reply is events.FINISHED:
        items.close()
        return reply
    parts = Parts(items, encoder)
    return events.FINISHED if items.empty else msgspec.structs.replace(reply, body=parts)


def _headers(given: Any, source: str) -> Headers:
    """The headers that a function gave. C{source} names the function in the error."""
    try:
        return sendable(given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{source}: {error}") from None


def _finish(reply: Reply, name: str) -> Reply:
    """Check and encode the Reply that a function made itself."""
    status = reply.status
    if not isinstance(status, int) or not 200 <= status <= 599:  # which no bool is
        raise ValueError(f"{name} returned the status {status!r}, not 200 to 599")
    headers = _headers(reply.headers, f"{name} returned a Reply")
    body, kind = b"" if reply.body is None else reply.body, ""
    if isinstance(body, bytearray | memoryview):
        body = bytes(body)
    if isinstance(body, bytes):
        kind = "application/octet-stream" if body else ""
    elif isinstance(body, str):
        body, kind = body.encode(), "text/plain; charset=utf-8"
    elif isinstance(body, Iterator):
        body, kind = Parts(body, raw), "application/octet-stream"
    else:
        body = _encode(body, name)
    if kind and "content-type" not in [key for key, _ in headers]:
        headers = (("content-type", kind), *headers)
    if body and status in (204, 205, 304):
        raise ValueError(
            f"{name} returned a body with the status {status}, which has none; write Reply(None, {status})"
        )
    return Reply(body, int(status), headers, "")


def encode(result: Any, call: Call) -> Reply:
    """
    The reply that a function's result makes.

    @raise Exception: when it is nothing that can be sent; a fault of the function.
    """
    if call is forked.child_of:
        forked.leave()
    if type(result) is dict:
        return Reply(as_json(result), 200, (), "")  # plain text, unlike the default, is quick in a frame
    if isinstance(result, Reply):
        return _finish(result, call.handler.name)
    if isinstance(result, Iterator):
        return _in_parts(result, call)
    if type(result) is CoroutineType:
        result.close()
        raise TypeError(f"{call.handler.name} returned a coroutine; its Route must say executor='inline'")
    return Reply(_encode(result, call.handler.name), 200, (), "")


def fault(error: BaseException, call: Call) -> Reply:
    """The reply to a call whose function raised C{error}: what it said on purpose, or a 500."""
    if call is forked.child_of:
        forked.leave(error)
    if isinstance(error, HTTPError):
        try:
            source = f"{call.handler.name} raised an HTTPError"
            if not isinstance(error.status, int) or not 400 <= error.status <= 599:
                raise ValueError(f"{source} with the status {error.status!r}, not 400 to 599")
            headers = _headers(error.headers, source)
            return problem(HTTPError(int(error.status), str(error.detail), headers), call.request_id)
        except BaseException as wrong:  # a class of the user's own may raise anything when it is read
            error = wrong
    reply = problem(
        HTTPError(500, "the function failed; the log says why under this instance"), call.request_id
    )
    return msgspec.structs.replace(reply, traceback=shown(error))


def perform(call: Call) -> Reply:
    """
    Run the function of a call, here and now. It never raises: a fault becomes a reply too.

    Each call has an empty context of its own, so that no ContextVar, nor the decimal context, carries over to
    the next call. A generator goes on in the context of its call, wherever it is resumed.
    """
    context = Context()
    reply = context.run(_perform, call)
    if type(reply.body) is Parts:
        reply.body.context = context
    return reply


def _perform(call: Call) -> Reply:
    CURRENT.set(call)
    try:
        return encode(call.handler.run(call), call)
    except BaseException as error:  # sys.exit() in a function must not end a thread or a worker
        return fault(error, call)
