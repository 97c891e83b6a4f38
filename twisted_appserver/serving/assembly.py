"""Make the parts of a server from its settings: dispatcher and jobs."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from twisted_appserver.access.proxies import Proxies
from twisted_appserver.access.request_guard import RequestGuard
from twisted_appserver.core.router import Router
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.executors.interface import IExecutor
from twisted_appserver.jobs.registry import Jobs
from twisted_appserver.settings import Settings


def _own_hosts(address: str) -> tuple[str, ...]:
    """
    Return the address of the server as a host name that requests may use.

    DNS rebinding, against which host names are checked, cannot make a browser send an address.
    """
    own = ip_address(address)
    if own.is_unspecified:  # it stands for all addresses, and no client uses it
        return ()
    return (f"[{own}]" if own.version == 6 else str(own),)


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
    guard = RequestGuard((*settings.allow_host, *_own_hosts(settings.host)), settings.allow_origin, proxies)
    limits = (settings.timeout, settings.max_pending)
    shown = settings.display_tracebacks
    return Dispatcher(reactor, router, executors, default, guard, *limits, shown), guard


def make_jobs(dispatcher: Dispatcher, settings: Settings) -> Jobs:
    """Make the registry of background calls, and let the dispatcher use it."""
    jobs = Jobs(dispatcher, settings.max_jobs, settings.max_job_bytes, settings.job_age)
    dispatcher.jobs = jobs
    return jobs
