"""An application for tests whose functions read bodies as they arrive."""

from __future__ import annotations

import os
import time
from hashlib import sha256
from typing import Any

from twisted_appserver import Call, HTTPError, Reply, Route

LIMIT = 10_000_000


def _note(path: str, text: str) -> None:
    with open(path + ".new", "w") as file:
        file.write(text)
    os.replace(path + ".new", path)


def digest(call: Call) -> dict[str, Any]:
    """Read the whole body."""
    digest, size = sha256(), 0
    for part in call.stream:
        digest.update(part)
        size += len(part)
    return {"size": size, "sha256": digest.hexdigest(), "body": call.body.decode()}


def begins(call: Call, path: str) -> dict[str, Any]:
    """Write down what the first bytes are, or which exception ended the body."""
    _note(path, call.stream.read(5).decode())
    try:
        rest = call.stream.read()
    except HTTPError as error:
        _note(path, f"{type(error).__name__} {error.status}")
        raise
    return {"rest": len(rest)}


def waits(call: Call, path: str) -> dict[str, Any]:
    """Begin to read when a file exists."""
    _note(path, str(os.getpid()))
    for _ in range(3000):
        if os.path.exists(path + ".go"):
            return digest(call)
        time.sleep(0.01)
    raise TimeoutError(path)


def ignores(call: Call) -> dict[str, Any]:
    return {}


def whole(call: Call) -> dict[str, Any]:
    return {"size": len(call.body)}


def echo(call: Call) -> Reply:
    return Reply(iter(call.stream))


url_patterns = (
    Route("/digest", digest, max_stream=LIMIT),
    Route("/begins", begins, max_stream=0),
    Route("/waits", waits, max_stream=0),
    Route("/ignores", ignores, max_stream=0),
    Route("/echo", echo, max_stream=0),
    Route("/brief", begins, max_stream=0, timeout=5, name="brief"),
    ("/whole", whole),
)
