"""Parts of an L{async_queue.AsyncQueue}, without Twisted. Needs the standard library only."""

from __future__ import annotations

from types import TracebackType
from typing import Any, NoReturn, Protocol

from .errors import LeaseLost, ShutDown


class Block(Protocol):
    """A L{async_queue.AsyncTask}."""

    async def __aenter__(self) -> Any:
        """Get a task. Return its item."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the task, or release it after an error."""


class TaskSource(Protocol):
    """The methods that L{AsyncTasks} needs in a queue."""

    def task(self) -> Any:
        """Return a L{Block}."""

    def _warn(self, text: str) -> None:
        """Log a warning."""

    def _release_later(self, block: Any) -> None:
        """Leave a L{Block} in the background, as C{break} does."""


class AsyncTasks:
    """
    The items of C{AsyncQueue.tasks()}.

    This is not an asynchronous generator, because C{break} would not end a generator at once.
    """

    def __init__(self, queue: TaskSource) -> None:
        self._queue = queue
        self._block: Block | None = None  # of the item that was returned last

    def __aiter__(self) -> AsyncTasks:
        return self

    async def __anext__(self) -> Any:
        block, self._block = self._block, None
        if block is not None:
            try:
                await block.__aexit__(None, None, None)
            except LeaseLost as error:
                self._queue._warn(str(error))
        block = self._queue.task()
        try:
            item = await block.__aenter__()
        except ShutDown:
            raise StopAsyncIteration from None
        self._block = block
        return item

    def __del__(self) -> None:
        if self._block is not None:
            self._queue._release_later(self._block)


class Absent:
    """
    An attribute of C{Queue} whose value needs a request, so that C{AsyncQueue} cannot have it.

    @param instead: what to write.
    """

    def __init__(self, instead: str) -> None:
        self._instead = instead

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, queue: Any, kind: type | None = None) -> NoReturn:
        raise AttributeError(f"AsyncQueue has no {self._name}, which needs a request; write {self._instead}")

    def __set__(self, queue: Any, value: Any) -> NoReturn:
        self.__get__(queue)
