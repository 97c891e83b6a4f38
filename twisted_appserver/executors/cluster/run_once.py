"""A plugin of Dask's scheduler that lets each task begin only once.

Dask repeats a task when its worker dies, even if the task had ended and only its result was lost. A call that
is not idempotent must not run twice, so its task first asks the scheduler whether it may begin.
"""

from __future__ import annotations

from typing import Any


class RunOnce:
    """
    Remembers which tasks have begun. A task that the scheduler has forgotten never begins.

    Dask keeps only one plugin with a given name. So this plugin serves all servers, and survives when they
    connect again.
    """

    name, idempotent = "twisted-appserver-once", True

    def start(self, scheduler: Any) -> None:
        """Install the request C{appserver_begin}."""
        self._begun: set[str] = set()
        self._tasks = scheduler.tasks
        scheduler.handlers["appserver_begin"] = self.begin

    def begin(self, key: str) -> bool:
        """Return whether this task may begin. Record that it has begun."""
        if key in self._begun or key not in self._tasks:
            return False
        self._begun.add(key)
        return True

    def transition(self, key: str, start: str, finish: str, *args: Any, **more: Any) -> None:
        """Forget a task together with the scheduler."""
        if finish == "forgotten":
            self._begun.discard(key)


def make_plugin(dask: Any) -> Any:
    """Return a L{RunOnce} that is also a plugin for C{dask}, the module C{distributed}."""
    return type("OncePlugin", (RunOnce, dask.SchedulerPlugin), {})()
