"""Calls a function for each task of a queue, in threads, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextvars import Context
from importlib import import_module
from typing import Any, TextIO

from twisted_appserver.errors import AppserverError
from twisted_appserver.executors.child_processes import protect

from .client.errors import Empty, LeaseLost, ServerError, ShutDown
from .client.forks import leave
from .client.items import ItemError
from .client.queue import Queue

STOPS = (signal.SIGTERM, signal.SIGINT)
LAST = 10.0  # seconds of patience with the server after the work was stopped


def function_named(target: str) -> Callable[[Any], Any]:
    """
    Import a function.

    @param target: C{module:function}; the current folder is searched too.
    @raise ValueError: when there is no such function, or it is not a plain function.
    """
    module, _, name = target.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"no function {target!r}: {error}") from None
    if not callable(function):
        raise ValueError(f"{target} cannot be called")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ValueError(f"{target} must be a plain function: a coroutine or generator would not run")
    return function  # type: ignore[no-any-return]


class TaskFailed(AppserverError):
    """Raised when the function raised any exception."""


class Work:
    """
    Threads that get a task, call the function with its item, and finish it.

    If the function raises any exception, or the task is not an item, the task is released. A process that the
    function forks ends when the function returns or raises in it.

    @param delay: seconds until a failed task is tried again; C{None} for 1, 2, 4, ... 300.
    @ivar done: the number of finished tasks; the server counts the same ones.
    @ivar failed: how often a task was released.
    @ivar lost: how often the function returned after the lease of its task had run out.
    @ivar error: why the work ended, unless C{stop} was called.
    """

    def __init__(
        self, queue: Queue, function: Callable[[Any], Any], threads: int, delay: float | None = None
    ) -> None:
        self._queue, self._function, self._delay = queue, function, delay
        self.done = self.failed = self.lost = 0
        self.error: Exception | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._threads = [threading.Thread(target=self._loop) for _ in range(threads)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Get no further tasks; finish the current ones. May be called from a signal handler."""
        self._stopping.set()
        self._queue.patience = min(self._queue.patience, LAST)

    @property
    def alive(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._queue.task(timeout=1.0, delay=self._delay) as item:
                    self._call(item)
                self._count(done=1)
            except Empty:
                continue
            except TaskFailed:
                self._count(failed=1)
            except ItemError:
                traceback.print_exc()
                self._count(failed=1)
            except LeaseLost as error:
                print(error, file=sys.stderr)
                self._count(lost=1)
            except ShutDown:
                return
            except (OSError, ServerError) as error:
                self.error = error
                self.stop()

    def _call(self, item: Any) -> None:
        try:
            Context().run(self._function, item)  # an empty context for each task
        except BaseException as error:  # includes sys.exit(); Ctrl-C goes to the main thread
            if os.getpid() != self._process:
                leave(error)
            traceback.print_exc()
            raise TaskFailed from error
        if os.getpid() != self._process:
            leave()

    def _count(self, done: int = 0, failed: int = 0, lost: int = 0) -> None:
        with self._lock:
            self.done += done
            self.failed += failed
            self.lost += lost


class StopSignals:
    """
    Handles the signals that end the work.

    The first signal stops the work: the current tasks are finished. A second Ctrl-C ends the process at once.
    Processes that functions start have the default handlers.
    """

    def __init__(self, work: Work, stream: TextIO) -> None:
        self._work, self._stream = work, stream
        self._interrupted = False
        for number in STOPS:
            signal.signal(number, self._stop)
        protect(self, tuple)  # restores the default handlers in processes that the function forks

    def _stop(self, number: int, _: Any) -> None:
        if number == signal.SIGINT and self._interrupted:
            os._exit(130)
        self._interrupted = self._interrupted or number == signal.SIGINT
        self._work.stop()
        if number == signal.SIGINT and self._stream.isatty():
            os.write(
                self._stream.fileno(), b"\nfinishing the current tasks; press Ctrl-C again to end at once\n"
            )


class ProgressLine:
    """Shows the progress of the work as one line on a terminal."""

    def __init__(self, work: Work, queue: Queue, stream: TextIO) -> None:
        self._work, self._queue, self._stream = work, queue, stream
        self._begin = time.monotonic()

    def line(self, left: int | str) -> str:
        seconds = max(time.monotonic() - self._begin, 0.001)
        speed = self._work.done / seconds
        return f"done {self._work.done}, failed {self._work.failed}, {speed:.1f} per second, left {left}"

    def show(self) -> None:
        try:
            left: int | str = self._queue.unfinished_tasks
        except (OSError, ServerError):
            left = "?"
        self._stream.write(f"\r\x1b[K{self.line(left)}")
        self._stream.flush()
