"""A store that keeps only results and attempts: tasks are lost when the server ends."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from os import urandom
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_appserver.queue.attempt import MOST_ATTEMPTS, Attempt
from twisted_appserver.queue.local.journal import Change, IStore, Saved
from twisted_appserver.queue.paging import Place
from twisted_appserver.queue.task_result import TaskResult


@implementer(IStore)
class MemoryStore:
    """Keeps results and attempts in memory. Everything else costs nothing."""

    has_taken = False

    def open(self, reactor: Any) -> Saved:
        self._reactor, self.has_taken = reactor, False
        self._results: dict[str, dict[int, TaskResult]] = {}  # by queue and number, in order of their ends
        self._attempts: dict[str, dict[int, list[Attempt]]] = {}  # by queue and number
        self._taken: dict[str, dict[str, tuple[int, float]]] = {}  # numbers and times, by queue and key
        return Saved(urandom(32))

    def write(self, change: Change) -> Deferred[None] | None:
        if change.results or change.configs:
            self._keep(change)
        if change.attempts or change.forgotten:
            self._record(change)
        if change.taken or change.freed:
            self._take(change)
        for name, number in change.unkept:
            if number in self._results.get(name, {}):
                self._drop(name, number)
        return None

    def _take(self, change: Change) -> None:
        for name, key in change.freed:
            self._taken.get(name, {}).pop(key, None)
        for name, key, number, until in change.taken:
            self._taken.setdefault(name, {})[key] = number, until
            self.has_taken = True

    def _record(self, change: Change) -> None:
        for name, attempt in change.attempts:
            attempts = self._attempts.setdefault(name, {}).setdefault(attempt.number, [])
            attempts.append(attempt)
            del attempts[:-MOST_ATTEMPTS]
        for name, number in change.forgotten:
            self._forget(name, number)

    def _forget(self, name: str, number: int) -> None:
        """Delete the attempts of a task."""
        attempts = self._attempts.get(name, {})
        attempts.pop(number, None)
        if not attempts:
            self._attempts.pop(name, None)

    def _keep(self, change: Change) -> None:
        for name, most, result in change.results:
            results = self._results.setdefault(name, {})
            results[result.number] = result
            while len(results) > most:
                self._drop(name, next(iter(results)))
        for name, config in change.configs:
            if config is None:
                self._results.pop(name, None)
                self._attempts.pop(name, None)
                self._taken.pop(name, None)

    def _drop(self, name: str, number: int) -> None:
        """Delete a result."""
        del self._results[name][number]
        self._forget(name, number)

    def find_result(self, name: str, number: int) -> Deferred[TaskResult | None]:
        found = self._results.get(name, {}).get(number)
        is_kept = found is not None and found.until > self._reactor.seconds()
        return succeed(found if is_kept else None)

    def find_taken(self, name: str, keys: Sequence[str]) -> Deferred[dict[str, int]]:
        taken, now = self._taken.get(name, {}), self._reactor.seconds()
        return succeed({key: taken[key][0] for key in keys if key in taken and taken[key][1] > now})

    def find_ended(self, name: str, count: int, size: int, before: Place) -> Deferred[list[TaskResult]]:
        now = self._reactor.seconds()
        kept = {(each.ended, "", each.number): each for each in self._results.get(name, {}).values()}
        last = nlargest(count, (end for end, each in kept.items() if each.until > now and end < before))
        return succeed([replace(kept[end], result=kept[end].result[:size]) for end in last])

    def count_results(self, name: str) -> int:
        return len(self._results.get(name, ()))

    def find_attempts(self, name: str, numbers: Sequence[int]) -> Deferred[dict[int, list[Attempt]]]:
        attempts = self._attempts.get(name, {})
        return succeed({number: list(attempts[number]) for number in numbers if number in attempts})

    def free_unused_space(self) -> None:
        now = self._reactor.seconds()
        for name, results in list(self._results.items()):
            for number in [number for number, result in results.items() if result.until <= now]:
                self._drop(name, number)
            if not results:
                del self._results[name]
        taken = {
            name: {key: each for key, each in keys.items() if each[1] > now}
            for name, keys in self._taken.items()
        }
        self._taken = {name: keys for name, keys in taken.items() if keys}
        self.has_taken = bool(self._taken)

    def close(self) -> Deferred[None]:
        return succeed(None)
