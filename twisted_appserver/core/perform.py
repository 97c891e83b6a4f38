"""
Runs the function of a call and returns its reply.

Strategy: L{perform} is the only place where a function meets a request. It fills the parameters, runs the
function, encodes the result and turns every exception into a problem document. So threads, processes and
clusters share all of this code, and the reactor only copies bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextvars import Context
from inspect import iscoroutinefunction
from math import ceil
from reprlib import repr as short
from types import CoroutineType
from typing import Any

import msgspec

from twisted_appserver.core import events, forked_child
from twisted_appserver.core.call import CURRENT, Call, Reply
from twisted_appserver.core.conversions.annotations import unwrap
from twisted_appserver.core.error_advice import format_traceback
from twisted_appserver.core.file_body import file_body
from twisted_appserver.core.headers import Headers, convert_headers
from twisted_appserver.core.json_encoding import encode as encode_json
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.core.streaming import Parts, encode_raw
from twisted_appserver.errors import GiveUp, HTTPError, RetryLater

JSON_LINES = "application/x-ndjson"
RETRY_MEMBER = "retry"  # of a problem document: seconds until the next attempt, or false for none


def _encode_body(result: Any, name: str) -> bytes:
    """
    Encode a result as a JSON object or array.

    @param name: the name of the function, for the message.
    """
    wrong_type = isinstance(result, set | frozenset | Reply)
    if isinstance(result, tuple) and not hasattr(result, "_fields"):
        wrong_type = True
    body = b"" if wrong_type else encode_json(result)
    if body[:1] not in (b"{", b"["):
        advice = "return a dict, a list, an object such as a dataclass, or a Reply(body, status, headers)"
        raise TypeError(f"{name} returned {short(result)} ({type(result).__name__}); {advice}")
    return body


def stream_format(call: Call) -> tuple[Callable[[Any], bytes], Reply]:
    """
    Choose how to send what a generator yields: as server-sent events if the client accepts them, otherwise as
    JSON lines.

    @return: the encoder for an item, and the reply without its body. The reply is L{events.NO_MORE_EVENTS} if
        the client has already read all events.
    """
    if not events.accepts_events(call):
        return events.encode_line, Reply(b"", 200, (("content-type", JSON_LINES), *events.NO_CACHING))
    reply = events.NO_MORE_EVENTS if events.has_read_all(call) else Reply(b"", 200, events.EVENT_HEADERS)
    return events.encode_event, reply


def _stream_reply(items: Iterator[Any], call: Call) -> Reply:
    """Return the reply for a generator."""
    encoder, reply = stream_format(call)
    if encoder is events.encode_line:
        return msgspec.structs.replace(reply, body=Parts(items, encoder))
    items = events.EventItems(items)
    if reply is events.NO_MORE_EVENTS:
        items.close()
        return reply
    parts = Parts(items, encoder)
    return events.NO_MORE_EVENTS if items.empty else msgspec.structs.replace(reply, body=parts)


def _convert_headers(given: Any, source: str) -> Headers:
    """
    Convert the headers that a function returned or raised.

    @param source: what the function did, for the message.
    """
    try:
        return convert_headers(given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{source}: {error}") from None


def _encode_reply(reply: Reply, name: str) -> Reply:
    """Check and encode a Reply that a function returned."""
    status = reply.status
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"{name} returned a Reply with the status {status!r}; use 200 to 599")
    headers = _convert_headers(reply.headers, f"{name} returned a Reply")
    body, content_type = b"" if reply.body is None else reply.body, ""
    if isinstance(body, bytes | bytearray | memoryview) and type(body) is not bytes:
        body = bytes(body)
    if isinstance(body, bytes):
        content_type = "application/octet-stream" if body else ""
    elif isinstance(body, str):
        body, content_type = body.encode(), "text/plain; charset=utf-8"
    elif isinstance(body, os.PathLike):
        body, content_type = file_body(body)
    elif isinstance(body, Iterator):
        body, content_type = Parts(body, encode_raw), "application/octet-stream"
    else:
        body = _encode_body(body, name)
    if content_type and "content-type" not in [key for key, _ in headers]:
        headers = (("content-type", content_type), *headers)
    if body and status in (204, 205, 304):
        raise ValueError(
            f"{name} returned a Reply with a body, but the status {status} allows none; "
            f"write Reply(None, {status})"
        )
    return Reply(body, int(status), headers, "")


def encode_result(result: Any, call: Call) -> Reply:
    """
    Return the reply for the result of a function.

    @raise Exception: when the result cannot be sent, which is an error of the function.
    """
    if call is forked_child.forked_by:
        forked_child.exit_child()
    if type(result) is dict:
        # The empty traceback is quicker to encode in a frame than the default.
        return Reply(encode_json(result), 200, (), "")
    if isinstance(result, Reply):
        return _encode_reply(result, call.handler.name)
    if isinstance(result, Iterator):
        return _stream_reply(result, call)
    if type(result) is CoroutineType:
        result.close()
        raise TypeError(
            f"{call.handler.name} returned a coroutine; {_coroutine_advice(result, call.handler)}"
        )
    return Reply(_encode_body(result, call.handler.name), 200, (), "")


def _coroutine_advice(coroutine: CoroutineType[Any, Any, Any], handler: Any) -> str:
    """Return advice for a function that returned a coroutine, which nobody awaits."""
    if handler.executor != "inline" and any(map(iscoroutinefunction, unwrap(handler.function))):
        return "its decorator does not await it: give its Route executor='inline'"
    awaited = f"return await {coroutine.__name__}(...)"
    return f"write {awaited}" if handler.awaits else f"write async def and {awaited}"


def _decision(error: RetryLater | GiveUp) -> HTTPError:
    """
    Return the error with the time of the next attempt: for the client, and for the service if the call is a
    job.
    """
    extra = {RETRY_MEMBER: error.task_retry}
    if isinstance(error, GiveUp):
        return HTTPError(500, str(error) or "the function has given up", extra=extra)
    return HTTPError(503, str(error), [("retry-after", str(ceil(error.task_retry)))], extra)


def error_reply(error: BaseException, call: Call) -> Reply:
    """
    Return the reply for an exception that a function raised.

    This is the only place where exceptions become problem documents: an L{HTTPError} with its own status,
    L{RetryLater} with 503, L{GiveUp} and any other exception with 500.
    """
    if call is forked_child.forked_by:
        forked_child.exit_child(error)
    if isinstance(error, RetryLater | GiveUp):
        error = _decision(error)
    if isinstance(error, HTTPError):
        try:
            source = f"{call.handler.name} raised an HTTPError"
            if not isinstance(error.status, int) or not 400 <= error.status <= 599:
                raise ValueError(f"{source} with the status {error.status!r}; use 400 to 599")
            headers = _convert_headers(error.headers, source)
            checked = HTTPError(int(error.status), str(error.detail), headers, error.extra)
            return problem_reply(checked, call.request_id)
        except BaseException as wrong:  # reading an attribute of a user's class may raise anything
            error = wrong
    reply = problem_reply(
        HTTPError(500, "the function failed; search the log for this instance"), call.request_id
    )
    return msgspec.structs.replace(reply, traceback=format_traceback(error))


def perform(call: Call) -> Reply:
    """
    Run the function of a call in this thread, and return its reply. Nothing is raised: errors become replies.

    Each call has an empty context of its own, so that neither context variables nor the decimal context carry
    over to the next call. A generator continues in the context of its call, wherever it is resumed.
    """
    context = Context()
    reply = context.run(_perform, call)
    if type(reply.body) is Parts:
        reply.body.context = context
    return reply


def _perform(call: Call) -> Reply:
    CURRENT.set(call)
    try:
        return encode_result(call.handler.run(call), call)
    except BaseException as error:  # sys.exit() in a function must not end a thread or a worker process
        return error_reply(error, call)
