"""The metrics of a service for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from twisted_appserver.admin.figures import BOUNDS, Figures
from twisted_appserver.core.call import Reply
from twisted_appserver.errors import HTTPError, how_to_install

LABELS = ("route", "status")


class Metrics:
    """
    Export the figures of a service. It is a collector of C{prometheus_client}. Counting starts with the first
    request.

    @param figures: the figures of the service.
    """

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._registry: Any = None

    async def metrics(self) -> Reply:
        """
        Return all metrics in the text format of Prometheus.

        @raise HTTPError: 501 if the extra C{metrics} is not installed.
        """
        try:  # imported on the reactor, so that a full thread pool does not delay it
            from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        except ImportError:
            raise HTTPError(501, f"metrics need the extra metrics; {how_to_install('metrics')}") from None
        if self._registry is None:
            self._registry = CollectorRegistry()
            self._registry.register(self)
        self._figures.keep_counting()
        return Reply(generate_latest(self._registry), 200, {"Content-Type": CONTENT_TYPE_LATEST})

    def collect(self) -> Iterator[Any]:
        """Yield the metric families; C{prometheus_client} calls this."""
        yield self._durations()
        yield from self._gauges_and_counters()
        yield from self._queues()

    def _durations(self) -> Any:
        from prometheus_client.core import HistogramMetricFamily

        calls = HistogramMetricFamily(
            "appserver_call_seconds", "Duration of calls, from arrival to response.", labels=LABELS
        )
        for (name, status), durations in list(self._figures.calls.items()):
            counts = accumulate(durations.counts)
            bounds = (*map(str, BOUNDS), "+Inf")
            buckets = [(bound, count) for bound, count in zip(bounds, counts, strict=True)]
            calls.add_metric((name, str(status)), buckets, sum_value=durations.total)
        return calls

    def _gauges_and_counters(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        service, total = self._figures.service, self._figures.total
        for name, text, value in (
            ("pending", "Calls waiting for a thread or worker process.", total("pending")),
            ("running", "Running calls.", total("running")),
            ("parked", "Streams waiting for their clients to read.", total("parked")),
            ("size", "Threads or worker processes.", total("size")),
            ("ready", "1 if calls can be performed, otherwise 0.", int(not service.unready())),
            ("connections", "Open connections.", service.site.connections),
        ):
            yield GaugeMetricFamily(f"appserver_{name}", text, value=value)
        for name, text, value in (
            ("completed", "Calls answered with a status below 500.", total("completed")),
            ("failed", "Calls that failed.", total("failed")),
            ("restarts", "Worker processes that died and were replaced.", self._figures.restarts),
        ):
            yield CounterMetricFamily(f"appserver_{name}", text, value=value)

    def _queues(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        queues = GaugeMetricFamily("tqueue_tasks", "Tasks by state.", labels=("queue", "place"))
        counted = CounterMetricFamily("tqueue_requests", "Requests by kind.", labels=("queue", "what"))
        for name, figures in self._figures.service.queues().items():
            for place in ("ready", "delayed", "leased", "buried"):
                queues.add_metric((name, place), figures[place])
            for what in ("puts", "gets", "dones", "returned"):
                counted.add_metric((name, what), figures[what])
        yield queues
        yield counted
