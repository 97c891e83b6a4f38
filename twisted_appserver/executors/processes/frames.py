"""The messages between the server and a worker process, which travel on the worker's standard streams.

A frame is its length in 4 bytes, most significant first, and a msgpack array whose first item is the kind of
the frame. A worker performs its calls one after the other, and answers them in this order. A call whose reply
comes in parts counts as answered when the reply begins. Later frames refer to the number of the call, counted
from 1.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.file_body import FileBody
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.headers import check_headers
from twisted_appserver.core.router import Router
from twisted_appserver.executors.incoming_body import IncomingBody

LENGTH_SIZE = 4  # bytes of the length before each frame
_read_length = Struct(">I").unpack_from
MAX_FRAME = 1 << 30  # bytes; a length is trusted before its frame is there, so it is limited
NO_BODY = (204, 205, 304)  # statuses of responses without a body (RFC 9110, section 15)

Seconds = Annotated[float, Meta(ge=0)]


class ReceivedReply(Reply, frozen=True, array_like=True):
    """
    A reply from another process. Functions run there, so it is not trusted: decoding checks the types, and
    L{check_reply} the rest. The body is C{None} if it comes in parts.
    """

    body: bytes | FileBody | None
    status: Annotated[int, Meta(ge=200, le=599)] = 200
    headers: tuple[tuple[str, str], ...] = ()
    traceback: str = ""


if TYPE_CHECKING:
    ReplyOnWire = Reply
else:
    ReplyOnWire = ReceivedReply


def check_reply(reply: Reply) -> None:
    """
    Check the limits that the types do not express.

    @raise ValueError: if the reply would break the HTTP connection on which it is sent.
    """
    check_headers(reply.headers)
    if reply.status in NO_BODY and reply.body != b"":
        raise ValueError(f"a reply with the status {reply.status} has a body")


class Start(msgspec.Struct, array_like=True, tag=0):
    """
    To a worker: import this application.

    @ivar search: the value for C{sys.path}.
    @ivar environ: environment variables to set, or to remove if the value is C{None}.
    @ivar module: where the application is, as in L{Application}; so are C{file}, C{name} and C{lifespan}.
    @ivar progress: the path of the file that the worker maps as its L{Progress}.
    """

    search: list[str]
    environ: dict[str, str | None]
    module: str
    file: str
    name: str
    lifespan: str
    progress: str


class Ready(msgspec.Struct, array_like=True, tag=1):
    """From a worker: the application is imported. C{table} has each pattern with the name of its function."""

    table: list[tuple[str, str]]


class Calls(msgspec.Struct, array_like=True, tag=2):
    """To a worker: perform these calls, in this order. A handler travels as its index in the table."""

    calls: list[Call]


class Replied(msgspec.Struct, array_like=True, tag=3):
    """
    From a worker: the reply to the oldest call that has no reply yet, and the seconds that the call took. The
    reply is C{None} if the worker was not allowed to begin the call.
    """

    reply: ReplyOnWire | None
    seconds: Seconds


class Fault(msgspec.Struct, array_like=True, tag=4):
    """From a worker: it exits, for this reason."""

    reason: str


class Part(msgspec.Struct, array_like=True, tag=5):
    """From a worker: a part of the reply to this call, which began with a body of C{None}."""

    number: int
    data: bytes


class End(msgspec.Struct, array_like=True, tag=6):
    """
    From a worker: the generator of this call has ended.

    @ivar failure: the traceback if the generator failed; else empty.
    @ivar seconds: how long it ran.
    @ivar error: the reply that the call would have had if it had failed before its first part.
    """

    number: int
    failure: str
    seconds: Seconds
    error: ReplyOnWire | None = None


class Resume(msgspec.Struct, array_like=True, tag=8):
    """To a worker: the client has taken parts of this reply, so its generator gets these credits back."""

    number: int
    credits: int


class Drop(msgspec.Struct, array_like=True, tag=9):
    """To a worker: no more parts of this reply are wanted, so its generator must be closed."""

    number: int


class PutJob(msgspec.Struct, array_like=True, tag=10):
    """From a worker: make a job of this call, which may begin after C{delay} seconds."""

    number: int
    call: Call
    delay: Seconds


class JobPut(msgspec.Struct, array_like=True, tag=11):
    """To a worker: the name of the job that L{PutJob} with this number has made, or why there is none."""

    number: int
    job: str
    error: str = ""


class ReadBody(msgspec.Struct, array_like=True, tag=12):
    """
    From a worker: send the body of this call, which is still arriving, as far as these credits pay for it
    (L{executors.parked_generator.cost}). Later frames add credits.
    """

    number: int
    credits: Annotated[int, Meta(ge=1)]


class BodyPart(msgspec.Struct, array_like=True, tag=13):
    """To a worker: a part of the body of this call."""

    number: int
    data: bytes


class BodyEnd(msgspec.Struct, array_like=True, tag=14):
    """
    To a worker: the end of the body of this call.

    @ivar status: 0 if the body is complete; otherwise the status of the error that reading it raises.
    @ivar detail: the text of this error.
    """

    number: int
    status: int = 0
    detail: str = ""


FromWorker = Ready | Replied | Fault | Part | End | PutJob | ReadBody
ToWorker = Start | Calls | Resume | Drop | JobPut | BodyPart | BodyEnd
Frame = FromWorker | ToWorker


def _encode_other(value: Handler | str | IncomingBody) -> int | str:
    """
    Encode a handler as its index, and a subclass of C{str} as its text. A body that is still arriving does
    not travel with its call.
    """
    if isinstance(value, IncomingBody):
        return True
    return str.__str__(value) if isinstance(value, str) else value.index


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_other)
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame, max_length: int = (1 << 32) - 1) -> bytes:
    """
    Encode a frame.

    @param max_length: bytes that the frame may have.
    @raise ValueError: if it has more.
    """
    body = _encoder.encode(frame)
    if len(body) > max_length:
        raise ValueError(
            f"{len(body)} bytes cannot be sent at once, only {max_length}; a generator can send them in parts"
        )
    return len(body).to_bytes(LENGTH_SIZE, "big") + body


def ready_frame(router: Router) -> Ready:
    """Return the frame that a worker with this table sends when it is ready."""
    return Ready([(entry.regex, entry.handler.name) for entry in router.entries])


def _check_error(error: Reply) -> None:
    if not isinstance(error.body, bytes) or error.status < 400:
        raise ValueError(f"a reply with the status {error.status} is not an error")
    check_reply(error)


class FrameReader:
    """
    Decodes the frames of one connection.

    @param max_length: bytes of the longest frame that is accepted.
    """

    def __init__(self, max_length: int = (1 << 32) - 1) -> None:
        self._unread, self._max_length = bytearray(), max_length
        self._wanted = LENGTH_SIZE  # how many bytes must be unread before a frame can be complete

    def feed(self, data: bytes) -> list[Frame]:
        """
        Add bytes, and return the frames that are complete with them.

        @raise ValueError: if a frame is malformed or too long, or has a reply that cannot be sent. Nothing
            more can be read from this connection then.
        """
        unread = self._unread
        if unread:
            unread += data
            if len(unread) < self._wanted:  # A long frame arrives in many pieces, which are joined only once.
                return []
            data = bytes(unread)
            unread.clear()
            self._wanted = LENGTH_SIZE
        frames: list[Frame] = []
        start, size = 0, len(data)
        while size - start >= LENGTH_SIZE:
            begin = start + LENGTH_SIZE
            (length,) = _read_length(data, start)
            if length > self._max_length:
                raise ValueError(f"a frame of {length} bytes, more than {self._max_length}")
            end = begin + length
            if size < end:
                self._wanted = end - start
                break
            frame = _decoder.decode(data[begin:end])
            if type(frame) is Replied:
                reply = frame.reply
                if reply is not None and (reply.headers or reply.status != 200):
                    check_reply(reply)
            elif type(frame) is End and frame.error is not None:
                _check_error(frame.error)
            frames.append(frame)
            start = end
        if start < size:
            unread += data[start:]
        return frames
