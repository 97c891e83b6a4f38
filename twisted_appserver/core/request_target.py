"""Checks the target and the Host of a request (RFC 9112, section 3.2), and makes its Call. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from twisted_appserver.core.call import Call
from twisted_appserver.core.request_data import client_request_id, prefer_header
from twisted_appserver.errors import HTTPError

# A name or an address, optionally with a port up to 65535. The port may be empty (RFC 3986, section 3.2.3).
HOST = re.compile(
    rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    rb"(?::(?:[0-9]{0,4}|[0-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
)
ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)")
# RFC 3986 excludes control characters and fragments, and a % in the path without two hexadecimal digits
# behind it. Browsers encode forms less strictly, so a query may contain any %. Characters outside of ASCII
# should be percent-encoded, but curl and other clients send them unencoded, so UTF-8 is accepted.
BAD_PATH = re.compile(rb"[\0-\x20\x7f#]|%(?![0-9A-Fa-f]{2})")
BAD_QUERY = re.compile(rb"[\0-\x20\x7f#]")
REST_OF_LINE = re.compile(rb"[^\n]*")
REQUEST_LINE = re.compile(rb"[\r\n]*[^\n]*")  # including empty lines before it
NOT_ASCII = re.compile(rb"[\x80-\xff]")
QUOTED = re.compile(rb"%([89A-Fa-f][0-9A-Fa-f])")
METHODS = {
    name.encode(): name for name in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "QUERY")
}


def _shown(data: bytes) -> str:
    return repr(data.decode("latin-1"))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def quote_line(data: bytes, begun: bool) -> bytes:
    """
    Percent-encode the bytes of a request line that are not ASCII, because llhttp rejects them.

    @param begun: whether the line started in earlier data.
    """
    found = (REST_OF_LINE if begun else REQUEST_LINE).match(data)
    line = found[0] if found else b""
    return NOT_ASCII.sub(lambda found: b"%%%02X" % found[0][0], line) + data[len(line) :]


def unquote_line(target: bytes) -> bytes:
    """Undo L{quote_line}."""
    return QUOTED.sub(lambda code: bytes.fromhex(code[1].decode()), target)


def check_host(host: bytes | None, required: bool) -> None:
    """
    Check a Host header.

    @param host: the value of the header; C{None} if there is none.
    @param required: whether the header is mandatory, as in HTTP/1.1.
    @raise HTTPError: 400 when it is missing, empty or malformed.
    """
    if host is None:
        if required:
            raise HTTPError(400, "missing Host header")
    elif not HOST.fullmatch(host):
        raise HTTPError(400, f"invalid Host header: {_shown(host)}")


def split_target(method: bytes, target: bytes) -> tuple[bytes | None, bytes, bytes]:
    """
    Split a request target.

    @return: the host if the target is in absolute form, otherwise C{None}; the path as it was sent; the
        query.
    @raise HTTPError: 400 when the target has none of the four forms of RFC 9112, section 3.2, or contains a
        fragment, a malformed percent-encoding, control characters or bytes that are not UTF-8.
    """
    host = None
    if target[:1] != b"/":
        if target == b"*" and method == b"OPTIONS":
            return None, target, b""
        if method == b"CONNECT" and HOST.fullmatch(target):
            return None, target, b""
        found = ABSOLUTE.match(target)
        if found is None:
            raise HTTPError(400, f"invalid request target: {_shown(target)}; it must begin with /")
        host, target = found[1], target[found.end() :]
        if not HOST.fullmatch(host):
            raise HTTPError(400, f"invalid host in the request target: {_shown(host)}")
        if target[:1] != b"/":
            target = b"/" + target
    path, _, query = target.partition(b"?")
    if BAD_PATH.search(path) or BAD_QUERY.search(query) or not _is_utf8(target):
        raise HTTPError(
            400, f"invalid request target: {_shown(target)}; percent-encode #, % and bytes that are not UTF-8"
        )
    return host, path, query


def make_call(
    method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes, client: str
) -> Call:
    """
    Make the Call of a request.

    @param headers: pairs of names in lower case and values. A host in the target replaces the Host header.
    @param client: the address of the client.
    @raise HTTPError: see L{split_target}.
    """
    host, path, query = split_target(method, target)
    if host is not None:
        headers = [pair for pair in headers if pair[0] != b"host"]
        headers = [(b"host", host), *headers]
    has_encoded_slash = False
    if b"%" in path:
        has_encoded_slash = b"%2F" in path.upper()
        path = unquote_to_bytes(path)
    return Call(
        METHODS.get(method) or method.decode("latin-1"),
        path.decode("utf-8", "surrogateescape"),
        query.decode("latin-1"),
        tuple(headers),
        body,
        client,
        client_request_id(headers),
        prefer=prefer_header(headers),
        has_encoded_slash=has_encoded_slash,
    )
