"""The idempotency keys of requests. Needs the standard library only."""

from __future__ import annotations

import re
from itertools import count
from uuid import uuid4

LONGEST_KEY = 500  # characters; the server has the same limit
MARK = "\1"  # begins every key that a client makes; keys that users choose cannot begin with it


class Keys:
    """
    Makes the idempotency keys of one client. No two keys are equal, in any process.

    A lane is for requests that follow one another, such as the requests of one thread. A key of a lane ends
    with a colon and a number, and the server remembers only the last key of each lane.
    """

    def __init__(self) -> None:
        self._client, self._numbers = uuid4().hex, count(1)

    def next(self, lane: str = "") -> str:
        """Return a new key."""
        number = next(self._numbers)
        return f"{MARK}{self._client}.{lane}:{number}" if lane else f"{MARK}{self._client}.{number}"


def checked_key(key: str) -> str:
    """
    Return a key that a user chose for a put.

    @raise ValueError: when the server would refuse the key, or a client could make the same one.
    """
    if not 0 < len(key) <= LONGEST_KEY:
        raise ValueError(f"a key must be 1 to {LONGEST_KEY} characters, not {len(key)}: {key[:80]!r}")
    if "\0" in key or key.startswith(MARK) or re.search("[\ud800-\udfff]", key):
        raise ValueError(f"a key must be Unicode text without NUL, and not begin with U+0001, not {key!r}")
    return key
