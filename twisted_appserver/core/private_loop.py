"""
An event loop for code that waits, even in a thread in which another event loop runs.

asyncio refuses to run an event loop inside another one. A test that is a coroutine runs inside one, and so
may the garbage collector.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any


@contextmanager
def no_running_loop() -> Iterator[None]:
    """Hide the event loop that runs in this thread, and its current task. It stands still meanwhile."""
    outer = asyncio._get_running_loop()
    if outer is None:
        yield
        return
    task = asyncio.current_task(outer)
    if task is not None:
        _leave_task(outer, task)
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(outer)
        if task is not None:
            _enter_task(outer, task)


class PrivateLoop:
    """
    An event loop that runs in the calling thread while the caller waits. It is not the event loop that
    asyncio remembers for a thread. Several threads take turns.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._turn = RLock()
        self.loop = self._runner.get_loop()

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Wait until a coroutine has ended."""
        with self._turn, no_running_loop():
            self._runner.run(coroutine)

    def call(self, function: Callable[[], object]) -> None:
        """Call a function that may run the loop."""
        with self._turn, no_running_loop():
            function()

    def close(self) -> None:
        """Cancel all tasks, wait until they have ended, and close the loop."""
        self.call(self._runner.close)
