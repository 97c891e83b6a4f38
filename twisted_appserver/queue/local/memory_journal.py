"""A store that keeps nothing but results: tasks are lost when the server ends."""

from __future__ import annotations

from os import urandom
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_appserver.queue.local.journal import Change, IStore, Saved
from twisted_appserver.queue.task_result import TaskResult


@implementer(IStore)
class MemoryStore:
    """Keeps results in memory. Everything else costs nothing."""

    def open(self, reactor: Any) -> Saved:
        self._reactor = reactor
        self._results: dict[str, dict[int, TaskResult]] = {}  # by queue and number, in order of their ends
        return Saved(urandom(32))

    def write(self, change: Change) -> Deferred[None] | None:
        if change.results or change.configs:
            self._keep(change)
        return None

    def _keep(self, change: Change) -> None:
        for name, most, result in change.results:
            results = self._results.setdefault(name, {})
            results[result.number] = result
            while len(results) > most:
                del results[next(iter(results))]
        for name, config in change.configs:
            if config is None:
                self._results.pop(name, None)

    def find_result(self, name: str, number: int) -> Deferred[TaskResult | None]:
        found = self._results.get(name, {}).get(number)
        is_kept = found is not None and found.until > self._reactor.seconds()
        return succeed(found if is_kept else None)

    def free_unused_space(self) -> None:
        now = self._reactor.seconds()
        for name, results in list(self._results.items()):
            for number in [number for number, result in results.items() if result.until <= now]:
                del results[number]
            if not results:
                del self._results[name]

    def close(self) -> Deferred[None]:
        return succeed(None)
