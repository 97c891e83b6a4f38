"""Tests of L{executors.processes.frames}: the messages between the server and its workers."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from tests.support import cases, tampering
from tests.support.properties import given, st
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.handler import Handler
from twisted_appserver.executors.processes.frames import (
    Calls,
    End,
    Fault,
    FrameReader,
    Ready,
    Replied,
    Start,
    encode,
)

text = st.text(max_size=8)
pairs = st.lists(st.tuples(text, text), max_size=2).map(tuple)
raw_pairs = st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=8)), max_size=2).map(tuple)
calls = st.builds(
    Call, text, text, text, raw_pairs, st.binary(max_size=50), text, text,
    st.floats(allow_nan=False), st.floats(allow_nan=False), st.integers(0, 500),
    st.dictionaries(text, text, max_size=2),
)  # fmt: skip
sent = st.lists(
    st.tuples(st.sampled_from(["x-a", "set-cookie"]), st.sampled_from(["", "a", "b; c"])), max_size=2
)
replies = st.builds(
    Reply, st.binary(max_size=50), st.sampled_from([200, 201, 299, 400, 599]), sent.map(tuple), text
)
frames = st.one_of(
    st.builds(Start, st.lists(text), st.dictionaries(text, st.none() | text), text, text, text),
    st.builds(Ready, st.lists(st.tuples(text, text))),
    st.builds(Calls, st.lists(calls, max_size=3)),
    st.builds(Replied, st.none() | replies, st.floats(0, 9)),
    st.builds(Fault, text),
)


def as_bytes(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


class Normal(SynchronousTestCase):
    def same(self, got: list[Any], sent: list[Any]) -> None:
        """Frames are equal where lists and tuples are: msgpack has one kind of both."""
        self.assertEqual(msgspec.json.encode(got), msgspec.json.encode(sent))
        self.assertEqual([type(frame) for frame in got], [type(frame) for frame in sent])


class RoundTripTests(Normal):
    @given(frames)
    def test_every_frame_arrives_unchanged(self, frame: Any) -> None:
        """Every frame arrives as it was sent."""
        self.same(FrameReader().feed(encode(frame)), [frame])

    @given(frames, frames)
    def test_frames_may_be_cut_at_any_byte(self, first: Any, second: Any) -> None:
        """Two frames arrive whole and in order, wherever their bytes are cut in two."""
        data = encode(first) + encode(second)
        for cut in range(len(data) + 1):
            reader = FrameReader()
            self.same(reader.feed(data[:cut]) + reader.feed(data[cut:]), [first, second])

    @given(st.lists(frames, max_size=4), st.data())
    def test_frames_may_arrive_in_any_pieces(self, sent: list[Any], data: st.DataObject) -> None:
        """Any number of frames arrives whole and in order, in pieces of any size."""
        unread, reader, got = b"".join(map(encode, sent)), FrameReader(), []
        while unread:
            size = data.draw(st.integers(1, len(unread)))
            got += reader.feed(unread[:size])
            unread = unread[size:]
        self.same(got, sent)

    def test_frame_is_complete_with_its_last_byte(self) -> None:
        """A frame is complete with its last byte, and not before."""
        data, reader = encode(Fault("why")), FrameReader()
        self.assertEqual([len(reader.feed(bytes([byte]))) for byte in data], [0] * (len(data) - 1) + [1])

    def test_handler_travels_as_its_index(self) -> None:
        """A call's handler travels as its index in the table."""
        handler = Handler(cases.pid)
        handler.index = 7
        (frame,) = FrameReader().feed(encode(Calls([Call("GET", "/", handler=handler)])))
        self.assertEqual(frame.calls[0].handler, 7)  # type: ignore[union-attr]

    def test_reply_of_20_megabytes_arrives(self) -> None:
        """A reply of 20 MB goes through in pieces of a pipe's size."""
        body = bytes(20_000_000)
        data, reader, got = encode(Replied(Reply(body), 0.0)), FrameReader(), []
        for start in range(0, len(data), 65536):
            got += reader.feed(data[start : start + 65536])
        self.assertEqual(got[0].reply.body, body)


class MalformedTests(SynchronousTestCase):
    def test_malformed_frames_are_rejected(self) -> None:
        """Invalid frames raise ValueError: empty, not msgpack, unknown kind, wrong type, too long."""
        good = encode(Ready([("/x/", "x")]))[4:]
        for body in (
            b"", b"\xc1", b"\xff" * 20, msgspec.msgpack.encode({"a": 1}), msgspec.msgpack.encode([]),
            msgspec.msgpack.encode([99]), msgspec.msgpack.encode([1, "x"]), msgspec.msgpack.encode([1]),
            msgspec.msgpack.encode([3, [["body", "status"]]]), good + b"x", good[:-1],
        ):  # fmt: skip
            self.assertRaises(ValueError, FrameReader().feed, as_bytes(body))

    def test_long_frame_is_rejected_by_its_length(self) -> None:
        """A frame that is too long is refused as soon as its length is there."""
        frame, reader = encode(Fault("x" * 100)), FrameReader(max_length=50)
        self.assertEqual(reader.feed(frame[:3]), [])
        self.assertRaises(ValueError, reader.feed, frame[3:4])
        self.assertEqual(len(FrameReader(max_length=len(frame)).feed(frame)), 1)
        self.assertRaises(ValueError, encode, Fault("x" * 100), 50)

    def test_invalid_replies_are_rejected(self) -> None:
        """A reply that could not be sent raises ValueError. Headers of valid replies are tuples."""
        for reply in tampering.REPLIES.values():
            self.assertRaises(ValueError, FrameReader().feed, encode(Replied(reply, 0.0)))
        good = Reply(b"", 204, (("x-a", "b"),))
        (frame,) = FrameReader().feed(encode(Replied(good, 0.0)))
        found = frame.reply  # type: ignore[union-attr]
        self.assertEqual((found.status, found.headers), (204, (("x-a", "b"),)))  # type: ignore[union-attr]

    def test_invalid_errors_of_generators_are_rejected(self) -> None:
        """The error that ends a generator is checked like a reply. It needs an error status and a body."""
        for reply in (*tampering.REPLIES.values(), Reply(b"{}"), Reply(None, 409)):
            self.assertRaises(ValueError, FrameReader().feed, encode(End(1, "why", 0.0, reply)))
        error = Reply(b"{}", 409, (("x-a", "b"),))
        (frame,) = FrameReader().feed(encode(End(1, "why", 0.0, error)))
        found = frame.error  # type: ignore[union-attr]
        self.assertEqual((found.status, found.headers, found.traceback), (409, (("x-a", "b"),), ""))

    @given(st.binary(max_size=40))
    def test_any_bytes_are_frames_or_a_value_error(self, body: bytes) -> None:
        """Any bytes are frames or a ValueError, never another exception."""
        with contextlib.suppress(ValueError):
            FrameReader().feed(as_bytes(body))
