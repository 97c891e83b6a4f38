"""An application whose functions make their worker send invalid replies and frames."""

from __future__ import annotations

import sys
from typing import Any

from twisted_appserver import Reply
from twisted_appserver.executors.cluster import task
from twisted_appserver.executors.processes import worker_channel
from twisted_appserver.executors.processes.frames import End, Part, Replied, encode

REPLIES: dict[str, Reply] = {
    "injected": Reply(b"{}", 200, (("x-a", "a\r\nx-injected: yes"),)),
    "name": Reply(b"{}", 200, (("x a", "a"),)),
    "ours": Reply(b"{}", 200, (("content-length", "1"),)),
    "not_text": Reply(b"{}", 200, (("x-a", 1),)),
    "no_pair": Reply(b"{}", 200, (("x-a",),)),
    "large_status": Reply(b"{}", 99999),
    "small_status": Reply(b"{}", 101),
    "bool_status": Reply(b"{}", True),
    "text_status": Reply(b"{}", "200"),  # type: ignore[arg-type]
    "body": Reply("text"),
    "no_body": Reply(b"{}", 204),
}


def _worker() -> Any:
    """Return the C{WorkerMain} that runs this function."""
    frame: Any = sys._getframe()
    while type(frame.f_locals.get("self")).__name__ != "WorkerMain":
        frame = frame.f_back
    return frame.f_locals["self"]


def _once(kind: str, module: Any) -> Any:
    perform = module.perform

    def performed(call: Any) -> Reply:
        module.perform = perform
        return REPLIES[kind]

    return performed


def tampers(kind: str) -> dict[str, Any]:
    """Replace the reply to the next call in this worker."""
    for module in (sys.modules["__main__"], task):
        if hasattr(module, "perform"):
            module.perform = _once(kind, module)  # type: ignore[attr-defined]
    return {}


def writes(kind: str) -> dict[str, Any]:
    """Write invalid frames to the server."""
    data = {
        "length": b"\xff\xff\xff\xff",
        "noise": b"\0\0\0\1\xc1",
        "end": encode(End(99, "", 0.0)),
        "duration": encode(Replied(Reply(b"{}"), "")),  # type: ignore[arg-type]
        "negative": encode(Replied(Reply(b"{}"), -1.0)),
        "again": encode(Replied(Reply(None), 0.0)) + encode(Replied(Reply(b"{}"), 0.0)),
    }[kind]
    _worker()._channel._outbound.write(data)
    return {}


def empty_part(n: int) -> Any:
    """Send an empty part before each item."""
    worker = _worker()
    for number in range(n):
        worker._channel._outbound.write(encode(Part(worker._number, b"")))
        yield {"n": number}


def long(size: int) -> dict[str, Any]:
    """Return a result of this many bytes after limiting frames to 1000 bytes."""
    worker_channel.MAX_FRAME = 1000
    return {"text": "x" * size}


def long_part(size: int) -> Any:
    yield {"n": 0}
    yield long(size)


url_patterns = (
    (r"/tampers/", tampers),
    (r"/writes/", writes),
    (r"/empty_part/", empty_part),
    (r"/long/", long),
    (r"/long_part/", long_part),
)
