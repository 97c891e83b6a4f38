"""Problem documents: the JSON responses for errors (RFC 9457)."""

from __future__ import annotations

import msgspec

from twisted_appserver.core.call import Reply
from twisted_appserver.core.json_encoding import encode
from twisted_appserver.core.statuses import title
from twisted_appserver.errors import HTTPError


def problem_reply(error: HTTPError, request_id: str = "") -> Reply:
    """
    Return the problem document for an error (RFC 9457, section 3.1).

    @raise TypeError: when JSON cannot represent a further member of the error.
    @raise ValueError: likewise.
    """
    status = error.status
    document = {"type": "about:blank", "title": title(status), "status": status, "detail": error.detail}
    document["instance"] = request_id
    body = encode({**document, **error.extra}) if error.extra else msgspec.json.encode(document)
    return Reply(body, status, (("content-type", "application/problem+json"), *error.headers), "")
