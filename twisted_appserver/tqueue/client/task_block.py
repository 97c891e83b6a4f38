"""A task for the length of a block, as both clients have it. Needs the standard library only."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from .failures import RetryAfter
from .leases import BLOCK, LeasedTask
from .trace import NO_TRACE, Trace
from .verbs import StepRunner

Q = TypeVar("Q", bound=StepRunner)


class TaskBlock(Generic[Q]):
    """
    A task for one block at a time.

    @ivar item: the item that the queue returned; C{None} before the block.
    @ivar result: the result of the task, which the block may set; C{None} for none.
    """

    def __init__(self, queue: Q, timeout: float | None, delay: RetryAfter) -> None:
        self._queue, self._timeout, self._delay = queue, timeout, delay
        self._leased: LeasedTask | None = None
        self.item: Any = None
        self.result: Any = None

    @property
    def task_id(self) -> str:
        """The id of the task; empty before the block."""
        return "" if self._leased is None else self._leased.task_id

    @property
    def delivery(self) -> int:
        """How often the task has been handed out, this time included; 0 before the block."""
        return 0 if self._leased is None else self._leased.delivery

    @property
    def trace(self) -> Trace:
        """
        The trace that the task belongs to, as headers for requests to other services (W3C Trace Context):
        C{traceparent}, and perhaps C{tracestate}. Empty for none.
        """
        return NO_TRACE if self._leased is None else self._leased.trace

    @property
    def retry(self) -> RetryAfter:
        """
        After a block that raised an exception: the seconds until the task is tried again, or C{False} if it
        is buried. C{None} if the server has not answered.
        """
        return None if self._leased is None else self._leased.retry

    @property
    def lost(self) -> bool:
        """
        Whether the lease has run out, so that another worker may have got the task.

        A function that takes long may check this before a step that must not be done twice.
        """
        return self._leased is not None and self._queue._session.tasks.lost(self._leased)

    def report_progress(self, value: Any) -> None:
        """
        Report the progress of the task. The last report is sent with the next renewal of the lease, after a
        twelfth of the lease at the latest, and is forgotten when the lease ends.

        @param value: a number from 0 to 1, text such as C{"3 of 10"}, or any JSON value of at most 1000
            bytes.
        @raise RuntimeError: before the block.
        @raise ValueError: when the value is too long.
        @raise TypeError: when it cannot be sent as JSON.
        """
        if self._leased is None:
            raise RuntimeError("report_progress(): the block of the task has not begun")
        self._leased.progress.report(value)

    def _begin(self, task: LeasedTask) -> Any:
        """Begin the block with this task. Return its item."""
        task.owner = BLOCK
        self._leased, self.item, self.result = task, task.item, None
        return task.item
