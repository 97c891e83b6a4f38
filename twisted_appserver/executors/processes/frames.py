"""What a server and its worker processes say to each other, on the worker's standard streams.

A frame is its length in 4 bytes, most significant first, and a msgpack array whose first item tells its
kind. A worker performs the calls that it gets one after another and answers them in this order. An answer in
parts counts as answered when it begins; what follows names it by the number of its call, counted from 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.headers import check_headers
from twisted_appserver.core.router import Router

LENGTH = 4
MAX_FRAME = 1 << 30  # bytes; a length is trusted before its frame is there, so it is limited
EMPTY = (204, 205, 304)  # statuses of responses without a body (RFC 9110, section 15)

Seconds = Annotated[float, Meta(ge=0)]


class ReceivedReply(Reply, frozen=True, array_like=True):
    """
    A reply as it comes from another process. Functions run there, so it is not trusted: the types are checked
    when it is decoded, the rest by L{check_reply}. The body is C{None} if it comes in parts.
    """

    body: bytes | None
    status: Annotated[int, Meta(ge=200, le=599)] = 200
    headers: tuple[tuple[str, str], ...] = ()
    traceback: str = ""


if TYPE_CHECKING:
    ReplyOnWire = Reply
else:
    ReplyOnWire = ReceivedReply


def check_reply(reply: Reply) -> None:
    """
    @raise ValueError: when the reply would break the HTTP connection on which it is sent.
    """
    check_headers(reply.headers)
    if reply.status in EMPTY and reply.body != b"":
        raise ValueError(f"a reply with the status {reply.status} has a body")


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

    replies: list[ReplyOnWire | None]
    seconds: list[Seconds]


class Fault(msgspec.Struct, array_like=True, tag=4):
    """From a worker: it ends, and why."""

    reason: str


class Part(msgspec.Struct, array_like=True, tag=5):
    """From a worker: a part of the answer to this call, which began with a reply whose body is C{None}."""

    number: int
    data: bytes


class End(msgspec.Struct, array_like=True, tag=6):
    """
    From a worker: that was the last part. C{failure} is the traceback, if it was not meant to be, C{seconds}
    how long the generator ran, C{error} the reply if the call had failed like this before its first part.
    """

    number: int
    failure: str
    seconds: Seconds
    error: ReplyOnWire | None = None


class Resume(msgspec.Struct, array_like=True, tag=8):
    """To a worker: the client has taken parts of this answer, which gives so many credits back."""

    number: int
    credits: int


class Drop(msgspec.Struct, array_like=True, tag=9):
    """To a worker: nobody wants more parts of this answer, its generator must be closed."""

    number: int


Frame = Start | Ready | Calls | Replies | Fault | Part | End | Resume | Drop


def _plain(value: Handler | str) -> int | str:
    """A call's handler as its index; the text of a subclass of C{str}."""
    return str.__str__(value) if isinstance(value, str) else value.index


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame, longest: int = (1 << 32) - 1) -> bytes:
    """
    A frame as bytes.

    @raise ValueError: when it is longer than C{longest}.
    """
    body = _encoder.encode(frame)
    if len(body) > longest:
        raise ValueError(
            f"{len(body)} bytes cannot be sent at once, only {longest}; a generator can send them in parts"
        )
    return len(body).to_bytes(LENGTH, "big") + body


def ready_frame(router: Router) -> Ready:
    """What a worker says that has this table."""
    return Ready([(entry.regex, entry.handler.name) for entry in router.entries])


def _check(frame: Replies) -> None:
    if len(frame.replies) != len(frame.seconds):
        raise ValueError("a frame has as many replies as durations")
    for reply in frame.replies:
        if reply is not None and (reply.headers or reply.status != 200):
            check_reply(reply)


def _check_error(error: Reply) -> None:
    if error.body is None or error.status < 400:
        raise ValueError(f"a reply with the status {error.status} is not an error")
    check_reply(error)


class FrameReader:
    """
    Bytes of one connection to frames.

    @param longest: bytes of the longest frame that is accepted.
    """

    def __init__(self, longest: int = (1 << 32) - 1) -> None:
        self._unread, self._longest = bytearray(), longest

    def feed(self, data: bytes) -> list[Frame]:
        """
        The frames that are complete with C{data}; what is left waits for the next.

        @raise ValueError: when a frame is malformed or too long, or has a reply that cannot be sent; nothing
            more can be read from this connection.
        """
        unread = self._unread
        unread += data
        frames: list[Frame] = []
        start = 0
        while len(unread) - start >= LENGTH:
            length = int.from_bytes(unread[start : start + LENGTH], "big")
            if length > self._longest:
                raise ValueError(f"a frame of {length} bytes, more than {self._longest}")
            end = start + LENGTH + length
            if len(unread) < end:
                break
            frame = _decoder.decode(bytes(unread[start + LENGTH : end]))
            if type(frame) is Replies:
                _check(frame)
            elif type(frame) is End and frame.error is not None:
                _check_error(frame.error)
            frames.append(frame)
            start = end
        del unread[:start]
        return frames
