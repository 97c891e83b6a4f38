"""The ids by which clients name tasks: numbers, signed, so that nobody can guess the id of another task.

The signature is a part of the SHA-256 of the secret and the text. The other part is never shown, so nobody
can extend the text. PostgreSQL computes the same signature (C{tqueue.put}). The last ids are remembered,
because each is needed three times: for the put, the get and the done.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b, sha256
from hmac import compare_digest

NUMBER = re.compile("[0-9a-f]{1,15}")  # the number of a task, in its id
RECENT = 4096  # ids, of about 150 bytes
SIGNATURE = 8  # bytes in an id: too many to guess


@lru_cache(RECENT)
def task_id(secret: bytes, queue: str, number: int) -> str:
    """
    Return the id of a task.

    @param secret: the secret of the broker.
    """
    text = f"{number:x}"
    return f"{text}-{sha256(secret + f'{queue}/{text}'.encode()).hexdigest()[: 2 * SIGNATURE]}"


def task_number(secret: bytes, queue: str, text: str) -> int:
    """Return the number in an id; 0, which no task has, for an id that this queue did not issue."""
    digits = text.partition("-")[0]
    number = int(digits, 16) if NUMBER.fullmatch(digits) else 0
    given = text.encode("utf-8", "replace")
    same = compare_digest(given, task_id(secret, queue, number).encode())
    return number if same or compare_digest(given, _earlier_id(secret, queue, number).encode()) else 0


def _earlier_id(secret: bytes, queue: str, number: int) -> str:
    """Return the id that earlier versions gave to a task. Clients may still have such ids."""
    text = f"{number:x}"
    signed = f"{queue}/{text}".encode()
    return f"{text}-{blake2b(signed, key=secret, digest_size=SIGNATURE).hexdigest()}"
