"""Why JSON cannot be read, in words that help its sender. Pure."""

from __future__ import annotations

import re

import msgspec

# The escapes in a text: a pair of surrogates, a lone one, or any other.
ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
BOM = b"\xef\xbb\xbf"


def _lone_surrogate(body: bytes) -> str:
    """The first escape that is half a character; empty if there is none."""
    lone = (found for found in ESCAPE.finditer(body) if found["lone"])
    found = next(lone, None)
    return f"\\{found['lone'].decode()} at byte {found.start()}" if found else ""


def why_malformed(body: bytes, error: Exception) -> str:
    """
    @param error: what msgspec raised. It calls many faults a truncated input.
    """
    if isinstance(error, msgspec.ValidationError | RecursionError):
        reason = str(error).partition(" - at ")[0]
        return f"the JSON body cannot be read: {reason[:1].lower()}{reason[1:]}"
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
