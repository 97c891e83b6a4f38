"""What a server does at the moment, as a value that several servers send to their supervisor."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from twisted_appserver.admin.figures import Figures
from twisted_appserver.admin.running_calls import active_calls, describe_workers, running_calls
from twisted_appserver.executors.processes.resident_memory import resident_memory


class Present(msgspec.Struct, omit_defaults=True):
    """
    What one server does at the moment.

    @ivar number: the number of the server; empty for a single server.
    @ivar started: when it was made, in seconds since the epoch.
    @ivar memory: bytes of its resident memory.
    @ivar calls: calls that it has answered.
    @ivar unready: why it can perform no calls; empty if it can.
    @ivar problem: why the last reload failed; empty if it succeeded.
    @ivar replaced: whether a successor has taken its place.
    @ivar connections: its open connections.
    @ivar executors: the numbers of threads or workers, running and waiting calls, by executor.
    @ivar at_work: the numbers of running and waiting calls by function.
    @ivar running_calls: the calls that run, except in worker processes.
    @ivar workers: its worker processes.
    """

    number: str
    pid: int
    started: float = 0.0
    memory: int = 0
    calls: int = 0
    unready: str = ""
    problem: str = ""
    replaced: bool = False
    connections: int = 0
    running: int = 0
    pending: int = 0
    parked: int = 0
    executors: dict[str, dict[str, int]] = {}
    at_work: dict[str, dict[str, Any]] = {}
    running_calls: list[dict[str, Any]] = []
    workers: list[dict[str, Any]] = []

    def document(self, now: float) -> dict[str, Any]:
        """Return the entry of the server in the list of servers."""
        return {
            "server": self.number,
            "pid": self.pid,
            "age": max(0.0, now - self.started),
            "memory": self.memory,
            "calls": self.calls,
            "connections": self.connections,
            "running": self.running,
            "pending": self.pending,
            "state": self.unready or ("is replaced" if self.replaced else "ready"),
        }


def present(figures: Figures, replaced: bool = False) -> Present:
    """
    Return what a server does at the moment.

    @param replaced: whether a successor has taken its place.
    """
    service, executors, now = figures.service, figures.executors, figures.now()
    return Present(
        service.number,
        os.getpid(),
        figures.started,
        resident_memory(os.getpid()),
        figures.total("completed") + figures.total("failed"),
        "" if replaced else service.unready(),
        service.reload_problem,
        replaced,
        service.site.connections,
        figures.total("running"),
        figures.total("pending"),
        figures.total("parked"),
        executors={
            name: {"size": each.size, "running": each.running, "pending": each.pending}
            for name, each in executors.items()
        },
        at_work=active_calls(executors),
        running_calls=running_calls(executors, now),
        workers=describe_workers(figures.pool, now),
    )
