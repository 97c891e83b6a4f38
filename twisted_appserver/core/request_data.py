"""Reads the variables in the query string and the body of a request, and its id. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from twisted_appserver.core.invalid_json import explain_json_error
from twisted_appserver.core.multipart_form import MAX_FIELDS, TakesFile, read_multipart, refuse_files
from twisted_appserver.errors import HTTPError

MAX_DEPTH = 100  # nesting levels of JSON arrays and objects
REQUEST_ID = re.compile(rb"[\w.:/+=@-]{1,128}")
READABLE = re.compile(r"application/(?:[^/]*\+)?json|application/x-www-form-urlencoded|multipart/form-data")
CHARSET = re.compile(r""";\s*charset\s*=\s*"?([^\s;"]*)""", re.IGNORECASE)
JSON_ADVICE = "the body looks like JSON: send it with the header Content-Type: application/json"
UTF8 = ("utf-8", "utf8", "us-ascii", "ascii", "")  # every ASCII text is UTF-8
RAW: Any = msgspec.json.Decoder(dict[str, msgspec.Raw])
ANY: Any = msgspec.json.Decoder(float_hook=float)  # a number that is too large for a float becomes infinity
KEY_HEADER = b"idempotency-key"
JOB_HEADERS = frozenset((b"prefer", KEY_HEADER))  # these headers can turn a call into a job


def _group_by_name(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return query or form fields by name. A repeated field becomes a list."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def _urlencoded(text: str, source: str) -> dict[str, Any]:
    """
    Decode the fields of a query string or a form.

    @param text: decoded as Latin-1.
    @param source: what the text is, for the error message.
    @raise HTTPError: 400 when it is malformed.
    """
    try:
        if not text.isascii():  # UTF-8 that the client did not percent-encode
            text = text.encode("latin-1").decode("utf-8")
        return _group_by_name(
            parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
        )
    except ValueError as error:
        raise HTTPError(400, f"the {source} cannot be read: {error}") from None


def _depth(value: Any) -> int:
    """Return how deeply arrays and objects are nested."""
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)


def check_depth(body: bytes, value: Any, extra: int = 0) -> None:
    """
    Check how deeply arrays and objects are nested.

    @param value: the decoded body.
    @param extra: how many levels more are allowed.
    @raise RecursionError: when they are nested too deep.
    """
    # Counting brackets is cheap. Only a body with many of them is examined.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH + extra:
        raise RecursionError(f"nested more than {MAX_DEPTH} levels deep")


def _json(body: bytes, raw: bool) -> dict[str, Any]:
    try:
        value = ANY.decode(body) if raw else msgspec.json.decode(body)
        check_depth(body, value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise HTTPError(400, explain_json_error(body, error)) from None
    if not isinstance(value, dict):
        raise HTTPError(400, f"the body must be a JSON object, not {type(value).__name__}")
    return RAW.decode(body) if raw else value


def looks_like_json(body: bytes) -> bool:
    """
    Return whether a body that is labelled as a form is a JSON object or array, complete or with a mistake.

    C{curl -d} labels every body as a form. A form that a browser sends contains no bracket.
    """
    text = body.strip()
    return text[:1] + text[-1:] in (b"{}", b"[]")


def decode(raw: msgspec.Raw, name: str = "") -> Any:
    """
    Decode JSON that L{read_body} left undecoded.

    @param name: the name of the variable, for the message.
    @raise HTTPError: 400 when it is malformed or a number is too large for a float.
    """
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise HTTPError(400, explain_json_error(bytes(raw), error, name)) from None


def read_query(query: str) -> dict[str, Any]:
    """
    Return the fields of a query string.

    @raise HTTPError: 400 when it is malformed.
    """
    return _urlencoded(query, "query string")


def read_body(
    body: bytes,
    content_type: str,
    any_type: bool = False,
    raw: bool = False,
    takes_file: TakesFile = refuse_files,
) -> tuple[dict[str, Any], bool]:
    """
    Return the fields of a body, and whether they came as JSON.

    @param any_type: whether to ignore a body of another type, or a body that is labelled as a form but is not
        one, instead of raising an error.
    @param raw: whether to leave the values of JSON undecoded, as C{msgspec.Raw}.
    @param takes_file: returns whether a file in a form is wanted; the others are left out.
    @raise HTTPError: 400 when the body is malformed, 415 when its type has no fields.
    """
    kind = content_type
    if kind != "application/json":
        kind = content_type.partition(";")[0].strip().lower()
        if kind != content_type and READABLE.fullmatch(kind):
            _check_charset(content_type)
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return _json(body, raw), True
    if kind == "application/x-www-form-urlencoded":
        if looks_like_json(body):
            if not any_type:
                raise HTTPError(415, JSON_ADVICE)
            return {}, False
        try:
            return _urlencoded(body.decode("latin-1"), "form"), False
        except HTTPError:
            if not any_type:  # curl labels every body as a form
                raise
            return {}, False
    if kind == "multipart/form-data":
        return _group_by_name(read_multipart(body, content_type, takes_file)), False
    if any_type:
        return {}, False
    allowed = "application/json, application/x-www-form-urlencoded or multipart/form-data"
    raise HTTPError(415, f"the Content-Type is {kind or 'missing'}; send {allowed}")


def read_fields(
    body: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    any_type: bool = False,
    raw: bool = False,
    takes_file: TakesFile = refuse_files,
) -> tuple[dict[str, Any], bool]:
    """
    Return the fields of a body like L{read_body}, for a request with these headers.

    @raise HTTPError: 400 or 415 like L{read_body}, and 415 when the body has a content coding (RFC 9110,
        section 8.4).
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
    return read_body(body, kind, any_type, raw, takes_file)


def body_too_long(limit: int, of_route: bool = False) -> HTTPError:
    """
    Return the error for a body of more than C{limit} bytes.

    @param of_route: whether the C{max_stream} of a Route sets the limit.
    """
    setting = "max_stream of its Route" if of_route else "the server's --max-body"
    return HTTPError(413, f"the body is longer than {limit} bytes; {setting} sets this limit")


def _check_coding(coding: str, content_type: str, any_type: bool) -> None:
    codings = [each.strip() for each in coding.split(",") if each.strip().lower() not in ("", "identity")]
    kind = content_type.partition(";")[0].strip().lower()
    if any_type and (not READABLE.fullmatch(kind) or kind == "application/x-www-form-urlencoded"):
        return  # the function receives the Call and may decode the body; curl labels every body as a form
    if codings:
        raise HTTPError(
            415,
            f"the Content-Encoding {', '.join(codings)} is not accepted; send the body without it",
            [("accept-encoding", "identity")],
        )


def _check_charset(content_type: str) -> None:
    charset = CHARSET.search(content_type)
    if charset and charset[1].lower() not in UTF8:
        raise HTTPError(415, f"the charset {charset[1]} is not accepted; send UTF-8")


def prefer_header(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """
    Return the value of the Prefer headers (RFC 7240, section 2). If there is an Idempotency-Key, its name is
    added. So one test shows whether a call may become a job.
    """
    return ",".join(
        value.decode("latin-1") if name == b"prefer" else name.decode()
        for name, value in headers
        if name in JOB_HEADERS
    )


def client_request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the X-Request-ID that a client or a proxy has sent; empty text if it is missing or invalid."""
    for name, value in headers:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return value.decode("ascii")
    return ""
