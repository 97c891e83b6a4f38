"""What a service tells of itself, below C{/-/}: an ordinary table of patterns, in front of the user's.

  - L{probes}: whether it lives, and whether it can take a call.
  - L{figures}: how many calls, how long they took, and what is at work now.
  - L{metrics}: the figures as Prometheus reads them.
  - L{description}: the functions as OpenAPI describes them.
  - L{pages}: the same for a person to look at.
  - L{jobs.registry.Jobs}: what became of the calls whose clients do not wait.

Everything here runs on the reactor, so that it answers while every thread hangs; and goes through the
dispatcher like any other call, so that it works under every channel, below any prefix, and for nobody who
may not call.
"""

from __future__ import annotations

from typing import Any

from twisted_appserver.admin.figures import Figures
from twisted_appserver.admin.metrics import Metrics
from twisted_appserver.admin.openapi import Description
from twisted_appserver.admin.pages import Pages
from twisted_appserver.admin.probes import Probes
from twisted_appserver.core.routes import Route
from twisted_appserver.jobs.registry import Jobs


def url_patterns(service: Any, figures: Figures, jobs: Jobs) -> tuple[Any, ...]:
    """
    The table.

    @param service: an L{AppService}.
    @param figures: its own; whoever stops it stops them. C{jobs}: likewise.
    """
    probes, metrics, pages = Probes(service), Metrics(figures), Pages(figures)
    table: tuple[tuple[str, Any], ...] = (
        (r"/-/health", probes.health),
        (r"/-/ready", probes.ready),
        (r"/-/metrics", metrics.metrics),
        (r"/-/openapi\.json", Description(service).openapi),
        (r"/-/status\.json", pages.figures),
        (r"/-/(?P<page>docs|status)", pages.page),
        (r"/-/swagger", pages.swagger),
        (r"/-/(?P<name>swagger-ui\.css|swagger-ui-bundle\.js)", pages.swagger),
        (r"/-/(?P<name>[a-z]+\.(?:js|css|svg))", pages.asset),
        (r"/-/?", pages.index),
    )
    return (*(Route(regex, function, methods=("GET",)) for regex, function in table), *jobs.url_patterns())
