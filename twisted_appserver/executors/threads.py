"""Calls performed in threads.

Strategy: handing calls to threads, and replies back, one at a time would cost more than most calls. So calls
wait in one deque, and a thread that is awake takes call after call from it. The reactor wakes the first
thread when it has read everything that is readable, because then it does not need the interpreter lock
itself. A thread that takes a call and leaves others behind wakes one more thread before it runs the function.
If the function blocks, the next thread gets the interpreter lock and continues at once. If it does not, the
next thread finds nothing left to do. So quick calls cost hardly a thread switch, and no call waits behind a
slow one while a thread is idle.

Replies travel back in the same way: one wake-up of the reactor returns all of them, at the latest before a
thread might block. If nothing runs and no waiting call is of a slow function, the reactor does not return to
its poller, but waits briefly for the replies. Waking up in the poller takes longer than most calls.

A generator runs a slice at a time. While its client does not read, it is parked and occupies no thread.
Generators that can continue wait in a deque of their own. Threads take one item from each deque alternately,
so calls do not wait for all generators, and generators do not wait for all calls.
"""

from __future__ import annotations

import sys
import traceback
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, get_ident
from time import monotonic
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from twisted_appserver.core.call import Reply
from twisted_appserver.core.file_body import FileBody
from twisted_appserver.core.perform import perform
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.call_costs import SlowFunctions
from twisted_appserver.executors.end_of_turn import at_end_of_turn
from twisted_appserver.executors.file_reply import begin_file
from twisted_appserver.executors.interface import IExecutor, PendingCall
from twisted_appserver.executors.parked_generator import Source
from twisted_appserver.executors.stream import Stream
from twisted_appserver.executors.wakeup import Wakeup

IDLE = 0.05  # seconds that an idle thread waits for calls before it returns to its pool
HOLD = 0.001  # seconds that the reactor waits for replies, and a reply for others to travel with it
CLOSING = 0.5  # seconds that stop() waits until generators are closed


@implementer(IExecutor)
class ThreadExecutor:
    """
    Performs calls in threads of a pool.

    @param reactor: an C{IReactorThreads} and C{IReactorTime}. Its thread pool is used if C{pool} is C{None}.
        Between start and stop, the reactor's pool has C{size} more threads, so its other users never wait for
        calls.
    @param size: the maximum number of threads; C{None} for as many as the pool has.
    @param pool: a C{twisted.python.threadpool.ThreadPool} that its owner starts and stops.
    """

    log = Logger()
    here = reads_bodies = True
    now = kill = None

    def __init__(self, reactor: Any, size: int | None = None, pool: Any = None) -> None:
        self._reactor, self._pool, self._size = reactor, pool, size
        self._at_end_of_turn = at_end_of_turn(reactor)
        self._added_threads = 0  # by which the reactor's pool has grown
        self.completed = self.failed = 0
        self.thread_of: dict[PendingCall, int] = {}  # running calls, with the identifiers of their threads
        self._waiting: deque[PendingCall] = deque()
        self._finished: deque[tuple[PendingCall, Reply]] = deque()
        self._streams: dict[PendingCall, Stream] = {}  # until their generators have ended
        self._resumable: deque[PendingCall] = deque()  # calls whose generators can continue
        self._stopping: list[Deferred[None]] = []
        self._stopped = self._start_scheduled = self._return_scheduled = False
        self._reactor_waits = False  # whether the reactor waits for replies outside of its poller
        self._came_back: SimpleQueue[None] = SimpleQueue()
        self._slow = SlowFunctions()
        self._lock = Lock()  # protects the following attributes
        self._threads = 0  # threads of the pool that work here now
        self._idle: list[Wakeup] = []  # one for each waiting thread; the last one is woken first
        self._waking = False  # whether a thread has been woken and has not begun yet

    @property
    def size(self) -> int:
        return self._size or (self._pool or self._reactor.getThreadPool()).max

    @property
    def pending(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self.thread_of)

    @property
    def parked(self) -> int:
        """Generators that wait until their clients read."""
        return sum(stream.parked for stream in self._streams.values())

    def start(self) -> Deferred[None]:
        self._stopped = False
        if self._pool is None and not self._added_threads:  # a pool that was passed in belongs to its owner
            self._size = self._added_threads = self.size
            self._grow(self._added_threads)
        return succeed(None)

    def _grow(self, threads: int) -> None:
        """Add threads to the reactor's pool, or remove them, so that its other users never wait for calls."""
        pool = self._reactor.getThreadPool()
        pool.adjustPoolsize(maxthreads=max(pool.min, pool.max + threads))

    def submit(self, pending: PendingCall) -> None:
        if self._stopped:
            pending.errback(HTTPError(503, "the server is stopping"))
            return
        self._waiting.append(pending)
        self._start_soon()

    def _start_soon(self) -> None:
        if not self._start_scheduled:
            self._start_scheduled = True
            self._at_end_of_turn(self._start)

    def cancel(self, pending: PendingCall, kill: bool = False) -> None:
        with suppress(ValueError):
            self._waiting.remove(pending)
            return
        if self.thread_of and self.unready():  # Its thread cannot be stopped.
            self.log.error("{why}\n{where}", why=self.unready(), where=_stacks(list(self.thread_of.items())))

    def calls(self) -> tuple[Sequence[PendingCall], Sequence[PendingCall]]:
        return list(self.thread_of), list(self._waiting)

    def unready(self) -> str:
        lost = [
            each for each in list(self.thread_of) if each.called and (each.stream is None or each.stream.over)
        ]
        if len(lost) < self.size:
            return ""
        names = ", ".join(sorted({each.call.handler.name for each in lost}))
        return f"all {self.size} threads are lost to calls that nobody awaits any more: {names}"

    def _start(self) -> None:
        """Wake a thread. If all waiting calls are likely to be quick, wait for their replies."""
        self._start_scheduled = False
        if self.thread_of or self._resumable or not self._idle or self._slow.any_of(self._waiting):
            self._wake()
            return
        self._reactor_waits = True
        self._wake()
        with suppress(Empty):
            self._came_back.get(timeout=HOLD)
        self._reactor_waits = False
        if self._waiting:  # behind a call that is slow after all
            self._wake()
        self._return_replies()

    def _wake(self) -> bool:
        """Wake one more thread if calls wait. Returns whether a thread is coming."""
        if self._waking:
            return True
        with self._lock:
            if self._waking or not (self._waiting or self._resumable):
                return self._waking
            wakeup = self._idle.pop() if self._idle else None
            if wakeup is None:
                if self._threads >= self.size:
                    return False
                self._threads += 1
            self._waking = True
        if wakeup is None:
            (self._pool or self._reactor.getThreadPool()).callInThread(self._work)
        else:
            wakeup.wake()
        return True

    def _work(self) -> None:
        """In a thread: perform calls until none has arrived for a while."""
        wakeup = None
        with suppress(OSError):  # Without descriptors the thread does not wait for more calls.
            wakeup = Wakeup(IDLE)
        while True:
            self._waking = False
            if self._finished:
                self._hand_back()  # on behalf of a thread that blocks
            self._drain()
            if wakeup is not None and not self._wait(wakeup):
                wakeup.close()
                wakeup = None
            if wakeup is None and self._leave():
                break

    def _wait(self, wakeup: Wakeup) -> bool:
        """In a thread: wait for calls. Returns C{False} if none came."""
        with self._lock:
            if self._waiting or self._resumable:
                return True
            self._idle.append(wakeup)
        while not wakeup.wait():
            with self._lock:
                if wakeup in self._idle:
                    self._idle.remove(wakeup)
                    return False
        return True

    def _leave(self) -> bool:
        """
        In a thread: stop counting this thread, unless calls wait. After this, the thread must return to its
        pool at once, without a system call. If it were late, the pool would make another thread for the next
        call.
        """
        with self._lock:
            if self._waiting or self._resumable:
                return False
            self._threads -= 1
        return True

    def _drain(self) -> None:
        """In a thread: perform waiting calls and continue generators, until none are left."""
        waiting, running, finished, me = self._waiting, self.thread_of, self._finished, get_ident()
        resumable = self._resumable
        since = now = monotonic()
        while True:
            if resumable:
                self._resume(me)
                now = monotonic()
            try:
                pending = waiting.popleft()
            except IndexError:
                if resumable:
                    continue
                break
            running[pending] = me
            # While the reactor waits for quick calls, another thread would only compete with this one.
            if not self._reactor_waits:
                helped = (waiting or resumable) and (self._waking or self._wake())
                if finished and not helped:
                    self._hand_back()
            reply = perform(pending.call)
            if type(reply.body) is not bytes:
                self._begin(pending, reply)
            else:
                finished.append((pending, reply))
                del running[pending]
            before, now = now, monotonic()
            if now - before > HOLD:
                self._slow.add(pending.call.handler, now)
            if now - since > HOLD:
                self._hand_back()
                since = now
        self._hand_back()

    def _hand_back(self) -> None:
        """In a thread: let the reactor return the replies that are ready."""
        if self._reactor_waits:
            self._reactor_waits = False
            self._came_back.put(None)
        elif self._finished and not self._return_scheduled:
            self._return_scheduled = True
            self._reactor.callFromThread(self._return_replies)

    # ---- streams ----

    def _begin(self, pending: PendingCall, reply: Reply) -> None:
        """In a thread: begin a file, or the stream whose first part this thread has made."""
        if type(reply.body) is FileBody:
            del self.thread_of[pending]
            self._reactor.callFromThread(begin_file, pending, reply, self)
            return
        stream = Stream(partial(self._grant, pending), partial(self._drop, pending))
        send = partial(self._reactor.callFromThread, stream.part)
        pending.source = Source(reply.body, send, lambda: self._waiting or self._resumable)
        self._reactor.callFromThread(self._begun, pending, replace(reply, body=stream))
        self._hand_back()
        self._go_on(pending)

    def _begun(self, pending: PendingCall, reply: Reply) -> None:
        self._streams[pending] = reply.body
        if self._stopped:
            pending.errback(HTTPError(503, "the server is stopping"))
        pending.begin(reply)

    def _resume(self, me: int) -> None:
        """In a thread: run a slice of a generator that can continue."""
        try:
            pending = self._resumable.popleft()
        except IndexError:
            return
        self.thread_of[pending] = me
        if self._waiting or self._resumable:
            self._wake()
        self._hand_back()
        self._go_on(pending)

    def _go_on(self, pending: PendingCall) -> None:
        failure = pending.source.run()
        del self.thread_of[pending]  # before it is parked, because then another thread may run it at once
        if failure is not None:
            self._reactor.callFromThread(self._streamed, pending, failure)
        elif not pending.source.park():
            self._resumable.append(pending)

    def _grant(self, pending: PendingCall, credits: int) -> None:
        if pending.source.grant(credits):
            self._resumable.append(pending)
            self._start_soon()

    def _drop(self, pending: PendingCall) -> None:
        if pending.source.drop():
            self._resumable.append(pending)
            self._start_soon()

    def _streamed(self, pending: PendingCall, failure: str) -> None:
        self.completed += not failure
        self.failed += bool(failure)
        self._streams.pop(pending).end(failure, pending.source.error)
        while self._stopping and not self._streams:
            self._stopping.pop().callback(None)

    def _return_replies(self) -> None:
        """Return all replies to the dispatcher."""
        # This comes first, so that a thread that is late for this batch wakes the reactor again.
        self._return_scheduled = False
        finished = self._finished
        while finished:
            pending, reply = finished.popleft()
            if reply.status < 500:
                self.completed += 1
            else:
                self.failed += 1
            pending.callback(reply)

    def stop(self) -> Deferred[None]:
        self._stopped = True
        finished = [pending for pending, _ in list(self._finished)]
        abandoned = [*self._waiting, *self.thread_of, *self._streams, *finished]
        self._waiting.clear()
        for pending in abandoned:
            pending.errback(HTTPError(503, "the server is stopping"))
        if self._added_threads:
            self._grow(-self._added_threads)
            self._added_threads = 0
        if not self._streams:
            return succeed(None)
        closed: Deferred[None] = Deferred(self._stopping.remove)
        self._stopping.append(closed)
        return closed.addTimeout(CLOSING, self._reactor).addErrback(lambda _: None)


def _stacks(running: Sequence[tuple[PendingCall, int]]) -> str:
    """Return the last lines of the stack of each running call, in its thread."""
    frames, shown = sys._current_frames(), []
    del frames[get_ident()]  # this frame, which would refer to itself
    for pending, ident in running:
        if ident in frames:
            stack = "".join(traceback.format_stack(frames[ident])[-3:])
            shown.append(f"{pending.call.handler.name}, {pending.call.request_id}:\n{stack}")
    return "".join(shown)
