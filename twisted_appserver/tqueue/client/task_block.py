"""A task for the length of a block, as both clients have it. Needs the standard library only."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from .leases import BLOCK, LeasedTask
from .verbs import StepRunner

Q = TypeVar("Q", bound=StepRunner)


class TaskBlock(Generic[Q]):
    """
    It may be used for one block at a time.

    @ivar item: the item that the queue returned; C{None} before the block.
    @ivar result: the result of the task, which the block may set; C{None} for none.
    """

    def __init__(self, queue: Q, timeout: float | None, delay: float | None) -> None:
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
    def lost(self) -> bool:
        """
        Whether the lease has run out, so that another worker may have got the task.

        A function that takes long may check this before a step that must not be done twice.
        """
        return self._leased is not None and self._queue._session.tasks.lost(self._leased)

    def _begin(self, task: LeasedTask) -> Any:
        """Begin the block with this task. Return its item."""
        task.owner = BLOCK
        self._leased, self.item, self.result = task, task.item, None
        return task.item
