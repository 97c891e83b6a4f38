"""The replies that a worker process sends in parts, as the server sees them.

A stream is known by the number of its call. It begins with a reply without a body, and ends when its
generator in the worker has ended, even if the client left earlier.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec.structs import replace

from twisted_appserver.core.call import Reply
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.executors.processes.frames import Drop, End, Part, Resume
from twisted_appserver.executors.processes.progress import Progress
from twisted_appserver.executors.stream import Stream

CLOSE_CHECK_INTERVAL = 5.0  # seconds between two checks of a generator that was closed


class WorkerStreams:
    """
    The streams of one worker process.

    @param progress: the memory in which the worker records which generator it is running.
    @param send: called with each frame for the worker; ignores it if the worker has exited.
    @param kill: called with a reason, to kill the worker.
    @ivar open: each call whose generator has not ended, with its stream, by the number of the call.
    """

    def __init__(
        self,
        reactor: Any,
        progress: Progress,
        send: Callable[[Resume | Drop], None],
        kill: Callable[[str], None],
    ) -> None:
        self._reactor, self._progress, self._send, self._kill = reactor, progress, send, kill
        self.open: dict[int, tuple[PendingCall, Stream]] = {}
        self._closing: set[int] = set()  # numbers of generators that were not running when they were dropped
        self._timers: dict[int, Any] = {}  # checks of generators that were closed, by numbers of calls

    @property
    def running(self) -> PendingCall | None:
        """The call whose generator runs at the moment."""
        found = self.open.get(self._progress.generator) if self.open else None
        return found and found[0]

    def is_stuck(self, pending: PendingCall) -> bool:
        """Return whether the generator of this call runs, and not only because it is being closed."""
        number = self._progress.generator  # read once: the worker changes it at any time
        found = self.open.get(number)
        return found is not None and found[0] is pending and number not in self._closing

    @property
    def wanted(self) -> bool:
        """Whether a generator is running whose parts are still wanted."""
        found = self.open.get(self._progress.generator)
        return found is not None and not found[1].dropped

    @property
    def parked(self) -> int:
        """The number of generators that wait until their clients read."""
        return sum(stream.parked for _, stream in self.open.values())

    def call(self, number: int) -> PendingCall | None:
        """Return the call of a generator that has not ended, by its number."""
        return self.open[number][0] if number in self.open else None

    def calls(self) -> list[PendingCall]:
        """Return the calls whose generators have not ended."""
        return [pending for pending, _ in self.open.values()]

    # ---- from the worker ----

    def begin(self, number: int, pending: PendingCall, reply: Reply) -> None:
        """Begin a stream with this reply."""
        stream = Stream(partial(self._resume, number), partial(self._drop, number))
        self.open[number] = pending, stream
        pending.begin(replace(reply, body=stream))

    def add_part(self, frame: Part) -> None:
        """Pass a part on. An empty part is left out, because an empty chunk would end the body."""
        _, stream = self.open.get(frame.number, (None, None))
        if stream is not None and frame.data:
            stream.part(frame.data)

    def end(self, frame: End) -> PendingCall | None:
        """
        End a stream.

        @return: its call; C{None} if there is no such stream.
        """
        pending, stream = self.open.pop(frame.number, (None, None))
        self._closing.discard(frame.number)
        if stream is not None:
            self._cancel_check(frame.number)
            stream.end(frame.failure, frame.error)
        return pending

    def worker_exited(self) -> None:
        """Stop checking generators: no frames will come."""
        for number in list(self._timers):
            self._cancel_check(number)

    def end_all(self) -> None:
        """End all streams, including streams that are no longer read."""
        for _, stream in self.open.values():
            stream.end()

    # ---- to the worker ----

    def _resume(self, number: int, credits: int) -> None:
        self._send(Resume(number, credits))

    def _drop(self, number: int) -> None:
        if self._progress.generator != number:  # If the generator runs from now on, it is being closed.
            self._closing.add(number)
        self._send(Drop(number))

    # ---- generators that were closed ----

    def expect_end(self, pending: PendingCall) -> None:
        """Kill the worker if the generator of this call was closed and keeps running."""
        for number, (each, _) in self.open.items():
            if each is pending and number not in self._timers:
                self._check_later(number, False)

    def _check_later(self, number: int, ran_before: bool) -> None:
        self._timers[number] = self._reactor.callLater(CLOSE_CHECK_INTERVAL, self._check, number, ran_before)

    def _check(self, number: int, ran_before: bool) -> None:
        """Kill the worker if the generator runs, and ran at the previous check."""
        runs = self._progress.generator == number
        if runs and ran_before:
            self._kill("its generator did not end when it was closed")
        else:
            self._check_later(number, runs)

    def _cancel_check(self, number: int) -> None:
        timer = self._timers.pop(number, None)
        if timer is not None and timer.active():
            timer.cancel()
