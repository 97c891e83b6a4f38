"""The trace that a request belongs to (W3C Trace Context, U{https://www.w3.org/TR/trace-context/})."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST = 512  # characters of each header
PARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    r"(?P<more>-[ -~]*)?"
)


def read_trace(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str]:
    """
    Return the values of C{traceparent} and C{tracestate}. They are ignored if the first one is invalid, as
    the specification requires; so is a C{tracestate} that is too long.

    @param headers: names in lower case and values.
    @return: the two values; empty text for a value that is missing or ignored.
    """
    parents, states = list[str](), list[str]()
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value.decode("latin-1").strip())
        elif name == b"tracestate":
            states.append(value.decode("latin-1").strip())
    if len(parents) != 1 or not is_traceparent(parents[0]):
        return "", ""
    state = ",".join(states)
    return parents[0], state if len(state) <= LONGEST and state.isascii() and state.isprintable() else ""


def is_traceparent(text: str) -> bool:
    """Return whether a C{traceparent} is valid (section 3.2). Later versions may have more fields."""
    found = PARENT.fullmatch(text) if len(text) <= LONGEST else None
    return found is not None and (found["version"] != "00" or not found["more"])
