"""Compresses responses for clients that accept it (RFC 9110, sections 8.4 and 12.5.3).

Strategy: a short body is compressed on the reactor, because handing it to a thread would take longer. A
longer one is compressed in the reactor's thread pool. Bodies that come in parts are sent as they are.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from msgspec.structs import replace
from twisted.internet.threads import deferToThreadPool

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.executors.interface import Answer

SHORT = 8192  # bytes that are compressed on the reactor, in about 0.1 ms
LEVEL = 4  # of gzip: half as slow as the default of 6, and the result is about 3 % longer
COMPRESSIBLE = re.compile(
    r"(?:text/(?!event-stream)[^;]*|[^;]*\+(?:json|xml)|image/bmp|font/(?:ttf|otf)"
    r"|application/(?:json|xml|javascript|x-ndjson|x-javascript|wasm|yaml|sql|rtf))\s*(?:;|$)",
    re.IGNORECASE,
)
WEIGHT = re.compile(r"\s*([\w*!#$%&'+.^`|~-]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?")
NEVER = frozenset((204, 205, 206))  # statuses without a body, and of a part of one
VARY = ("vary", "Accept-Encoding")
Compress = Callable[[bytes], bytes]


def gzip(data: bytes) -> bytes:
    """Return the data in the format of gzip. Equal data gets equal bytes: there is no time in them."""
    made = zlib.compressobj(LEVEL, wbits=31)
    return made.compress(data) + made.flush()


def codings() -> dict[str, Compress]:
    """Return the content codings that this Python has, the best one first. Python 3.14 has zstd."""
    found: dict[str, Compress] = {"gzip": gzip}
    try:
        zstd: Any = import_module("compression.zstd")
    except ImportError:
        return found
    return {"zstd": zstd.compress, **found}


CODINGS = codings()


def choose(accepted: str) -> str:
    """
    Return the content coding that a client prefers among L{CODINGS}; empty for none.

    @param accepted: the header Accept-Encoding. A malformed member is ignored.
    """
    weights: dict[str, float] = {}
    for member in accepted.split(","):
        if found := WEIGHT.fullmatch(member):
            weights[found[1].lower()] = float(found[2] or 1)
    others = weights.get("*", 0.0)
    best = max(CODINGS, key=lambda name: weights.get(name, others))
    weight = weights.get(best, others)
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else ""


class Compression:
    """
    Compresses replies.

    @param reactor: compresses in its thread pool, if it has one.
    @param least: bytes of the shortest body that is compressed.
    """

    def __init__(self, reactor: Any, least: int) -> None:
        self._reactor, self._least = reactor, least

    def around(self, answer: Answer) -> Answer:
        """Return an answer that passes replies on compressed."""
        return partial(self._answer, answer)

    def _answer(self, answer: Answer, call: Call, reply: Reply) -> None:
        if reply.status == 304:
            answer(call, replace(reply, headers=_varying(reply.headers)))
            return
        if not self._may_compress(reply):
            answer(call, reply)
            return
        reply = replace(reply, headers=_varying(reply.headers))
        coding = choose(call.headers.get("accept-encoding", ""))
        pool = getattr(self._reactor, "getThreadPool", None)
        if not coding:
            answer(call, reply)
        elif len(reply.body) <= SHORT or pool is None:
            answer(call, _compressed(reply, coding))
        else:
            made = deferToThreadPool(self._reactor, pool(), _compressed, reply, coding)
            made.addErrback(lambda _: reply)  # out of memory, perhaps
            made.addCallback(partial(answer, call))

    def _may_compress(self, reply: Reply) -> bool:
        """Return whether the reply would be compressed for a client that accepts it."""
        if type(reply.body) is not bytes or len(reply.body) < self._least or reply.status in NEVER:
            return False
        headers = dict(reply.headers)
        if "content-encoding" in headers or "no-transform" in headers.get("cache-control", "").lower():
            return False
        return COMPRESSIBLE.match(headers.get("content-type", "application/json")) is not None


def _varying(headers: Any) -> Any:
    """Add Vary, because the response depends on Accept-Encoding (RFC 9110, section 12.5.5)."""
    fields = [value.lower() for name, value in headers if name == "vary"]
    names = {each.strip() for value in fields for each in value.split(",")}
    return headers if names & {"*", "accept-encoding"} else (*headers, VARY)


def _compressed(reply: Reply, coding: str) -> Reply:
    """
    Return the reply with its body compressed, unless that makes it longer.

    A strong entity tag becomes a weak one: the bytes differ from the tag's (RFC 9110, section 8.8.1).
    """
    body = CODINGS[coding](reply.body)
    if len(body) >= len(reply.body):
        return reply
    headers = [
        (name, f"W/{value}" if name == "etag" and not value.startswith("W/") else value)
        for name, value in reply.headers
    ]
    if "content-type" not in dict(headers):
        headers.append(("content-type", "application/json"))
    return replace(reply, body=body, headers=(*headers, ("content-encoding", coding)))
