"""An application for tests with long streams. Each generator creates a file when it is closed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

from twisted_appserver import Reply

SIZE = 65_000  # bytes of a part


def _note(folder: str) -> None:
    open(os.path.join(folder, uuid4().hex), "w").close()


def flood(n: int, folder: str) -> Reply:
    """Send C{n} parts of bytes."""

    def made() -> Iterator[bytes]:
        try:
            for _ in range(n):
                yield b"x" * SIZE
        finally:
            _note(folder)

    return Reply(made(), headers={"content-type": "application/octet-stream"})


def items(n: int, folder: str) -> Iterator[dict[str, Any]]:
    """Send C{n} items."""
    try:
        for number in range(n):
            yield {"number": number, "text": "x" * SIZE}
    finally:
        _note(folder)


async def reactor(n: int, folder: str) -> AsyncIterator[dict[str, Any]]:
    """Send C{n} items, on the reactor."""
    try:
        for number in range(n):
            yield {"number": number, "text": "x" * SIZE}
    finally:
        _note(folder)


def plain() -> dict[str, Any]:
    return {"plain": True}


url_patterns = tuple((rf"/{each.__name__}", each) for each in (flood, items, reactor, plain))
