"""Calls a function for each task of one or more queues, in threads or in processes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from queue import Empty as NoneFree
from queue import SimpleQueue
from typing import Any, Literal

from twisted_appserver.settings import FORKED_SERVER

from .client.errors import Empty, LeaseLost, ResultError, ServerError, ShutDown
from .client.failures import Failure, RecordedError, RetryAfter, describe
from .client.items import ItemError
from .client.queue import Queue, Task
from .client.requests import Document
from .function_call import Function, FunctionCaller, ThreadCaller, WorkerError
from .function_process import FunctionProcess, checked_target
from .performed_task import CurrentTask
from .queue_choice import QueueChoice, read_queues
from .task_failure import describe_failure
from .thread_time_limits import RunningCall, ThreadTimeLimits, over_limit
from .worker_arguments import check_numbers, check_type, checked_function

LAST = 10.0  # seconds of patience with the server after the work was stopped
LOOK = 0.05  # seconds between two checks whether the work has ended
STOPPED = 0.25  # seconds between two checks of a thread that waits for another one


class NotPerformed(BaseException):
    """Raised when the work was stopped before the function ran, in the block of the task."""


class TooLate(BaseException):
    """Raised when the time limit of a task is over, in its block. The failure has been recorded."""


def _not_kept(queue: str, kind: str) -> str:
    return (
        f"the function returned a value ({kind}), but the queue {queue} keeps no results; "
        f"tqueue config {queue} keep=3600 keeps each for an hour"
    )


class Worker:
    """
    Gets tasks, calls a function with the item of each, and finishes them with what the function returns.

    A task has failed if the function raises any exception or takes longer than the time limit, if the task is
    not an item, or if the result cannot be sent.

    @param queues: a L{Queue}; several, in the order of their priority; a mapping of queues to their weights;
        or their names as text, such as C{emails,reports} or C{emails:3,reports:1}.
    @param function: called with each item; or its name, C{module:function}.
    @param threads: the number of tasks that are performed at the same time.
    @param type: C{threaded}, or C{forked} to call the function in processes. They import it again, and are
        killed at the time limit.
    @param url: the URL of the server, for queues that are given by name. The same applies to C{lease} and
        C{patience}, see L{Queue}.
    @param delay: seconds until a failed task is tried again; C{None}: as the queue requires; C{False}: never.
    @param time_limit: seconds that the function may take for a task; C{None} for no limit.
    @param prefetch: the number of further tasks to get while all threads are busy. Their leases are renewed.
    @param report: prints what went wrong; called in the threads.
    @ivar options: the options of the queues, by name, for reports; nothing is reported without them.
    @ivar running: the number of tasks whose function is running.
    @ivar done: the number of finished tasks; the server counts the same tasks.
    @ivar failed: how often a task has failed.
    @ivar lost: how often the function returned after the lease of its task had run out.
    @ivar error: why the work ended, unless C{stop} was called.
    @raise ValueError: when an argument cannot be used, or the function cannot be called with an item.
    """

    def __init__(
        self,
        queues: str | Queue | Sequence[Queue] | Mapping[Queue, float],
        function: str | Function,
        threads: int = 1,
        *,
        type: Literal["threaded", "forked"] = "threaded",
        url: str | None = None,
        lease: float | None = None,
        patience: float = math.inf,
        delay: RetryAfter = None,
        time_limit: float | None = None,
        prefetch: int = 0,
        report: Callable[[str], None] = print,
    ) -> None:
        check_numbers(threads, prefetch, time_limit, delay, patience)
        check_type(type)
        self._function = checked_function(function)
        self._target = checked_target(function) if type == FORKED_SERVER else None
        self._own: list[Queue] = []  # the queues that are closed at the end
        self._choice = QueueChoice(self._given(queues, url, lease, patience))
        self._delay, self._limit, self._report = delay, time_limit, report
        self.running = self.done = self.failed = self.lost = 0
        self.options: dict[str, Document] = {}
        self.error: Exception | None = None
        self._stopping = self._returned = False  # plain attributes: a signal handler must not wait for a lock
        self._lock = threading.Lock()
        # Processes are killed by the threads that wait for them.
        self._limits = ThreadTimeLimits(None if self._target is not None else time_limit, self._expired)
        self._callers: list[FunctionCaller] = []
        self._free: SimpleQueue[FunctionCaller] = SimpleQueue()
        # An idle worker makes no more requests because of C{prefetch}, and takes one task for each thread.
        self._getting = threading.Semaphore(threads)
        self._most = threads  # calls at the same time, and functions that hang
        self._abandoned: list[threading.Thread] = []
        self._threads = [self._thread() for _ in range(threads + prefetch)]

    def _given(self, queues: Any, url: str | None, lease: float | None, patience: float) -> Any:
        if isinstance(queues, Queue):
            return [queues]
        if not isinstance(queues, str):
            return queues
        chosen = read_queues(queues)
        self._own = [Queue(0, url, each.name, lease=lease, patience=patience) for each in chosen]
        weights = [each.weight for each in chosen]
        return self._own if None in weights else dict(zip(self._own, weights, strict=True))

    @property
    def queues(self) -> list[Queue]:
        """The queues that tasks come from."""
        return self._choice.queues

    def run(self) -> None:
        """
        Work until C{stop} is called or all queues are shut down.

        Ctrl-C calls C{stop}; the second one gives the running tasks back and raises C{KeyboardInterrupt}.

        @raise OSError: when the server cannot be reached for longer than the patience of a queue.
        @raise ServerError: when the server refuses a request.
        @raise WorkerError: when the worker cannot go on, or when functions still hang at the end.
        """
        self.start()
        try:
            self._wait()
        except KeyboardInterrupt:
            self.stop()
            try:
                self._wait()
            except KeyboardInterrupt:
                self.give_back()
                raise
        self.close()

    def _wait(self) -> None:
        while self.alive:
            time.sleep(LOOK)

    def start(self) -> None:
        """Begin to work in other threads."""
        try:
            for _ in range(self._most):
                self._add_caller()
        except WorkerError as error:
            self._end(error)
        self._limits.start()
        for thread in self._threads:
            thread.start()

    def _add_caller(self) -> None:
        """Let one more thread call the function."""
        caller: FunctionCaller = ThreadCaller(self._function)
        if self._target is not None:
            caller = FunctionProcess(self._target, self._limit)
        self._callers.append(caller)
        self._free.put(caller)

    def stop(self) -> None:
        """Get no further tasks; finish the current ones. May be called from a signal handler."""
        self._stopping = True
        for queue in self.queues:
            queue.patience = min(queue.patience, LAST if self.running else 0.0)

    def give_back(self) -> None:
        """
        Release the tasks that are running, for other workers. Kill the processes of their functions;
        functions that still run in threads no longer affect the queues.

        @raise OSError: when the server cannot be reached. The leases run out later.
        """
        self._stopping = True
        for caller in self._callers:
            caller.kill()
        for queue in self.queues:
            queue.patience = 0.0
        for queue in self.queues:
            queue.close()

    def close(self) -> None:
        """
        Release what the worker holds. Call this once it is no longer C{alive}.

        @raise Exception: why the work has ended, see L{run}.
        """
        self._limits.stop()
        for caller in self._callers:
            caller.close()
        for queue in self._own:
            queue.patience = min(queue.patience, LAST)
            try:
                queue.close()
            except OSError as error:
                self.error = self.error or error
        hanging = len(self.hanging)
        if self.error is None and hanging:
            self.error = WorkerError(f"functions that still hang after their time limit: {hanging}")
        if self.error is not None:
            raise self.error

    @property
    def alive(self) -> bool:
        """Whether a thread works. Functions that hang after their time limit do not count."""
        return any(thread.is_alive() for thread in self._threads if thread not in self._abandoned)

    @property
    def hanging(self) -> list[threading.Thread]:
        """The threads of functions that have not returned after their time limit."""
        return [thread for thread in self._abandoned if thread.is_alive()]

    def _thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="tqueue-task", daemon=True)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._take_task()
        except (ShutDown, TooLate):
            return
        except Exception as error:
            self._end(error)

    def _end(self, error: Exception) -> None:
        self.error = self.error or error
        self.stop()

    def _take_task(self) -> None:
        """Wait for a task for a second, and perform it."""
        task = None
        try:
            with ExitStack() as stack:
                queue, task = self._next_task()
                stack.push(task)
                self._perform(queue, task)
            self._count(done=1)
        except (Empty, NotPerformed):
            pass
        except RecordedError as error:
            self._failed(queue, task, error.failure)
        except ResultError as error:
            self._failed(queue, task, describe(error.with_traceback(None)))
        except ItemError as error:
            self._count(failed=1)
            self._report(f"{error}; it is released")
        except OSError:
            if task is not None or not self._stopping:
                raise
        except LeaseLost as error:
            self._count(lost=1)
            self._report(f"{error}: another worker may have got it")

    def _next_task(self) -> tuple[Queue, Task]:
        """Wait for a task for a second. Return its queue and its block, which has been entered."""
        if not self._getting.acquire(timeout=STOPPED):
            raise Empty
        try:
            return self._choice.enter(self._delay)
        finally:
            self._getting.release()

    def _perform(self, queue: Queue, task: Task) -> None:
        """Call the function, and set the result of the task."""
        caller, current = self._free_caller(), CurrentTask(queue.name, task.task_id, task.delivery)
        call = self._limits.begin(queue, task)
        self._count(running=1)
        try:
            outcome = caller.call(task.item, task.report_progress, task.trace, current)
        except WorkerError as error:
            self._end(error)
            raise NotPerformed from error
        finally:
            in_time = self._limits.end(call)
            if in_time:
                self._count(running=-1)
                self._free.put(caller)
        if not in_time:
            self._report(f"the function has returned for task {task.task_id}, which had already failed")
            raise TooLate
        if outcome.failure is not None:
            raise RecordedError(outcome.failure)
        task.result = outcome.result
        self._note_result(queue, outcome.result)

    def _free_caller(self) -> FunctionCaller:
        """Wait until the function may be called."""
        while not self._stopping:
            try:
                return self._free.get(timeout=STOPPED)
            except NoneFree:
                pass
        raise NotPerformed

    def _note_result(self, queue: Queue, result: Any) -> None:
        """Report once that a queue does not keep a result."""
        if result is None or self._returned or self.options.get(queue.name, {}).get("keep", 1) > 0:
            return
        with suppress(OSError, ServerError):  # The option may have been set since the worker has started.
            self.options[queue.name] = queue.config()
        if self.options[queue.name].get("keep", 1) > 0:
            return
        with self._lock:
            is_first, self._returned = not self._returned, True
        if is_first:
            self._report(_not_kept(queue.name, type(result).__name__))

    def _failed(self, queue: Queue, task: Task | None, failure: Failure) -> None:
        """Count and report a failure."""
        self._count(failed=1)
        if task is not None:
            self._report(describe_failure(task, queue.name, failure))

    def _expired(self, call: RunningCall) -> None:
        """Record that the time of a call is over, and replace its thread. Called in another thread."""
        self._count(running=-1)
        failure = over_limit(self._limit or 0.0, call.stack)
        error = RecordedError(failure)
        call.task.__exit__(type(error), error, None)
        self._failed(call.queue, call.task, failure)
        hanging = len(self.hanging) + 1
        if hanging > self._most:
            self._end(WorkerError(f"too many functions hang after their time limit: {hanging}"))
        else:
            self._add_caller()
            self._threads.append(thread := self._thread())
            thread.start()
        self._abandoned.append(call.thread)  # last, because there must always be a thread until the end

    def _count(self, done: int = 0, failed: int = 0, lost: int = 0, running: int = 0) -> None:
        with self._lock:
            self.done += done
            self.failed += failed
            self.lost += lost
            self.running += running
