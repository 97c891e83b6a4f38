"""
The messages of the Model Context Protocol: JSON-RPC 2.0 requests, and their checks. Pure.

The revision 2026-07-28 has no handshake: each request names its revision, in a header and in C{_meta}.
Earlier revisions begin with C{initialize}. A request that names none or one of these belongs to them.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from twisted_appserver.core.call import Call
from twisted_appserver.errors import AppserverError

REVISION = "2026-07-28"
EARLIER = ("2025-11-25", "2025-06-18")  # with a handshake, newest first
# Clients of these are offered the newest revision with a handshake, and decide.
OLDER = ("2025-03-26", "2024-11-05")
PREFIX = "io.modelcontextprotocol/"
VERSION_KEY, CAPABILITIES_KEY = f"{PREFIX}protocolVersion", f"{PREFIX}clientCapabilities"
SERVER_KEY = f"{PREFIX}serverInfo"
VERSION_HEADER, SESSION_HEADER = "mcp-protocol-version", "mcp-session-id"
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
CANCELLED = -32000  # of the range for implementations; no response is awaited then
HEADER_MISMATCH, UNSUPPORTED_REVISION = -32020, -32022
STATUSES = {  # of HTTP, for the codes of errors (2026-07-28, section "Streamable HTTP")
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    UNSUPPORTED_REVISION: 400,
    METHOD_NOT_FOUND: 404,
}
BASE64 = re.compile(r"=\?base64\?(.*)\?=")  # a value that a header could not contain as it is
JSON_TYPE = re.compile(r"application/json[ \t]*(?:;|\Z)", re.IGNORECASE)


class MessageError(AppserverError):
    """
    Raised when a message gets an error of the protocol.

    @param code: the code of JSON-RPC.
    @param data: a further member for programs.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


class _WireMessage(msgspec.Struct):
    """A message as it arrives. Its other members are ignored."""

    jsonrpc: Literal["2.0"]
    method: str
    id: int | str | msgspec.UnsetType = msgspec.UNSET
    params: dict[str, Any] | None = None


@dataclass(frozen=True)
class Message:
    """
    A request, or a notification.

    @ivar id: the id of the request; C{None} if the message is a notification.
    @ivar call: the HTTP request.
    @ivar is_stateless: whether it belongs to a revision without a handshake.
    """

    method: str
    id: int | str | None
    params: dict[str, Any]
    call: Call
    is_stateless: bool

    @property
    def meta(self) -> dict[str, Any]:
        """The parameters that belong to the protocol."""
        found = self.params.get("_meta")
        return found if isinstance(found, dict) else {}

    @property
    def progress_token(self) -> int | str | None:
        """Names this request in reports of its progress; C{None} if the client wants none."""
        found = self.meta.get("progressToken")
        return found if isinstance(found, int | str) and not isinstance(found, bool) else None


_decode = msgspec.json.Decoder(_WireMessage).decode


def read_message(call: Call) -> Message:
    """
    Return the message that a request contains.

    @raise MessageError: when it is malformed. Batches and responses are malformed too.
    """
    if not JSON_TYPE.match(call.content_type):
        raise MessageError(INVALID_REQUEST, "send a message with the header Content-Type: application/json")
    try:
        found = _decode(call.body)
    except msgspec.ValidationError as error:
        raise MessageError(INVALID_REQUEST, f"the body must be one JSON-RPC request: {error}") from None
    except (ValueError, RecursionError):
        raise MessageError(PARSE_ERROR, "the body is not valid JSON") from None
    version = call.headers.get(VERSION_HEADER)
    is_stateless = version is not None and version not in (*EARLIER, *OLDER)
    name = None if found.id is msgspec.UNSET else found.id
    return Message(found.method, name, found.params or {}, call, is_stateless)


def check_revision(message: Message) -> None:
    """
    Check the headers and the members that each request of a revision without a handshake must have.

    @raise MessageError: when one is missing or differs, or the revision is unknown.
    """
    headers, meta = message.call.headers, message.meta
    missing = [key for key in (VERSION_KEY, CAPABILITIES_KEY) if key not in meta]
    if missing:
        raise MessageError(INVALID_PARAMS, f"params._meta must contain {' and '.join(missing)}")
    _check_header(headers, VERSION_HEADER, meta[VERSION_KEY])
    _check_header(headers, "mcp-method", message.method)
    if message.method == "tools/call" and "name" in message.params:
        _check_header(headers, "mcp-name", message.params["name"])
    if meta[VERSION_KEY] != REVISION:
        supported = [REVISION, *EARLIER]
        data = {"supported": supported, "requested": meta[VERSION_KEY]}
        raise MessageError(UNSUPPORTED_REVISION, f"use one of the revisions {', '.join(supported)}", data)


def _check_header(headers: dict[str, str], name: str, value: Any) -> None:
    """Check that a header has the same value as the body. Proxies read only the header."""
    if _decoded(headers.get(name)) != value:
        raise MessageError(HEADER_MISMATCH, f"the header {name} must have the value of the body, {value!r}")


def _decoded(value: str | None) -> str | None:
    """Return the value of a header. It is C{None} if its encoding is wrong."""
    found = BASE64.fullmatch(value) if value is not None else None
    if found is None:
        return value
    try:
        return b64decode(found[1], validate=True).decode()
    except ValueError:
        return None


def response(message: Message, result: Any) -> dict[str, Any]:
    """Return the response to a request."""
    return {"jsonrpc": "2.0", "id": message.id, "result": result}


def error_response(error: MessageError, message: Message | None) -> dict[str, Any]:
    """
    Return the response for an error.

    @param message: C{None} if it could not be read.
    """
    shown = {"code": error.code, "message": error.message}
    shown |= {} if error.data is None else {"data": error.data}
    return {"jsonrpc": "2.0", "id": None if message is None else message.id, "error": shown}


def error_status(error: MessageError, message: Message | None) -> int:
    """Return the HTTP status of an error. Clients of earlier revisions read only responses with 200."""
    if message is None or message.is_stateless:
        return STATUSES.get(error.code, 200)
    return 200
