"""The queues of routes: their names, and the routes that perform their jobs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Any

from twisted_appserver.core.router import Router
from twisted_appserver.dispatch.dispatcher import Dispatcher

PREFIX = "job."
TAG = 8  # digits that tell apart patterns with the same function
SCHEDULED = "s"  # ends the names of queues for scheduled calls; no digit does
LONGEST_PART = 100  # characters of the function's name
NOT_IN_NAMES = re.compile(r"[^\w.]", re.ASCII)


@lru_cache(1024)
def queue_name(function: str, regex: str) -> str:
    """
    Return the name of the queue of a route. It is the same after a restart and on every host.

    @param function: the name of the route.
    @param regex: its whole pattern.
    """
    tag = sha256(f"{function}\n{regex}".encode()).hexdigest()[:TAG]
    return f"{PREFIX}{NOT_IN_NAMES.sub('_', function)[:LONGEST_PART]}.{tag}"


@lru_cache(1024)
def schedule_queue(name: str, schedule: str) -> str:
    """
    Return the name of the queue for the scheduled calls of a route. Another schedule has another queue, so
    that hosts with the old table do not disturb hosts with the new one.

    @param name: the name of the queue of the route.
    @param schedule: the text of its schedule.
    """
    tag = sha256(f"{name}\n{schedule}".encode()).hexdigest()[:TAG]
    return f"{name.rpartition('.')[0]}.{tag}{SCHEDULED}"


def queue_of(handler: Any) -> str:
    """Return the name of the queue of a handler, which may belong to an earlier table."""
    return queue_name(handler.name, handler.router.entries[handler.index].regex)


def tag_of(name: str) -> str:
    """Return the last part of the name of a queue, which begins the names of its jobs."""
    return name.rpartition(".")[2]


class RouteQueues:
    """The queues of the table that a dispatcher serves now."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._router: Router | None = None
        self._entries: dict[str, list[Any]] = {}

    def _current(self) -> dict[str, list[Any]]:
        """Return the entries of the table by the names of their queues."""
        router = self._dispatcher.router
        if router is not self._router:
            self._router, self._entries = router, {}
            for entry in router.entries:
                handler = entry.handler
                name = queue_name(handler.name, entry.regex)
                self._entries.setdefault(name, []).append(entry)
                if handler.schedule is not None:
                    self._entries[schedule_queue(name, handler.schedule.text)] = [entry]
        return self._entries

    @property
    def names(self) -> Iterable[str]:
        """The names of the queues."""
        return self._current().keys()

    def executor_of(self, name: str) -> str:
        """Return the name of the executor that performs the jobs of a queue."""
        return self._current()[name][0].handler.executor or self._dispatcher.default

    def handler_of(self, name: str) -> Any:
        """Return the handler of a queue; C{None} if the table has no route for it, or for a schedule."""
        entries = self._current().get(name)
        return entries[0].handler if entries and not name.endswith(SCHEDULED) else None

    def limited(self) -> list[str]:
        """Return the names of the queues whose routes have limits."""
        return [name for name in self.names if getattr(self.handler_of(name), "limits", None) is not None]

    def find(self, name: str, method: str, path: str) -> tuple[Any, dict[str, str]] | None:
        """
        Find the route of a queue again. A scheduled call is made even if the route has other methods now.

        @return: its handler and the groups of the path; C{None} if the table has no such route any more.
        """
        for entry in self._current().get(name, ()):
            found = entry.match(path) if method in entry.methods or name.endswith(SCHEDULED) else None
            if found is not None:
                groups = {group: text for group, text in found.groupdict().items() if text is not None}
                return entry.handler, groups
        return None
