"""Calls a function for each task of a queue, in threads."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any

from twisted_appserver.errors import AppserverError

from .client.errors import Empty, LeaseLost, ShutDown
from .client.forks import leave
from .client.items import ItemError
from .client.queue import Queue, Task
from .task_failure import describe_failure, own_frames_removed

LAST = 10.0  # seconds of patience with the server after the work was stopped


class TaskFailed(AppserverError):
    """Raised when the function raised any exception."""


class Work:
    """
    Threads that get a task, call the function with its item, and finish it.

    If the function raises any exception, or the task is not an item, the task is released. A process that the
    function forks ends when the function returns or raises in it.

    @param delay: seconds until a failed task is tried again; C{None} for 1, 2, 4, ... 300.
    @param report: prints what went wrong; called in the threads.
    @ivar max_deliveries: the queue's option, for reports; 0 for no limit or if it is not known.
    @ivar running: the number of tasks whose function is running.
    @ivar done: the number of finished tasks; the server counts the same ones.
    @ivar failed: how often a task was released.
    @ivar lost: how often the function returned after the lease of its task had run out.
    @ivar error: why the work ended, unless C{stop} was called.
    """

    def __init__(
        self,
        queue: Queue,
        function: Callable[[Any], Any],
        threads: int,
        delay: float | None = None,
        report: Callable[[str], None] = print,
    ) -> None:
        self._queue, self._function, self._delay, self._report = queue, function, delay, report
        self.running = self.done = self.failed = self.lost = self.max_deliveries = 0
        self.error: Exception | None = None
        self._stopping = self._returned = False  # plain attributes: a signal handler must not wait for a lock
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._threads = [threading.Thread(target=self._run, name=f"task-{n}") for n in range(threads)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Get no further tasks; finish the current ones. May be called from a signal handler."""
        self._stopping = True
        self._queue.patience = min(self._queue.patience, LAST if self.running else 0.0)

    def give_back(self) -> None:
        """
        Release the tasks that are running, for other workers. What their functions do from then on has no
        effect on the queue.

        @raise OSError: when the server cannot be reached. The leases run out later.
        """
        self._stopping, self._queue.patience = True, 0.0
        self._queue.close()

    @property
    def alive(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._take_task()
        except ShutDown:
            return
        except Exception as error:
            self.error = error
            self.stop()

    def _take_task(self) -> None:
        """Wait for a task for a second, and perform it."""
        task = self._queue.task(timeout=1.0, delay=self._delay)
        try:
            with task as item:
                self._count(running=1)
                try:
                    self._call(item)
                finally:
                    self._count(running=-1)
            self._count(done=1)
        except Empty:
            pass
        except TaskFailed as failure:
            self._count(failed=1)
            self._report(self._describe(task, failure.__cause__))
        except ItemError as error:
            self._count(failed=1)
            self._report(f"{error}; it is released")
        except OSError:
            if task.task_id or not self._stopping:
                raise
        except LeaseLost as error:
            self._count(lost=1)
            self._report(f"{error}: another worker may have got it")

    def _describe(self, task: Task, error: BaseException | None) -> str:
        return describe_failure(task, self._queue.name, error, self._delay, self.max_deliveries)

    def _call(self, item: Any) -> None:
        try:
            result = Context().run(self._function, item)  # an empty context for each task
        except BaseException as error:  # includes sys.exit(); Ctrl-C goes to the main thread
            if os.getpid() != self._process:
                leave(own_frames_removed(error))
            raise TaskFailed from error
        if os.getpid() != self._process:
            leave()
        if result is not None:
            self._drop(result)

    def _drop(self, result: Any) -> None:
        """
        Report a result, which is not kept, once.

        @raise TaskFailed: when the function has not run: its result is a coroutine or generator.
        """
        if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
            if inspect.iscoroutine(result):
                result.close()
            error = TypeError(f"the function returned a {type(result).__name__}, which nobody runs")
            raise TaskFailed from error
        if not self._returned:
            self._returned = True
            kind = type(result).__name__
            self._report(f"the function returned a value ({kind}): it is dropped, TQueueSrv keeps no results")

    def _count(self, done: int = 0, failed: int = 0, lost: int = 0, running: int = 0) -> None:
        with self._lock:
            self.done += done
            self.failed += failed
            self.lost += lost
            self.running += running
