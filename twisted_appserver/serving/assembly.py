"""Make the parts of a server from its settings: executors, dispatcher and jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted_appserver.access.proxies import Proxies
from twisted_appserver.access.request_guard import RequestGuard
from twisted_appserver.admin.figures import ADMIN
from twisted_appserver.core.application import Application
from twisted_appserver.core.router import Router
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.executors.cluster.executor import DaskExecutor
from twisted_appserver.executors.inline import InlineExecutor
from twisted_appserver.executors.interface import IExecutor
from twisted_appserver.executors.mounted_resources import ResourceExecutor
from twisted_appserver.executors.processes.executor import ProcessExecutor
from twisted_appserver.executors.processes.head_start import HeadStart
from twisted_appserver.executors.threads import ThreadExecutor
from twisted_appserver.jobs.registry import Jobs
from twisted_appserver.settings import CLUSTER_SERVER, FORKED_SERVER, THREADED_SERVER, Settings

EXECUTORS = {THREADED_SERVER: "threads", FORKED_SERVER: "processes", CLUSTER_SERVER: "cluster"}


def make_executors(
    reactor: Any,
    settings: Settings,
    application: Application,
    router: Router,
    head_start: HeadStart | None,
) -> tuple[dict[str, IExecutor], str]:
    """
    Make the executors that the server type and the routes need.

    @param head_start: worker processes that have been started already.
    @return: the executors by the names that a Route may give, and the name of the default executor.
    @raise ConfigurationError: when the application cannot be imported by worker processes.
    """
    makers: dict[str, Callable[[], IExecutor]] = {
        "threads": lambda: ThreadExecutor(reactor, settings.threads),
        "processes": lambda: ProcessExecutor(
            reactor,
            application,
            settings.workers,
            router,
            settings.max_requests,
            settings.max_rss,
            head_start,
        ),
        "cluster": lambda: DaskExecutor(
            reactor, application, router, settings.scheduler, settings.workers, settings.upload
        ),
    }
    default = EXECUTORS[settings.server_type]
    needed = {default} | ({"threads", "cluster"} & {handler.executor for handler in router.handlers})
    if needed & {"processes", "cluster"}:
        application.check()
    # The service's own pages have an executor of their own, so that they are not counted as calls.
    executors: dict[str, IExecutor] = {"inline": InlineExecutor(reactor), ADMIN: InlineExecutor(reactor)}
    executors["resources"] = ResourceExecutor(reactor)
    return executors | {name: makers[name]() for name in needed}, default


def make_dispatcher(
    reactor: Any, settings: Settings, router: Router, executors: Mapping[str, IExecutor], default: str
) -> tuple[Dispatcher, RequestGuard]:
    """
    Make a dispatcher and its guard, which does not require credentials yet.

    @param executors: the executors by the names that a Route may give.
    @param default: the name of the executor for Routes that give none.
    @raise ConfigurationError: when a host name, an origin or a proxy is invalid, or a Route's executor is
        missing.
    """
    proxies = Proxies(settings.proxied) if settings.proxied else None
    guard = RequestGuard(settings.allow_host, settings.allow_origin, proxies)
    limits = (settings.timeout, settings.max_pending)
    shown = settings.display_tracebacks
    return Dispatcher(reactor, router, executors, default, guard, *limits, shown), guard


def make_jobs(dispatcher: Dispatcher, settings: Settings) -> Jobs:
    """Make the registry of background calls, and let the dispatcher use it."""
    jobs = Jobs(dispatcher, settings.max_jobs, settings.max_job_bytes, settings.job_age)
    dispatcher.jobs = jobs
    return jobs
