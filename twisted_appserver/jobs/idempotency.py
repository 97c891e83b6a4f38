"""Requests that clients may repeat: C{Idempotency-Key} (draft-ietf-httpapi-idempotency-key-header).

Strategy: such a call is a job whose client waits. The job keeps the response and a fingerprint of the
request.
"""

from __future__ import annotations

import re
from hashlib import blake2b

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.request_data import KEY_HEADER
from twisted_appserver.errors import HTTPError
from twisted_appserver.jobs.documents import result_of

LONGEST_KEY = 255  # bytes
STRING = re.compile(rb'"((?:[^"\\]|\\["\\])*)"[ ]*(?:;.*)?', re.DOTALL)  # RFC 8941, sections 3.3.3 and 3.1.2
ESCAPED = re.compile(rb'\\(["\\])')


def key_of(call: Call) -> str:
    """
    Return a name for the key of a request and its user; empty if the request has no key. The draft requires
    quotes; a key without quotes is the same key.

    @raise HTTPError: 400 if the key is empty or too long, or if there are several.
    """
    keys = [_unquoted(value.strip()) for name, value in call.raw_headers if name == KEY_HEADER]
    if not keys:
        return ""
    if len(keys) > 1 or not 0 < len(keys[0]) <= LONGEST_KEY:
        raise HTTPError(400, f"send one Idempotency-Key of 1 to {LONGEST_KEY} characters")
    return blake2b(b"%b\0%b" % (call.user.encode(), keys[0]), digest_size=16).hexdigest()


def _unquoted(value: bytes) -> bytes:
    found = STRING.fullmatch(value)
    return value if found is None else ESCAPED.sub(rb"\1", found[1])


def fingerprint(call: Call) -> str:
    """Return what must be the same when a request is repeated."""
    head = f"{call.method} {call.path}?{call.query}\n".encode()
    return blake2b(head + call.body, digest_size=16).hexdigest()


def repeated_reply(call: Call, first: str, reply: Reply | None) -> Reply:
    """
    Return the reply to a request whose key was used before.

    @param first: the fingerprint of the first request.
    @param reply: the reply to that request; C{None} if it is still being performed.
    @raise HTTPError: 422 if this is another request, 409 if there is no reply yet.
    """
    if first != fingerprint(call):
        raise HTTPError(422, "this Idempotency-Key was used for another request; use a new key")
    if reply is None:
        raise HTTPError(409, "the first request with this Idempotency-Key is still being performed")
    return result_of(reply)
