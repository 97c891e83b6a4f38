"""Headers of a response: what a function may give, checked and converted to pairs of C{str}. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?)?")
OURS = frozenset(("connection", "content-length", "date", "transfer-encoding", "x-request-id"))
ALLOWED = "give str, bytes or int, or a list of these for several headers of this name"

KEPT = 1024  # characters of values up to which headers are remembered

Headers = tuple[tuple[str, str], ...]


def sendable(given: Any) -> Headers:
    """
    The headers that a function gave, as pairs of lower-case names and values.

    @param given: a mapping or pairs of names and values. A name is C{str} or C{bytes}. A value is C{str},
        C{bytes} or C{int}, or a list or tuple of these, which becomes one header for each item.
    @raise TypeError: when a name or value has another type.
    @raise ValueError: when a header would break the response, or is one that the server sets.
    """
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
    return checked(tuple(pairs))


def _converted(name: Any, value: Any) -> Iterator[tuple[str, str]]:
    """The pairs that a name and a value make that are not both C{str}."""
    key = _text(name)
    if key is None:
        raise TypeError(f"the header name {name!r} is {type(name).__name__}, not str or bytes")
    for each in value if isinstance(value, list | tuple) else (value,):
        text = int.__repr__(each) if isinstance(each, int) and not isinstance(each, bool) else _text(each)
        if text is None:
            raise TypeError(f"the header {key!r} has the value {each!r} ({type(each).__name__}); {ALLOWED}")
        yield key.lower(), text


def _text(value: Any) -> str | None:
    """Text or bytes as C{str}; C{None} for anything else."""
    if isinstance(value, str):
        return str.__str__(value)  # of a subclass such as an Enum str() may be anything
    return value.decode("latin-1") if isinstance(value, bytes) else None


def checked(headers: Headers) -> Headers:
    """
    These headers, if they can be sent. The result is remembered, unless they are large.

    @raise ValueError: as L{sendable}.
    """
    if sum([len(value) for _, value in headers]) > KEPT:
        return _checked.__wrapped__(headers)
    return _checked(headers)


@lru_cache(1024)
def _checked(headers: Headers) -> Headers:
    for name, value in headers:
        if name in OURS:
            raise ValueError(f"the header {name!r}: {value!r} cannot be sent: the server sets {name} itself")
        if not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
            raise ValueError(f"the header {name!r}: {value!r} cannot be sent: {_wrong(name, value)}")
    return headers


def _wrong(name: str, value: str) -> str:
    """Why a header is refused."""
    for text in (name, value):
        if {"\r", "\n"} & set(text):
            return "line breaks are not allowed"
    if not TOKEN.fullmatch(name):
        return "a name consists of letters, digits and any of !#$%&'*+-.^_`|~ (RFC 9110, section 5.6.2)"
    if value.strip(" \t") != value:
        return "a value must not begin or end with a space or tab"
    if other := re.search(r"[^\x00-\xff]", value):
        return f"values must be Latin-1, which {other[0]!r} is not; percent-encode it, for example"
    return "control characters are not allowed"
