"""How calls and replies travel to a Dask cluster and back.

A worker of the cluster may have an older or a newer table than the server. So a function is known by its
name, its pattern and its methods, not by its place in the table.
"""

from __future__ import annotations

import msgspec

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.router import Router
from twisted_appserver.executors.processes.frames import ReceivedReply, Seconds, check_reply


def function_key(handler: Handler) -> str:
    """Return the text by which the server and Dask's workers know a function."""
    entry = handler.router.entries[handler.index]
    return f"{handler.name} {entry.regex} {' '.join(sorted(entry.methods))}"


def handlers_by_key(router: Router) -> dict[str, Handler]:
    """Return the handlers of a table by their keys. Of two equal entries, the first one is called."""
    return {function_key(handler): handler for handler in reversed(router.handlers)}


def _encode_other(value: Handler | str) -> str:
    """Encode a handler as its key, and a subclass of C{str} as its text."""
    return str.__str__(value) if isinstance(value, str) else function_key(value)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_other)
_call_decoder = msgspec.msgpack.Decoder(list[Call])
_outcome_decoder = msgspec.msgpack.Decoder(list[tuple[ReceivedReply, Seconds]])


def encode_calls(calls: list[Call]) -> bytes:
    """Encode the calls of one task."""
    return _encoder.encode(calls)


def decode_calls(data: bytes) -> list[Call]:
    """Decode the calls of one task. Their handlers are keys."""
    return _call_decoder.decode(data)


def encode_outcomes(outcomes: list[tuple[Reply, float]]) -> bytes:
    """Encode the reply to each call of a task, and the seconds that the call took."""
    return _encoder.encode(outcomes)


def decode_outcomes(data: bytes) -> list[tuple[ReceivedReply, float]]:
    """
    Decode the result of L{encode_outcomes} from a worker.

    @raise ValueError: if it is malformed, or a reply would break the HTTP connection.
    """
    outcomes = _outcome_decoder.decode(data)
    for reply, _ in outcomes:
        check_reply(reply)
        if reply.body is None:
            raise ValueError("a reply has no body")
    return outcomes
