"""The figures as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from twisted_appserver.admin.figures import BOUNDS, Figures
from twisted_appserver.core.call import Reply
from twisted_appserver.errors import HTTPError

LABELS = ("route", "status")


class Metrics:
    """
    What C{prometheus_client} collects from. Calls are counted from the first scrape on.

    @param figures: of the service.
    """

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._registry: Any = None

    async def metrics(self) -> Reply:
        """Everything, in Prometheus' text format; 501 without the extra C{metrics}."""
        try:  # on the reactor, so that a full thread pool does not hold it up
            from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        except ImportError:
            raise HTTPError(501, "this needs: pip install 'twisted_appserver[metrics]'") from None
        if self._registry is None:
            self._registry = CollectorRegistry()
            self._registry.register(self)
        self._figures.look()
        return Reply(generate_latest(self._registry), 200, {"Content-Type": CONTENT_TYPE_LATEST})

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        service = self._figures.service
        total = self._figures.total
        calls = HistogramMetricFamily(
            "appserver_call_seconds", "Calls, from their arrival to their answer.", labels=LABELS
        )
        for (name, status), durations in list(self._figures.calls.items()):
            counts = accumulate(durations.counts)
            bounds = (*map(str, BOUNDS), "+Inf")
            buckets = [(bound, count) for bound, count in zip(bounds, counts, strict=True)]
            calls.add_metric((name, str(status)), buckets, sum_value=durations.total)
        yield calls
        for name, text, value in (
            ("pending", "Calls that wait for a thread or worker.", total("pending")),
            ("running", "Calls that run.", total("running")),
            ("parked", "Answers in parts that wait for their clients.", total("parked")),
            ("size", "Threads or workers.", service.executor.size),
            ("ready", "Whether a call can be taken.", int(not service.unready())),
            ("connections", "Open connections.", service.site.connections),
        ):
            yield GaugeMetricFamily(f"appserver_{name}", text, value=value)
        for name, text, value in (
            ("completed", "Calls that ended with a status below 500.", total("completed")),
            ("failed", "Calls that ended in any other way.", total("failed")),
            ("restarts", "Worker processes that have ended unasked.", self._figures.restarts),
        ):
            yield CounterMetricFamily(f"appserver_{name}", text, value=value)
        queues = GaugeMetricFamily("tqueue_tasks", "Tasks, by their place.", labels=("queue", "place"))
        counted = CounterMetricFamily("tqueue_requests", "What became of tasks.", labels=("queue", "what"))
        for name, figures in service.queues().items():
            for place in ("ready", "delayed", "leased", "buried"):
                queues.add_metric((name, place), figures[place])
            for what in ("puts", "gets", "dones", "returned"):
                counted.add_metric((name, what), figures[what])
        yield queues
        yield counted
