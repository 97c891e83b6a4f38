"""What a request carries: the variables in its query string and its body, and its id. Pure."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import multipart

from twisted_appserver.errors import HTTPError

MAX_DEPTH = 100  # of nested JSON arrays and objects
REQUEST_ID = re.compile(rb"[\w.:/+=@-]{1,128}")
MAX_FIELDS = 1000  # of a query string or a form


def _fields(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Query or form fields by name; a repeated one becomes a list."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def _urlencoded(text: str, place: str) -> dict[str, Any]:
    try:
        if not text.isascii():  # UTF-8 that is not percent-encoded
            text = text.encode("latin-1").decode("utf-8")
        return _fields(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS))
    except ValueError as error:
        raise HTTPError(400, f"the {place} cannot be read: {error}") from None


def _depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
        # Counting brackets is cheap, so that only a suspicious body is walked.
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
            raise RecursionError(f"nested deeper than {MAX_DEPTH}")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise HTTPError(400, f"the body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise HTTPError(400, f"the body must be a JSON object, not {type(value).__name__}")
    return value


def _multipart(body: bytes, content_type: str) -> dict[str, Any]:
    _, options = multipart.parse_options_header(content_type)
    boundary = options.get("boundary")
    if not boundary:
        raise HTTPError(400, "the multipart body cannot be read: its Content-Type has no boundary")
    try:
        parts = list(multipart.MultipartParser(io.BytesIO(body), boundary, part_limit=MAX_FIELDS))
        if any(part.filename for part in parts):
            raise HTTPError(415, "files in multipart/form-data are not accepted")
        return _fields((part.name, part.raw.decode("utf-8")) for part in parts)
    except (multipart.MultipartError, UnicodeDecodeError) as error:
        raise HTTPError(400, f"the multipart body cannot be read: {error}") from None


def read_query(query: str) -> dict[str, Any]:
    """The fields of a query string."""
    return _urlencoded(query, "query string")


def read_body(body: bytes, content_type: str, any_type: bool = False) -> tuple[dict[str, Any], bool]:
    """
    The fields of a body, and whether they came as JSON, whose values have types.

    @param any_type: whether a body of another type is passed over instead of refused.
    @raise HTTPError: 400 when the body is malformed, 415 when its type is none that has fields.
    """
    kind = content_type
    if kind != "application/json":
        kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return _json(body), True
    if kind == "application/x-www-form-urlencoded":
        return _urlencoded(body.decode("latin-1"), "form"), False
    if kind == "multipart/form-data":
        return _multipart(body, content_type), False
    if any_type:
        return {}, False
    allowed = "application/json, application/x-www-form-urlencoded or multipart/form-data"
    raise HTTPError(415, f"the body is {kind or 'of no type'}; send {allowed}")


def preference(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """What a client prefers (RFC 7240, section 2)."""
    return ",".join(value.decode("latin-1") for name, value in headers if name == b"prefer")


def given_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id that a client or a proxy gave to its request in X-Request-ID, if it is a sane one."""
    for name, value in headers:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return value.decode("ascii")
    return ""
