"""Threads that repeat something until they are stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable


class RepeatingThreads:
    """
    Runs each function in a thread of its own. The functions return soon after L{stopping} is set.
    """

    def __init__(self, functions: Iterable[Callable[[], None]]) -> None:
        self.stopping = threading.Event()
        self._threads = [threading.Thread(target=function) for function in functions]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the functions return, and wait for them."""
        self.stopping.set()
        for thread in self._threads:
            thread.join()
