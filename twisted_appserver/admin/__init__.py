"""
The pages and probes of a service below C{/-/}: an ordinary table of patterns that precedes the user's table.

All functions run on the reactor, so they answer while every thread is busy. Their calls pass through the
dispatcher like any others: they work on every connection, below any prefix, and need the same credentials.

A module may import only modules above it in this list:

  - store_errors: the statuses of requests that a broker cannot perform
  - task_excerpts: the beginnings of tasks
  - task_edits: the new fields of a task that was edited
  - queue_groups: how many tasks the groups of a queue have
  - queue_history: the depth and the rate of queues during the last ten minutes
  - queues: queues and their tasks as JSON
  - faults: failures of functions, grouped by the function and the type of the exception
  - function_names: names for the functions of the page of functions
  - running_calls: the calls of worker processes, threads, the reactor and clusters
  - counts: what a service has counted, as values
  - figures: counts calls and their durations
  - increments: what a server has counted since its last report, and the sums of such reports
  - present: what a server does at the moment
  - overview: the figures of all servers of a service
  - probes: liveness and readiness
  - metrics: the figures for Prometheus
  - operation_plan: which functions OpenAPI can describe, and at which paths
  - operation_ids: names for the functions of generated clients
  - status: the data of the status page
  - docstrings: summaries, texts and the descriptions of parameters
  - call_descriptions: the options that functions read from their calls
  - schemas: JSON schemas of parameters and results
  - request_descriptions: parameters and bodies of requests
  - response_descriptions: media types and schemas of responses
  - job_descriptions: background calls
  - openapi: the functions as an OpenAPI document
  - pages: the web pages and their files
  - mcp: functions as tools of AI assistants
  - tool_requests: loads mcp with the first request for it
"""

from __future__ import annotations

from typing import Any

from twisted_appserver.admin.metrics import Metrics
from twisted_appserver.admin.openapi import OpenAPIDocument
from twisted_appserver.admin.overview import Overviews
from twisted_appserver.admin.pages import Pages, is_public
from twisted_appserver.admin.probes import Probes
from twisted_appserver.admin.queues import Queues, queue_patterns
from twisted_appserver.admin.status import Status
from twisted_appserver.admin.tool_requests import ToolRequests
from twisted_appserver.core.routes import Route
from twisted_appserver.jobs.interface import IJobs, job_patterns

__all__ = ["is_public", "url_patterns"]


def url_patterns(service: Any, overviews: Overviews, jobs: IJobs, mcp: bool = False) -> tuple[Any, ...]:
    """
    Make the table of the pages, probes and jobs.

    @param service: an L{AppService}.
    @param overviews: the figures of the service; the service also stops them.
    @param jobs: the jobs of the service; the service also stops them.
    @param mcp: whether functions are tools if their routes do not decide.
    """
    probes, metrics, status, pages = Probes(overviews), Metrics(overviews), Status(overviews), Pages(service)
    table: tuple[tuple[str, Any], ...] = (
        (r"/-/health", probes.health),
        (r"/-/ready", probes.ready),
        (r"/-/metrics", metrics.metrics),
        (r"/-/openapi\.json", OpenAPIDocument(service).openapi),
        (r"/-/status\.json", status.status),
        (r"/-/errors", status.errors),
        (r"/-/service\.json", pages.service),
        (r"/-/(?P<page>docs|status)", pages.page),
        (r"/-/swagger", pages.swagger),
        (r"/-/(?P<name>swagger-ui\.css|swagger-ui-bundle\.js)", pages.swagger),
        (r"/-/(?P<name>[a-z]+\.(?:js|css|svg))", pages.asset),
        (r"/-/?", pages.index),
    )
    pages_table = (Route(regex, function, methods=("GET",)) for regex, function in table)
    queues = Queues(service, overviews.figures.queues)
    lists = (
        Route(r"/-/jobs", pages.or_json("jobs", jobs.index), methods=("GET",)),
        Route(r"/-/queues", pages.or_json("queues", queues.index), methods=("GET",)),
    )
    # The time limit of the function applies, also if it is longer than the limit of the service.
    tools = Route(r"/-/mcp", ToolRequests(service, mcp).post, methods=("POST",), timeout=0)
    return (*pages_table, tools, *lists, *job_patterns(jobs), *queue_patterns(queues))
