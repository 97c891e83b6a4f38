"""The data of the status page."""

from __future__ import annotations

from typing import Any

from twisted_appserver.admin.counts import Counts
from twisted_appserver.admin.faults import seen_by
from twisted_appserver.admin.function_names import own_name
from twisted_appserver.admin.overview import Overviews
from twisted_appserver.core.call import Call
from twisted_appserver.core.durations import percentile
from twisted_appserver.jobs.documents import shows_tracebacks

RATE_TIME = 10  # seconds over which the rate of requests is averaged
NOW = ("running", "pending", "parked", "connections")
SO_FAR = ("completed", "failed", "restarts", "server_restarts", "started", "counted_since", "not_counted")


class Status:
    """
    Return the figures of a service.

    @param overviews: makes overviews of the service.
    """

    def __init__(self, overviews: Overviews) -> None:
        self._overviews = overviews
        self._service = overviews.figures.service

    async def status(self, call: Call, after: float = 0.0) -> dict[str, Any]:
        """
        Return the data of the status page.

        @param after: only the history after this time, in seconds since the epoch.
        """
        now, service = self._overviews.figures.now(), self._service
        overview = await self._overviews.overview(min(after, now - RATE_TIME))
        counts = overview.counts
        last = [second.calls for second in counts.history if second.time > now - RATE_TIME]
        return {
            "title": service.info.title,
            "line": service.line(),
            "unready": overview.problems(),
            "now": now,
            "rate": sum(last) / len(last) if last else 0.0,
            **{name: overview.total(name) for name in NOW},
            **{name: getattr(counts, name) for name in SO_FAR},
            "executors": overview.executors(),
            "at_work": overview.at_work(),
            "servers": [each.document(now) for each in overview.servers],
            "running_calls": overview.running_calls(),
            "workers": overview.workers(),
            "routes": _routes(counts),
            "errors": [fault.document() for fault in seen_by(call.user, counts.faults)],
            "history": [second.row() for second in counts.history if second.time > after],
            "jobs": service.dispatcher.jobs.unfinished(call.user),
            "queues": overview.queues(service.queues()),
        }

    async def errors(self, call: Call) -> dict[str, Any]:
        """
        Return the failures of functions, each group with the traceback of the last one. Tracebacks are left
        out if clients may not see them.
        """
        shown = shows_tracebacks(self._service.dispatcher)
        counts = (await self._overviews.overview(tracebacks=True)).counts
        return {
            "tracebacks": shown,
            "errors": [
                fault.document() | ({"traceback": fault.traceback} if shown else {})
                for fault in seen_by(call.user, counts.faults)
            ],
        }


def _routes(counts: Counts) -> dict[str, dict[str, Any]]:
    """
    Return the numbers of calls by the class of their status, and the durations in seconds, by the names of
    routes. C{page} is the name of the function on the page of functions.
    """
    routes: dict[str, dict[str, Any]] = {}
    for durations in counts.calls:
        name, status = durations.name, int(durations.kind)
        route = routes.setdefault(name or "(no function)", {"calls": 0, "4xx": 0, "5xx": 0, "counts": []})
        route["calls"] += durations.number
        if status >= 400:
            route["5xx" if status >= 500 else "4xx"] += durations.number
        pairs = zip(route["counts"] or [0] * len(durations.counts), durations.counts, strict=True)
        route["counts"] = [one + other for one, other in pairs]
        route["page"] = name and own_name(name)
    for route in routes.values():
        buckets = route.pop("counts")
        route |= {"p50": percentile(buckets, 0.5), "p99": percentile(buckets, 0.99)}
    return routes
