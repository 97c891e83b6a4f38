"""The metrics of a service for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from twisted_appserver.admin.figures import Figures
from twisted_appserver.core.call import Reply
from twisted_appserver.core.durations import BOUNDS
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
        number = self._figures.service.number
        for family in self._families():
            if number:
                samples = family.samples
                family.samples = [each._replace(labels={**each.labels, "server": number}) for each in samples]
            yield family

    def _families(self) -> Iterator[Any]:
        yield self._durations()
        yield from self._gauges_and_counters()
        yield from self._queues()
        yield from self._attempts()

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
        ages = GaugeMetricFamily(
            "tqueue_oldest_task_age_seconds", "Age of the oldest ready task; none if no task is ready.",
            labels=("queue",),
        )  # fmt: skip
        results = GaugeMetricFamily("tqueue_results", "Results that are kept.", labels=("queue",))
        attempts = CounterMetricFamily("tqueue_attempts", "Tasks handed out.", labels=("queue",))
        lost = CounterMetricFamily(
            "tqueue_lost_leases", "Leases that ended before their tasks.", labels=("queue",)
        )
        for name, figures in self._figures.service.queues().items():
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
        """Yield the metrics of the attempts that ended at this server."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        failures = CounterMetricFamily("tqueue_failures", "Attempts that failed.", labels=("queue",))
        seconds = HistogramMetricFamily(
            "tqueue_attempt_seconds", "Duration of attempts, from lease to end.", labels=("queue", "outcome")
        )
        for (name, outcome), durations in list(self._figures.service.attempt_durations().items()):
            if outcome == "failed":
                failures.add_metric((name,), durations.number)
            counts = [*accumulate(durations.counts)]
            # Every second bound is enough, and keeps the number of time series small.
            pairs = [(str(bound), counts[index]) for index, bound in enumerate(durations.bounds)][::2]
            seconds.add_metric((name, outcome), [*pairs, ("+Inf", counts[-1])], sum_value=durations.total)
        yield from (failures, seconds)
