"""An answer that comes in parts, in the reactor's thread: between what makes them and who reads them.

Strategy: at most a few parts are on their way. What makes them is granted one more for each that the client
has taken, so that a client that stops reading stops the generator, in a thread as in a worker process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from threading import Event, Semaphore
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from twisted_appserver.calls import Reply
from twisted_appserver.events import EVENTS, FINISHED
from twisted_appserver.executors.interface import Job
from twisted_appserver.parts import WINDOW, Parts, shown


@implementer(IPushProducer)
class Stream:
    """
    The body of a L{Reply} that comes in parts.

    @param grant: told how many more parts may be made.
    @param drop: told that no more are wanted.
    @ivar made: called after each part. C{ended}: called when there are no more, however that came.
    @ivar over: whether that is so. C{dropped}: whether nobody wants any.
    @ivar failure: why it broke off, if it did.
    """

    def __init__(self, grant: Callable[[int], object], drop: Callable[[], object]) -> None:
        self._grant, self._drop = grant, drop
        self._kept: deque[bytes] = deque()
        self._paused = False
        self._size = 0
        self._write: Callable[[bytes], object] | None = None
        self._finish: Callable[[str], object] | None = None
        self.made: Callable[[], object] = bool
        self.ended: Callable[[], object] = bool
        self.over, self.dropped, self.failure = False, False, ""

    def __len__(self) -> int:
        """Bytes that were made."""
        return self._size

    # ---- what makes them ----

    def part(self, data: bytes) -> None:
        if not (self.over or self.dropped):
            self._size += len(data)
            self._kept.append(data)
            self.made()
            self._pass_on()

    def end(self, failure: str = "") -> None:
        """There are no more. Where that is a failure, who reads must not take it for the end."""
        if not self.over:
            self.over, self.failure = True, "" if self.dropped else failure
            self.ended()
            self.made = self.ended = bool  # they refer to the job, which refers to this stream
            self._pass_on()

    # ---- who reads them ----

    def begin(self, write: Callable[[bytes], object], finish: Callable[[str], object]) -> None:
        """
        Read.

        @param write: gets each part.
        @param finish: told the end, once, and the failure.
        """
        self._write, self._finish = write, finish
        self._pass_on()

    def aside(self, data: bytes) -> None:
        """Send what is no part, such as a comment, if the client reads and nothing else waits."""
        if self._write is not None and not (self._paused or self._kept or self.over):
            self._write(data)

    def _pass_on(self) -> None:
        passed = 0
        while self._kept and self._write is not None and not self._paused:
            self._write(self._kept.popleft())
            passed += 1
        if passed and not (self.over or self.dropped):
            self._grant(passed)
        if self.over and not self._kept and self._finish is not None:
            finish, self._write, self._finish = self._finish, None, None
            finish(self.failure)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._pass_on()

    def stopProducing(self) -> None:
        """Nobody reads any more."""
        self._write = self._finish = None
        self._no_more()

    def cut(self, why: str) -> None:
        """Break off, without what has not been read yet."""
        self.end(why)
        self._no_more()
        self._pass_on()

    def _no_more(self) -> None:
        self._kept.clear()
        if not self.dropped:
            self.dropped = True
            self._drop()


def send_from_thread(reactor: Any, job: Job, reply: Reply, over: Callable[[str], object]) -> None:
    """
    In a thread: send an answer part after part.

    @param over: told the end in the reactor's thread, with the traceback if the function failed.
    """
    credits, dropped = Semaphore(WINDOW), Event()

    def may() -> bool:
        credits.acquire()
        return not dropped.is_set()

    def drop() -> None:
        dropped.set()
        credits.release()

    stream = Stream(credits.release, drop)
    reactor.callFromThread(job.begin, replace(reply, body=stream))
    failure: str = reply.body.pump(may, partial(reactor.callFromThread, stream.part))
    reactor.callFromThread(over, failure)
    reactor.callFromThread(stream.end, failure)


async def send_on_reactor(job: Job, parts: AsyncGenerator[bytes, None], reply: Reply) -> Reply:
    """
    On the reactor: send an answer part after part.

    @param reply: its beginning.
    @return: what counts as the outcome.
    """
    granted, waiting = WINDOW, Deferred[None]()
    stream: Stream | None = None

    def grant(parts: int) -> None:
        nonlocal granted, waiting
        granted += parts
        waiting, called = Deferred(), waiting
        called.callback(None)

    try:
        async for data in parts:
            if stream is None:
                stream = Stream(grant, lambda: grant(1))
                job.begin(replace(reply, body=stream))
            while granted < 1 and not stream.dropped:
                await waiting
            if stream.dropped:
                break
            granted -= 1
            stream.part(data)
    except BaseException as error:
        if stream is None:
            raise
        stream.end(shown(error))
        return Reply(b"", 500)
    finally:
        await parts.aclose()
    if stream is None and reply.headers is EVENTS:
        return FINISHED
    if stream is None:
        stream = Stream(grant, bool)
        job.begin(replace(reply, body=stream))
    stream.end()
    return Reply(b"", 200)


async def encoded(items: AsyncIterator[Any], encode: Callable[[Any], bytes]) -> AsyncGenerator[bytes, None]:
    """The parts that an asynchronous iterator yields."""
    try:
        async for item in items:
            if data := encode(item):
                yield data
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


async def each(parts: Parts) -> AsyncGenerator[bytes, None]:
    """These parts, one after the other."""
    try:
        for data in parts:
            yield data
    finally:
        parts.close()
