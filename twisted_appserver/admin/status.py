"""The data of the status page."""

from __future__ import annotations

from typing import Any

from twisted_appserver.admin.figures import Figures
from twisted_appserver.admin.function_names import own_name
from twisted_appserver.admin.running_calls import active_calls, describe_workers, running_calls
from twisted_appserver.core.call import Call
from twisted_appserver.core.durations import percentile
from twisted_appserver.jobs.documents import shows_tracebacks

RATE_TIME = 10  # seconds over which the rate of requests is averaged


class Status:
    """
    Return the figures of a service.

    @param figures: the figures of the service.
    """

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    async def status(self, call: Call, after: float = 0.0) -> dict[str, Any]:
        """
        Return the data of the status page.

        @param after: only the history after this time, in seconds since the epoch.
        """
        figures, service = self._figures, self._figures.service
        figures.keep_counting()
        now, executors = figures.now(), figures.executors
        last = [second for second in figures.history if second.time > now - RATE_TIME]
        calls = sum(second.succeeded + second.refused + second.failed for second in last)
        return {
            "title": service.info.title,
            "line": service.line(),
            "unready": "; ".join(filter(None, (service.unready(), service.reload_problem))),
            "now": now,
            "started": figures.started,
            "counted_since": figures.counted_since,
            "not_counted": figures.not_counted,
            "rate": calls / len(last) if last else 0.0,
            **{name: figures.total(name) for name in ("running", "pending", "parked", "completed", "failed")},
            "restarts": figures.restarts,
            "connections": service.site.connections,
            "executors": {
                name: {"size": each.size, "running": each.running, "pending": each.pending}
                for name, each in executors.items()
            },
            "at_work": active_calls(executors),
            "running_calls": running_calls(executors, now),
            "workers": describe_workers(figures.pool, now),
            "routes": _routes(figures),
            "errors": [fault.document() for fault in figures.faults.seen_by(call.user)],
            "history": [second for second in figures.history if second.time > after],
            "jobs": service.dispatcher.jobs.unfinished(call.user),
            "queues": service.queues(),
        }

    async def errors(self, call: Call) -> dict[str, Any]:
        """
        Return the failures of functions, each group with the traceback of the last one. Tracebacks are left
        out if clients may not see them.
        """
        shown = shows_tracebacks(self._figures.service.dispatcher)
        return {
            "tracebacks": shown,
            "errors": [
                fault.document() | ({"traceback": fault.traceback} if shown else {})
                for fault in self._figures.faults.seen_by(call.user)
            ],
        }


def _routes(figures: Figures) -> dict[str, dict[str, Any]]:
    """
    Return the numbers of calls by the class of their status, and the durations in seconds, by the names of
    routes. C{page} is the name of the function on the page of functions.
    """
    routes: dict[str, dict[str, Any]] = {}
    for (name, status), durations in figures.calls.items():
        route = routes.setdefault(name or "(no function)", {"calls": 0, "4xx": 0, "5xx": 0, "counts": []})
        route["calls"] += durations.number
        if status >= 400:
            route["5xx" if status >= 500 else "4xx"] += durations.number
        pairs = zip(route["counts"] or [0] * len(durations.counts), durations.counts, strict=True)
        route["counts"] = [one + other for one, other in pairs]
        route["page"] = name and own_name(name)
    for route in routes.values():
        counts = route.pop("counts")
        route |= {"p50": percentile(counts, 0.5), "p99": percentile(counts, 0.99)}
    return routes
