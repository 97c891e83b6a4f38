"""What a server and its worker processes say to each other, on the worker's standard streams.

A frame is its length in 4 bytes, most significant first, and a msgpack array whose first item tells its
kind. A worker performs the calls that it gets one after another and answers them in this order.
"""

from __future__ import annotations

import msgspec

from twisted_appserver.calls import Call, Reply
from twisted_appserver.routing import Router

LENGTH = 4


class Start(msgspec.Struct, array_like=True, tag=0):
    """
    To a worker: import this application. C{search} is sys.path, C{environ} the variables to set, C{progress}
    the path of the file in which it stores how far it has come.
    """

    search: list[str]
    environ: dict[str, str | None]
    module: str
    file: str
    name: str
    progress: str


class Ready(msgspec.Struct, array_like=True, tag=1):
    """From a worker: the application is imported. C{table} has each pattern with its function's name."""

    table: list[tuple[str, str]]


class Calls(msgspec.Struct, array_like=True, tag=2):
    """To a worker: perform these, in this order. A call's handler travels as its index in the table."""

    calls: list[Call]


class Replies(msgspec.Struct, array_like=True, tag=3):
    """
    From a worker: the replies to the oldest calls that it has not answered yet, C{None} for one that it was
    not let begin, and the seconds that each took.
    """

    replies: list[Reply | None]
    seconds: list[float]


class Fault(msgspec.Struct, array_like=True, tag=4):
    """From a worker: it ends, and why."""

    reason: str


class Part(msgspec.Struct, array_like=True, tag=5):
    """From a worker: a part of the answer that has begun with a reply whose body is C{None}."""

    data: bytes


class End(msgspec.Struct, array_like=True, tag=6):
    """
    From a worker: that was the last part. C{failure} is the traceback, if it was not meant to be, C{seconds}
    what the whole answer took.
    """

    failure: str
    seconds: float


class Resume(msgspec.Struct, array_like=True, tag=8):
    """To a worker: so many more parts may be sent."""

    parts: int


Frame = Start | Ready | Calls | Replies | Fault | Part | End | Resume

_encoder = msgspec.msgpack.Encoder(enc_hook=lambda handler: handler.index)
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """A frame as bytes."""
    body = _encoder.encode(frame)
    return len(body).to_bytes(LENGTH, "big") + body


def ready(router: Router) -> Ready:
    """What a worker says that has this table."""
    return Ready([(entry.regex, entry.handler.name) for entry in router.entries])


class FrameReader:
    """Bytes of one connection to frames."""

    def __init__(self) -> None:
        self._unread = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """
        The frames that are complete with C{data}; what is left waits for the next.

        @raise ValueError: when a frame is malformed; nothing more can be read from this connection.
        """
        unread = self._unread
        unread += data
        frames: list[Frame] = []
        start = 0
        while len(unread) - start >= LENGTH:
            end = start + LENGTH + int.from_bytes(unread[start : start + LENGTH], "big")
            if len(unread) < end:
                break
            frames.append(_decoder.decode(bytes(unread[start + LENGTH : end])))
            start = end
        del unread[:start]
        return frames
