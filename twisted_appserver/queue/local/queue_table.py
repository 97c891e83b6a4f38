"""All queues of a broker, by name.

Every name can be used. It counts as a queue only while it has a task or an option. Other names, such as one
at which only gets wait, are soon forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted_appserver.core.durations import Durations
from twisted_appserver.queue.config import Config
from twisted_appserver.queue.interface import LimitError
from twisted_appserver.queue.local.journal import Saved
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.model import TaskQueue
from twisted_appserver.queue.request_keys import Remembered, forget

SWEEP_INTERVAL = 5.0  # seconds after which an empty queue is forgotten, and between two searches for them


class QueueTable:
    """
    @param reactor: an C{IReactorTime}.
    @param max_queues: the maximum number of queues that count.
    """

    def __init__(self, reactor: Any, max_queues: int) -> None:
        self._reactor, self._max_queues = reactor, max_queues
        self._queues: dict[str, LocalQueue] = {}
        self._bare: dict[str, float] = {}  # when the names that do not count became bare
        self._keys: dict[str, dict[str, Remembered]] = {}  # keys of forgotten queues

    def restore(self, saved: Saved) -> None:
        """Add the queues that a store has kept."""
        now = self._reactor.seconds()
        for name in saved.configs.keys() | saved.tasks.keys():
            queue = TaskQueue(name, saved.configs.get(name, Config()))
            queue.fill(saved.tasks.get(name, []), now)
            if queue.pace is not None:
                queue.pace.last = min(now, saved.paces.get(name, queue.pace.last))
            self._queues[name] = LocalQueue(queue, self._reactor)
        for name, lane, remembered in saved.keys:
            local = self._queues.get(name)
            keys = self._keys.setdefault(name, {}) if local is None else local.queue.keys
            keys[lane] = remembered

    def names(self) -> list[str]:
        """Return the names of all queues that count, sorted."""
        return sorted(self._queues.keys() - self._bare.keys())

    def durations(self) -> dict[tuple[str, str], Durations]:
        """Return the durations of attempts by queue and outcome."""
        return {
            (local.queue.name, outcome): durations
            for local in self.all()
            for outcome, durations in local.durations.items()
        }

    def all(self) -> Iterable[LocalQueue]:
        """Return all queues, including queues that do not count."""
        return list(self._queues.values())

    def find(self, name: str) -> LocalQueue | None:
        """Return a queue, if there is one."""
        return self._queues.get(name)

    def find_or_make(self, name: str) -> LocalQueue:
        """Return a queue. A new one does not count yet."""
        local = self._queues.get(name)
        if local is None:
            local = self._queues[name] = LocalQueue(TaskQueue(name), self._reactor)
            local.queue.keys = self._keys.pop(name, {})
            self.note_bare(local)
        return local

    def has(self, local: LocalQueue) -> bool:
        """Return whether this queue still exists: it was neither deleted nor forgotten."""
        return self._queues.get(local.queue.name) is local

    def note_bare(self, local: LocalQueue) -> None:
        """Record that a queue has neither tasks nor options."""
        if self.has(local):
            self._bare.setdefault(local.queue.name, self._reactor.seconds())

    def claim(self, local: LocalQueue) -> None:
        """
        Count a queue, because it is about to get a task or an option.

        @raise LimitError: when there are too many queues.
        """
        name = local.queue.name
        if name in self._bare:
            if len(self._queues) - len(self._bare) >= self._max_queues:
                raise LimitError(f"there are {self._max_queues} queues already; delete some")
            del self._bare[name]

    def remove(self, name: str) -> tuple[LocalQueue | None, bool]:
        """
        Remove a queue and its keys.

        @return: the queue, if there is one, and whether the store may contain any of its data.
        """
        local = self._queues.pop(name, None)
        self._bare.pop(name, None)
        keys = self._keys.pop(name, None) if local is None else None
        return local, local is not None or bool(keys)

    def forget_bare(self) -> None:
        """Forget queues that have had no tasks or options for a while. Keep their keys."""
        now = self._reactor.seconds()
        for name, since in list(self._bare.items()):
            local = self._queues[name]
            if since <= now - SWEEP_INTERVAL and not local.has_waiters:
                local.cancel_timers()
                if local.queue.keys:
                    self._keys[name] = local.queue.keys
                del self._queues[name], self._bare[name]

    def forget_keys(self, now: float) -> list[tuple[str, str]]:
        """Forget keys that have expired, and return their queues and lanes."""
        known = {name: local.queue.keys for name, local in self._queues.items()}
        expired = [
            (name, lane) for name, keys in [*known.items(), *self._keys.items()] for lane in forget(keys, now)
        ]
        self._keys = {name: keys for name, keys in self._keys.items() if keys}
        return expired

    def clear(self) -> None:
        """Forget everything, and cancel all timers."""
        for local in self._queues.values():
            local.cancel_timers()
        for known in (self._queues, self._bare, self._keys):
            known.clear()
