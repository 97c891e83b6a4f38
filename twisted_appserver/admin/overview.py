"""The figures of a whole service: what its servers have counted, and what each of them does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from twisted_appserver.admin.counts import Counts
from twisted_appserver.admin.figures import Figures
from twisted_appserver.admin.present import Present, present
from twisted_appserver.admin.running_calls import MOST_CALLS


class WantedFigures(msgspec.Struct, omit_defaults=True):
    """
    The figures that are of interest.

    @ivar since: only the history after this time, in seconds since the epoch.
    @ivar tracebacks: whether the tracebacks of failures are included.
    @ivar readiness: whether only readiness is of interest: check the stores, and do not start counting.
    """

    since: float = 0.0
    tracebacks: bool = False
    readiness: bool = False


@dataclass
class Overview:
    """
    The figures of a service.

    @ivar counts: the sums of all servers, including servers that have ended.
    @ivar servers: the servers.
    """

    counts: Counts
    servers: list[Present]

    def total(self, name: str) -> int:
        """Return the sum of an attribute of all servers, such as C{running} or C{connections}."""
        return sum(getattr(each, name) for each in self.servers)

    @property
    def size(self) -> int:
        """The number of threads and worker processes."""
        return sum(each["size"] for each in self.executors().values())

    def executors(self) -> dict[str, dict[str, int]]:
        """Return the numbers of threads or workers, running and waiting calls, by executor."""
        found: dict[str, dict[str, int]] = {}
        for server in self.servers:
            for name, numbers in server.executors.items():
                sums = found.setdefault(name, dict.fromkeys(numbers, 0))
                for key, number in numbers.items():
                    # The threads of a replaced server get no new calls.
                    sums[key] += 0 if key == "size" and server.replaced else number
        return found

    def at_work(self) -> dict[str, dict[str, Any]]:
        """Return the numbers of running and waiting calls by function, and the name of its form."""
        found: dict[str, dict[str, Any]] = {}
        for server in self.servers:
            for name, each in server.at_work.items():
                sums = found.setdefault(name, {"running": 0, "pending": 0, "page": each["page"]})
                for key in ("running", "pending"):
                    sums[key] += each[key]
        return found

    def workers(self) -> list[dict[str, Any]]:
        """Return the worker processes, with the numbers of their servers if there are several."""
        return [each | _number(server) for server in self.servers for each in server.workers]

    def running_calls(self) -> list[dict[str, Any]]:
        """Return the calls that run, except in worker processes, as L{workers}. The oldest comes first."""
        calls = [each | _number(server) for server in self.servers for each in server.running_calls]
        return sorted(calls, key=lambda call: -call["seconds"])[:MOST_CALLS]

    def unready(self) -> str:
        """Return why no server can perform calls; empty if one of them can."""
        in_use = [each for each in self.servers if not each.replaced]
        if in_use and not all(each.unready for each in in_use):
            return ""
        return "; ".join(_reasons(in_use)) or "no server is ready"

    def problems(self) -> str:
        """Return why servers can perform no calls, and why the last reload failed."""
        in_use = [each for each in self.servers if not each.replaced]
        reload = next((each.problem for each in in_use if each.problem), "")
        return "; ".join(filter(None, (*_reasons(in_use), reload)))

    def queues(self, queues: dict[str, Any]) -> dict[str, Any]:
        """
        Return the figures of queues with the requests to all servers.

        @param queues: the figures of one server, by queue. Servers share the tasks.
        """
        counts = self.counts.queues
        return {name: each | counts.get(name, {}) for name, each in queues.items()}


def _number(server: Present) -> dict[str, str]:
    return {"server": server.number} if server.number else {}


def _reasons(servers: list[Present]) -> list[str]:
    return [
        f"server {each.number}: {each.unready}" if each.number else each.unready
        for each in servers
        if each.unready
    ]


class Overviews:
    """
    Makes overviews of a service.

    @param figures: the figures of this server.
    @ivar collect: if there are several servers, a function that collects the figures of all of them.
    """

    collect: Callable[[WantedFigures], Awaitable[Overview]] | None = None

    def __init__(self, figures: Figures) -> None:
        self.figures = figures

    async def overview(self, since: float = 0.0, tracebacks: bool = False) -> Overview:
        """Return the figures, and count calls from now on. The arguments are as in L{WantedFigures}."""
        self.figures.keep_counting()
        if self.collect is not None:
            return await self.collect(WantedFigures(since, tracebacks))
        return Overview(self.figures.counts(), [present(self.figures)])

    async def unready(self) -> str:
        """
        Check the stores, and return why no server can perform calls. Other servers are asked only if this one
        cannot, so a probe does not wait for a server that hangs.
        """
        service = self.figures.service
        await service.check()
        reason = str(service.unready())
        if not reason or self.collect is None:
            return reason
        return (await self.collect(WantedFigures(readiness=True))).unready()
