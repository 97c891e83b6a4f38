"""A reply that comes in parts, in the reactor's thread, between the generator and the client.

Strategy: the transport pauses the stream of a client that does not read. The generator gets credits back for
the parts that the client has read. So a client that stops reading stops the generator, whether that runs on
the reactor, in a thread or in a worker process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from time import perf_counter
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from twisted_appserver.core.call import Reply
from twisted_appserver.core.error_advice import format_traceback
from twisted_appserver.core.events import EVENT_HEADERS, NO_MORE_EVENTS
from twisted_appserver.core.perform import JSON_LINES, error_reply
from twisted_appserver.core.streaming import Parts
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.executors.parked_generator import RETURN, WINDOW, cost

FAILED = "the function failed; the log has the reason, with this instance"
SHARE = 0.002  # seconds for which a generator may keep the reactor from other work


@implementer(IPushProducer)
class Stream:
    """
    The body of a L{Reply} that comes in parts.

    @param grant: called with the credits of the parts that the client has read.
    @param drop: called when no more parts are wanted.
    @ivar moved: called whenever a part has been made or read.
    @ivar ended: called when no more parts will come, for whatever reason.
    @ivar over: whether no more parts will come.
    @ivar dropped: whether no more parts are wanted.
    @ivar failure: why the stream broke off; empty if it did not.
    @ivar error: the reply that the call would have had, if the generator had failed before its first part.
    @ivar length: bytes of the body, if the sender has declared them.
    @ivar takes_error: whether the reader can still send C{error}, as a job can.
    """

    def __init__(self, grant: Callable[[int], object], drop: Callable[[], object]) -> None:
        self._grant, self._drop = grant, drop
        self._kept: deque[bytes] = deque()
        self._paused = False
        self._size = 0
        self._credits = WINDOW  # credits of the generator
        self._taken = 0  # credits of parts that were read, not returned yet
        self._write: Callable[[bytes], object] | None = None
        self._finish: Callable[[str], object] | None = None
        self.moved: Callable[[], object] = bool
        self.ended: Callable[[], object] = bool
        self.over, self.dropped, self.failure = False, False, ""
        self.error: Reply | None = None
        self.takes_error = False
        self.length: int | None = None

    def __len__(self) -> int:
        """Return the number of bytes that have been made."""
        return self._size

    @property
    def parked(self) -> bool:
        """Whether the generator waits for the client."""
        return self._credits <= 0 and not (self.over or self.dropped)

    # ---- for the generator ----

    def part(self, data: bytes) -> None:
        """Add a part."""
        if not (self.over or self.dropped):
            self._size += len(data)
            self._kept.append(data)
            self._credits -= cost(data)
            self.moved()
            self._pass_on()

    def end(self, failure: str = "", error: Reply | None = None) -> None:
        """End the stream. After a failure, the reader must not treat the body as complete."""
        self._drop = bool
        self._end(failure, error)
        self._pass_on()

    @property
    def fault(self) -> str:
        """The failure, for the log; empty if the reader sends an error that was raised on purpose."""
        if self.error is not None and (self.takes_error or self.error.traceback):
            return self.error.traceback
        return self.failure

    def _end(self, failure: str, error: Reply | None) -> None:
        if not self.over:
            self.over = True
            self.failure, self.error = ("", None) if self.dropped else (failure, error)
            self.ended()
            # These refer to the pending call, which refers to this stream.
            self.moved = self.ended = self._grant = bool

    # ---- for the reader ----

    def begin(self, write: Callable[[bytes], object], finish: Callable[[str], object]) -> None:
        """
        Start reading.

        @param write: called with each part.
        @param finish: called once at the end, with the failure or an empty text.
        """
        self._write, self._finish = write, finish
        self._pass_on()

    def aside(self, data: bytes) -> None:
        """Send data beside the parts, such as a comment, if the client reads and nothing else waits."""
        if self._write is not None and not (self._paused or self._kept or self.over):
            self._write(data)

    def _pass_on(self) -> None:
        before = self._taken
        while self._kept and self._write is not None and not self._paused:
            data = self._kept.popleft()
            self._taken += cost(data)
            self._write(data)
        if self._taken > before and not (self.over or self.dropped):
            self.moved()
            self._give_back()
        if self.over and not self._kept and self._finish is not None:
            finish, self._write, self._finish = self._finish, None, None
            finish(self.failure)

    def _give_back(self) -> None:
        if self._taken >= RETURN:
            taken, self._taken = self._taken, 0
            self._credits += taken
            self._grant(taken)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._pass_on()

    def stopProducing(self) -> None:
        """Stop reading: no more parts are wanted."""
        self._write = self._finish = None
        self._no_more()

    def cut(self, why: str, error: Reply | None = None) -> None:
        """Break the stream off, and discard the parts that have not been read yet."""
        self._end(why, error)
        self._no_more()
        self._pass_on()

    def _no_more(self) -> None:
        self._kept.clear()
        if not self.dropped:
            self.dropped = True
            drop, self._drop = self._drop, bool
            drop()


def whole_reply(reply: Reply, body: bytes) -> Reply:
    """
    Return the reply for a client that does not read parts.

    @param reply: the reply with a L{Stream} that has ended without a failure, or with an error that the
        function raised on purpose.
    @param body: the last item of a generator, which is its result; or all parts of a Reply together.
    """
    error: Reply | None = reply.body.error
    if error is not None:
        return replace(error, traceback="")
    kinds = {JSON_LINES: "application/json"}
    return Reply(body, reply.status, tuple((name, kinds.get(text, text)) for name, text in reply.headers))


class _Sender:
    """
    Sends the parts of one reply as fast as the client reads, and lets the reactor do other work in between.
    """

    def __init__(self, pending: PendingCall, reply: Reply, pause: Callable[[], Deferred[None]]) -> None:
        self._pending, self._reply, self._pause = pending, reply, pause
        self._credits, self._granted = WINDOW, Deferred[None]()
        self._since, self._number = perf_counter(), 0
        self.stream: Stream | None = None

    def begin(self) -> Stream:
        """Begin the reply."""
        self.stream = Stream(self._grant, lambda: self._grant(0))
        self._pending.begin(replace(self._reply, body=self.stream))
        return self.stream

    def _grant(self, credits: int) -> None:
        self._credits += credits
        self._granted, granted = Deferred(), self._granted
        granted.callback(None)

    async def send(self, data: bytes) -> bool:
        """Send a part as soon as the client has read enough. Returns whether more parts are wanted."""
        self._number += 1
        if self._number % WINDOW == 0 or perf_counter() - self._since > SHARE:
            await self._pause()
            self._since = perf_counter()
        if self.stream is None and not data:
            return True
        stream = self.stream or self.begin()
        while self._credits <= 0 and not stream.dropped:
            await self._granted
        if data and not stream.dropped:
            self._credits -= cost(data)
            stream.part(data)
        return not stream.dropped


async def send_on_reactor(
    pending: PendingCall,
    parts: AsyncGenerator[bytes, None],
    reply: Reply,
    pause: Callable[[], Deferred[None]],
) -> Reply:
    """
    On the reactor: send a reply part after part.

    @param reply: the beginning of the reply.
    @param pause: returns a Deferred that fires after other work has been done.
    @return: the reply that counts as the outcome of the call.
    """
    sender = _Sender(pending, reply, pause)
    try:
        async for data in parts:
            if not await sender.send(data):
                break
    except BaseException as error:
        if sender.stream is None:
            raise
        sender.stream.end(format_traceback(error), error_reply(error, pending.call))
        return Reply(b"", 500)
    finally:
        await parts.aclose()
    if sender.stream is None and reply.headers is EVENT_HEADERS:
        return NO_MORE_EVENTS
    (sender.stream or sender.begin()).end()
    return Reply(b"", 200)


async def encoded(items: AsyncIterator[Any], encode: Callable[[Any], bytes]) -> AsyncGenerator[bytes, None]:
    """Encode the items of an asynchronous iterator."""
    try:
        async for item in items:
            yield encode(item)
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


async def each(parts: Parts) -> AsyncGenerator[bytes, None]:
    """Yield these parts from an asynchronous generator."""
    try:
        for data in parts:
            yield data
    finally:
        parts.close_generator()
