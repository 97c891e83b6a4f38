"""Calls performed in threads.

Strategy: handing each call to a thread and back one at a time costs more than the call. So calls wait in
one deque, and a thread that is awake takes call after call from it. Threads are first woken at the end of
a reactor turn, when the reactor has no more use for the interpreter lock. Whoever takes a call and leaves
others behind has one more thread woken before it runs the function: if that blocks, the next thread gets
the interpreter lock and goes on at once; if not, the next finds nothing left to do. So quick calls cost
hardly a switch, and none waits behind a slow one while a thread is idle. Replies go back the same way, all
that there are at one wake-up of the reactor, at the latest when a thread might block. Where nothing runs,
and no call waits whose function is known to be slow, the reactor does not go back to its poller but waits a
little for the replies: to be woken there takes longer than most calls do.

A generator is run a slice at a time. While its client does not read, it is parked and has no thread. When it
can go on it stands in a line of its own, and threads take one from each line in turn, so that neither calls
nor generators wait for all of the others.
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
from twisted_appserver.core.perform import perform
from twisted_appserver.core.streaming import Parts
from twisted_appserver.errors import HTTPError
from twisted_appserver.executors.call_costs import SlowFunctions
from twisted_appserver.executors.end_of_turn import at_end_of_turn
from twisted_appserver.executors.interface import IExecutor, PendingCall
from twisted_appserver.executors.parked_generator import Source
from twisted_appserver.executors.stream import Stream
from twisted_appserver.executors.wakeup import Bell

PARK = 0.05  # seconds that an idle thread waits for calls before it goes back to its pool
HOLD = 0.001  # seconds that a reply may wait for others to go back with, and the reactor for replies
CLOSING = 0.5  # seconds that a stop waits for generators to be closed


@implementer(IExecutor)
class ThreadExecutor:
    """
    Performs calls in threads of a pool.

    @param reactor: an C{IReactorThreads} and C{IReactorTime}; its thread pool is used if none is given, and
        from start to stop it is larger by C{size}, so that what it had is left to others.
    @param size: how many threads at most; as many as the pool has if C{None}.
    @param pool: a C{twisted.python.threadpool.ThreadPool}, started and stopped by its owner.
    """

    log = Logger()
    now = None

    def __init__(self, reactor: Any, size: int | None = None, pool: Any = None) -> None:
        self._reactor, self._pool, self._size = reactor, pool, size
        self._soon = at_end_of_turn(reactor)
        self._added = 0  # threads that the reactor's pool has for us
        self.completed = self.failed = 0
        self._running: dict[PendingCall, int] = {}  # and the numbers of their threads
        self._waiting: deque[PendingCall] = deque()
        self._ended: deque[tuple[PendingCall, Reply]] = deque()
        self._streams: dict[PendingCall, Stream] = {}  # answers in parts, until their generators have ended
        self._resumed: deque[PendingCall] = deque()  # those of them that can go on
        self._stopping: list[Deferred[None]] = []
        self._stopped = self._kicked = self._returning = False
        self._awaited = False  # whether the reactor waits for replies to come back
        self._back: SimpleQueue[None] = SimpleQueue()
        self._slow = SlowFunctions()
        self._lock = Lock()  # over the following
        self._threads = 0  # that are ours for the time being
        self._parked: list[Bell] = []  # of those of them that wait; who came last is woken first
        self._coming = False  # whether a thread has been woken that has not begun yet

    @property
    def size(self) -> int:
        return self._size or (self._pool or self._reactor.getThreadPool()).max

    @property
    def pending(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def parked(self) -> int:
        """Generators that wait for their clients."""
        return sum(stream.parked for stream in self._streams.values())

    def start(self) -> Deferred[None]:
        self._stopped = False
        if self._pool is None and not self._added:  # one that was handed in is its owner's
            self._size = self._added = self.size
            self._grow(self._added)
        return succeed(None)

    def _grow(self, threads: int) -> None:
        """Change the reactor's pool by our threads, so that who else needs it never waits for our calls."""
        pool = self._reactor.getThreadPool()
        pool.adjustPoolsize(maxthreads=max(pool.min, pool.max + threads))

    def submit(self, job: PendingCall) -> None:
        if self._stopped:
            job.errback(HTTPError(503, "the server is stopping"))
            return
        self._waiting.append(job)
        self._kick_soon()

    def _kick_soon(self) -> None:
        if not self._kicked:
            self._kicked = True
            self._soon(self._kick)

    def cancel(self, job: PendingCall, kill: bool = False) -> None:
        with suppress(ValueError):
            self._waiting.remove(job)
            return
        if self._running and self.unready():  # its thread is left to it
            self.log.error("{why}\n{where}", why=self.unready(), where=self._where())

    def calls(self) -> tuple[Sequence[PendingCall], Sequence[PendingCall]]:
        return list(self._running), list(self._waiting)

    def unready(self) -> str:
        lost = [job for job in list(self._running) if job.called and (job.stream is None or job.stream.over)]
        if len(lost) < self.size:
            return ""
        names = ", ".join(sorted({job.call.handler.name for job in lost}))
        return f"all {self.size} threads are lost to calls that nobody awaits any more: {names}"

    def _where(self) -> str:
        """Where each of them stands."""
        frames, shown = sys._current_frames(), []
        del frames[get_ident()]  # this frame, which refers to them
        for job, ident in list(self._running.items()):
            if ident in frames:
                stack = "".join(traceback.format_stack(frames[ident])[-3:])
                shown.append(f"{job.call.handler.name}, {job.call.request_id}:\n{stack}")
        return "".join(shown)

    def _kick(self) -> None:
        self._kicked = False
        if self._running or self._resumed or not self._parked or self._slow.any_of(self._waiting):
            self._wake()
            return
        self._awaited = True
        self._wake()
        with suppress(Empty):
            self._back.get(timeout=HOLD)
        self._awaited = False
        if self._waiting:  # behind one that is slow after all
            self._wake()
        self._return()

    def _wake(self) -> bool:
        """Have one more thread awake if calls wait. Returns whether one comes."""
        if self._coming:
            return True
        with self._lock:
            if self._coming or not (self._waiting or self._resumed):
                return self._coming
            bell = self._parked.pop() if self._parked else None
            if bell is None:
                if self._threads >= self.size:
                    return False
                self._threads += 1
            self._coming = True
        if bell is None:
            (self._pool or self._reactor.getThreadPool()).callInThread(self._work)
        else:
            bell.ring()
        return True

    def _work(self) -> None:
        """In a thread: perform calls, until none has come for a while."""
        bell = None
        with suppress(OSError):  # where no descriptors are left it does not wait for more
            bell = Bell(PARK)
        while True:
            self._coming = False
            if self._ended:
                self._hand_back()  # for a thread that blocks
            self._drain()
            if not self._waits(bell):
                break
        if bell is not None:
            bell.close()

    def _waits(self, bell: Bell | None) -> bool:
        """In a thread: wait for calls. Returns whether there are any; if not, the thread must end."""
        with self._lock:
            if self._waiting or self._resumed:
                return True
            if bell is None:
                self._threads -= 1
                return False
            self._parked.append(bell)
        while not bell.heard():
            with self._lock:
                if bell in self._parked:
                    self._parked.remove(bell)
                    self._threads -= 1
                    return False
        return True

    def _drain(self) -> None:
        """In a thread: perform the calls that wait, and go on with generators."""
        waiting, ended, running, me = self._waiting, self._ended, self._running, get_ident()
        resumed = self._resumed
        since = now = monotonic()
        while True:
            if resumed:
                self._resume(me)
                now = monotonic()
            try:
                job = waiting.popleft()
            except IndexError:
                if resumed:
                    continue
                break
            running[job] = me
            if not self._awaited and not ((waiting or resumed) and (self._coming or self._wake())) and ended:
                self._hand_back()
            reply = perform(job.call)
            if type(reply.body) is Parts:
                self._begin(job, reply)
            else:
                ended.append((job, reply))
                del running[job]
            before, now = now, monotonic()
            if now - before > HOLD:
                self._slow.add(job.call.handler, now)
            if now - since > HOLD:
                self._hand_back()
                since = now
        self._hand_back()

    def _hand_back(self) -> None:
        if self._awaited:
            self._awaited = False
            self._back.put(None)
        elif self._ended and not self._returning:
            self._returning = True
            self._reactor.callFromThread(self._return)

    # ---- answers in parts ----

    def _begin(self, job: PendingCall, reply: Reply) -> None:
        """In the thread that has made the first part: begin the answer."""
        stream = Stream(partial(self._grant, job), partial(self._drop, job))
        send = partial(self._reactor.callFromThread, stream.part)
        job.source = Source(reply.body, send, self._waits_for_thread)
        self._reactor.callFromThread(self._begun, job, replace(reply, body=stream))
        self._hand_back()
        self._go_on(job)

    def _waits_for_thread(self) -> bool:
        return bool(self._waiting or self._resumed)

    def _begun(self, job: PendingCall, reply: Reply) -> None:
        self._streams[job] = reply.body
        if self._stopped:
            job.errback(HTTPError(503, "the server is stopping"))
        job.begin(reply)

    def _resume(self, me: int) -> None:
        """In a thread: run a slice of a generator that can go on."""
        try:
            job = self._resumed.popleft()
        except IndexError:
            return
        self._running[job] = me
        if self._waiting or self._resumed:
            self._wake()
        self._hand_back()
        self._go_on(job)

    def _go_on(self, job: PendingCall) -> None:
        failure = job.source.run()
        del self._running[job]  # first: when it is parked, another thread may run it at once
        if failure is not None:
            self._reactor.callFromThread(self._streamed, job, failure)
        elif not job.source.park():
            self._resumed.append(job)

    def _grant(self, job: PendingCall, credits: int) -> None:
        if job.source.grant(credits):
            self._resumed.append(job)
            self._kick_soon()

    def _drop(self, job: PendingCall) -> None:
        if job.source.drop():
            self._resumed.append(job)
            self._kick_soon()

    def _streamed(self, job: PendingCall, failure: str) -> None:
        self.completed += not failure
        self.failed += bool(failure)
        self._streams.pop(job).end(failure, job.source.error)
        while self._stopping and not self._streams:
            self._stopping.pop().callback(None)

    def _return(self) -> None:
        """Hand all replies that there are to those who wait for them. Each fails alone."""
        self._returning = False  # first, so that a thread that comes too late for this batch wakes the next
        ended = self._ended
        while ended:
            job, reply = ended.popleft()
            if reply.status < 500:
                self.completed += 1
            else:
                self.failed += 1
            job.callback(reply)

    def stop(self) -> Deferred[None]:
        self._stopped = True
        given_up = [*self._waiting, *self._running, *self._streams, *(job for job, _ in list(self._ended))]
        self._waiting.clear()
        for job in given_up:
            job.errback(HTTPError(503, "the server is stopping"))
        if self._added:
            self._grow(-self._added)
            self._added = 0
        if not self._streams:
            return succeed(None)
        closed: Deferred[None] = Deferred(self._stopping.remove)
        self._stopping.append(closed)
        return closed.addTimeout(CLOSING, self._reactor).addErrback(lambda _: None)
