"""Calls and replies as they are stored.

The task of a job contains its call. When it has ended, its result contains the facts about the job and the
reply.
"""

from __future__ import annotations

from datetime import UTC, datetime
from json import JSONDecoder
from typing import Any

import msgspec

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.errors import HTTPError
from twisted_appserver.jobs.documents import LONGEST_PART, LONGEST_TRACEBACK, About
from twisted_appserver.jobs.idempotency import fingerprint, key_of
from twisted_appserver.jobs.repeating import LARGEST_REPEATED
from twisted_appserver.jobs.retrying import error_of, short_error

# Headers that only concern a connection (RFC 9110, section 7.6.1), and credentials, which must not be stored.
LEFT_OUT = frozenset(
    (b"authorization", b"connection", b"keep-alive", b"proxy-authorization", b"proxy-connection", b"te",
     b"trailer", b"transfer-encoding", b"upgrade")
)  # fmt: skip
FACTS = 4096  # bytes of a stored result that usually contain all facts about a job


class StoredCall(msgspec.Struct):
    """A call as the function will see it."""

    user: str
    function: str
    request_id: str
    created: datetime
    method: str
    path: str
    query: str
    client: str
    base: str
    headers: list[tuple[str, str]]
    body: bytes
    fingerprint: str = ""

    def to_call(self, handler: Any, groups: dict[str, str]) -> Call:
        """Make the call for a function."""
        return Call(
            self.method, self.path, self.query,
            tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers),
            self.body, self.client, self.request_id, handler=handler, groups=groups, user=self.user,
            base=self.base,
        )  # fmt: skip


def encode_call(call: Call) -> bytes:
    """Return a call as JSON, without credentials and without the headers that concern its connection."""
    left_out = LEFT_OUT
    for named in [value for name, value in call.raw_headers if name == b"connection"]:
        left_out = left_out.union(name.strip().lower() for name in named.split(b","))
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in call.raw_headers
        if name not in left_out
    ]
    stored = StoredCall(
        call.user, call.handler.name, call.request_id, datetime.now(UTC), call.method, call.path, call.query,
        call.client, call.base, headers, call.body, fingerprint(call) if key_of(call) else "",
    )  # fmt: skip
    return msgspec.json.encode(stored)


def decode_call(data: bytes) -> StoredCall:
    """
    Read a stored call.

    @raise ValueError: when it was not written by L{encode_call}.
    """
    return msgspec.json.decode(data, type=StoredCall)


def decode_about(data: bytes, state: str) -> About:
    """
    Read the facts about the job of a stored call, without its body.

    @raise ValueError: when it was not written by L{encode_call}.
    """
    about = msgspec.json.decode(data, type=About)
    about.state = state
    return about


class StoredReply(msgspec.Struct, omit_defaults=True):
    """
    The end of a job.

    @ivar progress: the last item of a generator, as JSON; empty if the function is not a generator.
    @ivar traceback: of the last attempt, if it has failed.
    @ivar call: the call, if it may be repeated because the job has failed or was cancelled.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    progress: bytes = b""
    traceback: str = ""
    call: StoredCall | None = None

    @property
    def reply(self) -> Reply:
        return Reply(self.body, self.status, tuple(self.headers), "")


def encode_end(about: About, reply: Reply, progress: bytes = b"", call: bytes = b"") -> bytes:
    """
    Return the end of a job as JSON. The facts come first, because a list of jobs reads only these.

    @param call: the stored call. It is kept if the job may be repeated and the call is not large.
    """
    about.path, about.query = about.path[:LONGEST_PART], about.query[:LONGEST_PART]
    about.ended = about.ended or datetime.now(UTC)
    traceback = reply.traceback[-LONGEST_TRACEBACK:]
    end = StoredReply(reply.status, list(reply.headers), reply.body, progress, traceback)
    if reply.status >= 400:
        about.error = short_error(error_of(reply))
        if 0 < len(call) <= LARGEST_REPEATED:
            end.call = decode_call(call)
    return msgspec.json.encode((about, end))


def decode_end(data: bytes) -> tuple[About, StoredReply]:
    """
    Read the end of a job. If it was not written by L{encode_end}, the job has failed: another program, such
    as a TQueueSrv with the same database, has ended its task.
    """
    try:
        return msgspec.json.decode(data, type=tuple[About, StoredReply])
    except ValueError:
        reply = problem_reply(HTTPError(410, "another program has ended this job"))
        about = About("", "", "", datetime.fromtimestamp(0.0, UTC), "failed")
        return about, StoredReply(reply.status, list(reply.headers), reply.body)


def without_traceback(data: bytes) -> bytes:
    """Return the end of a job for clients that may not see tracebacks."""
    try:
        about, end = msgspec.json.decode(data, type=tuple[About, StoredReply])
    except ValueError:  # Another program has ended the task.
        return data
    end.traceback = ""
    return msgspec.json.encode((about, end))


def decode_facts(beginning: bytes) -> About | None:
    """
    Read the facts at the beginning of the end of a job.

    @return: the facts; C{None} if this beginning does not contain all of them.
    """
    try:
        facts, _ = JSONDecoder().raw_decode(beginning[1:].decode("utf-8", "ignore"))
        return msgspec.convert(facts, About)
    except ValueError:
        return None
