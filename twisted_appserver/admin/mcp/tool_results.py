"""The reply of a function as the result of a tool. Pure."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec

from twisted_appserver.core.call import Reply
from twisted_appserver.core.statuses import title

MEDIA = ("image", "audio")  # types that assistants receive as they are


def tool_result(reply: Reply, address: str, stateless: bool) -> dict[str, Any]:
    """
    Return the result of a tool. An error of the function is a result too, so that the assistant can read the
    reason and try something else.

    @param reply: a complete reply.
    @param address: the URL of the call, which names contents that are neither text nor media.
    @param stateless: false for clients of earlier revisions, which accept only objects as structured results.
    """
    fields = dict(reply.headers)
    kind = fields.get("content-type", "application/json").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    if reply.status >= 400:
        problem = _problem(reply.body) if is_json else {}
        return tool_error(_error_text(reply, problem))
    if 300 <= reply.status < 400:
        return _complete([text(f"{reply.status} {title(reply.status)}: {fields.get('location', '')}")])
    if not reply.body:
        return _complete([])
    if not is_json:
        return _complete([_content(kind, reply.body, address)])
    result = _complete([text(reply.body.decode())])
    if stateless or reply.body.lstrip()[:1] == b"{":
        result["structuredContent"] = msgspec.Raw(reply.body)
    return result


def tool_error(why: str) -> dict[str, Any]:
    """Return the result of a call that failed."""
    return {**_complete([text(why)]), "isError": True}


def text(content: str) -> dict[str, Any]:
    """Return a content of a result, for the assistant to read."""
    return {"type": "text", "text": content}


def _complete(content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"content": content, "isError": False}


def _content(kind: str, body: bytes, address: str) -> dict[str, Any]:
    """Return a body that is not JSON as a content."""
    if kind.startswith("text/"):
        return text(body.decode(errors="replace"))
    data = b64encode(body).decode()
    main = kind.partition("/")[0]
    if main in MEDIA:
        return {"type": main, "data": data, "mimeType": kind}
    return {"type": "resource", "resource": {"uri": address, "mimeType": kind, "blob": data}}


def _problem(body: bytes) -> dict[str, Any]:
    """Return the members of a problem document; none if the body is another document."""
    try:
        found = msgspec.json.decode(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _error_text(reply: Reply, problem: dict[str, Any]) -> str:
    """Return an error in one line, with the id under which the log has its reason."""
    detail = problem.get("detail") or reply.body.decode(errors="replace")
    instance = problem.get("instance") if reply.status >= 500 else None
    named = f" (instance {instance})" if instance else ""
    return f"{reply.status} {title(reply.status)}: {detail}{named}"
