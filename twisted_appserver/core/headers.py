"""Checks the response headers that a function returns, and converts them to pairs of C{str}. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?)?")
SERVER_HEADERS = frozenset(("connection", "content-length", "date", "transfer-encoding", "x-request-id"))
ALLOWED = "use str, bytes or int, or a list of these to send several headers with this name"

MAX_CACHED = 1024  # characters of all values; larger headers are not cached

Headers = tuple[tuple[str, str], ...]
JSON_HEADERS: Headers = (("content-type", "application/json"),)


def convert_headers(given: Any) -> Headers:
    """
    Convert headers to pairs of lower-case names and values, and check them.

    @param given: a mapping or pairs of names and values. A name is C{str} or C{bytes}. A value is C{str},
        C{bytes} or C{int}, or a list or tuple of these, which becomes one header for each item.
    @raise TypeError: when a name or value has another type.
    @raise ValueError: when a header is malformed, or is one that the server sets itself.
    """
    if given is JSON_HEADERS:  # which our own functions return most often
        return given
    if given is None or (type(given) is tuple and not given):
        return ()
    items = given.items() if hasattr(given, "items") else given
    if not isinstance(items, Iterable):
        raise TypeError(f"headers must be a mapping or pairs of names and values, not {given!r}")
    pairs: list[tuple[str, str]] = []
    for pair in items:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"headers must be a mapping or pairs of names and values, not {pair!r}")
        name, value = pair
        if type(name) is str and type(value) is str:
            pairs.append((name.lower(), value))
        else:
            pairs.extend(_converted(name, value))
    return check_headers(tuple(pairs))


def _converted(name: Any, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the pairs for a name and a value that are not both C{str}."""
    key = _text(name)
    if key is None:
        raise TypeError(f"the header name {name!r} is {type(name).__name__}, not str or bytes")
    for each in value if isinstance(value, list | tuple) else (value,):
        text = int.__repr__(each) if isinstance(each, int) and not isinstance(each, bool) else _text(each)
        if text is None:
            raise TypeError(f"the header {key!r} has the value {each!r} ({type(each).__name__}); {ALLOWED}")
        yield key.lower(), text


def _text(value: Any) -> str | None:
    """Return text or bytes as C{str}; C{None} for anything else."""
    if isinstance(value, str):
        return str.__str__(value)  # a subclass such as an Enum may override str()
    return value.decode("latin-1") if isinstance(value, bytes) else None


def check_headers(headers: Headers) -> Headers:
    """
    Return these headers if they can be sent. The result is cached, unless the headers are large.

    @raise ValueError: see L{convert_headers}.
    """
    if sum([len(value) for _, value in headers]) > MAX_CACHED:
        return _check_each.__wrapped__(headers)
    return _check_each(headers)


@lru_cache(1024)
def _check_each(headers: Headers) -> Headers:
    for name, value in headers:
        if name in SERVER_HEADERS:
            raise ValueError(
                f"the header {name!r}: {value!r} cannot be sent: the server sets {name} itself; remove it"
            )
        if not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
            raise ValueError(f"the header {name!r}: {value!r} cannot be sent: {_why_invalid(name, value)}")
    return headers


def _why_invalid(name: str, value: str) -> str:
    """Return why a header is rejected."""
    for text in (name, value):
        if {"\r", "\n"} & set(text):
            return "line breaks are not allowed"
    if not TOKEN.fullmatch(name):
        return "a name may contain only letters, digits and !#$%&'*+-.^_`|~ (RFC 9110, section 5.6.2)"
    if value.strip(" \t") != value:
        return "a value must not begin or end with a space or tab"
    if other := re.search(r"[^\x00-\xff]", value):
        return f"values must be Latin-1 and {other[0]!r} is not; percent-encode it"
    return "control characters are not allowed"
