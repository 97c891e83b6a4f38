"""
What a service reports about itself below C{/-/}: an ordinary table of patterns in front of the user's.

All of it runs on the reactor, so it answers while every thread is busy. It goes through the dispatcher like
any other call, so it works on every connection, below any prefix, and only for clients that may call.

A module may import only modules above it in this list:

  - probes: liveness and readiness
  - figures: counts, durations and the calls that are running
  - metrics: the figures for Prometheus
  - openapi: the functions as an OpenAPI document
  - pages: the figures and functions as web pages
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
