"""The keys of requests, by which a repeated request is recognized.

A client sends a request again, with the same key, if it has not received the response. A key belongs to a
lane. Only the last key of a lane is remembered. The keys that a client program generates, such as C{MARK +
"name:17"}, differ only in the number at the end and share a lane. The client sends one request after another,
so the server needs memory for each client, not for each request. Any other key is a lane of its own.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

MARK = "\1"  # the first character of the keys that client programs generate; users cannot choose it


class Remembered(msgspec.Struct, frozen=True, gc=False):
    """
    The last request of a lane.

    @ivar number: the number of the task that it has put, or how many tasks it has kicked or purged.
    @ivar until: when to forget it.
    @ivar digest: the digest of the body; empty if it is unknown.
    @ivar numbers: the numbers of the tasks of a batch, unless they are consecutive. The numbers of tasks that
        existed before are negative, see L{queue.existing_task}.
    """

    key: str
    number: int
    until: float
    digest: bytes = b""
    numbers: tuple[int, ...] = ()


def digest(body: bytes) -> bytes:
    """Return the digest by which the body of a request is recognised."""
    return blake2b(body, digest_size=12).digest()


def batch_body(bodies: list[bytes]) -> bytes:
    """Return the body of a batch. No single task has the same body."""
    return b"[%b]" % b",".join(bodies)


def key_in_batch(key: str, place: int) -> str:
    """Return the key of one task of a get; at place 0, it is the key of the request."""
    return f"{key}\x1f{place}" if key and place else key


def lane(key: str) -> str:
    """Return the lane of the key of a put."""
    if not key.startswith(MARK):
        return key
    head, colon, tail = key.rpartition(":")
    return head if colon and tail.isdigit() else key


def lane_of(verb: str, key: str) -> str:
    """Return the lane of the key of another request. It never equals the lane of a put."""
    return f"{MARK}{verb} {lane(key)}"


def forget(keys: dict[str, Remembered], now: float) -> list[str]:
    """Remove the keys that have expired, and return their lanes."""
    lanes = [lane for lane, remembered in keys.items() if remembered.until <= now]
    for name in lanes:
        del keys[name]
    return lanes
