"""Parse the values of C{--allow-host} and C{--allow-origin} into the form that requests contain."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from twisted_appserver.errors import OptionError

NAME = re.compile(r"[a-z0-9._-]+")
ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#@:\[\]\s]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?")
PARTS = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):(?!\d))?/*(?:[^/?#@]*@)?(\[[^\]]*\]|[^/?#:\s]*)(?::(\d*))?")
LOCAL = ("localhost", "127.0.0.1", "[::1]")  # hosts whose pages usually come over http
PORTS = {"http": "80", "https": "443"}  # default ports, which browsers omit


def read_host(text: str) -> bytes:
    """
    Return a host as it appears in Host headers, without the port: a name, or an IPv6 address in brackets.

    @param text: a value of C{--allow-host}; C{"*"} means every host.
    @raise OptionError: when no Host header can contain it.
    """
    if text == "*":
        return b"*"
    host = _host(text)
    if host is None:
        raise OptionError(f"--allow-host {text!r}: must be a host name without scheme and port{_hint(text)}")
    return host.encode()


def read_origin(text: str) -> bytes:
    """
    Return an origin as browsers send it: scheme, host, and the port unless it is the default (RFC 6454,
    section 6.2).

    @param text: a value of C{--allow-origin}.
    @raise OptionError: when no web page has this origin, or every sandboxed frame has it.
    """
    found = ORIGIN.fullmatch(text.lower().removesuffix("/"))
    host = _host(found[2]) if found else None
    if found is None or host is None:
        raise OptionError(f"--allow-origin {text!r}: {_origin_hint(text)}")
    port = "" if found[3] in (None, PORTS.get(found[1])) else f":{int(found[3])}"
    return f"{found[1]}://{host}{port}".encode()


def _host(text: str) -> str | None:
    """Return a host as it appears in Host headers; C{None} if it is invalid."""
    if text[:1] == "[" and text[-1:] == "]":
        return f"[{IPv6Address(text[1:-1])}]" if _ipv6(text[1:-1]) else None
    try:
        name = text.lower().encode("ascii" if text.isascii() else "idna").decode()
    except UnicodeError:
        return None
    return name if NAME.fullmatch(name) else None


def _ipv6(text: str) -> bool:
    try:
        return bool(IPv6Address(text)) and "%" not in text
    except ValueError:
        return False


def _hint(text: str) -> str:
    """Return the end of an error message: what to write instead, if that can be guessed."""
    if _ipv6(text):
        return f"; write [{text}]"
    if text.startswith("*."):
        return "; name each host, or write * for every host"
    found = PARTS.match(text)
    meant = _host(found[2]) if found else None
    return f"; write {meant}" if meant else ", such as app.example.org"


def _origin_hint(text: str) -> str:
    if text.lower() in ("null", "file://", "file:///"):
        return "every sandboxed frame sends null, so it would admit any page; serve the page over http"
    if "*" in text:
        return "each origin must be named, such as https://example.org"
    found = PARTS.match(text)
    meant = _host(found[2]) if found else None
    if not found or meant is None:
        return "must be the origin of a page, such as https://example.org"
    port = f":{found[3]}" if found[3] else ""
    schemes = [found[1]] if found[1] else ["http"] if meant in LOCAL else ["https", "http"]
    choice = " or ".join(f"{scheme}://{meant}{port}" for scheme in schemes)
    return f"must be scheme, host and port only; write {choice}"
