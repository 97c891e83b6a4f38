"""Why JSON cannot be read, in words that help its sender. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite
from reprlib import repr as short
from typing import Any

import msgspec

# The escapes in a text: a pair of surrogates, a lone one, or any other.
ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
# A JSON text, or an integer of more digits than msgspec reads.
LONG = re.compile(rb'("(?:[^"\\]|\\.)*")|(?<![\d.eE+])\d{4301,}(?![\d.eE])', re.DOTALL)
LOOSE: Any = msgspec.json.Decoder(float_hook=float)
BOM = b"\xef\xbb\xbf"


def _lone_surrogate(body: bytes) -> str:
    """The first escape that is half a character; empty if there is none."""
    lone = (found for found in ESCAPE.finditer(body) if found["lone"])
    found = next(lone, None)
    return f"\\{found['lone'].decode()} at byte {found.start()}" if found else ""


def _too_large(value: Any, path: str = "") -> Iterator[str]:
    """The places of numbers that are not finite."""
    if isinstance(value, float) and not isfinite(value):
        yield path
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _too_large(each, f"{path}.{name}" if name.isidentifier() else f"{path}[{short(name)}]")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _too_large(each, f"{path}[{index}]")


def _range_error(body: bytes, name: str) -> str:
    """Where a number in JSON is out of range; empty if that cannot be found."""
    try:
        value = LOOSE.decode(LONG.sub(lambda found: found[1] or b"1e999", body))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
    path = next(_too_large(value, name), "")
    return f" in {path.removeprefix('.')}" if path else ""


def why_malformed(body: bytes, error: Exception, name: str = "") -> str:
    """
    @param error: what msgspec raised. It calls many faults a truncated input.
    @param name: of the variable, if this is not all of the body.
    """
    if isinstance(error, msgspec.ValidationError | RecursionError):
        reason = str(error).partition(" - at ")[0]
        place = _range_error(body, name) if isinstance(error, msgspec.ValidationError) else ""
        return f"the JSON body cannot be read: {reason[:1].lower()}{reason[1:]}{place}"
    if not body.strip():
        return "the body is not valid JSON: it is empty"
    if body.startswith(BOM):
        return "the body is not valid JSON: it begins with a byte order mark"
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return f"the body is not valid JSON: byte {wrong.start} is not UTF-8 ({wrong.reason})"
    if lone := _lone_surrogate(body):
        return f"the body is not valid JSON: it has a lone surrogate, {lone}"
    return f"the body is not valid JSON: {str(error).removeprefix('JSON is malformed: ')}"
