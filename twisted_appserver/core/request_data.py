"""What a request carries: the variables in its query string and its body, and its id. Pure."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import multipart

from twisted_appserver.core.json_errors import why_malformed
from twisted_appserver.errors import HTTPError

MAX_DEPTH = 100  # of nested JSON arrays and objects
REQUEST_ID = re.compile(rb"[\w.:/+=@-]{1,128}")
MAX_FIELDS = 1000  # of a query string or a form
FILE_NAME = re.compile(r"""(?:^|;)\s*filename\*\s*=""", re.IGNORECASE)
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
READ = re.compile(r"application/(?:[^/]*\+)?json|application/x-www-form-urlencoded|multipart/form-data")
CHARSET = re.compile(r""";\s*charset\s*=\s*"?([^\s;"]*)""", re.IGNORECASE)
UTF8 = ("utf-8", "utf8", "us-ascii", "ascii", "")  # ASCII is a part of it
RAW: Any = msgspec.json.Decoder(dict[str, msgspec.Raw])
ANY: Any = msgspec.json.Decoder(float_hook=float)  # a number that is too large for a float becomes infinity


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


def _json(body: bytes, raw: bool) -> dict[str, Any]:
    try:
        value = ANY.decode(body) if raw else msgspec.json.decode(body)
        # Counting brackets is cheap, so that only a suspicious body is walked.
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
            raise RecursionError(f"nested deeper than {MAX_DEPTH}")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise HTTPError(400, why_malformed(body, error)) from None
    if not isinstance(value, dict):
        raise HTTPError(400, f"the body must be a JSON object, not {type(value).__name__}")
    return RAW.decode(body) if raw else value


def decode(raw: msgspec.Raw, name: str = "") -> Any:
    """
    The value of JSON that L{read_body} left as it is.

    @param name: of the variable, for messages.
    @raise HTTPError: 400 when it is malformed, or a number in it is too large for a float.
    """
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise HTTPError(400, why_malformed(bytes(raw), error, name)) from None


def _is_file(part: Any) -> bool:
    """Whether a part has the name of a file, which RFC 7578 (section 4.2) does not allow as C{filename*}."""
    disposition = dict(part.headerlist).get("Content-Disposition", "")
    return bool(part.filename) or bool(FILE_NAME.search(QUOTED.sub("", disposition)))


def _multipart(body: bytes, content_type: str) -> dict[str, Any]:
    _, options = multipart.parse_options_header(content_type)
    boundary = options.get("boundary")
    if not boundary:
        raise HTTPError(400, "the multipart body cannot be read: its Content-Type has no boundary")
    try:
        parts = list(multipart.MultipartParser(io.BytesIO(body), boundary, part_limit=MAX_FIELDS))
        if any(map(_is_file, parts)):
            raise HTTPError(415, "files in multipart/form-data are not accepted")
        if not all(part.name for part in parts):
            raise HTTPError(400, "the multipart body cannot be read: a part has no name")
        return _fields((part.name, part.raw.decode("utf-8")) for part in parts)
    except (multipart.MultipartError, UnicodeDecodeError) as error:
        raise HTTPError(400, f"the multipart body cannot be read: {error}") from None


def read_query(query: str) -> dict[str, Any]:
    """The fields of a query string."""
    return _urlencoded(query, "query string")


def read_body(
    body: bytes, content_type: str, any_type: bool = False, raw: bool = False
) -> tuple[dict[str, Any], bool]:
    """
    The fields of a body, and whether they came as JSON, whose values have types.

    @param any_type: whether a body of another type, or one that is labelled as a form and is none, is passed
        over instead of refused.
    @param raw: whether the values of JSON are left undecoded, as C{msgspec.Raw}.
    @raise HTTPError: 400 when the body is malformed, 415 when its type is none that has fields.
    """
    kind = content_type
    if kind != "application/json":
        kind = content_type.partition(";")[0].strip().lower()
        if kind != content_type and READ.fullmatch(kind):
            _check_charset(content_type)
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return _json(body, raw), True
    if kind == "application/x-www-form-urlencoded":
        try:
            return _urlencoded(body.decode("latin-1"), "form"), False
        except HTTPError:
            if not any_type:  # curl labels everything as a form
                raise
            return {}, False
    if kind == "multipart/form-data":
        return _multipart(body, content_type), False
    if any_type:
        return {}, False
    allowed = "application/json, application/x-www-form-urlencoded or multipart/form-data"
    raise HTTPError(415, f"the body is {kind or 'of no type'}; send {allowed}")


def read_fields(
    body: bytes, headers: Iterable[tuple[bytes, bytes]], any_type: bool = False, raw: bool = False
) -> tuple[dict[str, Any], bool]:
    """
    As L{read_body}, for a request with these headers.

    @raise HTTPError: likewise, and 415 when the body has a content coding (RFC 9110, section 8.4).
    """
    content_type, coding = b"", b""
    for name, value in headers:
        if name == b"content-type":
            content_type = content_type + b", " + value if content_type else value
        elif name == b"content-encoding":
            coding += b"," + value
    kind = content_type.decode("latin-1")
    if coding:
        _check_coding(coding.decode("latin-1"), kind, any_type)
    return read_body(body, kind, any_type, raw)


def _check_coding(coding: str, content_type: str, any_type: bool) -> None:
    codings = [each.strip() for each in coding.split(",") if each.strip().lower() not in ("", "identity")]
    kind = content_type.partition(";")[0].strip().lower()
    if any_type and (not READ.fullmatch(kind) or kind == "application/x-www-form-urlencoded"):
        return  # The function that receives the Call may read it. curl labels everything as a form.
    if codings:
        raise HTTPError(
            415,
            f"content codings are not accepted, and the body has {', '.join(codings)}; send it without",
            [("accept-encoding", "identity")],
        )


def _check_charset(content_type: str) -> None:
    charset = CHARSET.search(content_type)
    if charset and charset[1].lower() not in UTF8:
        raise HTTPError(415, f"the charset {charset[1]} is not accepted; send UTF-8")


def preference(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """What a client prefers (RFC 7240, section 2)."""
    return ",".join(value.decode("latin-1") for name, value in headers if name == b"prefer")


def given_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id that a client or a proxy gave to its request in X-Request-ID, if it is a sane one."""
    for name, value in headers:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return value.decode("ascii")
    return ""
