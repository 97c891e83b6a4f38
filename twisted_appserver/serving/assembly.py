"""Make the parts of a server from its settings: dispatcher and jobs. Some settings are refused."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from twisted_appserver.access.proxies import Proxies
from twisted_appserver.access.request_guard import RequestGuard
from twisted_appserver.core.router import Router
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.dispatch.start_notes import NO_ADMIN, SEVERAL_SERVERS
from twisted_appserver.errors import ConfigurationError
from twisted_appserver.executors.interface import IExecutor
from twisted_appserver.jobs.interface import IJobs
from twisted_appserver.jobs.memory_jobs import MemoryJobs
from twisted_appserver.jobs.no_jobs import NoJobs
from twisted_appserver.jobs.stored_jobs import StoredJobs
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.queue.paging import MOST_NUMBER
from twisted_appserver.settings import MEMORY, Settings


def _own_hosts(address: str) -> tuple[str, ...]:
    """
    Return the address of the server as a host name that requests may use.

    Host names are checked because of DNS rebinding. An address is always safe: after DNS rebinding, browsers
    send the name.
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
    suggested = shown or bool(settings.reload)
    return Dispatcher(reactor, router, executors, default, guard, *limits, shown, suggested), guard


def why_jobless(settings: Settings) -> str:
    """Return why a service has no jobs; empty if it has jobs."""
    if settings.no_admin:
        return NO_ADMIN
    return SEVERAL_SERVERS if settings.servers != 1 and settings.store == MEMORY else ""


def make_jobs(dispatcher: Dispatcher, settings: Settings) -> IJobs:
    """
    Make the background calls, and let the dispatcher use them. Their store is not opened yet.

    @raise ConfigurationError: when there is no such kind of store.
    """
    jobs: IJobs
    limits = (settings.max_jobs, settings.max_job_bytes, settings.job_age)
    if why := why_jobless(settings):
        jobs = NoJobs(why)
    elif settings.store == MEMORY:
        jobs = MemoryJobs(dispatcher, *limits)
    else:
        # The table limits the number of queues: each route and each schedule has one.
        broker = make_broker(dispatcher.reactor, open_store(settings.store), max_queues=MOST_NUMBER)
        jobs = StoredJobs(dispatcher, broker, *limits)
    dispatcher.jobs = jobs
    return jobs


def refuse_options_of_commands(settings: Settings) -> None:
    """
    @raise ConfigurationError: when an option is given that has no effect on a service.
    """
    if settings.reload:
        raise ConfigurationError(
            "the reload option is for commands only; call the service's reload() instead"
        )
    if settings.servers != 1:
        raise ConfigurationError("the servers option is for commands and run_server only")
    if settings.log_format:
        raise ConfigurationError(
            "the log_format option is for commands and run_server only, because the program around a service "
            "starts the log; start it with twisted_appserver.serving.logs.make_observer(file, log_format)"
        )
