"""Checks the names of queues and the lengths of leases. Needs the standard library only."""

from __future__ import annotations

from uuid import uuid4

WEEK = 7 * 86400.0  # seconds; the longest lease that a server grants
YEAR = 53 * WEEK  # seconds; the longest delay that a server accepts
LONGEST_NAME = 200  # characters; the server has the same limit


def checked_name(name: str | None, kind: str = "queue") -> str:
    """
    Return the name of a queue, or a new one if it is C{None}.

    @param kind: begins a new name.
    @raise ValueError: when no queue can have the name. The server's own pages are below C{/-/}.
    """
    if name is None:
        return f"{kind}-{uuid4().hex}"
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise ValueError(f"a queue's name must be 1 to {LONGEST_NAME} printable characters, not {name!r}")
    if name in ("-", ".", "..") or "/" in name:
        raise ValueError(f"a queue's name must not be '-', '.' or '..' or contain a slash, like {name!r}")
    return name


def checked_lease(lease: float | None) -> float | None:
    """
    Return the length of a lease, C{None} for the option of the queue.

    @raise ValueError: when it is neither C{None} nor a number of seconds that servers accept.
    """
    return None if lease is None else checked_seconds("lease", lease, WEEK)


def checked_seconds(name: str, value: float, most: float) -> float:
    """
    Return a number of seconds.

    @raise ValueError: when it is not above 0, or is higher than C{most}.
    """
    if not 0 < value <= most:
        raise ValueError(f"{name} must be more than 0 and at most {most:.0f} seconds, not {value!r}")
    return value
