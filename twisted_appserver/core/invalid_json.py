"""Explains to the client why its JSON cannot be read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite
from reprlib import repr as short
from typing import Any

import msgspec

# An escape in a JSON string: a pair of surrogates, a lone surrogate, or any other escape.
ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
# A JSON string, or an integer with more digits than msgspec reads.
LONG = re.compile(rb'("(?:[^"\\]|\\.)*")|(?<![\d.eE+])\d{4301,}(?![\d.eE])', re.DOTALL)
# Reads a number that is too large for a float as infinity.
LENIENT: Any = msgspec.json.Decoder(float_hook=float)
BOM = b"\xef\xbb\xbf"


def _lone_surrogate(body: bytes) -> str:
    """Describe the first lone surrogate among the escapes; return empty text if there is none."""
    lone = (found for found in ESCAPE.finditer(body) if found["lone"])
    found = next(lone, None)
    return f"\\{found['lone'].decode()} at byte {found.start()}" if found else ""


def _non_finite_paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of the numbers that are not finite."""
    if isinstance(value, float) and not isfinite(value):
        yield path
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _non_finite_paths(
                each, f"{path}.{name}" if name.isidentifier() else f"{path}[{short(name)}]"
            )
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _non_finite_paths(each, f"{path}[{index}]")


def _range_error(body: bytes, name: str) -> str:
    """Return where a number is out of range; empty text if it cannot be found."""
    try:
        value = LENIENT.decode(LONG.sub(lambda found: found[1] or b"1e999", body))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
    path = next(_non_finite_paths(value, name), "")
    return f" in {path.removeprefix('.')}" if path else ""


def explain_json_error(body: bytes, error: Exception, name: str = "") -> str:
    """
    Return a message that says why JSON cannot be read.

    msgspec reports many different errors as a truncated input, so the body is examined again.

    @param error: the exception that msgspec raised.
    @param name: the name of the variable; empty if the JSON is the whole body.
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
