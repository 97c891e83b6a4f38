"""Turns a path that a function has returned into the response to its request, in the reactor's thread."""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from time import time_ns
from typing import Any

from msgspec.structs import replace

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.conditional_requests import (
    Validators,
    failed_precondition,
    requested_range,
    validators_of,
)
from twisted_appserver.core.error_advice import format_traceback
from twisted_appserver.core.file_body import FileBody
from twisted_appserver.core.headers import Headers
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.file_stream import BLOCK, FileStream
from twisted_appserver.executors.interface import PendingCall

OPEN = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
OPEN |= getattr(os, "O_NONBLOCK", 0)  # so that opening a named pipe, which is refused, does not block
MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO)
# Headers of the whole body that a 304 must not repeat, or that do not describe a problem document.
OF_CONTENT = ("content-type", "content-disposition", "content-language", "content-encoding")


def deliver(pending: PendingCall, outcome: Reply | HTTPError) -> None:
    """Deliver the outcome of a call that another process has performed."""
    if not isinstance(outcome, Reply):
        pending.errback(outcome)
    elif type(outcome.body) is FileBody:
        _begin(pending, outcome)
    else:
        pending.callback(outcome)


def begin_file(pending: PendingCall, reply: Reply, executor: Any) -> None:
    """Deliver a reply whose body is a L{FileBody}, and count the call as completed by its executor."""
    executor.completed += 1
    _begin(pending, reply)


def _begin(pending: PendingCall, reply: Reply) -> None:
    if pending.called:
        return
    made = file_reply(reply, pending.call)
    pending.begin(made) if isinstance(made.body, FileStream) else pending.callback(made)


def file_reply(reply: Reply, call: Call) -> Reply:
    """
    Return the reply with the content of its file, or the part that the client requests.

    A missing file gets 404, and so does a folder or a device. Any other error gets 500 and is logged.
    """
    try:
        file = _open(reply.body)
    except (OSError, ValueError) as error:  # ValueError: the path contains a NUL.
        if isinstance(error, ValueError) or error.errno in MISSING:
            return problem_reply(HTTPError(404, "there is no such file"), call.request_id)
        failed = HTTPError(500, "the file cannot be read; search the log for this instance")
        return replace(problem_reply(failed, call.request_id), traceback=format_traceback(error))
    made = _with_content(reply, call, file)
    if not isinstance(made.body, FileStream):
        file.close()
    return made


def _open(body: FileBody) -> FileIO:
    """
    Open a file.

    @raise OSError: if that fails, or it is not a regular file.
    """
    file = FileIO(os.open(body.path, OPEN), "r")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise IsADirectoryError(errno.EISDIR, "not a regular file", os.fsdecode(body.path))
    return file


def _with_content(reply: Reply, call: Call, file: FileIO) -> Reply:
    found = os.fstat(file.fileno())
    begin, length, headers = 0, found.st_size, reply.headers
    if call.method in ("GET", "HEAD") and reply.status == 200 and not call.prefer:
        validators = validators_of(found.st_mtime_ns, length, time_ns())
        headers, validators = _with_validators(headers, validators)
        status = failed_precondition(call.headers, validators)
        if status == 304:
            return Reply(b"", 304, _without_content_headers(headers), "")
        if status == 412:
            error = HTTPError(412, "the file has changed", [("etag", validators.etag)])
            return problem_reply(error, call.request_id)
        wanted = requested_range(call.headers, length, validators) if call.method == "GET" else None
        if wanted is not None:
            begin, length = wanted
            if not length:
                outside = [("content-range", f"bytes */{found.st_size}")]
                return problem_reply(HTTPError(416, "no byte is in this range", outside), call.request_id)
            part = f"bytes {begin}-{begin + length - 1}/{found.st_size}"
            reply, headers = replace(reply, status=206), (*headers, ("content-range", part))
    return replace(reply, body=_content(file, begin, length), headers=headers)


def _with_validators(headers: Headers, made: Validators) -> tuple[Headers, Validators]:
    """Add the headers of a file. The function may have set its own entity tag."""
    given = dict(headers)
    made = made._replace(etag=given.get("etag", made.etag))
    added = {"etag": made.etag, "last-modified": made.last_modified, "accept-ranges": "bytes"}
    return (*headers, *((name, each) for name, each in added.items() if name not in given)), made


def _without_content_headers(headers: Headers) -> Headers:
    """Return the headers for 304 (RFC 9110, section 15.4.5)."""
    return tuple(pair for pair in headers if pair[0] not in OF_CONTENT)


def _content(file: FileIO, begin: int, length: int) -> bytes | FileStream:
    """Return a short content as a whole, and a longer one as a stream."""
    if length <= BLOCK:
        file.seek(begin)
        data = file.read(length) or b""
        if len(data) == length:
            return data
    return FileStream(file, begin, length)
