"""The metrics of a service for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from twisted_appserver.admin.overview import Overview, Overviews
from twisted_appserver.core.call import Reply
from twisted_appserver.errors import HTTPError, how_to_install

LABELS = ("route", "status")


class Metrics:
    """
    Export the figures of a service. It is a collector of C{prometheus_client}. Counting starts with the first
    request.

    @param overviews: makes overviews of the service.
    """

    def __init__(self, overviews: Overviews) -> None:
        self._overviews = overviews
        self._overview: Overview
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
        self._overview = await self._overviews.overview(self._overviews.figures.now())
        return Reply(generate_latest(self._registry), 200, {"Content-Type": CONTENT_TYPE_LATEST})

    def collect(self) -> Iterator[Any]:
        """Yield the metric families; C{prometheus_client} calls this."""
        yield self._durations()
        yield from self._gauges_and_counters()
        yield from self._queues()
        yield from self._attempts()

    def _durations(self) -> Any:
        from prometheus_client.core import HistogramMetricFamily

        calls = HistogramMetricFamily(
            "appserver_call_seconds", "Duration of calls, from arrival to response.", labels=LABELS
        )
        for each in self._overview.counts.calls:
            bounds = (*map(str, each.bounds), "+Inf")
            buckets = [*zip(bounds, accumulate(each.counts), strict=True)]
            calls.add_metric((each.name, each.kind), buckets, sum_value=each.total)
        return calls

    def _gauges_and_counters(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counts, total = self._overview.counts, self._overview.total
        for name, text, value in (
            ("pending", "Calls waiting for a thread or worker process.", total("pending")),
            ("running", "Running calls.", total("running")),
            ("parked", "Streams waiting for their clients to read.", total("parked")),
            ("size", "Threads or worker processes.", self._overview.size),
            ("ready", "1 if calls can be performed, otherwise 0.", int(not self._overview.unready())),
            ("connections", "Open connections.", total("connections")),
        ):
            yield GaugeMetricFamily(f"appserver_{name}", text, value=value)
        for name, text, value in (
            ("completed", "Calls answered with a status below 500.", counts.completed),
            ("failed", "Calls that failed.", counts.failed),
            ("restarts", "Worker processes that died and were replaced.", counts.restarts),
            ("server_restarts", "Servers that died and were replaced.", counts.server_restarts),
        ):
            yield CounterMetricFamily(f"appserver_{name}", text, value=value)

    def _queues(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        queues = GaugeMetricFamily("tqueue_tasks", "Tasks by state.", labels=("queue", "place"))
        counted = CounterMetricFamily("tqueue_requests", "Requests by kind.", labels=("queue", "what"))
        ages = GaugeMetricFamily(
            "tqueue_oldest_task_age_seconds", "Age of the oldest ready task; none if no task is ready.",
            labels=("queue",),
        )  # fmt: skip
        results = GaugeMetricFamily("tqueue_results", "Results that are kept.", labels=("queue",))
        attempts = CounterMetricFamily("tqueue_attempts", "Tasks handed out.", labels=("queue",))
        lost = CounterMetricFamily(
            "tqueue_lost_leases", "Leases that ended before their tasks.", labels=("queue",)
        )
        for name, figures in self._overview.queues(self._overviews.figures.service.queues()).items():
            if figures["oldest"] is not None:
                ages.add_metric((name,), figures["oldest"])
            for place in ("ready", "delayed", "leased", "held", "buried"):
                queues.add_metric((name, place), figures[place])
            for what in ("puts", "gets", "dones", "returned", "expired"):
                counted.add_metric((name, what), figures[what])
            if figures["results"] is not None:
                results.add_metric((name,), figures["results"])
            attempts.add_metric((name,), figures["gets"])
            lost.add_metric((name,), figures["returned"])
        yield from (queues, counted, ages, results, attempts, lost)

    def _attempts(self) -> Iterator[Any]:
        """Yield the metrics of the attempts that ended at the servers of this service."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        failures = CounterMetricFamily("tqueue_failures", "Attempts that failed.", labels=("queue",))
        seconds = HistogramMetricFamily(
            "tqueue_attempt_seconds", "Duration of attempts, from lease to end.", labels=("queue", "outcome")
        )
        for each in self._overview.counts.attempts:
            if each.kind == "failed":
                failures.add_metric((each.name,), each.number)
            counts = [*accumulate(each.counts)]
            # Every second bound is enough, and keeps the number of time series small.
            pairs = [(str(bound), counts[index]) for index, bound in enumerate(each.bounds)][::2]
            seconds.add_metric((each.name, each.kind), [*pairs, ("+Inf", counts[-1])], sum_value=each.total)
        yield from (failures, seconds)
